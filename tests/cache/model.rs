//! Random calls on a cache and on a simple tree: both must always look alike.
//!
//! In between the cache is dropped and opened again, pushed, evicted and folded, and none of
//! that may be seen.

use std::collections::BTreeMap;

use bayou::cache::attributes::SetAttr;
use bayou::cache::file::Access;
use bayou::cache::listing::EntryKind;
use bayou::cache::rename::Replace;
use bayou::cache::{CacheError, Ino, ROOT};
use proptest::prelude::*;

use super::calls::{HANDLES, Op, PATHS, op};
use super::reference::{Answer, Node, Reference, Refused};
use super::rig::{FILE, FOLDER, Rig};

/// What the bucket has before anything happens here.
const REMOTE: [(&str, u8, usize); 2] = [("r", b'r', 9_000), ("b/r", b'q', 300)];

/// A cache and the tree that it must look like.
pub(crate) struct Twins {
    pub(crate) rig: Rig,
    pub(crate) reference: Reference,
    open: [Option<(Ino, usize)>; HANDLES],
}

impl Twins {
    pub(crate) fn new(rig: Rig) -> Self {
        REMOTE.iter().for_each(|&(key, byte, len)| rig.put_object(key, &vec![byte; len]));
        rig.pull();
        Self::over(rig)
    }

    /// Returns a cache as it is, and the tree with which everything began.
    pub(crate) fn over(rig: Rig) -> Self {
        let mut reference = Reference::default();
        reference.make_folder("b").unwrap();
        REMOTE.iter().for_each(|&(key, byte, len)| reference.create(key, &vec![byte; len]).unwrap());
        Self { rig, reference, open: [None; HANDLES] }
    }

    /// Makes one call on both; fails if they answer differently.
    pub(crate) fn run(&mut self, op: &Op) {
        let expected = self.expect(op);
        let found = self.try_run(op);
        match (&expected, &found) {
            (Ok(()), Ok(())) => {}
            (Err(expected), Err(found)) if refusal(found) == Some(*expected) => {}
            _ => panic!("{op:?} gives {found:?} instead of {expected:?}"),
        }
        assert!(
            self.rig.cache().nothing_pending() || self.rig.cache().watermark().is_dirty(),
            "{op:?} left something unpushed that is not marked"
        );
    }

    /// Makes a call on the reference alone.
    pub(crate) fn expect(&mut self, op: &Op) -> Answer<()> {
        let reference = &mut self.reference;
        match *op {
            Op::Create(path) => reference.create(path, b""),
            Op::Folder(path) => reference.make_folder(path),
            Op::Link(path) => reference.make_link(path, "a/x"),
            Op::Unlink(path) => reference.unlink(path),
            Op::RemoveFolder(path) => reference.remove_folder(path),
            Op::Rename(from, to, replace) => reference.rename(from, to, replace),
            Op::Write(path, at, len, byte) => {
                reference.file(path).map(|file| reference.write(file, at.into(), &vec![byte; len.into()]))
            }
            Op::Truncate(path, size) => {
                reference.file(path).map(|file| reference.truncate(file, size.into()))
            }
            Op::SetXattr(path, name, byte, mode) => {
                reference.file(path).and_then(|file| reference.set_xattr(file, name, byte, mode))
            }
            Op::RemoveXattr(path, name) => {
                reference.file(path).and_then(|file| reference.remove_xattr(file, name))
            }
            Op::Mode(path, _) | Op::Read(path) | Op::Open(_, path) => reference.file(path).map(drop),
            Op::WriteOpen(slot, at, len, byte) => {
                if let Some((_, file)) = self.open[slot] {
                    reference.write(file, at.into(), &vec![byte; len.into()]);
                }
                Ok(())
            }
            Op::ReadOpen(_) | Op::Close(_) | Op::Push | Op::Point | Op::Fold | Op::Evict | Op::Reopen => {
                Ok(())
            }
        }
    }

    /// Makes a call on the cache alone.
    pub(crate) fn try_run(&mut self, op: &Op) -> Result<(), CacheError> {
        let cache = self.rig.cache().clone();
        match *op {
            Op::Push => {
                self.rig.push();
                assert!(self.rig.pending().is_empty(), "unpushed after a push: {:?}", self.rig.pending());
            }
            Op::Point => cache.durable_point()?,
            Op::Fold => cache.fold_catalog()?,
            Op::Evict => {
                cache.evict(u64::MAX);
            }
            Op::Open(slot, path) => {
                let ino = self.file(path)?;
                cache.open_file(ino, Access::Write)?;
                self.close(slot);
                self.open[slot] = Some((ino, self.reference.file(path).unwrap()));
            }
            Op::WriteOpen(slot, at, len, byte) => {
                if let Some((ino, _)) = self.open[slot] {
                    cache.write(ino, at.into(), &vec![byte; len.into()])?;
                }
            }
            Op::ReadOpen(slot) => {
                if let Some((ino, file)) = self.open[slot] {
                    let same = self.rig.read_ino(ino) == self.reference.bytes[file];
                    assert!(same, "an open file reads other bytes");
                }
            }
            Op::Close(slot) => self.close(slot),
            Op::Reopen => {
                self.open = [None; HANDLES];
                drop(cache);
                self.rig.reopen();
            }
            ref named => self.run_named(named)?,
        }
        Ok(())
    }

    /// Makes a call that names what it means.
    fn run_named(&self, op: &Op) -> Result<(), CacheError> {
        let cache = self.rig.cache();
        let place = |path| self.rig.place(path);
        let made = match *op {
            Op::Create(path) => place(path).and_then(|(folder, name)| cache.create(folder, name, FILE))?,
            Op::Folder(path) => {
                place(path).and_then(|(folder, name)| cache.make_folder(folder, name, FOLDER))?
            }
            Op::Link(path) => {
                place(path).and_then(|(folder, name)| cache.make_symlink(folder, name, FILE, "a/x"))?
            }
            Op::Unlink(path) => return place(path).and_then(|(folder, name)| cache.unlink(folder, name)),
            Op::RemoveFolder(path) => {
                return place(path).and_then(|(folder, name)| cache.remove_folder(folder, name));
            }
            Op::Rename(from, to, replace) => {
                let replace = if replace { Replace::Yes } else { Replace::No };
                return cache.rename(place(from)?, place(to)?, replace);
            }
            Op::Write(path, at, len, byte) => {
                return cache.write(self.file(path)?, at.into(), &vec![byte; len.into()]);
            }
            Op::Truncate(path, size) => return cache.truncate(self.file(path)?, size.into()),
            Op::Mode(path, mode) => {
                let mode = SetAttr { mode: Some(mode), ..SetAttr::default() };
                return cache.set_attr(self.file(path)?, mode).map(drop);
            }
            Op::SetXattr(path, name, byte, mode) => {
                return cache.set_xattr(self.file(path)?, name, &[byte], mode);
            }
            Op::RemoveXattr(path, name) => return cache.remove_xattr(self.file(path)?, name),
            Op::Read(path) => {
                let read = self.rig.read_ino(self.file(path)?);
                let number = self.reference.file(path).unwrap();
                assert!(read == self.reference.bytes[number], "{path} reads other bytes");
                return Ok(());
            }
            ref unnamed => panic!("{unnamed:?} names nothing"),
        };
        cache.forget(made.ino, 1);
        Ok(())
    }

    fn file(&self, path: &str) -> Result<Ino, CacheError> {
        let attr = self.rig.find(path)?;
        match attr.kind {
            EntryKind::File => Ok(attr.ino),
            EntryKind::Folder | EntryKind::Symlink | EntryKind::Special(_) => {
                Err(CacheError::IsAFolder(path.to_owned()))
            }
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some((ino, _)) = self.open[slot].take() {
            self.rig.cache().release(ino);
        }
    }

    /// Compares names, kinds and sizes.
    pub(crate) fn compare_names(&self) {
        if let Some(differs) = self.difference(&self.reference) {
            panic!("{differs}");
        }
    }

    /// Returns how the cache's names, kinds, targets and sizes differ from a tree's.
    pub(crate) fn difference(&self, tree: &Reference) -> Option<String> {
        let folders =
            tree.names.iter().filter(|(_, node)| **node == Node::Folder).map(|(path, _)| path.as_str());
        for folder in std::iter::once("").chain(folders) {
            let Ok(found) = self.rig.find(folder) else { return Some(format!("no folder {folder:?}")) };
            let listed = self.rig.list(found.ino);
            if listed != tree.list(folder) {
                return Some(format!("{folder:?} has {listed:?} instead of {:?}", tree.list(folder)));
            }
        }
        tree.names.iter().find_map(|(path, node)| {
            let found = self.rig.find(path).unwrap();
            let (kind, size) = match node {
                Node::File(file) => (EntryKind::File, tree.bytes[*file].len()),
                Node::Folder => (EntryKind::Folder, 0),
                Node::Link(target) => (EntryKind::Symlink, target.len()),
            };
            let same = found.kind == kind && found.size == size as u64;
            if !same {
                return Some(format!("{path} is {found:?} instead of {kind:?} of {size} bytes"));
            }
            let (xattrs, expected) = (self.xattrs(found.ino), tree.xattrs_of(node));
            (xattrs != expected).then(|| format!("{path} has {xattrs:?} instead of {expected:?}"))
        })
    }

    fn xattrs(&self, ino: Ino) -> BTreeMap<String, u8> {
        let cache = self.rig.cache();
        let value = |name: String| (name.clone(), cache.xattr(ino, &name).unwrap()[0]);
        cache.xattr_names(ino).unwrap().into_iter().map(value).collect()
    }

    /// Compares the bytes of every file.
    pub(crate) fn compare_bytes(&self) {
        if let Some(differs) = self.difference_of_bytes(&self.reference) {
            panic!("{differs}");
        }
    }

    /// Returns which file's bytes differ from a tree's.
    pub(crate) fn difference_of_bytes(&self, tree: &Reference) -> Option<String> {
        tree.names.iter().find_map(|(path, node)| {
            let Node::File(file) = node else { return None };
            let (found, expected) = (self.rig.read(path), &tree.bytes[*file]);
            let at = found.iter().zip(expected).position(|(a, b)| a != b);
            (found != *expected).then(|| format!("{path} has other bytes, first at {at:?}"))
        })
    }

    /// Compares the bucket with the tree, after a push.
    pub(crate) fn compare_bucket(&self) {
        for (path, node) in &self.reference.names {
            match node {
                Node::File(file) => {
                    let object = self.rig.object(path);
                    assert!(object.as_ref() == Some(&self.reference.bytes[*file]), "{path} in the bucket");
                }
                Node::Link(target) => {
                    assert_eq!(self.rig.object(path).as_deref(), Some(target.as_bytes()), "{path}");
                }
                Node::Folder => {}
            }
        }
        let kept =
            |path: &&str| matches!(self.reference.names.get(*path), Some(Node::File(_) | Node::Link(_)));
        for path in PATHS.iter().filter(|path| !kept(path)) {
            assert!(self.rig.object(path).is_none(), "{path} is still in the bucket");
        }
    }
}

fn refusal(error: &CacheError) -> Option<Refused> {
    Some(match error {
        CacheError::NotFound(_) => Refused::NotFound,
        CacheError::Exists(_) => Refused::Exists,
        CacheError::NotAFolder(_) => Refused::NotAFolder,
        CacheError::IsAFolder(_) => Refused::IsAFolder,
        CacheError::NotEmpty(_) => Refused::NotEmpty,
        CacheError::IntoItself(_) => Refused::IntoItself,
        CacheError::NoAttribute(_) => Refused::NoAttribute,
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_looks_like_a_simple_tree(ops in proptest::collection::vec(op(), 1..60)) {
        let mut twins = Twins::new(Rig::new());
        for op in &ops {
            twins.run(op);
            twins.compare_names();
        }
        twins.compare_bytes();
        twins.run(&Op::Reopen);
        twins.compare_names();
        twins.run(&Op::Push);
        twins.compare_bucket();
        twins.run(&Op::Evict);
        twins.compare_bytes();
    }
}

#[test]
fn a_listing_goes_on_where_it_stopped_while_names_come_and_go() {
    let rig = Rig::new();
    let names: Vec<String> = (0..40).map(|n| format!("f{n:02}")).collect();
    for name in &names {
        rig.make(name, b"");
    }
    let (mut seen, mut after) = (Vec::new(), 0);
    for round in 0.. {
        let some = rig.cache().read_folder(ROOT, after, 3).unwrap();
        let Some(last) = some.last() else { break };
        after = last.ino;
        seen.extend(some.into_iter().map(|entry| entry.name));
        // Names before and behind the reader go, one is renamed, and new ones come.
        if round < 5 {
            rig.make(&format!("new{round}"), b"");
            rig.unlink(&format!("f{round:02}"));
            rig.unlink(&format!("f{:02}", 39 - round));
            rig.rename(&format!("f{:02}", 10 + round), &format!("renamed{round}"));
        }
        assert!(round < 100, "the listing has no end");
    }
    let stayed = names[5..10].iter().chain(&names[15..35]);
    for name in stayed {
        assert_eq!(seen.iter().filter(|one| *one == name).count(), 1, "{name}");
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "{seen:?}");
}
