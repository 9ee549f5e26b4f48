//! Making the index say what is so.

use futures::{StreamExt, TryStreamExt, stream};

use super::survey::{Finding, Problem, Survey};
use super::{Damage, Upkeep};
use crate::model::entry::Entry;
use crate::model::key::{DataKey, ObjectKey};
use crate::model::timestamp::Timestamp;
use crate::store::ObjectMeta;
use crate::sync::discover;
use crate::sync::entries::entry_of_object;
use crate::sync::error::{Result, SyncError};
use crate::sync::index::{Layout, RemoteIndex};
use crate::sync::lock::Held;
use crate::sync::old_monolith;

/// How many objects are asked for at once.
const PARALLEL_HEADS: usize = 32;
/// How often a repair is made again when others write without the lock meanwhile.
const MOST_ATTEMPTS: usize = 4;

impl Upkeep {
    /// Repairs what a look at index and objects finds. Returns what was found.
    pub async fn repair(&self) -> Result<Survey> {
        self.make_true(Damage::Fails).await
    }

    /// Builds the index anew from the objects: documents that cannot be read are left out, and
    /// what can be read of them is kept where it is so. Returns what was found.
    pub async fn rebuild(&self) -> Result<Survey> {
        self.make_true(Damage::IsLeftOut).await
    }

    async fn make_true(&self, damage: Damage) -> Result<Survey> {
        let lock = self.lock.hold().await?;
        for _ in 0..MOST_ATTEMPTS {
            match self.attempt(&lock, damage).await {
                Err(moved) if moved.is_condition_failed() => {
                    tracing::debug!("The index moved on: the repair is made again on the newer one");
                }
                outcome => return outcome,
            }
        }
        Err(SyncError::Contended { address: self.store.address() })
    }

    async fn attempt(&self, lock: &Held, damage: Damage) -> Result<Survey> {
        let now = Timestamp::from(self.clock.now());
        let index = self.read(damage).await?;
        let objects = self.objects().await?;
        let Some(mut index) = index else {
            let findings = self.findings(None, &objects).await?;
            self.build(lock, now).await?;
            return Ok(Survey { findings, ..self.show().await? });
        };
        let mut survey = self.summary(Some(&index));
        survey.findings = self.findings(Some(&index), &objects).await?;
        let named = |problem: Problem| {
            let of = |finding: &&Finding| finding.problem == problem;
            survey.findings.iter().filter(of).flat_map(|finding| finding.names.clone()).collect::<Vec<_>>()
        };
        // One that says what the shards say now misleads as soon as they change.
        let is_frozen =
            index.layout() == Layout::Shards && old_monolith::can_be_emptied(&*self.store).await?;
        if !is_frozen && survey.findings.iter().all(|finding| !finding.problem.is_repairable()) {
            return Ok(survey);
        }
        index.take_in_unlisted(&*self.store).await?;
        let asked = [named(Problem::Dangling), named(Problem::Behind), named(Problem::Unindexed)].concat();
        self.bring_up(&mut index, asked.clone()).await?;
        lock.check().await?;
        index.publish(&*self.store, now, lock).await?;
        // Somebody may have removed an object while its entry was made.
        if self.bring_up(&mut index, asked).await? {
            lock.check().await?;
            index.publish(&*self.store, now, lock).await?;
        }
        if is_frozen || !named(Problem::MisleadingMonolith).is_empty() {
            old_monolith::neutralise(&*self.store, &mut index, now).await?;
        }
        Ok(survey)
    }

    /// Builds the index of a bucket that has none from the objects and what they say of
    /// themselves.
    async fn build(&self, lock: &Held, now: Timestamp) -> Result<()> {
        let mut index = discover::discover(&*self.store, discover::Publish::No, now).await?;
        if index.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = index.entries().map(|(key, _)| key.to_owned()).collect();
        for (key, meta) in self.ask(keys).await? {
            let entry = entry_of_object(&*self.store, &key, meta.as_ref(), None).await?;
            match (DataKey::admit(&key), entry) {
                (Ok(key), Some(entry)) => index.set(&key, &entry),
                _ => index.remove(&key),
            }
        }
        lock.check().await?;
        index.publish(&*self.store, now, lock).await
    }

    async fn ask(&self, keys: Vec<String>) -> Result<Vec<(String, Option<ObjectMeta>)>> {
        let ask = |key: String| async move {
            let what = format!("Asking for {key}");
            let meta = self.store.head(&ObjectKey::new(&*key)).await.map_err(SyncError::store(what))?;
            Ok::<_, SyncError>((key, meta))
        };
        stream::iter(keys).map(ask).buffer_unordered(PARALLEL_HEADS).try_collect().await
    }

    /// Has the index say of these keys what their objects are; returns whether it said something
    /// else.
    async fn bring_up(&self, index: &mut RemoteIndex, keys: Vec<String>) -> Result<bool> {
        let mut changed = false;
        for (key, meta) in self.ask(keys).await? {
            let Ok(data_key) = DataKey::admit(&key) else { continue };
            let old = index.get(&key);
            match entry_of_object(&*self.store, &key, meta.as_ref(), old.clone()).await? {
                Some(entry) => {
                    changed |= !old.as_ref().is_some_and(|old| is_same(old, &entry));
                    index.set(&data_key, &entry);
                }
                None => {
                    changed |= old.is_some();
                    index.remove(&key);
                }
            }
        }
        Ok(changed)
    }
}

fn is_same(old: &Entry, new: &Entry) -> bool {
    old.version == new.version && old.size == new.size
}
