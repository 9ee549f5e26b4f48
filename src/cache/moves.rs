//! Which renames others are to see in one step.
//!
//! The index names a renamed file or folder under its old path until its new name is committed.
//! Names that came from one folder to another belong together, whatever became of each since,
//! and so do names of which one takes the place that another left: who reads the index sees all
//! of them moved, or none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Cache;
use super::names::Names;
use super::rows::{Name, Path, Tombstone};

/// The paths that take part in renames which the index does not show yet.
#[derive(Debug, Default)]
pub(super) struct Moving {
    names: BTreeSet<Path>,
    tombstones: BTreeSet<Path>,
}

impl Moving {
    /// Returns what is known of the tombstones of a tree that has no names yet.
    pub(super) fn of_tombstones(tombstones: &BTreeMap<Path, Tombstone>) -> Self {
        let mut moving = Self::default();
        tombstones.iter().for_each(|(path, row)| moving.note_tombstone(path, Some(row)));
        moving
    }

    /// Notes what a name is now.
    pub(super) fn note_name(&mut self, path: &str, row: Option<&Name>) {
        match row.is_some_and(|name| name.moved_from.is_some()) {
            true => self.names.insert(Path::from(path)),
            false => self.names.remove(path),
        };
    }

    /// Notes what a tombstone is now.
    pub(super) fn note_tombstone(&mut self, path: &str, row: Option<&Tombstone>) {
        match row.is_some_and(|tombstone| tombstone.moved_to.is_some()) {
            true => self.tombstones.insert(Path::from(path)),
            false => self.tombstones.remove(path),
        };
    }
}

/// Paths of which one commit of the index is to have all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoveGroup {
    /// Names that the index is to take.
    pub names: Vec<Path>,
    /// Paths that the index is to let go of.
    pub removed: Vec<Path>,
}

impl MoveGroup {
    /// Returns all of its paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.iter().chain(&self.removed)
    }
}

/// Sets of things that belong together.
#[derive(Default)]
struct Together {
    numbers: HashMap<String, usize>,
    leaders: Vec<usize>,
}

impl Together {
    fn number(&mut self, what: &str) -> usize {
        if let Some(number) = self.numbers.get(what) {
            return *number;
        }
        self.leaders.push(self.leaders.len());
        self.numbers.insert(what.to_owned(), self.leaders.len() - 1);
        self.leaders.len() - 1
    }

    fn leader(&mut self, mut number: usize) -> usize {
        while self.leaders[number] != number {
            self.leaders[number] = self.leaders[self.leaders[number]];
            number = self.leaders[number];
        }
        number
    }

    fn join(&mut self, one: &str, other: &str) {
        let (one, other) = (self.number(one), self.number(other));
        let (one, other) = (self.leader(one), self.leader(other));
        self.leaders[one] = other;
    }
}

impl Cache {
    /// Returns the renames that the index does not show yet, as far as one of `asked` is part of
    /// them; all, if `None`.
    pub fn move_groups<'a>(&self, asked: Option<impl Iterator<Item = &'a Path>>) -> Vec<MoveGroup> {
        let names = self.names.read();
        if names.moving.names.is_empty() && names.moving.tombstones.is_empty() {
            return Vec::new();
        }
        let mut together = Together::default();
        let left = names.join_moves(&mut together);
        let asked: Option<BTreeSet<usize>> = asked.map(|asked| {
            let known: Vec<usize> = asked.filter_map(|path| together.numbers.get(&**path).copied()).collect();
            known.into_iter().map(|number| together.leader(number)).collect()
        });
        let mut groups: BTreeMap<usize, MoveGroup> = BTreeMap::new();
        let members: BTreeMap<String, usize> = together.numbers.clone().into_iter().collect();
        for (path, number) in members {
            let leader = together.leader(number);
            if asked.as_ref().is_some_and(|asked| !asked.contains(&leader)) {
                continue;
            }
            let group = groups.entry(leader).or_default();
            if names.is_dirty(&path) {
                group.names.push(Path::from(&*path));
            }
            if names.tombstone(&path).is_some_and(is_indexed) {
                group.removed.push(Path::from(&*path));
            }
            for folder in left.get(&path).into_iter() {
                names.add_removed_below(folder, group);
            }
        }
        groups.into_values().filter(|group| !group.names.is_empty()).collect()
    }
}

impl Names {
    /// Joins what moved together; returns the folders that were left, by what stands for them.
    fn join_moves(&self, together: &mut Together) -> HashMap<String, String> {
        let mut left = HashMap::new();
        let from_names = self.moving.names.iter().filter(|path| self.is_dirty(path));
        let from_names = from_names.filter_map(|to| Some((self.name(to)?.moved_from.as_ref()?, to)));
        let from_tombstones = self.moving.tombstones.iter().filter_map(|from| {
            let tombstone = self.tombstone(from).filter(|tombstone| is_indexed(tombstone))?;
            Some((from, tombstone.moved_to.as_ref().filter(|to| self.is_dirty(to))?))
        });
        for (from, to) in from_names.chain(from_tombstones) {
            let (folder, new_folder) = moved_folder(from, to);
            // No path has a NUL.
            let both = format!("{folder}\0{new_folder}");
            together.join(from, to);
            together.join(to, &both);
            if !folder.is_empty() {
                left.insert(both, folder.to_owned());
            }
        }
        left
    }

    /// Adds what was removed from a folder before it was renamed.
    fn add_removed_below(&self, folder: &str, group: &mut MoveGroup) {
        let folder = format!("{folder}/");
        let below = self.tombstones_from(&folder).take_while(|(path, _)| path.starts_with(&folder));
        let removed = below.filter(|(_, tombstone)| tombstone.moved_to.is_none() && is_indexed(tombstone));
        group.removed.extend(removed.map(|(path, _)| Path::clone(path)));
    }
}

/// Returns whether the index has, or may have, what was removed.
fn is_indexed(tombstone: &Tombstone) -> bool {
    !tombstone.unindexed && (tombstone.folder || tombstone.had_entry())
}

/// Returns the outermost folders of which one became the other by a rename from one path to the
/// other: what is below is called the same.
fn moved_folder<'a>(from: &'a str, to: &'a str) -> (&'a str, &'a str) {
    let (mut old, mut new) = (from, to);
    loop {
        let (above, name) = super::names::split(old);
        let (new_above, new_name) = super::names::split(new);
        if name != new_name || old.is_empty() || new.is_empty() {
            return (old, new);
        }
        (old, new) = (above, new_above);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_the_outermost_folder_that_has_another_name() {
        let cases = [
            (("d/x", "e/x"), ("d", "e")),
            (("d/a/x", "e/a/x"), ("d", "e")),
            (("p/d/x", "p/e/x"), ("p/d", "p/e")),
            (("d/x", "u/d/x"), ("", "u")),
            (("u/d/x", "d/x"), ("u", "")),
            (("a", "b"), ("a", "b")),
            (("d/x", "d/y"), ("d/x", "d/y")),
        ];
        for ((from, to), expected) in cases {
            assert_eq!(moved_folder(from, to), expected, "{from} to {to}");
        }
    }
}
