//! Renaming files and folders: one group of notes, whatever lies below.
//!
//! The new name is pushed before the old one goes: the old name's tombstone says where the
//! file went. What the new name displaces becomes the version that its push replaces.

use super::Cache;
use super::content::Origin;
use super::error::{CacheError, Result};
use super::names::{self, Names};
use super::rows::{Ino, Name, Path, RowOp, Tombstone, Uploaded};
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
        if from == to {
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
        for (old, new) in &moves {
            move_one(&names, old, new, &mut group)?;
        }
        group.extend(displaced.map(RowOp::NoInode));
        let kept = self.keep_emptied_folder(&names, &from);
        self.commit(&mut names, group)?;
        reached(Step::RenameNoted);
        self.show_again(moved_on)?;
        if names::split(&to).0 != names::split(&from).0 {
            self.commit(&mut names, kept.into_iter().collect())?;
        }
        self.folder_changed(&mut names, parent);
        self.folder_changed(&mut names, new_parent);
        displaced.iter().for_each(|&ino| self.drop_if_unused(&mut names, ino));
        let stamps = self.origins(&names, moves.iter().map(|(_, new)| new));
        drop(names);
        stamps.into_iter().try_for_each(|(content, origin)| content.stamp(&origin))
    }

    /// Returns what the content files of renamed dirty files must say of themselves.
    fn origins<'a>(
        &self,
        names: &Names,
        paths: impl Iterator<Item = &'a Path>,
    ) -> Vec<(std::sync::Arc<super::content::Content>, Origin)> {
        paths
            .filter_map(|path| {
                let (name, inode) = names.at(path).ok()?;
                let id = inode.content.as_ref().filter(|_| !inode.local && inode.equal_object().is_none())?;
                let origin = Origin { path: Path::clone(path), base: name.base.clone() };
                Some((self.content(id).ok()?, origin))
            })
            .collect()
    }
}

fn check_rename(names: &Names, from: &Path, to: &Path, replace: Replace) -> Result<bool> {
    let (name, inode) = names.at(from)?;
    let new_part = names::split(to).1;
    if new_part.len() > MAX_NAME_BYTES {
        return Err(CacheError::BadName { name: new_part.to_owned(), reason: Refusal::PartTooLong });
    }
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
    let longest = names.below(from).map(|(path, _)| path.len()).max().unwrap_or(from.len());
    if longest - from.len() + to.len() > names.longest_path {
        return Err(CacheError::BadName { name: to.to_string(), reason: Refusal::TooLong });
    }
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

/// Returns every old and new path: the name itself and all that lies below it.
fn plan_moves(names: &Names, from: &Path, to: &Path) -> Vec<(Path, Path)> {
    let below = names.below(from).map(|(path, _)| {
        let new = format!("{to}{}", &path[from.len()..]);
        (Path::clone(path), Path::from(new))
    });
    std::iter::once((Path::clone(from), Path::clone(to))).chain(below).collect()
}

fn move_one(names: &Names, from: &Path, to: &Path, group: &mut Vec<RowOp>) -> Result<()> {
    let (name, inode) = names.at(from)?;
    let mut moved = match names.name(to) {
        Some(displaced) => Name {
            ino: name.ino,
            pushed: None,
            base: displaced.uploaded.as_ref().map(|u| u.remote.clone()).or_else(|| displaced.base.clone()),
            uploaded: displaced.uploaded.clone().map(|done| Uploaded::by_another(done.remote)),
            conflict_of: None,
            record_left: has_record(displaced, names.inode(displaced.ino)?),
            ..displaced.clone()
        },
        None => name_over(names, to, (name.ino, inode), group),
    };
    moved.conflict_of.clone_from(&name.conflict_of);
    if (inode.implied && !moved.record_left) || inode.local {
        moved.pushed = Some(inode.stamp);
    }
    group.push(RowOp::NoName(Path::clone(from)));
    bury(names, from, Some(to), group)?;
    // A file that comes back to where it was has no tombstone there any more.
    let follows = |(path, t): &(&Path, &Tombstone)| *path != to && t.moved_to.as_ref() == Some(from);
    for (path, tombstone) in names.tombstones().filter(follows) {
        let mut follows = tombstone.clone();
        follows.moved_to = Some(Path::clone(to));
        group.push(RowOp::Tombstone(Path::clone(path), Box::new(follows)));
    }
    group.push(RowOp::Name(Path::clone(to), Box::new(moved)));
    Ok(())
}
