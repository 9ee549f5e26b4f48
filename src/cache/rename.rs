//! Renaming files and folders: one group of notes, whatever lies below.
//!
//! The new name is pushed before the old one goes: the old name's tombstone says where the
//! file went. What the new name displaces becomes the version that its push replaces.

use std::collections::HashMap;

use parking_lot::RwLockWriteGuard;

use super::Cache;
use super::error::{CacheError, Result};
use super::names::{self, Names};
use super::rows::{ContentId, Ino, Inode, Name, Path, Remote, RowOp, Tombstone, Uploaded};
use super::tombstones::{bury, has_record, name_over};
use crate::model::internal_name::{NameClass, classify};
use crate::model::key::{MAX_NAME_BYTES, Refusal};
use crate::os::crash_point::{Step, reached};

/// Whether a rename may take an existing name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It may.
    Yes,
    /// It fails with [`CacheError::Exists`].
    No,
}

impl Cache {
    /// Renames `name` in `parent` to `new_name` in `new_parent`.
    pub fn rename(
        &self,
        (parent, name): (Ino, &str),
        (new_parent, new_name): (Ino, &str),
        replace: Replace,
    ) -> Result<()> {
        let (from, to, local) = {
            let names = self.names.read();
            let from = names.child_path(parent, name)?;
            let to = names.child_path(new_parent, new_name)?;
            let local = check_rename(&names, &from, &to, replace)?;
            (from, to, local)
        };
        let same_file = {
            let names = self.names.read();
            let ino = |path: &Path| names.name(path).map(|name| name.ino);
            ino(&from) == ino(&to)
        };
        if same_file {
            return Ok(());
        }
        let _token = self.begin_change_of(local)?;
        let mut names = self.names.write();
        check_rename(&names, &from, &to, replace)?;
        let displaced = names.name(&to).map(|name| name.ino);
        let moved_on = names.below(&from).any(|(_, name)| name.has_moved_on())
            || names.name(&from).is_some_and(Name::has_moved_on);
        let moves = plan_moves(&names, &from, &to);
        let mut group = Vec::new();
        note_moves(&names, &moves, &mut group)?;
        if !local && names::split(&to).0 != names::split(&from).0 {
            group.extend(self.keep_emptied_folder(&names, &from));
        }
        group.extend(displaced.map(RowOp::NoInode));
        self.commit(&mut names, group)?;
        reached(Step::RenameNoted);
        self.show_again(moved_on)?;
        if let Some(displaced) = displaced {
            let now = self.now_nanos();
            names.inode_mut(displaced).into_iter().for_each(|inode| inode.ctime = now);
            self.drop_if_unused(&mut names, displaced);
        }
        self.after_moves(names, (parent, new_parent), &[to], &moves);
        Ok(())
    }

    /// Has times and contents follow what moved: the names in `moved`, and all below them.
    pub(super) fn after_moves(
        &self,
        mut names: RwLockWriteGuard<'_, Names>,
        (parent, new_parent): (Ino, Ino),
        moved: &[Path],
        moves: &[(Path, Path)],
    ) {
        self.folder_changed(&mut names, parent);
        self.folder_changed(&mut names, new_parent);
        let now = self.now_nanos();
        for path in moved {
            let ino = names.name(path).map(|name| name.ino);
            ino.and_then(|ino| names.inode_mut(ino).ok()).into_iter().for_each(|inode| inode.ctime = now);
        }
        let changed = |(_, new): &(Path, Path)| Some((changed_content(&names, new)?.0, Path::clone(new)));
        let dirty: Vec<_> = moves.iter().filter_map(changed).collect();
        drop(names);
        dirty.into_iter().for_each(|(id, path)| self.stamp_anew(&id, path));
    }

    /// Writes a changed file's new path down with its content.
    fn stamp_anew(&self, id: &ContentId, path: Path) {
        let Ok(content) = self.content(id) else { return };
        let mut state = content.lock();
        let base = match changed_content(&self.names.read(), &path) {
            Some((still, base)) if still == *id => base,
            _ => return,
        };
        let partial = content.origin().is_some_and(|origin| origin.partial);
        let origin = self.origin(path, base, partial);
        if let Err(failed) = content.stamp(&mut state, &origin) {
            tracing::warn!(path = %origin.path, error = %failed, "A renamed file's content still says its old name");
        }
    }
}

/// Returns the content of a file whose bytes are in no object, or may be in none, with the version
/// it derives from.
fn changed_content(names: &Names, path: &Path) -> Option<(ContentId, Option<Remote>)> {
    let (name, inode) = names.at(path).ok()?;
    let is_changed = inode.equal_object().is_none() || inode.watched;
    let id = inode.content.clone().filter(|_| !inode.local && is_changed)?;
    Some((id, name.base.clone()))
}

fn check_rename(names: &Names, from: &Path, to: &Path, replace: Replace) -> Result<bool> {
    let (name, inode) = names.at(from)?;
    let new_part = names::split(to).1;
    if new_part.len() > MAX_NAME_BYTES {
        return Err(CacheError::BadName { name: new_part.to_owned(), reason: Refusal::PartTooLong });
    }
    names.check_within(from)?;
    names.check_new(to)?;
    if inode.is_folder() && to.len() > from.len() && to.starts_with(&format!("{from}/")) {
        return Err(CacheError::IntoItself(from.to_string()));
    }
    let target_folder_local = names.at(names::split(to).0)?.1.local;
    let local_there = match classify(to) {
        NameClass::Reserved => return Err(CacheError::Reserved(to.to_string())),
        NameClass::MachineLocal => true,
        NameClass::Ordinary => target_folder_local,
    };
    if local_there != inode.local {
        return Err(CacheError::AcrossLocal(to.to_string()));
    }
    check_length(names, from, to)?;
    if let Ok((displaced, there)) = names.at(to)
        && displaced.ino != name.ino
    {
        if replace == Replace::No {
            return Err(CacheError::Exists(to.to_string()));
        }
        match (inode.is_folder(), there.is_folder()) {
            (true, false) => return Err(CacheError::NotAFolder(to.to_string())),
            (false, true) => return Err(CacheError::IsAFolder(to.to_string())),
            (true, true) if !names.is_empty_folder(to) => {
                return Err(CacheError::NotEmpty(to.to_string()));
            }
            _ => {}
        }
    }
    Ok(inode.local)
}

/// Checks that all that lies below one path fits into keys below another.
pub(super) fn check_length(names: &Names, from: &Path, to: &Path) -> Result<()> {
    let longest = names.below(from).map(|(path, _)| path.len()).max().unwrap_or(from.len());
    match longest - from.len() + to.len() > names.longest_path {
        true => Err(CacheError::BadName { name: to.to_string(), reason: Refusal::TooLong }),
        false => Ok(()),
    }
}

/// Notes what becomes of names that move, and of what waits for them.
pub(super) fn note_moves(names: &Names, moves: &[(Path, Path)], group: &mut Vec<RowOp>) -> Result<()> {
    for (old, new) in moves {
        move_one(names, old, new, group)?;
    }
    follow(names, moves, group);
    Ok(())
}

/// Returns every old and new path: the name itself and all that lies below it.
pub(super) fn plan_moves(names: &Names, from: &Path, to: &Path) -> Vec<(Path, Path)> {
    let below = names.below(from).map(|(path, _)| {
        let new = format!("{to}{}", &path[from.len()..]);
        (Path::clone(path), Path::from(new))
    });
    std::iter::once((Path::clone(from), Path::clone(to))).chain(below).collect()
}

/// Has the tombstones that wait for a name that moves wait for its new name, as the group
/// leaves them: it may have taken something from them, or added to them.
fn follow(names: &Names, moves: &[(Path, Path)], group: &mut Vec<RowOp>) {
    let moved: HashMap<&Path, &Path> = moves.iter().map(|(from, to)| (from, to)).collect();
    let mut left: HashMap<Path, usize> = HashMap::new();
    for (at, op) in group.iter().enumerate() {
        if let RowOp::Tombstone(path, _) | RowOp::NoTombstone(path) = op {
            left.insert(Path::clone(path), at);
        }
    }
    for (path, tombstone) in names.tombstones() {
        let Some((from, to)) = tombstone.moved_to.as_ref().and_then(|from| Some((from, *moved.get(from)?)))
        else {
            continue;
        };
        match left.get(path).map(|&at| &mut group[at]) {
            Some(RowOp::Tombstone(_, row)) if row.moved_to.as_ref() == Some(from) => {
                // A file that comes back to where it was has nothing there to wait for.
                row.moved_to = Some(to).filter(|to| *to != path).cloned();
            }
            Some(_) => {}
            None => {
                let follows = Tombstone { moved_to: Some(Path::clone(to)), ..tombstone.clone() };
                group.push(RowOp::Tombstone(Path::clone(path), Box::new(follows)));
            }
        }
    }
}

/// Returns the name of an inode that takes the place of another of its kind.
fn name_instead(names: &Names, displaced: &Name, ino: Ino) -> Result<Name> {
    Ok(Name {
        ino,
        pushed: None,
        base: displaced.uploaded.as_ref().map(|u| u.remote.clone()).or_else(|| displaced.base.clone()),
        uploaded: displaced.uploaded.clone().map(|done| Uploaded::by_another(done.remote)),
        conflict_of: None,
        moved_from: None,
        record_left: has_record(displaced, names.inode(displaced.ino)?),
        ..displaced.clone()
    })
}

/// Returns the path under which the index names a file or records a folder, if it does.
fn origin(path: &Path, name: &Name, inode: &Inode) -> Option<Path> {
    let is_indexed = name.remote.is_some() || has_record(name, inode);
    name.moved_from.clone().or_else(|| is_indexed.then(|| Path::clone(path)))
}

fn move_one(names: &Names, from: &Path, to: &Path, group: &mut Vec<RowOp>) -> Result<()> {
    let (name, inode) = names.at(from)?;
    let mut moved = match names.name(to) {
        Some(displaced) => name_instead(names, displaced, name.ino)?,
        None => name_over(names, to, (name.ino, inode), group),
    };
    moved.conflict_of.clone_from(&name.conflict_of);
    moved.moved_from = origin(from, name, inode).filter(|origin| origin != to);
    if (inode.implied && !moved.record_left) || inode.local {
        moved.pushed = Some(inode.stamp);
        moved.moved_from = None;
    }
    group.push(RowOp::NoName(Path::clone(from)));
    bury(names, from, Some(to), group)?;
    group.push(RowOp::Name(Path::clone(to), Box::new(moved)));
    Ok(())
}
