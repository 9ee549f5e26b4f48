//! A cache that holds only a part of the tree: what is at or below one path.
//!
//! Names are those of the whole tree, so the folders that lead to the part are there and stay;
//! nothing but the part can be changed.

use super::Cache;
use super::error::{CacheError, Result};
use super::names::Names;
use super::rows::Path;

impl Cache {
    /// Holds only what is at or below `path` from now on.
    pub fn keep_within(&self, path: &str) -> Result<()> {
        let mut names = self.names.write();
        let mut group = Vec::new();
        let now = self.now_nanos();
        if !self.imply_folders(&mut names, path, now, &mut group) {
            return Err(CacheError::NotAFolder(path.to_owned()));
        }
        self.commit(&mut names, group)?;
        names.within = Some(Path::from(path));
        Ok(())
    }

    /// Returns the only part of the tree that is held, if it is not all of it.
    pub fn part(&self) -> Option<Path> {
        self.names.read().within.clone()
    }

    /// Returns whether this cache holds the name if there is one.
    pub fn is_within(&self, path: &str) -> bool {
        self.names.read().is_within(path)
    }
}

impl Names {
    pub(super) fn is_within(&self, path: &str) -> bool {
        self.within.as_deref().is_none_or(|part| is_at_or_below(path, part))
    }

    /// Fails if a name is not of the part of the tree that is held.
    pub(super) fn check_within(&self, path: &str) -> Result<()> {
        if self.is_within(path) { Ok(()) } else { Err(CacheError::Outside(path.to_owned())) }
    }

    /// Returns whether a folder is above the part of the tree that is held.
    pub(super) fn leads_within(&self, folder: &str) -> bool {
        self.within.as_deref().is_some_and(|part| part != folder && is_at_or_below(part, folder))
    }
}

fn is_at_or_below(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
