//! Which bytes of a changed file are still those of the object that it derives from.
//!
//! An upload has the bucket copy them instead of sending them. They are known from the moment
//! of the first change, when all of them were, and each further change is noted before it is
//! made. What is not known to be unchanged has changed: unsure is never the same.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Cache;
use super::content::{Content, ContentState};
use super::error::Result;
use super::names::Names;
use super::ranges::RangeSet;
use super::rows::{Ino, Inode, Path, Remote, RowOp, Source};
use crate::store::{ObjectMeta, Version};

/// A change is noted in blocks of about this part of a file.
const BLOCKS: u64 = 1024;
/// The largest such block, in bytes.
const LARGEST_BLOCK: u64 = 64 << 10;
/// How many ranges are remembered; the smallest, which save least, are let go of.
const MOST_RANGES: usize = 256;

/// The bytes of a file that are those of a version of an object, at the same places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchanged {
    /// The content stamp at which all of the file was that.
    at: u64,
    /// The object's version.
    version: Version,
    /// Which bytes.
    ranges: RangeSet,
}

impl Unchanged {
    /// Returns that all of a file, which is `len` bytes long, is an object's.
    fn all_of(object: &Source, len: u64) -> Option<Self> {
        let version = object.remote.version.clone().filter(|_| object.remote.size == len)?;
        Some(Self { at: object.at, version, ranges: RangeSet::up_to(len) })
    }

    /// Returns whether this is the object that is meant.
    fn is_of(&self, object: &Source) -> bool {
        self.at == object.at && object.remote.version.as_ref() == Some(&self.version)
    }

    /// Notes that bytes were, or are about to be, changed.
    pub(super) fn remove(&mut self, changed: Range<u64>) {
        self.ranges.remove(changed);
        self.ranges.keep_largest(MOST_RANGES);
    }
}

/// An object, and which bytes of a file are the same as its.
#[derive(Debug, Clone)]
pub struct SameAs {
    /// The object.
    pub object: Source,
    /// The bytes.
    pub ranges: RangeSet,
}

impl ContentState {
    /// Notes that a file is about to be changed that is an object's still. Of one that may be
    /// changed unseen nothing is known.
    pub(super) fn is_all_unchanged(&mut self, inode: &Inode) {
        let object = inode.equal_object().filter(|_| !self.watched);
        self.row.unchanged = object.and_then(|object| Unchanged::all_of(object, self.len));
    }

    /// Notes that bytes are about to be changed; returns which are not known to be unchanged any
    /// more, if any were until now.
    pub(super) fn spoil_unchanged(&mut self, changed: &Range<u64>) -> Option<Range<u64>> {
        self.sent.remove(changed.clone());
        let block = (self.len / BLOCKS).clamp(1, LARGEST_BLOCK);
        let unchanged = self.row.unchanged.as_mut().filter(|known| known.ranges.meets(changed))?;
        // What is cut off is cut off once, where it is.
        let before = if changed.end == u64::MAX { 0 } else { changed.start % block };
        let start = changed.start - before;
        let blocks = start..changed.end.checked_next_multiple_of(block).unwrap_or(u64::MAX);
        unchanged.remove(blocks.clone());
        Some(blocks)
    }

    /// Counts every byte as changed; that must go with the next note.
    pub(super) fn forget_unchanged(&mut self) {
        self.sent.clear();
        self.unnoted |= self.row.unchanged.take().is_some();
    }

    /// Has what is unchanged be that of another object which has the same bytes there; returns
    /// whether that must be noted.
    pub(super) fn unchanged_from(&mut self, old: &Source, new: &Source) -> bool {
        let Some(known) = self.row.unchanged.as_mut().filter(|known| known.is_of(old)) else { return false };
        let Some(version) = &new.remote.version else { return false };
        (known.at, known.version) = (new.at, version.clone());
        true
    }
}

impl Cache {
    /// Returns which bytes of a file are those of the object that it derives from. Held: the
    /// content's lock.
    pub(super) fn same_as(&self, ino: Ino, state: &ContentState) -> Option<SameAs> {
        let known = state.row.unchanged.as_ref()?;
        let object = self.names.read().inode(ino).ok()?.source.clone()?;
        let (ranges, is_it) = (known.ranges.clone(), known.is_of(&object));
        is_it.then_some(SameAs { object, ranges })
    }

    /// Counts every byte of a file as changed.
    pub fn forget_unchanged(&self, ino: Ino) -> Result<()> {
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        state.forget_unchanged();
        self.note_presence(&content, &mut state, None)
    }

    /// Has what is absent from a file come from what an upload of it put in the place of the
    /// object that it came from: that has the same bytes there. Held: the content's lock.
    pub(super) fn follow_upload(
        names: &Names,
        (path, ino): (&Path, Ino),
        uploaded: &Remote,
        content: Option<(&Content, &mut ContentState)>,
    ) -> Vec<RowOp> {
        let Ok(inode) = names.inode(ino) else { return Vec::new() };
        let Some(old) = inode.source.as_ref().filter(|source| source.key == *path) else { return Vec::new() };
        let new = Source { remote: uploaded.clone(), ..old.clone() };
        let mut group = Vec::new();
        if let Some((content, state)) = content
            && state.unchanged_from(old, &new)
        {
            group.push(RowOp::Content(content.id.clone(), Box::new(state.row.clone())));
        }
        group.push(RowOp::Inode(ino, Box::new(Inode { source: Some(new), ..inode.clone() })));
        group
    }

    /// Has a file come from its own upload, whose outcome is not noted yet; returns whether the
    /// object that was found is that.
    pub(super) fn take_own_upload(&self, ino: Ino, path: &Path, found: &ObjectMeta) -> Result<bool> {
        let content = self.content_if_any(ino);
        let mut state = content.as_ref().map(|content| content.lock());
        let mut names = self.names.write();
        let uploading = names.name(path).and_then(|name| name.uploading.as_ref());
        if !uploading.is_some_and(|ours| ours.ino == ino && found.carries(&ours.nonce)) {
            return Ok(false);
        }
        let held = content.as_deref().zip(state.as_deref_mut());
        let group = Self::follow_upload(&names, (path, ino), &Remote::of_object(found), held);
        self.commit(&mut names, group).map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{ContentId, ContentRow};
    use super::*;

    const KIB: u64 = 1 << 10;

    fn object(version: &str) -> Source {
        let version = Version::new(version);
        let remote = Remote { size: 1 << 30, modified: String::new(), sha256: None, version };
        Source { key: "a".into(), remote, at: 3 }
    }

    fn unchanged() -> ContentState {
        let folder = tempfile::tempdir().unwrap();
        let content = Content::at(folder.path(), ContentId("abc".into()), ContentRow::default(), 1 << 30);
        let mut state = content.into_state();
        state.row.unchanged = Unchanged::all_of(&object("v"), 1 << 30);
        state
    }

    fn changed(state: &ContentState) -> Vec<Range<u64>> {
        state.row.unchanged.as_ref().unwrap().ranges.missing(0..1 << 30)
    }

    #[test]
    fn a_change_is_noted_once_for_the_block_that_it_is_in() {
        let mut state = unchanged();
        assert_eq!(state.spoil_unchanged(&(70 * KIB..71 * KIB)), Some(64 * KIB..128 * KIB));
        assert_eq!(state.spoil_unchanged(&(100 * KIB..101 * KIB)), None);
        assert_eq!(changed(&state), vec![64 * KIB..128 * KIB]);
        let cut = (1 << 30) - 1..u64::MAX;
        assert_eq!(state.spoil_unchanged(&cut), Some(cut), "exactly");
    }

    #[test]
    fn what_is_not_remembered_any_more_has_changed() {
        let mut state = unchanged();
        let mut touched = RangeSet::default();
        for n in 0..1000 {
            let at = n * 7919 * 64 * KIB % (1 << 30);
            state.spoil_unchanged(&(at..at + 1));
            touched.insert(at..at + 1);
        }
        let known = &state.row.unchanged.as_ref().unwrap().ranges;
        assert!(known.iter().count() <= MOST_RANGES);
        assert!(touched.iter().all(|at| !known.meets(&at)));
    }

    #[test]
    fn it_is_of_one_version_until_it_follows_an_upload() {
        let mut state = unchanged();
        let (old, new) = (object("v"), Source { at: 9, ..object("w") });
        let is_of =
            |state: &ContentState, object: &Source| state.row.unchanged.as_ref().unwrap().is_of(object);
        assert!(is_of(&state, &old) && !is_of(&state, &Source { at: 4, ..old.clone() }));
        assert!(!state.unchanged_from(&object("x"), &new), "that is not what it is of");
        assert!(state.unchanged_from(&old, &new));
        assert!(is_of(&state, &new) && !is_of(&state, &old));
        assert_eq!(Unchanged::all_of(&old, 5), None, "an object of another size");
    }
}
