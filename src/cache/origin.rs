//! Whose content a content file is, written down with the file itself.
//!
//! A second copy of what the catalog knows, for the case that the catalog is lost. It is there
//! before the first changed byte and gone before the catalog calls the file clean, so a content
//! file that says whose it is, is dirty.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path as FsPath;

use rustix::fs::{Timespec, Timestamps};
use serde::{Deserialize, Serialize};

use super::content::{Content, ContentState};
use super::error::{CacheError, Result};
use super::rows::{Nanos, Path, Remote};
use crate::os::crash_point::{Step, reached};

/// The extended attribute that says whose content a file is while it is dirty.
const ORIGIN: &str = "user.bayou.origin";
/// The time that a content file bears until it is written to, nanoseconds since 1970.
const UNTOUCHED: Nanos = 1;
/// The time from which on a content file's time is that of a write: those before are marks.
const FIRST_WRITTEN: Nanos = 1_000_000_000;
/// Room for the longest path and base.
const MAX_ORIGIN_BYTES: usize = 16 << 10;

/// Whose content a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The path of the dirty file.
    pub path: Path,
    /// The version it derives from; `None` if it is new.
    pub base: Option<Remote>,
    /// Whether some of its bytes were absent when it was first changed.
    #[serde(default)]
    pub partial: bool,
    /// The machine's boot in which it was first changed.
    #[serde(default)]
    pub boot: String,
}

impl Content {
    /// Writes down whose content this is, before its first change. Held: the content's lock.
    pub(super) fn stamp_first(&self, state: &mut ContentState, origin: &Origin) -> Result<()> {
        self.mark(state, UNTOUCHED)?;
        self.stamp(state, origin)
    }

    /// Notes in the content file that what was written to it was seen, as the change that this
    /// stamp counts: its time tells until it is written to again.
    pub(super) fn mark_seen(&self, state: &mut ContentState, stamp: u64) -> Result<()> {
        self.mark(state, seen_at(stamp))
    }

    fn mark(&self, state: &mut ContentState, mark: Nanos) -> Result<()> {
        let file = state.file(self.path())?;
        let time = Timespec { tv_sec: 0, tv_nsec: mark };
        rustix::fs::futimens(&*file, &Timestamps { last_access: time, last_modification: time })
            .map_err(|failed| CacheError::io("Marking", self.path())(failed.into()))
    }

    /// Writes down whose content this is. Held: the content's lock.
    pub(super) fn stamp(&self, state: &mut ContentState, origin: &Origin) -> Result<()> {
        let file = state.file(self.path())?;
        let text = serde_json::to_vec(origin).unwrap_or_default();
        match rustix::fs::fsetxattr(&*file, ORIGIN, &text, rustix::fs::XattrFlags::empty()) {
            Ok(()) => {
                reached(Step::ContentStamped);
                Ok(())
            }
            // Without attributes only the second copy of this knowledge is lost.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(failed) => Err(CacheError::io("Marking", self.path())(failed.into())),
        }
    }

    /// Removes the note of whose content this is: the bucket has it.
    pub(super) fn unstamp(&self) -> Result<()> {
        use rustix::io::Errno;
        match rustix::fs::removexattr(self.path(), ORIGIN) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(()),
            Err(failed) => Err(CacheError::io("Unmarking", self.path())(failed.into())),
        }
    }

    /// Returns whether nothing was written since the file says whose content it is, or since the
    /// change that this stamp counts.
    pub(super) fn is_untouched_since(&self, stamp: u64) -> bool {
        let time = std::fs::metadata(self.path()).map(|meta| changed_at(&meta));
        time.is_ok_and(|time| time == UNTOUCHED || time == seen_at(stamp))
    }

    /// Returns whose content this is, if it is dirty.
    pub(super) fn origin(&self) -> Option<Origin> {
        origin_of(self.path())
    }
}

/// Returns whether a content file's time says that nothing was written to it since it was marked.
pub(super) fn is_mark(time: Nanos) -> bool {
    (UNTOUCHED..FIRST_WRITTEN).contains(&time)
}

/// Returns the mark of a content file whose changes were seen up to a stamp.
fn seen_at(stamp: u64) -> Nanos {
    let after = UNTOUCHED + 1;
    after + (stamp % (FIRST_WRITTEN - after) as u64) as Nanos
}

/// Returns when a content file was last written to.
pub(super) fn changed_at(meta: &Metadata) -> Nanos {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

/// Returns whose content a file is, if that is written down with it.
pub(super) fn origin_of(path: &FsPath) -> Option<Origin> {
    let mut text = vec![0; MAX_ORIGIN_BYTES];
    let length = rustix::fs::getxattr(path, ORIGIN, &mut text).ok()?;
    serde_json::from_slice(&text[..length]).ok()
}

#[cfg(test)]
mod tests {
    use super::super::rows::{ContentId, ContentRow};
    use super::super::watermark::ChangeToken;
    use super::*;

    #[test]
    fn a_file_says_whose_content_it_is_until_it_is_clean() {
        let folder = tempfile::tempdir().unwrap();
        let content = Content::at(folder.path(), ContentId("abc".into()), ContentRow::default(), 0);
        content.create().unwrap();
        let origin = Origin { path: "a/b".into(), base: None, partial: true, boot: "b".into() };
        content.stamp_first(&mut content.lock(), &origin).unwrap();
        assert!(content.is_untouched_since(7));
        let path = content.path().to_owned();
        content.lock().write(&ChangeToken::uncounted(), &path, 0, b"x").unwrap();
        assert!(!content.is_untouched_since(7));
        content.mark_seen(&mut content.lock(), 7).unwrap();
        assert!(content.is_untouched_since(7) && !content.is_untouched_since(6));
        assert_eq!(content.origin(), Some(origin));
        content.unstamp().unwrap();
        assert_eq!(content.origin(), None);
    }
}
