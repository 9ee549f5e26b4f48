//! How many names point to an inode, as `stat` counts them.

use std::collections::HashMap;

use super::names::{self, Names};
use super::rows::{Ino, Path};

/// How many folders are directly in each folder that has any.
#[derive(Debug, Default)]
pub(super) struct Subfolders(HashMap<Path, u32>);

impl Subfolders {
    /// Counts a folder that appeared.
    pub(super) fn add(&mut self, folder: &str) {
        if !folder.is_empty() {
            *self.0.entry(Path::from(names::split(folder).0)).or_default() += 1;
        }
    }

    /// Counts a folder that vanished.
    pub(super) fn remove(&mut self, folder: &str) {
        let parent = names::split(folder).0;
        if let Some(count) = self.0.get_mut(parent) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(parent);
            }
        }
    }
}

impl Names {
    /// Returns how many names an inode has: none if it was unlinked and lives on while it is
    /// open. A folder has its own `.` and the `..` of each folder in it besides.
    pub(super) fn links(&self, ino: Ino) -> u32 {
        let Ok(inode) = self.inode(ino) else { return 0 };
        match &inode.path {
            None => 0,
            Some(path) if inode.is_folder() => 2 + self.subfolders.0.get(path).copied().unwrap_or(0),
            Some(_) => 1,
        }
    }
}
