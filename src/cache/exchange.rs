//! Exchanging two names, whatever each of them is, in one group of notes.
//!
//! What lies below folders goes along. A name that means another file of the same kind then
//! replaces that one's object by its next push; where a file stands for a folder, or the other
//! way round, the tombstone of the one stays beside the other, as after a removal.

use std::collections::HashMap;

use super::Cache;
use super::error::{CacheError, Result};
use super::names::Names;
use super::rename::{changed_content, follow, name_instead, plan_moves};
use super::rows::{Ino, Name, Path, RowOp};
use super::tombstones::{bury, name_over};
use crate::model::key::Refusal;
use crate::os::crash_point::{Step, reached};

impl Cache {
    /// Exchanges `name` in `parent` with `other_name` in `other_parent`.
    pub fn exchange(
        &self,
        (parent, name): (Ino, &str),
        (other_parent, other_name): (Ino, &str),
    ) -> Result<()> {
        let (one, other, local) = {
            let names = self.names.read();
            let one = names.child_path(parent, name)?;
            let other = names.child_path(other_parent, other_name)?;
            let local = check(&names, &one, &other)?;
            (one, other, local)
        };
        let _token = self.begin_change_of(local)?;
        let mut names = self.names.write();
        check(&names, &one, &other)?;
        if names.at(&one)?.0.ino == names.at(&other)?.0.ino {
            return Ok(());
        }
        let moves = [plan_moves(&names, &one, &other), plan_moves(&names, &other, &one)].concat();
        let moved_on = moves.iter().any(|(from, _)| names.name(from).is_some_and(Name::has_moved_on));
        let mut group = Vec::new();
        let goes_to: HashMap<&Path, &Path> = moves.iter().map(|(from, to)| (from, to)).collect();
        let comes_from: HashMap<&Path, &Path> = moves.iter().map(|(from, to)| (to, from)).collect();
        for (from, to) in &moves {
            if !comes_from.contains_key(from) {
                group.push(RowOp::NoName(Path::clone(from)));
                bury(&names, from, Some(to), &mut group)?;
            }
            let moved = name_at(&names, (from, to), goes_to.get(to).copied(), &mut group)?;
            group.push(RowOp::Name(Path::clone(to), Box::new(moved)));
        }
        follow(&names, &moves, &mut group);
        self.commit(&mut names, group)?;
        reached(Step::RenameNoted);
        self.show_again(moved_on)?;
        self.folder_changed(&mut names, parent);
        self.folder_changed(&mut names, other_parent);
        let now = self.now_nanos();
        for ino in [&one, &other]
            .into_iter()
            .filter_map(|path| names.name(path).map(|name| name.ino))
            .collect::<Vec<_>>()
        {
            names.inode_mut(ino).into_iter().for_each(|inode| inode.ctime = now);
        }
        let changed = |(_, to): &(Path, Path)| Some((changed_content(&names, to)?.0, Path::clone(to)));
        let dirty: Vec<_> = moves.iter().filter_map(changed).collect();
        drop(names);
        dirty.into_iter().for_each(|(id, path)| self.stamp_anew(&id, path));
        Ok(())
    }
}

/// Returns the name that what is at `from` gets at `to`, where what was there goes elsewhere.
fn name_at(
    names: &Names,
    (from, to): (&Path, &Path),
    goes_to: Option<&Path>,
    group: &mut Vec<RowOp>,
) -> Result<Name> {
    let (name, inode) = names.at(from)?;
    let mut moved = match names.at(to) {
        Ok((there, of)) if of.is_folder() == inode.is_folder() => name_instead(names, there, name.ino)?,
        Ok(_) => {
            bury(names, to, goes_to, group)?;
            Name::new_here(name.ino)
        }
        Err(_) => name_over(names, to, (name.ino, inode), group),
    };
    moved.conflict_of.clone_from(&name.conflict_of);
    if (inode.implied && !moved.record_left) || inode.local {
        moved.pushed = Some(inode.stamp);
    }
    Ok(moved)
}

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
    for (from, to) in [(one, other), (other, one)] {
        let longest = names.below(from).map(|(path, _)| path.len()).max().unwrap_or(from.len());
        if longest - from.len() + to.len() > names.longest_path {
            return Err(CacheError::BadName { name: to.to_string(), reason: Refusal::TooLong });
        }
    }
    Ok(inode.local)
}
