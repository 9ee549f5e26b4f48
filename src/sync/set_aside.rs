//! Setting content aside in the bucket, before its object is replaced or removed.
//!
//! It is copied there, below a prefix that belongs to bayou, and never fetched. What is not
//! needed any more is removed by the cache that made it, also after a crash.

use super::SyncService;
use super::error::{Result, SyncError};
use crate::cache::Ino;
use crate::cache::rows::{Path, Remote};
use crate::cache::set_aside::TEMPORARY_PREFIX;
use crate::model::key::ObjectKey;
use crate::model::timestamp::Timestamp;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, PutOptions};

impl SyncService {
    /// Keeps what files of other names still need of a key's object; what is gone already
    /// cannot be kept.
    pub(super) async fn keep_what_was(&self, path: &Path) -> Result<()> {
        for ino in self.cache.dependents_of(path) {
            let needs = |failed| SyncError::cache(format!("Keeping what {path} was"))(failed);
            if self.cache.is_complete(ino).unwrap_or(false) {
                continue;
            }
            if self.cache.take_source_from_copy(ino).map_err(needs)? || self.set_aside(path, ino).await? {
                continue;
            }
            self.fetch_what_was(path, ino).await?;
        }
        Ok(())
    }

    /// Copies what a file needs of a key's object to a place of its own; returns whether that
    /// could be done. A file without a name is fetched instead: nobody would clean up behind it.
    async fn set_aside(&self, path: &Path, ino: Ino) -> Result<bool> {
        let Ok(Some(source)) = self.cache.source_if_named(ino) else { return Ok(false) };
        if *source.key != **path {
            // With another file that needed the same.
            return Ok(true);
        }
        let Some(version) = source.remote.version.clone().filter(|_| self.conditions().copy) else {
            return Ok(false);
        };
        let (aside, options) = place_aside();
        let noted = |failed| SyncError::cache(format!("Noting that {path} is set aside"))(failed);
        let _making = self.cache.temporary_in_the_making(&aside);
        self.cache.note_temporary(&aside).map_err(noted)?;
        let (from, to) = (ObjectKey::new(Path::clone(path)), ObjectKey::new(Path::clone(&aside)));
        match self.store.copy(&from, &version, &to, &options).await {
            Ok(version) => {
                reached(Step::TemporaryCopied);
                let modified = Timestamp::from(self.clock.now()).to_string();
                let remote = Remote { modified, version: Some(version), ..source.remote.clone() };
                let kept = self.cache.note_set_aside(path, &source.remote, (&aside, &remote));
                kept.map(|()| true).map_err(noted)
            }
            Err(moved) if moved.is_condition_failed() || moved.is_not_found() => Ok(false),
            Err(failed) => Err(SyncError::store(format!("Setting {path} aside"))(failed)),
        }
    }

    async fn fetch_what_was(&self, path: &Path, ino: Ino) -> Result<()> {
        let kept = self.hydrator.hydrate(ino).await;
        match kept.map_err(SyncError::cache(format!("Fetching what {path} was"))) {
            Err(gone) if gone.is_base_gone() => {
                tracing::warn!(%path, ino, "A renamed file's content was replaced before it was read");
                Ok(())
            }
            // Whoever needed it was removed meanwhile.
            Err(_) if self.cache.attr(ino).is_err() => Ok(()),
            outcome => outcome,
        }
    }

    /// Removes what was set aside and is not needed any more.
    pub(super) async fn clear_temporaries(&self) -> Result<()> {
        for key in self.cache.unused_temporaries() {
            let object = ObjectKey::new(Path::clone(&key));
            let deleted = self.store.delete(&object, &Condition::Always).await;
            deleted.map_err(SyncError::store(format!("Deleting {key}")))?;
            reached(Step::TemporaryDeleted);
            let noted = self.cache.note_temporary_gone(&key);
            noted.map_err(SyncError::cache(format!("Noting that {key} is gone")))?;
        }
        Ok(())
    }
}

/// Returns a place of its own for what is set aside, and how an object is made there.
pub(super) fn place_aside() -> (Path, PutOptions) {
    let options = PutOptions::when(Condition::IfAbsent);
    (Path::from(format!("{TEMPORARY_PREFIX}{}", options.nonce.as_str())), options)
}
