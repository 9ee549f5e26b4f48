//! A file that others replaced or removed while it was open here, and that is then written to.
//!
//! Its name means their version by now (or nothing), but the program that holds it open has
//! every right to write. Before the first change the file gets a name again: its own, if that
//! is free, else one beside it, as any file that was changed here and elsewhere.

use super::Cache;
use super::error::{CacheError, Result};
use super::names::Names;
use super::rows::{Ino, Name, Path, RowOp};

impl Cache {
    /// Remembers which path a file had that others took from it while it is open.
    pub(super) fn remember_taken(names: &mut Names, ino: Ino, path: &Path) {
        let Ok(inode) = names.inode_mut(ino) else { return };
        inode.parted = true;
        if (inode.opens > 0 || inode.watched) && inode.path.is_none() {
            inode.taken_path = Some(Path::clone(path));
        }
    }

    /// Gives a file a name again whose own was taken by others, before it is changed.
    pub(super) fn bring_back(&self, ino: Ino) -> Result<()> {
        let Some(path) = self.names.read().inode(ino)?.taken_path.clone() else { return Ok(()) };
        let _token = self.begin_change_of(false)?;
        let mut names = self.names.write();
        let inode = names.inode(ino)?.clone();
        if inode.taken_path.is_none() {
            return Ok(());
        }
        let mut group = Vec::new();
        let is_free = names.name(&path).is_none() && names.tombstone(&path).is_none();
        let is_own = is_free && self.imply_folders(&mut names, &path, inode.mtime, &mut group);
        let to = match is_own {
            true => Path::clone(&path),
            false => self.free_name_like(&names, &path, "conflict"),
        };
        if !is_own {
            group.clear();
            if !self.imply_folders(&mut names, &to, inode.mtime, &mut group) {
                return Err(CacheError::Stale { path: path.to_string() });
            }
        }
        let name = Name { conflict_of: (!is_own).then_some(path), ..Name::new_here(ino) };
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(Path::clone(&to), Box::new(name)));
        self.make_known(&mut names, group)?;
        names.inode_mut(ino)?.taken_path = None;
        tracing::warn!(path = %to, "Written here after others replaced or removed it: ours is kept under this name");
        Ok(())
    }
}
