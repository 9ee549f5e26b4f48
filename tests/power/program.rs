//! A program that works in the mount while the disk under it is recorded.
//!
//! For each place in the record it is known what the program had been told was done.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dice::Dice;
use crate::file_tree::{Node, Tree};
use crate::history::{ChangeOf, History};
use crate::promises::Promises;
use crate::serving::SharedDisk;

/// Where the program works.
pub(crate) const FOLDER: &str = "p";
/// How many calls are shown where something is wrong.
const SHOWN: usize = 60;
/// The most that is written at once, but for a file that is sent in parts.
const LARGEST: usize = 20_000;
/// Such a file is written in pieces of so many bytes, and so many of them.
const PIECE: usize = 1 << 20;
const PIECES: usize = 9;

/// What was known from a place in the record on.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) from: usize,
    /// The tree that was acknowledged.
    pub(crate) tree: Tree,
    /// The tree that the call under way makes.
    pub(crate) after: Tree,
    pub(crate) promises: Promises,
    pub(crate) what: String,
}

pub(crate) struct Program {
    mount: PathBuf,
    disk: SharedDisk,
    tree: Tree,
    promises: Promises,
    /// What each file held since it was made.
    versions: HashMap<String, Vec<Arc<Vec<u8>>>>,
    pub(crate) history: History,
    pub(crate) stages: Vec<Stage>,
}

impl Program {
    pub(crate) fn new(mount: PathBuf, disk: SharedDisk) -> Self {
        let (tree, promises, history) = (Tree::new(), Promises::default(), History::default());
        let (versions, stages) = (HashMap::new(), Vec::new());
        let mut new = Self { mount, disk, tree, promises, versions, history, stages };
        new.stage("nothing", &Tree::new());
        new
    }

    fn stage(&mut self, what: &str, after: &Tree) {
        self.stages.push(Stage {
            from: self.disk.lock().log.len(),
            tree: self.tree.clone(),
            after: after.clone(),
            promises: self.promises.clone(),
            what: what.to_owned(),
        });
    }

    fn full(&self, path: &str) -> PathBuf {
        self.mount.join(path)
    }

    /// Makes a call that is to change the tree so.
    fn call(&mut self, what: &str, after: Tree, call: impl FnOnce(&Self) -> io::Result<()>) {
        self.history.note(&self.tree, &after, ChangeOf::Names);
        self.stage(&format!("during {what}"), &after);
        call(self).unwrap_or_else(|failed| panic!("{what}: {failed}"));
        self.tree.clone_from(&after);
        self.stage(&format!("after {what}"), &after);
    }

    /// Makes the program's folder.
    pub(crate) fn begin(&mut self) {
        self.call("begin", Tree::new(), |me| std::fs::create_dir(me.full(FOLDER)));
    }

    fn files(&self) -> Vec<String> {
        self.tree.keys().cloned().collect()
    }

    fn bytes(&self, path: &str) -> Arc<Vec<u8>> {
        match self.tree.get(path) {
            Some(Node::File { bytes, .. }) => Arc::clone(bytes),
            _ => Arc::default(),
        }
    }

    /// Does one thing that is possible now.
    pub(crate) fn act(&mut self, dice: &mut Dice) {
        let files = self.files();
        let Some(file) = dice.pick(&files).cloned() else { return self.create(dice) };
        let size = self.bytes(&file).len();
        if dice.once_in(150) {
            return self.create_large(dice);
        }
        match dice.below(100) {
            0..15 => self.create(dice),
            15..35 => self.write(&file, size, dice),
            35..50 => {
                let offset = dice.below(size + 1);
                self.write(&file, offset, dice);
            }
            50..56 => {
                let new = dice.below(size * 3 / 2 + 10);
                self.truncate(&file, new);
            }
            56..66 => {
                let to = format!("{FOLDER}/f{}", dice.below(8));
                self.rename(&file, &to);
            }
            66..72 => self.unlink(&file),
            _ => self.fsync(&file),
        }
    }

    fn create(&mut self, dice: &mut Dice) {
        if let Some(path) = self.create_empty(dice) {
            self.write(&path, 0, dice);
        }
    }

    /// Makes a file that is sent in parts.
    fn create_large(&mut self, dice: &mut Dice) {
        let Some(path) = self.create_empty(dice) else { return };
        let bytes = dice.bytes(PIECE);
        (0..PIECES).for_each(|n| self.write_bytes(&path, n * PIECE, &bytes));
    }

    fn create_empty(&mut self, dice: &mut Dice) -> Option<String> {
        let path = format!("{FOLDER}/f{}", dice.below(8));
        if self.tree.contains_key(&path) {
            return None;
        }
        let mut after = self.tree.clone();
        after.insert(path.clone(), Node::file(Vec::new()));
        self.versions.insert(path.clone(), vec![Arc::default()]);
        self.call(&format!("create {path}"), after, |me| File::create_new(me.full(&path)).map(drop));
        Some(path)
    }

    fn write(&mut self, path: &str, offset: usize, dice: &mut Dice) {
        let most = *dice.pick(&[10, 600, 6000, LARGEST]).unwrap();
        let len = 1 + dice.below(most);
        let bytes = dice.bytes(len);
        self.write_bytes(path, offset, &bytes);
    }

    fn write_bytes(&mut self, path: &str, offset: usize, bytes: &[u8]) {
        let len = bytes.len();
        let mut new = (*self.bytes(path)).clone();
        new.resize(new.len().max(offset + len), 0);
        new[offset..offset + len].copy_from_slice(bytes);
        self.edit(&format!("write {path} {offset}+{len}"), path, offset, new, |me| {
            OpenOptions::new().write(true).open(me.full(path))?.write_all_at(bytes, offset as u64)
        });
    }

    fn truncate(&mut self, path: &str, size: usize) {
        let mut new = (*self.bytes(path)).clone();
        let offset = size.min(new.len());
        new.resize(size, 0);
        self.edit(&format!("truncate {path} {size}"), path, offset, new, |me| {
            OpenOptions::new().write(true).open(me.full(path))?.set_len(size as u64)
        });
    }

    fn edit(
        &mut self,
        what: &str,
        path: &str,
        offset: usize,
        new: Vec<u8>,
        call: impl FnOnce(&Self) -> io::Result<()>,
    ) {
        let new = Arc::new(new);
        let mut after = self.tree.clone();
        if let Some(Node::File { bytes, .. }) = after.get_mut(path) {
            *bytes = Arc::clone(&new);
        }
        self.versions.entry(path.to_owned()).or_default().push(Arc::clone(&new));
        self.promises.changes(path, offset, &new);
        self.call(what, after, call);
    }

    #[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
    fn rename(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        let mut after = self.tree.clone();
        let node = after.remove(from).unwrap();
        let versions = self.versions.remove(from).unwrap_or_default();
        for version in &versions {
            // Its tail may be cut off when it has its new name already.
            after.insert(to.to_owned(), Node::file(version.to_vec()));
            self.history.note(&self.tree, &after, ChangeOf::Names);
        }
        self.versions.insert(to.to_owned(), versions);
        after.insert(to.to_owned(), node);
        self.promises.renames(from, to);
        self.call(&format!("rename {from} {to}"), after, |me| std::fs::rename(me.full(from), me.full(to)));
    }

    fn unlink(&mut self, path: &str) {
        let mut after = self.tree.clone();
        after.remove(path);
        self.promises.drop_of(path);
        self.call(&format!("unlink {path}"), after, |me| std::fs::remove_file(me.full(path)));
    }

    fn fsync(&mut self, path: &str) {
        let tree = self.tree.clone();
        self.call(&format!("fsync {path}"), tree.clone(), |me| File::open(me.full(path))?.sync_all());
        let bytes = self.bytes(path);
        self.promises.make(path, &bytes);
        self.stage(&format!("after fsync {path}"), &tree);
    }

    /// Returns what the last calls were when the record was so long, and where each began.
    pub(crate) fn calls_before(&self, end: usize) -> String {
        let begun = self.stages.iter().filter(|stage| stage.from <= end && stage.what.starts_with("during"));
        let calls: Vec<_> = begun.map(|stage| format!("{} {}", stage.from, &stage.what[7..])).collect();
        calls[calls.len().saturating_sub(SHOWN)..].join(", ")
    }

    /// Returns what was known when the record was so long.
    pub(crate) fn at(&self, end: usize) -> &Stage {
        let after = self.stages.partition_point(|stage| stage.from <= end);
        &self.stages[after - 1]
    }
}
