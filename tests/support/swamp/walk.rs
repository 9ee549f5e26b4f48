//! What a push finds to do: by dirty paths, by a walk of everything, by what is absent.

use bayou::model::content_hash::ContentHash;
use serde_json::Value;

use super::{Process, is_internal};

/// What a push is to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) uploads: Vec<String>,
    pub(super) deletions: Vec<String>,
}

/// A name that a walk met was not there when it was looked at.
struct Vanished;

impl Process {
    /// Compares the cache with the index in memory.
    pub(super) fn find_work(&mut self) -> Work {
        let sidecar = self.state.sidecar().cloned();
        let is_scoped =
            sidecar.as_ref().is_some_and(|known| !known.bulk_invalidated && !known.dirty_paths.is_empty());
        let mut work = Work::default();
        if is_scoped {
            for path in sidecar.iter().flat_map(|known| &known.dirty_paths) {
                self.look_at(path, &mut work);
            }
        } else {
            self.look_at_everything(sidecar.is_some_and(|known| known.dirty_paths_overflowed), &mut work);
        }
        work
    }

    fn look_at(&self, path: &str, work: &mut Work) {
        let found = if self.machine.stat(path).is_some() {
            if self.needs_push(path) {
                work.uploads.push(path.to_owned());
            }
            Ok(())
        } else if self.machine.is_folder(path) {
            self.look_into(path, work)
        } else {
            Err(Vanished)
        };
        if found.is_err() {
            // One file that vanished under the walk looks like the whole folder being gone.
            self.delete_what_is_absent(work, |key| key == path || is_below(key, path));
        }
    }

    fn look_into(&self, folder: &str, work: &mut Work) -> Result<(), Vanished> {
        for file in self.machine.walk(folder) {
            self.machine.stat(&file).ok_or(Vanished)?;
            if !is_internal(&file) && self.needs_push(&file) {
                work.uploads.push(file);
            }
        }
        let machine = &self.machine;
        self.delete_what_is_absent(work, |key| is_below(key, folder) && machine.stat(key).is_none());
        Ok(())
    }

    /// A walk that meets an error ends there, silently.
    fn look_at_everything(&self, overflowed: bool, work: &mut Work) {
        let mut visited = Vec::new();
        for file in self.machine.walk("") {
            if self.machine.stat(&file).is_none() {
                break;
            }
            if is_internal(&file) {
                continue;
            }
            if self.needs_push(&file) {
                work.uploads.push(file.clone());
            }
            visited.push(file);
        }
        if overflowed {
            self.delete_what_is_absent(work, |key| !visited.iter().any(|file| file == key));
        }
    }

    fn delete_what_is_absent(&self, work: &mut Work, is_absent: impl Fn(&str) -> bool) {
        let Some(index) = self.index.as_ref().filter(|_| !self.state.lazy()) else { return };
        let absent = index.entries().keys().filter(|key| !is_internal(key) && is_absent(key));
        work.deletions.extend(absent.cloned());
    }

    /// Swamp's table of when a file is sent.
    fn needs_push(&self, path: &str) -> bool {
        let Some(stat) = self.machine.stat(path) else { return false };
        let entry = self.index.as_ref().and_then(|index| index.entries().get(path));
        let Some(entry) = entry else { return true };
        if entry.get("size").and_then(Value::as_u64) != Some(stat.size) {
            return true;
        }
        match entry.get("sha256").and_then(Value::as_str) {
            Some(hash) => {
                let bytes = self.machine.read(path).unwrap_or_default();
                ContentHash::of(&bytes).to_string() != hash
            }
            None => {
                let known = entry.get("localMtime").and_then(Value::as_str);
                known.is_some_and(|known| known != stat.mtime)
            }
        }
    }
}

fn is_below(key: &str, folder: &str) -> bool {
    key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
