//! A program that uses the mount and knows what it was told was done.
//!
//! Each system call is tried against a model: when it returns, the model has it; when the mount
//! dies under it, it may or may not have happened, and nothing else may have.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};

use crate::daemon::wait_until;
use crate::file_tree::{Node, Tree, differences, is_end};
use crate::history::{ChangeOf, History};

/// Longest write that is surely one request.
pub(crate) const MOST_AT_ONCE: usize = 32 << 10;

/// How many calls an actor remembers.
const REMEMBERED: usize = 2000;

/// How many of them are shown where something is wrong.
const SHOWN: usize = 16;

/// The mount is gone.
#[derive(Debug)]
pub(crate) struct Stopped;

pub(crate) type Done = Result<(), Stopped>;

/// A program with a folder of its own.
pub(crate) struct Actor {
    pub(crate) folder: String,
    pub(crate) tree: Tree,
    pub(crate) history: History,
    /// What the call under which the mount died would have made of the tree.
    in_flight: Option<Tree>,
    /// What the last calls were.
    calls: VecDeque<String>,
    /// How many calls that change something were acknowledged, and how many fsyncs of them.
    pub(crate) acknowledged: usize,
    pub(crate) fsyncs: usize,
    mount: PathBuf,
}

impl Actor {
    pub(crate) fn new(mount: &Path, folder: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            tree: Tree::new(),
            history: History::default(),
            in_flight: None,
            calls: VecDeque::new(),
            acknowledged: 0,
            fsyncs: 0,
            mount: mount.to_owned(),
        }
    }

    pub(crate) fn full(&self, path: &str) -> PathBuf {
        self.mount.join(path)
    }

    /// Makes a call that is to change the tree so.
    pub(crate) fn attempt(
        &mut self,
        (what, of): (String, ChangeOf),
        change: impl FnOnce(&mut Tree),
        call: impl FnOnce(&Self) -> io::Result<()>,
    ) -> Done {
        let mut after = self.tree.clone();
        change(&mut after);
        self.history.note(&self.tree, &after, of);
        self.is_about_to(what);
        match call(self) {
            Ok(()) => {
                self.tree = after;
                self.acknowledged += 1;
                Ok(())
            }
            Err(failed) => {
                self.check_is_end(&failed);
                self.in_flight = Some(after);
                Err(Stopped)
            }
        }
    }

    fn is_about_to(&mut self, what: String) {
        self.calls.push_back(what);
        if self.calls.len() > REMEMBERED {
            self.calls.pop_front();
        }
    }

    /// Returns what the last call was.
    pub(crate) fn last(&self) -> &str {
        self.calls.back().map_or("nothing", String::as_str)
    }

    /// Returns the last calls that had to do with a path or a folder above it, in order.
    pub(crate) fn calls_of(&self, path: &str) -> String {
        let concerns = |word: &str| word == path || path.starts_with(&format!("{word}/"));
        let calls = self.calls.iter().enumerate().filter(|(_, call)| call.split(' ').skip(1).any(concerns));
        let all: Vec<String> = calls.map(|(n, call)| format!("{n} {call}")).collect();
        format!("{} of {}", all[all.len().saturating_sub(SHOWN)..].join(", "), self.calls.len())
    }

    /// The only failure that may be is the death of the mount.
    ///
    /// The kernel says EIO of a request that a dying daemon was taking over. A daemon that says
    /// so itself has logged why: see [`crate::check::no_request_failed`].
    fn check_is_end(&self, failed: &io::Error) {
        let is_end = is_end(failed) || failed.raw_os_error() == Some(libc::EIO);
        assert!(is_end, "{} failed: {failed}", self.last());
        let is_gone = || statvfs(&self.mount).is_err_and(|refused| crate::file_tree::is_end(&refused.into()));
        wait_until(&format!("the mount is gone under {} ({failed})", self.last()), is_gone);
    }

    /// Makes the actor's own folder.
    pub(crate) fn begin(&mut self) -> Done {
        let folder = self.folder.clone();
        self.attempt(
            ("begin".to_owned(), ChangeOf::Names),
            |_| {},
            |me| std::fs::create_dir_all(me.full(&folder)),
        )
    }

    pub(crate) fn create(&mut self, path: &str) -> Done {
        let made = Node::file(Vec::new());
        self.attempt(
            (format!("create {path}"), ChangeOf::Names),
            |tree| drop(tree.insert(path.to_owned(), made)),
            |me| OpenOptions::new().write(true).create_new(true).mode(0o644).open(me.full(path)).map(drop),
        )
    }

    /// Writes as one request.
    pub(crate) fn write(&mut self, path: &str, offset: usize, bytes: &[u8]) -> Done {
        self.attempt(
            (format!("write {path} {offset}+{}", bytes.len()), ChangeOf::Content),
            |tree| edit(tree, path, |old| overwrite(old, offset, bytes)),
            |me| {
                let file = OpenOptions::new().write(true).open(me.full(path))?;
                file.write_all_at(bytes, offset as u64)
            },
        )
    }

    pub(crate) fn append(&mut self, path: &str, bytes: &[u8]) -> Done {
        let size = self.size(path);
        self.write(path, size, bytes)
    }

    pub(crate) fn truncate(&mut self, path: &str, size: usize) -> Done {
        self.attempt(
            (format!("truncate {path} {size}"), ChangeOf::Content),
            |tree| edit(tree, path, |old| old.resize(size, 0)),
            |me| OpenOptions::new().write(true).open(me.full(path))?.set_len(size as u64),
        )
    }

    /// Rewrites a file as most programs do: it is empty for a moment.
    pub(crate) fn rewrite(&mut self, path: &str, bytes: &[u8]) -> Done {
        self.truncate(path, 0)?;
        self.write(path, 0, bytes)
    }

    pub(crate) fn create_with(&mut self, path: &str, bytes: &[u8]) -> Done {
        self.create(path)?;
        bytes
            .chunks(MOST_AT_ONCE)
            .enumerate()
            .try_for_each(|(n, part)| self.write(path, n * MOST_AT_ONCE, part))
    }

    pub(crate) fn unlink(&mut self, path: &str) -> Done {
        self.attempt(
            (format!("unlink {path}"), ChangeOf::Names),
            |tree| drop(tree.remove(path)),
            |me| std::fs::remove_file(me.full(path)),
        )
    }

    pub(crate) fn make_folder(&mut self, path: &str) -> Done {
        self.attempt(
            (format!("mkdir {path}"), ChangeOf::Names),
            |tree| drop(tree.insert(path.to_owned(), Node::Folder)),
            |me| std::fs::create_dir(me.full(path)),
        )
    }

    pub(crate) fn remove_folder(&mut self, path: &str) -> Done {
        self.attempt(
            (format!("rmdir {path}"), ChangeOf::Names),
            |tree| drop(tree.remove(path)),
            |me| std::fs::remove_dir(me.full(path)),
        )
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Done {
        self.attempt(
            (format!("symlink {path}"), ChangeOf::Names),
            |tree| drop(tree.insert(path.to_owned(), Node::Link(target.to_owned()))),
            |me| symlink(target, me.full(path)),
        )
    }

    /// Gives a file another name; both share their bytes in the tree from then on.
    pub(crate) fn hard_link(&mut self, path: &str, new: &str) -> Done {
        let change = |tree: &mut Tree| {
            let node = tree[path].clone();
            tree.insert(new.to_owned(), node);
        };
        self.attempt((format!("link {path} {new}"), ChangeOf::Names), change, |me| {
            std::fs::hard_link(me.full(path), me.full(new))
        })
    }

    #[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Done {
        self.attempt(
            (format!("rename {from} {to}"), ChangeOf::Names),
            |tree| move_all(tree, from, to),
            |me| std::fs::rename(me.full(from), me.full(to)),
        )
    }

    /// Exchanges two names in one step.
    pub(crate) fn exchange(&mut self, one: &str, other: &str) -> Done {
        let change = |tree: &mut Tree| {
            move_all(tree, one, "\0");
            move_all(tree, other, one);
            move_all(tree, "\0", other);
        };
        self.attempt((format!("exchange {one} {other}"), ChangeOf::Names), change, |me| {
            Ok(renameat_with(CWD, me.full(one), CWD, me.full(other), RenameFlags::EXCHANGE)?)
        })
    }

    pub(crate) fn chmod(&mut self, path: &str, bits: u32) -> Done {
        let change = |tree: &mut Tree| {
            each_name(tree, path, |_, mode, _| *mode = bits);
        };
        self.attempt((format!("chmod {path}"), ChangeOf::Content), change, |me| {
            std::fs::set_permissions(me.full(path), Permissions::from_mode(bits))
        })
    }

    pub(crate) fn set_time(&mut self, path: &str, seconds: u64) -> Done {
        let change = |tree: &mut Tree| {
            each_name(tree, path, |_, _, mtime| *mtime = Some(seconds as i64 * 1_000_000_000));
        };
        self.attempt((format!("utimes {path}"), ChangeOf::Content), change, |me| {
            File::open(me.full(path))?.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
        })
    }

    /// Makes a file safe: from here on the bucket has it.
    pub(crate) fn fsync(&mut self, path: &str) -> Done {
        self.attempt(
            (format!("fsync {path}"), ChangeOf::Content),
            |_| {},
            |me| File::open(me.full(path))?.sync_all(),
        )?;
        self.fsyncs += 1;
        for name in names_of(&self.tree, path) {
            self.history.is_safe(&name);
        }
        Ok(())
    }

    pub(crate) fn fsync_folder(&mut self, path: &str) -> Done {
        self.attempt(
            (format!("fsyncdir {path}"), ChangeOf::Content),
            |_| {},
            |me| File::open(me.full(path))?.sync_all(),
        )?;
        self.fsyncs += 1;
        self.history.folder_is_safe(path);
        Ok(())
    }

    /// Reads a file and checks that it is as it should be.
    pub(crate) fn read(&mut self, path: &str) -> Done {
        self.is_about_to(format!("read {path}"));
        match std::fs::read(self.full(path)) {
            Ok(seen) => {
                let Some(Node::File { bytes, .. }) = self.tree.get(path) else { return Ok(()) };
                assert!(seen == **bytes, "{path} is read wrong: {} of {} bytes", seen.len(), bytes.len());
                Ok(())
            }
            Err(failed) => {
                self.check_is_end(&failed);
                Err(Stopped)
            }
        }
    }

    pub(crate) fn size(&self, path: &str) -> usize {
        match self.tree.get(path) {
            Some(Node::File { bytes, .. }) => bytes.len(),
            _ => 0,
        }
    }

    /// Returns whether the names here are exactly what was acknowledged, with or without the
    /// call that was under way; that is known afterwards.
    pub(crate) fn settle_on(&mut self, seen: &Tree) -> Result<(), Vec<String>> {
        let without = differences(&self.tree, seen);
        let Some(after) = self.in_flight.take() else {
            return if without.is_empty() { Ok(()) } else { Err(without) };
        };
        let with = differences(&after, seen);
        let settled = if without.is_empty() {
            Some(self.tree.clone())
        } else if with.is_empty() {
            Some(after.clone())
        } else {
            torn_write(&self.tree, &after, seen)
        };
        if let Some(tree) = settled {
            self.history.note(&after, &tree, ChangeOf::Names);
            self.tree = tree;
            return Ok(());
        }
        let or = std::iter::once(format!("-- or, with {:?} --", self.last()));
        Err(without.into_iter().chain(or).chain(with).collect())
    }

    /// Returns the names that are one file in the tree and not under `root`.
    pub(crate) fn parted_names(&self, root: &Path) -> Vec<String> {
        let ino = |path: &str| std::fs::symlink_metadata(root.join(path)).map_or(0, |meta| meta.ino());
        let parted = |path: &&String| names_of(&self.tree, path).iter().any(|other| ino(other) != ino(path));
        self.tree.keys().filter(parted).map(|path| format!("{path}: is not the file that it was")).collect()
    }

    /// Returns the trees that may be here.
    pub(crate) fn possible(&self) -> Vec<&Tree> {
        std::iter::once(&self.tree).chain(&self.in_flight).collect()
    }
}

pub(crate) fn edit(tree: &mut Tree, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let Some(Node::File { bytes, .. }) = tree.get(path) else { return };
    let mut changed = (**bytes).clone();
    change(&mut changed);
    let changed = Arc::new(changed);
    each_name(tree, path, |bytes, _, mtime| {
        *bytes = Arc::clone(&changed);
        *mtime = None;
    });
}

/// Returns all names of the file that has this one.
fn names_of(tree: &Tree, path: &str) -> Vec<String> {
    let Some(Node::File { bytes: own, .. }) = tree.get(path) else { return vec![path.to_owned()] };
    let is_same = |node: &Node| matches!(node, Node::File { bytes, .. } if Arc::ptr_eq(bytes, own));
    tree.iter().filter(|(_, node)| is_same(node)).map(|(path, _)| path.clone()).collect()
}

/// Changes a file under all of its names.
fn each_name(
    tree: &mut Tree,
    path: &str,
    mut change: impl FnMut(&mut Arc<Vec<u8>>, &mut u32, &mut Option<i64>),
) {
    for name in names_of(tree, path) {
        if let Some(Node::File { bytes, mode, mtime }) = tree.get_mut(&name) {
            change(bytes, mode, mtime);
        }
    }
}

pub(crate) fn overwrite(old: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    old.resize(old.len().max(offset + bytes.len()), 0);
    old[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn move_all(tree: &mut Tree, from: &str, to: &str) {
    if names_of(tree, from).iter().any(|name| name == to) {
        // Both are names of one file: nothing happens.
        return;
    }
    let below = format!("{from}/");
    let moved: Vec<String> =
        tree.keys().filter(|path| *path == from || path.starts_with(&below)).cloned().collect();
    for path in moved {
        if let Some(node) = tree.remove(&path) {
            tree.insert(format!("{to}{}", &path[from.len()..]), node);
        }
    }
}

/// A write that was cut short: its first bytes are there, the others are not. Of one that was not
/// answered, into bytes that were not on this machine, only what made the file longer may be there.
fn torn_write(before: &Tree, after: &Tree, seen: &Tree) -> Option<Tree> {
    let changed: Vec<_> = after.iter().filter(|(path, node)| before.get(*path) != Some(node)).collect();
    let &(path, node) = changed.first().filter(|_| before.len() == after.len())?;
    let (Node::File { bytes: new, mode, .. }, Some(Node::File { bytes: old, .. })) = (node, before.get(path))
    else {
        return None;
    };
    let Some(Node::File { bytes: there, .. }) = seen.get(path) else { return None };
    let written = there.iter().zip(new.iter()).take_while(|(a, b)| a == b).count();
    let long_enough = there.len() >= old.len() && there.len() <= new.len();
    let rest_is_old = there.get(written..) == old.get(written..).or(Some(&[]));
    let longer_only =
        there.get(written..old.len()) == old.get(written..) && there.get(old.len()..) == new.get(old.len()..);
    let mut torn = before.clone();
    let names = names_of(after, path);
    for name in &names {
        torn.insert(name.clone(), Node::File { bytes: Arc::clone(there), mode: *mode, mtime: None });
    }
    (changed.len() == names.len()
        && long_enough
        && (rest_is_old || longer_only)
        && differences(&torn, seen).is_empty())
    .then_some(torn)
}
