//! Removed names whose objects are about to be deleted.
//!
//! What other files need of such an object is kept first, and that takes its time. If the name was
//! given to a file again meanwhile, even for a moment, that file may need the object and was not
//! seen to: it is not deleted then.

use super::Cache;
use super::names::Names;
use super::rows::{Path, Tombstone};

impl Cache {
    /// Notes in memory that the object of a name is about to be deleted, if it is removed still.
    pub fn begin_leaving(&self, path: &Path, removed: &Tombstone) {
        let mut names = self.names.write();
        if names.is_removed(path, removed) {
            names.leaving.insert(Path::clone(path));
        }
    }

    /// Returns whether nobody had the name when, and since, [`Cache::begin_leaving`] was called.
    pub fn has_left(&self, path: &Path, removed: &Tombstone) -> bool {
        let mut names = self.names.write();
        names.leaving.remove(path) && names.is_removed(path, removed)
    }

    /// Returns whether a removed name has no file again, of which the object would be the version
    /// to replace.
    pub fn is_removed(&self, path: &Path, removed: &Tombstone) -> bool {
        self.names.read().is_removed(path, removed)
    }
}

impl Names {
    fn is_removed(&self, path: &Path, removed: &Tombstone) -> bool {
        self.tombstone(path).is_some_and(|now| now.remote == removed.remote)
    }
}
