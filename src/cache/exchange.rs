//! Exchanging two names, whatever each of them is, in one group of notes.
//!
//! It is three renames by way of a name that nobody sees: what is noted of each name is what the
//! renames would have noted, so a push meets nothing that it does not meet after renames.

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
        let aside = Path::from(ASIDE);
        let (mut all, mut before) = (Vec::new(), Vec::new());
        for (from, to) in [(one, &aside), (other, one), (&aside, other)] {
            let mut group = Vec::new();
            let noted = note_moves(names, &plan_moves(names, from, to), &mut group);
            if let Err(failed) = noted {
                self.apply_all(names, before.into_iter().rev());
                return Err(failed);
            }
            names.keep_linked(&mut group);
            for op in &group {
                before.extend(names.image_before(op));
                self.apply_all(names, std::iter::once(op.clone()));
            }
            all.extend(group);
        }
        let noted = self.catalog.note(&all);
        if noted.is_err() {
            // Nobody has seen it: the tree is locked.
            self.apply_all(names, before.into_iter().rev());
        }
        noted
    }

    fn apply_all(&self, names: &mut Names, ops: impl Iterator<Item = RowOp>) {
        let now = self.now();
        for op in ops {
            self.listings.forget_for(&op, names);
            names.apply(op, now);
        }
    }
}

impl Names {
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
