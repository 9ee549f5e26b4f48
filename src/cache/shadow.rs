//! Keys of which one is a file and the other lies below it: the folder is shown.
//!
//! A bucket may hold `a` and `a/b`; a tree may not. What is not shown stays in the index.

use super::Cache;
use super::error::Result;
use super::names::Names;
use super::rows::{Ino, Path, RowOp};

impl Cache {
    /// Returns whether a key of the index cannot be shown beside the names that are here.
    pub fn is_shadowed(&self, key: &str) -> bool {
        self.names.read().is_shadowed(key)
    }

    /// Removes clean files that stand where a key has a folder, if the index still names them:
    /// a key that is both is shown as the folder.
    pub(super) fn make_way(&self, names: &mut Names, key: &str, known: &dyn Fn(&str) -> bool) -> Result<()> {
        for (slash, _) in key.match_indices('/') {
            let folder = &key[..slash];
            let Ok((name, inode)) = names.at(folder) else { return Ok(()) };
            if !inode.is_folder() {
                let shown = known(folder) && !names.is_dirty(folder) && !inode.local;
                return if shown { self.hide(names, folder, name.ino) } else { Ok(()) };
            }
        }
        Ok(())
    }

    fn hide(&self, names: &mut Names, path: &str, ino: Ino) -> Result<()> {
        self.commit(names, vec![RowOp::NoName(Path::from(path))])?;
        self.tell_entry(names, path);
        self.drop_if_unused(names, ino);
        Ok(())
    }
}
