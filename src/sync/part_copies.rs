//! Parts that the bucket makes of what it has: for a large file of which little was changed.
//!
//! Whether a store copies the version that is meant, and no other, is tried once before the first
//! such copy counts. A store that refuses, or does not look, is never asked again: all of a
//! changed file is sent then.

use parking_lot::Mutex;

use super::SyncService;
use super::error::SyncError;
use super::part_plan::{From, Limits, Part, all_sent, with_copies};
use crate::cache::freeze::UploadSource;
use crate::cache::push_state::FileState;
use crate::cache::rows::Path;
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::{PartSource, StoreError, UploadId, UploadedPart, Version};

/// The usual size of a part that is copied: several are under way at once.
const COPIED_BYTES: u64 = 64 << 20;
/// A version that no object has.
const NO_VERSION: &str = "00000000000000000000000000000000";

/// What is known of a store's copies of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Finding {
    /// Nothing yet.
    #[default]
    Untried,
    /// It copies the version that is meant or none.
    Honoured,
    /// It does something else.
    Useless,
}

/// Whether a store's copies of parts can be used.
#[derive(Debug, Default)]
pub(super) struct PartCopies(Mutex<Finding>);

/// How the copy of a part failed.
pub(super) enum NotCopied {
    /// All of the file is to be sent.
    Refused,
    /// The bucket cannot be reached.
    Failed(SyncError),
}

impl SyncService {
    /// Returns whether a large file is sent without having all of it here: the bucket has most.
    pub(super) fn is_sent_as_edit(&self, state: &FileState) -> crate::cache::Result<bool> {
        let ino = state.name.ino;
        if self.cache.attr(ino)?.size <= self.options.part_bytes || !self.may_copy_parts() {
            return Ok(false);
        }
        let source = self.cache.thaw(ino)?;
        Ok(self.parts_of(state, &source).iter().any(|part| part.from == From::Object))
    }

    fn may_copy_parts(&self) -> bool {
        self.store.abilities().copies_parts && self.conditions().copy && !self.copies_are_useless()
    }

    /// Returns whether the bucket does not put files together of what it has.
    pub(super) fn copies_are_useless(&self) -> bool {
        *self.part_copies.0.lock() == Finding::Useless
    }

    /// Returns the parts that a file is to be uploaded in.
    pub(super) fn parts_of(&self, state: &FileState, source: &UploadSource) -> Vec<Part> {
        let limits = self.part_limits(source.len);
        let same =
            source.same.as_ref().filter(|_| source.len > self.options.part_bytes && self.may_copy_parts());
        let edit = same.and_then(|same| with_copies(source.len, &same.ranges, limits));
        // The hash that goes with each name of a linked file is that of all its bytes.
        let edit = edit.filter(|_| state.inode.link.is_none() || source.absent_bytes(&(0..source.len)) == 0);
        edit.filter(|parts| saves_enough(parts, source)).unwrap_or_else(|| all_sent(source.len, limits))
    }

    /// Returns how a file of this size is cut into parts.
    pub(super) fn part_limits(&self, size: u64) -> Limits {
        let abilities = self.store.abilities();
        let most_parts = u64::from(abilities.max_parts);
        let least = abilities.min_part_bytes;
        let sent = self.options.part_bytes.max(size.div_ceil(most_parts)).max(least);
        Limits { least, sent, copied: COPIED_BYTES.max(sent), most_parts }
    }

    /// Tries whether the bucket looks at the version before it copies a part, unless it is known.
    pub(super) async fn try_part_copies(
        &self,
        source: &UploadSource,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> std::result::Result<(), NotCopied> {
        if *self.part_copies.0.lock() != Finding::Untried {
            return Ok(());
        }
        let Some(from) = part_source(source, 0..1) else { return Err(NotCopied::Refused) };
        let version = Version::new(NO_VERSION).expect("the text is not empty");
        let tried = self.store.copy_part(key, upload, 1, &PartSource { version, ..from }).await;
        match tried {
            Err(refused) if refused.is_condition_failed() => {
                *self.part_copies.0.lock() = Finding::Honoured;
                Ok(())
            }
            Err(failed) if failed.kind.is_transient() || failed.is_not_found() => {
                Err(self.not_copied(source, key, failed))
            }
            Ok(_) => Err(self.never_again("it copies whatever version there is")),
            Err(failed) => Err(self.never_again(&failed.to_string())),
        }
    }

    /// Has the bucket make one part of what it has.
    pub(super) async fn copy_one_part(
        &self,
        source: &UploadSource,
        (key, upload): (&ObjectKey, &UploadId),
        (number, part): (u32, &Part),
    ) -> std::result::Result<UploadedPart, NotCopied> {
        let Some(from) = part_source(source, part.range.clone()) else { return Err(NotCopied::Refused) };
        let copied = self.store.copy_part(key, upload, number, &from).await;
        let copied = copied.map_err(|failed| self.not_copied(source, key, failed))?;
        reached(Step::PartCopied);
        Ok(copied)
    }

    /// Decides what a failed copy means: that the object is another one by now, that the store
    /// does not do that, or nothing.
    fn not_copied(&self, source: &UploadSource, key: &ObjectKey, failed: StoreError) -> NotCopied {
        if failed.kind.is_transient() {
            return NotCopied::Failed(SyncError::store(format!("Copying parts of {key}"))(failed));
        }
        if !(failed.is_condition_failed() || failed.is_not_found()) {
            return self.never_again(&failed.to_string());
        }
        tracing::debug!(%key, error = %failed, "What was to be copied is not there any more");
        let forgotten = self.cache.forget_unchanged(source.ino());
        match forgotten.map_err(SyncError::cache(format!("Noting that all of {key} is sent"))) {
            Ok(()) => NotCopied::Refused,
            Err(failed) => NotCopied::Failed(failed),
        }
    }

    /// Notes that the store's copies of parts are of no use.
    pub(super) fn never_again(&self, why: &str) -> NotCopied {
        tracing::warn!(why, "The bucket copies no parts: changed files are sent as a whole");
        *self.part_copies.0.lock() = Finding::Useless;
        NotCopied::Refused
    }
}

/// Returns whether a quarter of all that would be sent and fetched is saved.
fn saves_enough(parts: &[Part], source: &UploadSource) -> bool {
    let costs = |range: &std::ops::Range<u64>| range.end - range.start + source.absent_bytes(range);
    let sent = parts.iter().filter(|part| part.from == From::Here).map(|part| costs(&part.range));
    sent.sum::<u64>() <= costs(&(0..source.len)) / 4 * 3
}

fn part_source(source: &UploadSource, range: std::ops::Range<u64>) -> Option<PartSource> {
    let object = &source.same.as_ref()?.object;
    let key = ObjectKey::new(Path::clone(&object.key));
    Some(PartSource { key, version: object.remote.version.clone()?, range })
}
