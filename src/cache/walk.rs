//! Walking the tree of names: what lies in a folder, and below it.
//!
//! Names sort by path, so all that lies below a folder is one run of the map; a listing skips
//! over each subfolder in one step.

use std::ops::Bound;

use super::names::Names;
use super::rows::{Name, Path};

impl Names {
    /// Returns the names directly in a folder, with their paths.
    pub fn children<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a Path, &'a Name)> {
        let mut from = Bound::Included(if folder.is_empty() { String::new() } else { format!("{folder}/") });
        if folder.is_empty() {
            from = Bound::Excluded(String::new());
        }
        let prefix = if folder.is_empty() { 0 } else { folder.len() + 1 };
        std::iter::from_fn(move || {
            loop {
                let (path, name) = self.first_in(folder, &from)?;
                let Some(slash) = path[prefix..].find('/') else {
                    from = Bound::Excluded(path.to_string());
                    return Some((path, name));
                };
                // Below a subfolder: go on behind all of it ('0' follows '/').
                from = Bound::Included(format!("{}0", &path[..prefix + slash]));
            }
        })
    }

    fn first_in(&self, folder: &str, from: &Bound<String>) -> Option<(&Path, &Name)> {
        let from = match from {
            Bound::Included(text) => Bound::Included(text.as_str()),
            Bound::Excluded(text) => Bound::Excluded(text.as_str()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let found = self.names.range::<str, _>((from, Bound::Unbounded)).next()?;
        is_below(found.0, folder).then_some(found)
    }

    /// Returns everything below a folder, by path; not the folder itself.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a Path, &'a Name)> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.names
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| path.is_empty() || is_below(path, folder))
            .filter(|(path, _)| !path.is_empty())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Returns whether a key cannot be shown because a folder has its name, or a file the name
    /// of a folder above it.
    pub fn is_shadowed(&self, key: &str) -> bool {
        let is_folder = |path: &str| self.at(path).ok().map(|(_, inode)| inode.is_folder());
        is_folder(key) == Some(true)
            || key.match_indices('/').any(|(slash, _)| is_folder(&key[..slash]) == Some(false))
    }

    /// Returns whether a folder has no names in it.
    pub fn is_empty_folder(&self, folder: &str) -> bool {
        self.children(folder).next().is_none()
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    if folder.is_empty() {
        return !path.is_empty();
    }
    path.len() > folder.len() && path.starts_with(folder) && path.as_bytes()[folder.len()] == b'/'
}
