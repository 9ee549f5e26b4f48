//! Exchanging two names, whatever each of them is, in one group of notes.
//!
//! It is three renames by way of a name that nobody sees: what is noted of each name is what the
//! renames would have noted, so a push meets nothing that it does not meet after renames.

use std::time::Instant;

use super::Cache;
use super::error::{CacheError, Result};
use super::names::Names;
use super::rename::{check_length, note_moves, plan_moves};
use super::rows::{Ino, Name, Path, RowOp};
use crate::os::crash_point::{Step, reached};

/// The name by way of which two others are exchanged; no file can have it.
const ASIDE: &str = "\0exchanged";

impl Cache {
    /// Exchanges `name` in `parent` with `other_name` in `other_parent`.
    pub fn exchange(
        &self,
        (parent, name): (Ino, &str),
        (other_parent, other_name): (Ino, &str),
    ) -> Result<()> {
        let paths = |names: &Names| -> Result<(Path, Path)> {
            Ok((names.child_path(parent, name)?, names.child_path(other_parent, other_name)?))
        };
        let local = {
            let names = self.names.read();
            let (one, other) = paths(&names)?;
            check(&names, &one, &other)?
        };
        let _token = self.begin_change_of(local)?;
        let mut names = self.names.write();
        let (one, other) = paths(&names)?;
        check(&names, &one, &other)?;
        if names.at(&one)?.0.ino == names.at(&other)?.0.ino {
            return Ok(());
        }
        let moves = [plan_moves(&names, &one, &other), plan_moves(&names, &other, &one)].concat();
        let moved_on = moves.iter().any(|(from, _)| names.name(from).is_some_and(Name::has_moved_on));
        self.note_exchange(&mut names, &one, &other)?;
        reached(Step::ExchangeNoted);
        self.show_again(moved_on)?;
        self.after_moves(names, (parent, other_parent), &[one, other], &moves);
        Ok(())
    }

    fn note_exchange(&self, names: &mut Names, one: &Path, other: &Path) -> Result<()> {
        let now = self.now();
        let exchanged = names.exchange(one, other, now)?;
        if let Err(failed) = self.catalog.note(&exchanged.group) {
            // Nobody has seen it: the tree is locked.
            names.take_back(exchanged.before, now);
            return Err(failed);
        }
        exchanged.group.iter().for_each(|op| self.listings.forget_for(op, names));
        Ok(())
    }
}

/// An exchange that is made in memory.
struct Exchanged {
    /// What is to be noted of it.
    group: Vec<RowOp>,
    /// What everything was before, in the order in which it changed.
    before: Vec<RowOp>,
}

impl Names {
    fn exchange(&mut self, one: &Path, other: &Path, now: Instant) -> Result<Exchanged> {
        let aside = Path::from(ASIDE);
        let mut exchanged = Exchanged { group: Vec::new(), before: Vec::new() };
        for (from, to) in [(one, &aside), (other, one), (&aside, other)] {
            let mut group = Vec::new();
            if let Err(failed) = note_moves(self, &plan_moves(self, from, to), &mut group) {
                self.take_back(exchanged.before, now);
                return Err(failed);
            }
            self.keep_linked(&mut group);
            for op in &group {
                exchanged.before.extend(self.image_before(op));
                self.apply(op.clone(), now);
            }
            exchanged.group.extend(group);
        }
        Ok(exchanged)
    }

    fn take_back(&mut self, before: Vec<RowOp>, now: Instant) {
        before.into_iter().rev().for_each(|op| self.apply(op, now));
    }

    /// Returns the change that takes another back.
    fn image_before(&self, op: &RowOp) -> Option<RowOp> {
        Some(match op {
            RowOp::Name(path, _) | RowOp::NoName(path) => match self.name(path) {
                Some(name) => RowOp::Name(Path::clone(path), Box::new(name.clone())),
                None => RowOp::NoName(Path::clone(path)),
            },
            RowOp::Tombstone(path, _) | RowOp::NoTombstone(path) => match self.tombstone(path) {
                Some(tombstone) => RowOp::Tombstone(Path::clone(path), Box::new(tombstone.clone())),
                None => RowOp::NoTombstone(Path::clone(path)),
            },
            RowOp::Inode(ino, _) => RowOp::Inode(*ino, Box::new(self.inode(*ino).ok()?.clone())),
            RowOp::NoInode(_)
            | RowOp::Content(..)
            | RowOp::Extent(..)
            | RowOp::Changed(..)
            | RowOp::NoContent(_)
            | RowOp::Setting(..) => return None,
        })
    }
}

/// Checks that two names may be exchanged; returns whether they are machine-local.
fn check(names: &Names, one: &Path, other: &Path) -> Result<bool> {
    let (inode, there) = (names.at(one)?.1, names.at(other)?.1);
    names.check_within(one)?;
    names.check_within(other)?;
    let is_below = |path: &Path, folder: &Path| path.starts_with(&format!("{folder}/"));
    if is_below(one, other) || is_below(other, one) {
        return Err(CacheError::IntoItself(one.to_string()));
    }
    if inode.local != there.local {
        return Err(CacheError::AcrossLocal(other.to_string()));
    }
    check_length(names, one, other)?;
    check_length(names, other, one)?;
    Ok(inode.local)
}

#[cfg(test)]
mod tests {
    use super::super::pull_state::clean_name;
    use super::super::rows::{Inode, Kind, Remote, Rows, Source};
    use super::*;
    use crate::os::clock::{Clock, SystemClock};

    /// Returns a tree of folders (with a slash behind them) and files that the bucket has.
    fn tree(paths: &[&str], now: Instant) -> Names {
        let (mut names, _) = Names::load(Rows::default(), now);
        for path in paths {
            let ino = names.fresh_ino();
            let kind = if path.ends_with('/') { Kind::Folder } else { Kind::File };
            let path = Path::from(path.trim_end_matches('/'));
            let remote = Remote { size: 7, modified: path.to_string(), sha256: None, version: None };
            let source = Source { key: Path::clone(&path), remote: remote.clone(), at: 0 };
            let inode = Inode { kind, size: 7, implied: false, source: Some(source), ..Inode::root() };
            let name = clean_name(ino, &remote, inode.stamp);
            names.apply(RowOp::Inode(ino, Box::new(inode)), now);
            names.apply(RowOp::Name(path, Box::new(name)), now);
        }
        names
    }

    /// Returns all that a tree holds, and what it counts.
    fn image(names: &Names) -> String {
        let inodes: Vec<_> = names.all().map(|(_, name)| names.inode(name.ino).unwrap()).collect();
        let tombstones: Vec<_> = names.tombstones().collect();
        let pending: Vec<_> = names.pending().keys().collect();
        let names_of: Vec<_> = names.all().collect();
        format!("{names_of:?} {inodes:?} {tombstones:?} {pending:?} {:?} {:?}", names.moving, names.totals())
    }

    #[test]
    fn an_exchange_that_is_taken_back_leaves_nothing() {
        let now = SystemClock.instant();
        let mut names = tree(&["a", "d/", "d/x", "d/e/", "d/e/y", "f/", "f/z"], now);
        let before = image(&names);
        for (one, other) in [("a", "d"), ("d", "f"), ("d/x", "f/z"), ("d/e", "a")] {
            let exchanged = names.exchange(&Path::from(one), &Path::from(other), now).unwrap();
            assert_ne!(image(&names), before);
            names.take_back(exchanged.before, now);
            assert_eq!(image(&names), before, "{one} and {other}");
        }
    }
}
