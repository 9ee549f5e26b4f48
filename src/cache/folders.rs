//! Folders as the index has them: recorded, or only implied by the keys below them.
//!
//! The index records a folder that is empty or has attributes. An implied folder is there as
//! long as there are names in it.

use std::collections::HashSet;

use super::Cache;
use super::error::Result;
use super::names::{self, Names};
use super::pull_state::{Pulled, set_common};
use super::rows::{Ino, Inode, Kind, Name, Path, RowOp, Stamp};
use super::tree::NewNode;
use crate::model::entry::Attributes;
use crate::model::key::DataKey;

/// Mode of a folder that the index gives none.
const FOLDER_MODE: u32 = 0o755;

impl Cache {
    /// Removes implied folders that have no names left, from the bottom up.
    pub(super) fn prune_folders(&self, names: &mut Names, removed: &str) -> Result<()> {
        let mut at = Path::from(names::split(removed).0);
        while !at.is_empty() {
            let (name, inode) = names.at(&at)?;
            if !inode.implied || !names.is_empty_folder(&at) || names.leads_within(&at) {
                return Ok(());
            }
            let ino = name.ino;
            self.commit(names, vec![RowOp::NoName(Path::clone(&at)), RowOp::NoInode(ino)])?;
            self.drop_if_unused(names, ino);
            self.tell_entry(names, &at);
            at = Path::from(names::split(&at).0);
        }
        Ok(())
    }

    /// Notes that the index is about to record a folder, so that whatever comes between does not
    /// leave the record behind; returns whether the name still means this folder.
    pub fn note_recording(&self, path: &Path, ino: Ino) -> Result<bool> {
        let mut names = self.names.write();
        let Some(name) = names.name(path).filter(|name| name.ino == ino) else { return Ok(false) };
        if !name.record_left {
            let noted = Name { record_left: true, ..name.clone() };
            self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(noted))])?;
        }
        Ok(true)
    }

    pub(super) fn apply_folder(
        &self,
        names: &mut Names,
        path: &str,
        attributes: &Attributes,
        pulled: &mut Pulled,
    ) -> Result<()> {
        let Ok(key) = DataKey::admit(path) else { return Ok(()) };
        let path = key.shared();
        if names.tombstone(&path).is_some() || names.is_dirty(&path) {
            return Ok(());
        }
        let mut group = Vec::new();
        let (ino, mut inode, fresh) = match names.at(&path) {
            Ok((name, inode)) if inode.is_folder() => (name.ino, inode.clone(), false),
            Ok(_) => {
                pulled.shadowed += 1;
                return Ok(());
            }
            Err(_) => {
                let mtime = attributes.mtime_ns.unwrap_or(0);
                if !self.imply_folders(names, &path, mtime, &mut group) {
                    pulled.shadowed += 1;
                    return Ok(());
                }
                (names.fresh_ino(), folder_inode(mtime), true)
            }
        };
        let before = inode.clone();
        inode.implied = false;
        set_folder_attributes(&mut inode, attributes);
        if !fresh && before == inode {
            return Ok(());
        }
        let name = Name { pushed: Some(inode.stamp), ..Name::new_here(ino) };
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(Path::clone(&path), Box::new(name)));
        if fresh {
            return self.make_known(names, group);
        }
        self.commit(names, group)?;
        self.tell_attributes(names, ino);
        Ok(())
    }

    /// A folder that the index named and names no longer stays only while it has names.
    pub(super) fn forget_folders_not_in(&self, listed: &HashSet<&str>) -> Result<()> {
        let mut names = self.names.write();
        let gone: Vec<(Path, Ino)> = names
            .all()
            .filter(|(path, name)| {
                let folder = names.inode(name.ino).is_ok_and(|inode| inode.is_folder() && !inode.implied);
                folder && !path.is_empty() && !listed.contains(&***path) && !names.is_dirty(path)
            })
            .map(|(path, name)| (Path::clone(path), name.ino))
            .collect();
        for (path, ino) in gone.into_iter().rev() {
            let mut inode = names.inode(ino)?.clone();
            if inode.local {
                continue;
            }
            inode.implied = true;
            set_folder_attributes(&mut inode, &Attributes::default());
            self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(inode))])?;
            self.tell_attributes(&names, ino);
            self.prune_folders(&mut names, &format!("{path}/x"))?;
        }
        Ok(())
    }

    /// Adds the folders above a path that are not there; returns whether a file stands in the way.
    pub(super) fn imply_folders(
        &self,
        names: &mut Names,
        path: &str,
        mtime: i64,
        group: &mut Vec<RowOp>,
    ) -> bool {
        let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for slash in slashes {
            let folder = Path::from(&path[..slash]);
            match names.at(&folder) {
                Ok((_, inode)) if inode.is_folder() => {}
                Ok(_) => {
                    tracing::debug!(path, "A key lies below one that is a file here: it is not shown");
                    return false;
                }
                Err(_) => {
                    let ino = names.fresh_ino();
                    let inode = Inode { implied: true, ..folder_inode(mtime) };
                    let name = Name { pushed: Some(inode.stamp), ..Name::new_here(ino) };
                    group.push(RowOp::Inode(ino, Box::new(inode)));
                    group.push(RowOp::Name(folder, Box::new(name)));
                }
            }
        }
        true
    }
}

fn folder_inode(mtime: i64) -> Inode {
    let node = NewNode { mode: FOLDER_MODE, uid: None, gid: None };
    Inode { stamp: Stamp::default(), ..Inode::new(Kind::Folder, node, mtime) }
}

/// What the index does not say of a folder is the default, also if it said more before.
fn set_folder_attributes(inode: &mut Inode, attributes: &Attributes) {
    inode.mode = FOLDER_MODE;
    set_common(inode, attributes);
}
