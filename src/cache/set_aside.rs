//! Content that was set aside in the bucket: its old key is about to have other bytes, and its
//! new name is not in the index yet.
//!
//! The object below [`TEMPORARY_PREFIX`] is noted before it is made, so that it is found again
//! and removed, whatever happens; it is removed when no file needs it. Nobody else touches it.

use std::collections::BTreeMap;

use super::Cache;
use super::error::Result;
use super::rows::{Ino, Inode, Path, Remote, RowOp, Source};
use crate::os::crash_point::{Step, reached};

/// Below this is what was set aside.
pub const TEMPORARY_PREFIX: &str = "_control/bayou/tmp/";

/// The setting under which the keys are kept, as JSON.
pub(super) const TEMPORARY: &str = "temporary-objects";

/// What is known of a temporary object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporary {
    /// It is being made; whose it is, is not noted yet.
    InTheMaking,
    /// It is needed by the files whose source it is, and by nobody if there are none.
    Noted,
}

/// The temporary objects of this cache, by key.
pub(super) type Temporaries = BTreeMap<Path, Temporary>;

/// Returns the keys that a setting names.
pub(super) fn read(setting: Option<&String>) -> Temporaries {
    let keys: Vec<String> = setting.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    keys.into_iter().map(|key| (Path::from(key), Temporary::Noted)).collect()
}

fn setting(temporaries: &Temporaries) -> RowOp {
    let keys: Vec<&str> = temporaries.keys().map(|key| &**key).collect();
    RowOp::Setting(TEMPORARY.to_owned(), serde_json::Value::from(keys).to_string())
}

/// While this lives nobody removes a temporary object.
#[must_use = "the making ends when this is dropped"]
pub struct InTheMaking<'a> {
    cache: &'a Cache,
    key: &'a Path,
}

impl Drop for InTheMaking<'_> {
    fn drop(&mut self) {
        self.cache.end_temporary(self.key);
    }
}

impl Cache {
    /// Notes durably that a temporary object is about to be made.
    pub fn note_temporary(&self, key: &Path) -> Result<()> {
        let mut temporaries = self.temporaries.lock();
        temporaries.insert(Path::clone(key), Temporary::InTheMaking);
        let noted = self.catalog.note_durably(&[setting(&temporaries)]);
        drop(temporaries);
        reached(Step::TemporaryNoted);
        noted
    }

    /// Ends the making of a temporary object when what this returns is dropped, however it went.
    pub fn temporary_in_the_making<'a>(&'a self, key: &'a Path) -> InTheMaking<'a> {
        InTheMaking { cache: self, key }
    }

    fn end_temporary(&self, key: &Path) {
        self.temporaries.lock().entry(Path::clone(key)).and_modify(|what| *what = Temporary::Noted);
    }

    /// Notes durably that all that came from a version of `from` comes from a temporary object.
    pub fn note_set_aside(&self, from: &Path, version: &Remote, to: (&Path, &Remote)) -> Result<()> {
        {
            let mut names = self.names.write();
            let is_from = |source: &Source| *source.key == **from && source.remote.is_same_as(version);
            let own = names.name(from).map(|name| name.ino);
            let moved = |ino: Ino| {
                let inode = names.inode(ino).ok().filter(|_| Some(ino) != own)?;
                let source = inode.source.as_ref().filter(|source| is_from(source))?;
                let source = Source { key: Path::clone(to.0), remote: to.1.clone(), at: source.at };
                Some(RowOp::Inode(ino, Box::new(Inode { source: Some(source), ..inode.clone() })))
            };
            let group: Vec<RowOp> = names.inode_numbers().filter_map(moved).collect();
            self.commit(&mut names, group)?;
        }
        self.catalog.sync()?;
        reached(Step::SetAside);
        Ok(())
    }

    /// Returns the object that a file's absent bytes come from; `None` if it has no name, or no
    /// such object.
    pub fn source_if_named(&self, ino: Ino) -> Result<Option<Source>> {
        let names = self.names.read();
        let inode = names.inode(ino)?;
        Ok(inode.source.clone().filter(|_| inode.path.is_some()))
    }

    /// Has a file whose copy is in the bucket under its own name come from there; returns whether
    /// it does.
    pub fn take_source_from_copy(&self, ino: Ino) -> Result<bool> {
        let mut names = self.names.write();
        let Ok(inode) = names.inode(ino) else { return Ok(false) };
        if inode.equal_object().is_none() {
            return Ok(false);
        }
        let at = inode.stamp.content;
        let copy = names.names_of(ino).into_iter().find_map(|path| {
            let done = names.name(&path)?.uploaded.as_ref().filter(|done| done.stamp.content == at)?;
            Some(Source { key: path, remote: done.remote.clone(), at })
        });
        let Some(copy) = copy else { return Ok(false) };
        let inode = Inode { source: Some(copy), ..inode.clone() };
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(inode))])?;
        Ok(true)
    }

    /// Returns the temporary objects that nobody needs any more.
    pub fn unused_temporaries(&self) -> Vec<Path> {
        let names = self.names.read();
        let mut unused = self.temporaries.lock().clone();
        if unused.is_empty() {
            return Vec::new();
        }
        unused.retain(|_, what| *what == Temporary::Noted);
        for ino in names.inode_numbers() {
            if let Some(source) = names.inode(ino).ok().and_then(|inode| inode.source.as_ref()) {
                unused.remove(&source.key);
            }
        }
        unused.into_keys().collect()
    }

    /// Notes that a temporary object is gone.
    pub fn note_temporary_gone(&self, key: &Path) -> Result<()> {
        let mut temporaries = self.temporaries.lock();
        temporaries.remove(key);
        self.catalog.note(&[setting(&temporaries)])
    }
}
