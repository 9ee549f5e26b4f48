//! What the index says, and where that is not so.

use super::{Damage, Objects, Upkeep};
use crate::model::entry::Entry;
use crate::model::internal_name::is_leftover;
use crate::model::key::{DataKey, ObjectKey};
use crate::store::Listed;
use crate::sync::LINGER;
use crate::sync::error::{Result, SyncError};
use crate::sync::index::{Layout, RemoteIndex};
use crate::sync::old_monolith;

/// What is in an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Survey {
    /// The bucket's address.
    pub source: String,
    /// `none`, `monolith`, `monolith with copies` or `shards`.
    pub layout: String,
    /// Number of entries.
    pub entries: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
    /// Number of shards, or of copies.
    pub shards: u64,
    /// Swamp's counter of commits, of shards.
    pub commit_seq: Option<u64>,
    /// What is not so; empty if nothing was looked for.
    pub findings: Vec<Finding>,
}

/// One kind of untruth, and what has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// Keys, or names of shards.
    pub names: Vec<String>,
}

/// What can be wrong with an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Entries whose objects are gone.
    Dangling,
    /// Entries of a namespace whose content old clients left outside of it. They are read from
    /// there and stay as they are.
    Outside,
    /// Entries of an older version than the object.
    Behind,
    /// Objects that no entry names; what swamp's writers leave behind is not meant.
    Unindexed,
    /// Objects that no entry names and that are so new that whoever wrote them may be about to
    /// name them. They stay as they are.
    New,
    /// Entries of names that are machinery.
    Internal,
    /// Entries whose keys cannot be files. They stay as they are.
    Refused,
    /// The meta document of the shards is missing or of no use.
    LostMeta,
    /// Shards that the meta document does not list.
    UnlistedShards,
    /// Shards that the meta document lists and that are missing or damaged.
    LostShards,
    /// Documents of the index that cannot be read.
    Damaged,
    /// Copies of parts of the monolith that say something else than it does.
    UntrueCopies,
    /// An old monolith beside shards, which swamp's clients may take for the index.
    MisleadingMonolith,
}

impl Problem {
    /// Returns the problem in words, as a heading of names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dangling => "entries whose objects are gone",
            Self::Outside => "entries whose content is outside of the namespace",
            Self::Behind => "entries of an older version than the object",
            Self::Unindexed => "objects that no entry names",
            Self::New => "objects of the last minute that no entry names yet",
            Self::Internal => "entries of internal names",
            Self::Refused => "entries whose keys cannot be files",
            Self::LostMeta => "the meta document of the shards is missing or of no use",
            Self::UnlistedShards => "shards that the meta document does not list",
            Self::LostShards => "shards that are missing or damaged",
            Self::Damaged => "documents of the index that cannot be read",
            Self::UntrueCopies => "copies that say something else than the monolith",
            Self::MisleadingMonolith => "an old monolith that swamp's clients may take for the index",
        }
    }

    /// Returns whether a repair or a rebuild does something about it.
    pub fn is_repairable(self) -> bool {
        !matches!(self, Self::Refused | Self::Outside | Self::New)
    }

    /// Returns whether a repair does not begin while it is so, only a rebuild.
    pub fn needs_rebuild(self) -> bool {
        matches!(self, Self::Damaged | Self::LostShards)
    }
}

/// Returns whether a key is the file at a path, or a file below the folder at it. A path that
/// ends in `/` is a folder.
pub fn is_at_or_below(path: &str, key: &str) -> bool {
    let folder = path.strip_suffix('/').unwrap_or(path);
    path == key || key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

impl Upkeep {
    /// Returns what is in the index; the objects are not looked at.
    pub async fn show(&self) -> Result<Survey> {
        let index = self.read(Damage::Fails).await?;
        Ok(self.summary(index.as_ref()))
    }

    /// Returns the entries at or below some paths, or all, in order.
    pub async fn entries(&self, paths: &[String]) -> Result<Vec<(String, Entry)>> {
        let Some(index) = self.read(Damage::Fails).await? else { return Ok(Vec::new()) };
        let is_wanted = |key: &str| paths.is_empty() || paths.iter().any(|path| is_at_or_below(path, key));
        let mut entries: Vec<_> = index
            .entries()
            .filter(|(key, _)| is_wanted(key))
            .map(|(key, entry)| (key.to_owned(), entry))
            .collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    /// Compares the index with the objects; changes nothing.
    pub async fn verify(&self) -> Result<Survey> {
        let index = self.read(Damage::IsLeftOut).await?;
        let objects = self.objects().await?;
        let mut survey = self.summary(index.as_ref());
        survey.findings = self.findings(index.as_ref(), &objects).await?;
        Ok(survey)
    }

    pub(super) fn summary(&self, index: Option<&RemoteIndex>) -> Survey {
        let source = self.store.address();
        let Some(index) = index else {
            return Survey { source, layout: "none".to_owned(), ..Survey::default() };
        };
        let (layout, shards, commit_seq) = index.describe();
        Survey {
            source,
            layout: layout.to_owned(),
            entries: index.len() as u64,
            bytes: index.entries().filter_map(|(_, entry)| entry.size).sum(),
            shards: shards as u64,
            commit_seq,
            findings: Vec::new(),
        }
    }

    pub(super) async fn findings(
        &self,
        index: Option<&RemoteIndex>,
        objects: &Objects,
    ) -> Result<Vec<Finding>> {
        let mut found = Found::default();
        if let Some(index) = index {
            let (outside, dangling) = self.without_object(index, objects).await?;
            found.add(Problem::Dangling, dangling);
            found.add(Problem::Outside, outside);
            found.look_at_entries(index, objects);
            found.add(Problem::Internal, index.scrubbed().to_vec());
            index.look_at_documents(&*self.store, |problem, names| found.add(problem, names)).await?;
            if index.layout() == Layout::Shards && old_monolith::misleads(&*self.store, index).await? {
                found.add(Problem::MisleadingMonolith, vec![crate::model::index::INDEX_KEY.to_owned()]);
            }
        }
        let is_named = |key: &str| index.is_some_and(|index| index.get(key).is_some());
        let is_missed =
            |key: &&String| !is_named(key) && !is_leftover(key) && !objects.of_others.contains(*key);
        let missed: Vec<String> = objects.by_key.keys().filter(is_missed).cloned().collect();
        // What was named by a document that is lost is not about to be named.
        let is_whole = index.is_some() && !found.0.iter().any(|finding| finding.problem.needs_rebuild());
        let (new, rested) = match is_whole {
            true => self.split_off_new(missed, objects).await?,
            false => (Vec::new(), missed),
        };
        found.add(Problem::Unindexed, rested);
        found.add(Problem::New, new);
        Ok(found.0)
    }

    /// Splits keys of objects into those that were written within [`LINGER`], by the store's
    /// clock, and the others.
    async fn split_off_new(
        &self,
        keys: Vec<String>,
        objects: &Objects,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let written = |key: &String| objects.by_key.get(key).map(|object| object.modified);
        let Some(newest) = keys.iter().max_by_key(|key| written(key)) else { return Ok((keys, Vec::new())) };
        let what = format!("Asking when {newest} was written");
        let meta = self.store.head(&ObjectKey::new(&**newest)).await.map_err(SyncError::store(what))?;
        let now = meta.and_then(|meta| Some(meta.modified + meta.age()?));
        let since = now.unwrap_or_else(|| self.clock.now()).checked_sub(LINGER);
        Ok(keys.into_iter().partition(|key| written(key) > since))
    }
}

impl Upkeep {
    /// Returns the keys whose objects are missing: those whose content may be outside of the
    /// namespace, and those whose content is gone.
    async fn without_object(
        &self,
        index: &RemoteIndex,
        objects: &Objects,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let (mut outside, mut gone) = (Vec::new(), Vec::new());
        let missing = |key: &str| !objects.by_key.contains_key(key) && DataKey::admit(key).is_ok();
        let entries: Vec<_> = index
            .entries()
            .filter(|(key, _)| missing(key))
            .map(|(key, entry)| (key.to_owned(), entry))
            .collect();
        for (key, entry) in entries {
            let place = if self.is_outside(&key, &entry).await? { &mut outside } else { &mut gone };
            place.push(key);
        }
        Ok((outside, gone))
    }

    /// The hash is not looked at: what is kept for nothing does no harm.
    async fn is_outside(&self, key: &str, entry: &Entry) -> Result<bool> {
        let Some(root) = self.root.as_ref().filter(|_| entry.sha256.is_some()) else { return Ok(false) };
        let what = format!("Asking for {key} outside of the namespace");
        let meta = root.head(&ObjectKey::new(key)).await.map_err(SyncError::store(what))?;
        Ok(meta.is_some_and(|meta| entry.size == Some(meta.size)))
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, problem: Problem, mut names: Vec<String>) {
        if !names.is_empty() {
            names.sort_unstable();
            self.0.push(Finding { problem, names });
        }
    }

    fn look_at_entries(&mut self, index: &RemoteIndex, objects: &Objects) {
        let (mut behind, mut refused) = (Vec::new(), Vec::new());
        for (key, entry) in index.entries() {
            match objects.by_key.get(key) {
                _ if DataKey::admit(key).is_err() => refused.push(key.to_owned()),
                None => {}
                Some(Listed { size, version, .. }) => {
                    let other_version =
                        entry.version.is_some() && version.is_some() && entry.version != *version;
                    if other_version || entry.size.is_some_and(|known| known != *size) {
                        behind.push(key.to_owned());
                    }
                }
            }
        }
        self.add(Problem::Behind, behind);
        self.add(Problem::Refused, refused);
    }
}
