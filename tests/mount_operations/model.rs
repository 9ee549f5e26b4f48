//! The same calls on the mount and on a folder of the local disk: both must answer alike.
//!
//! The local disk is the model. Calls are drawn by a seed that is printed when they differ.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use bayou::cache::listing::EntryKind;
use rustix::fs::{CWD, FallocateFlags, RenameFlags, renameat_with};

use super::world::{Step, World};

const NAMES: [&str; 12] =
    ["a", "b", "c", "a/x", "a/y", "b/x", "b/y", "c/x", "a/x/1", "a/x/2", "b/x/1", "b/y/1"];
const MAX_OFFSET: u64 = 300_000;
const MAX_WRITE: u64 = 100_000;
const KEPT_OPEN: usize = 4;
/// How many mounts are tried at once where syncs and calls are to meet.
const AT_ONCE: usize = 4;

/// What a range of a file is made: there, or zeros.
const FALLOCATES: [FallocateFlags; 5] = [
    FallocateFlags::empty(),
    FallocateFlags::KEEP_SIZE,
    FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE),
    FallocateFlags::ZERO_RANGE,
    FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE),
];

/// Draws the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
enum Call {
    Create(&'static str),
    Folder(&'static str),
    Symlink(&'static str),
    Remove(&'static str),
    RemoveFolder(&'static str),
    Rename(&'static str, &'static str),
    RenameNoReplace(&'static str, &'static str),
    Exchange(&'static str, &'static str),
    Link(&'static str, &'static str),
    Fallocate(&'static str, u64, u64, FallocateFlags),
    CopyRange(&'static str, u64, u64, u64),
    SetMode(&'static str, u32),
    WriteAt(&'static str, u64, u64, u8),
    Cut(&'static str, u64),
    Empty(&'static str),
    Read(&'static str),
    Keep(&'static str),
    WriteKept(usize, u64, u64, u8),
    CutKept(usize, u64),
    ReadKept(usize),
    Drop(usize),
}

fn draw(dice: &mut Dice) -> Call {
    let (name, kept) = (dice.name(), dice.below(KEPT_OPEN as u64) as usize);
    let (at, len, byte) = (dice.below(MAX_OFFSET), 1 + dice.below(MAX_WRITE), dice.below(256) as u8);
    match dice.below(37) {
        0..4 => Call::Create(name),
        4..7 => Call::Folder(name),
        7 => Call::Symlink(name),
        8..10 => Call::Remove(name),
        10 => Call::RemoveFolder(name),
        11..14 => Call::Rename(name, dice.name()),
        14 => Call::RenameNoReplace(name, dice.name()),
        15 => Call::SetMode(name, 0o600 | (at % 0o200) as u32),
        16..19 => Call::WriteAt(name, at, len, byte),
        19 => Call::Cut(name, at),
        20 => Call::Empty(name),
        21..23 => Call::Read(name),
        23 => Call::Keep(name),
        24..26 => Call::WriteKept(kept, at, len, byte),
        26 => Call::CutKept(kept, at),
        27..29 => Call::ReadKept(kept),
        29 => Call::Drop(kept),
        30..32 => Call::Link(name, dice.name()),
        32 => Call::Exchange(name, dice.name()),
        33..36 => Call::Fallocate(name, at, len, FALLOCATES[byte as usize % FALLOCATES.len()]),
        _ => Call::CopyRange(name, at, dice.below(MAX_OFFSET), len),
    }
}

/// One side: a folder, and files that are kept open.
struct Side {
    root: PathBuf,
    kept: Vec<Option<File>>,
}

impl Side {
    fn new(root: PathBuf) -> Self {
        Self { root, kept: (0..KEPT_OPEN).map(|_| None).collect() }
    }

    /// Makes a call; returns what a program sees of its outcome.
    fn run(&mut self, call: &Call) -> io::Result<Vec<u8>> {
        let path = |name: &str| self.root.join(name);
        let done = match call {
            Call::Create(name) => File::create_new(path(name)).map(drop),
            Call::Folder(name) => fs::create_dir(path(name)),
            Call::Symlink(name) => symlink("a/x", path(name)),
            Call::Remove(name) => fs::remove_file(path(name)),
            Call::RemoveFolder(name) => fs::remove_dir(path(name)),
            Call::Rename(from, to) => self.rename(from, to, RenameFlags::empty()),
            Call::RenameNoReplace(from, to) => self.rename(from, to, RenameFlags::NOREPLACE),
            Call::Exchange(from, to) => self.rename(from, to, RenameFlags::EXCHANGE),
            Call::Link(from, to) => fs::hard_link(path(from), path(to)),
            Call::Fallocate(name, at, len, mode) => {
                let file = OpenOptions::new().write(true).open(path(name))?;
                Ok(rustix::fs::fallocate(&file, *mode, *at, *len)?)
            }
            Call::CopyRange(name, at, to, len) => {
                let file = OpenOptions::new().read(true).write(true).open(path(name))?;
                copy_range(&file, *at, *to, *len)
            }
            Call::SetMode(name, mode) => fs::set_permissions(path(name), Permissions::from_mode(*mode)),
            Call::WriteAt(name, at, len, byte) => {
                let file = OpenOptions::new().write(true).open(path(name))?;
                file.write_all_at(&vec![*byte; *len as usize], *at)
            }
            Call::Cut(name, len) => OpenOptions::new().write(true).open(path(name))?.set_len(*len),
            Call::Empty(name) => OpenOptions::new().write(true).truncate(true).open(path(name)).map(drop),
            Call::Read(name) => return fs::read(path(name)),
            Call::Keep(name) => {
                let file = OpenOptions::new().read(true).write(true).open(path(name))?;
                if let Some(place) = self.kept.iter_mut().find(|place| place.is_none()) {
                    *place = Some(file);
                }
                Ok(())
            }
            Call::WriteKept(kept, at, len, byte) => self.kept[*kept]
                .as_ref()
                .map_or(Ok(()), |file| file.write_all_at(&vec![*byte; *len as usize], *at)),
            Call::CutKept(kept, len) => self.kept[*kept].as_ref().map_or(Ok(()), |file| file.set_len(*len)),
            Call::ReadKept(kept) => return self.kept[*kept].as_ref().map_or(Ok(Vec::new()), read_all),
            Call::Drop(kept) => {
                self.kept[*kept] = None;
                Ok(())
            }
        };
        done.map(|()| Vec::new())
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
        Ok(renameat_with(CWD, self.root.join(from), CWD, self.root.join(to), flags)?)
    }

    /// Returns everything as the other machine's tree shows it.
    fn plain_tree(&self) -> BTreeMap<String, (EntryKind, u32, Vec<u8>)> {
        let paths = self.tree().into_iter().map(|(path, _)| path);
        let entry = |path: PathBuf| {
            let full = self.root.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let (kind, bytes) = if meta.is_dir() {
                (EntryKind::Folder, Vec::new())
            } else if meta.is_symlink() {
                (EntryKind::Symlink, fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes())
            } else {
                (EntryKind::File, fs::read(&full).unwrap())
            };
            (path.into_os_string().into_string().unwrap(), (kind, meta.mode() & 0o7777, bytes))
        };
        paths.map(entry).collect()
    }

    /// Returns everything that can be seen, name by name.
    fn tree(&self) -> Vec<(PathBuf, String)> {
        let mut seen = Vec::new();
        describe(&self.root, &self.root, &mut seen);
        seen.sort();
        seen
    }
}

/// Copies all that there is of a range within a file.
fn copy_range(file: &File, mut from: u64, mut to: u64, mut len: u64) -> io::Result<()> {
    while len > 0 {
        let copied =
            rustix::fs::copy_file_range(file, Some(&mut from), file, Some(&mut to), len as usize)? as u64;
        if copied == 0 {
            return Ok(());
        }
        len -= copied;
    }
    Ok(())
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn describe(root: &Path, folder: &Path, seen: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let what = if meta.is_dir() {
            describe(root, &path, seen);
            "folder".to_owned()
        } else if meta.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else {
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, meta.len(), "{}", path.display());
            format!("{} bytes, checksum {:08x}", bytes.len(), crc32fast::hash(&bytes))
        };
        let (mode, links) = (meta.mode() & 0o7777, if meta.is_dir() { 0 } else { meta.nlink() });
        let what = format!("{what} with {links} names");
        seen.push((path.strip_prefix(root).unwrap().to_owned(), format!("{mode:o} {what}")));
    }
}

/// Makes the same calls on both sides, and `between` after each; returns the model.
fn compare(
    seed: u64,
    calls: usize,
    world: &World,
    mut between: impl FnMut(u64),
) -> (tempfile::TempDir, Side) {
    let local = tempfile::tempdir().unwrap();
    let (mut model, mut mount) = (Side::new(local.path().to_owned()), Side::new(world.path("")));
    let mut dice = Dice(seed);
    for n in 0..calls {
        let call = draw(&mut dice);
        let (expected, found) = (model.run(&call), mount.run(&call));
        match (&expected, &found) {
            (Ok(expected), Ok(found)) => {
                assert!(expected == found, "seed {seed}, call {n}: {call:?} reads other bytes");
            }
            (Err(expected), Err(found)) if expected.raw_os_error() == found.raw_os_error() => {}
            _ => panic!("seed {seed}, call {n}: {call:?} gives {found:?} instead of {expected:?}"),
        }
        if n % 50 == 0 || n + 1 == calls {
            assert_eq!(mount.tree(), model.tree(), "seed {seed}, after call {n}: {call:?}");
        }
        between(dice.below(100));
    }
    (local, model)
}

fn empty(world: &World) {
    for name in ["a", "b", "c"] {
        if fs::remove_dir_all(world.path(name)).is_err() {
            fs::remove_file(world.path(name)).ok();
        }
    }
}

fn check_elsewhere(seed: u64, world: &World, model: &Side) {
    let (expected, found) = (model.plain_tree(), world.seen_elsewhere());
    assert!(
        expected.keys().eq(found.keys()),
        "seed {seed}: {:?} instead of {:?}",
        found.keys(),
        expected.keys()
    );
    for (path, entry) in &expected {
        let other = &found[path];
        let at = other.2.iter().zip(&entry.2).position(|(a, b)| a != b);
        let what = |e: &(EntryKind, u32, Vec<u8>)| format!("{:?} {:o} {} bytes", e.0, e.1, e.2.len());
        assert!(
            other == entry,
            "seed {seed}: {path} is {} instead of {}; first difference at {at:?}",
            what(other),
            what(entry)
        );
    }
}

/// Returns the usual seeds, or those that `BAYOU_SEEDS=FROM+COUNT` asks for.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let asked = std::env::var("BAYOU_SEEDS").ok();
    let asked = asked.as_deref().and_then(|text| text.split_once('+'));
    let asked = asked.and_then(|(from, count)| Some((from.parse::<u64>().ok()?, count.parse::<u64>().ok()?)));
    asked.map_or(usual, |(from, count)| from..from + count)
}

#[test]
fn the_mount_answers_like_the_local_disk() {
    let world = World::new();
    for seed in 0..6 {
        compare(seed, 400, &world, |_| {});
        empty(&world);
    }
}

#[test]
fn another_machine_sees_what_the_local_disk_has() {
    let world = World::new();
    for seed in 50..70 {
        let (_local, model) = compare(seed, 200, &world, |dice| match dice {
            0..3 => world.sync_now(Step::Push),
            3..6 => world.sync_now(Step::Pull),
            _ => {}
        });
        check_elsewhere(seed, &world, &model);
        empty(&world);
    }
}

#[test]
fn another_machine_sees_what_the_local_disk_has_though_all_was_pushed_while_it_changed() {
    // Several at once: a change then falls between two steps of a push more often.
    thread::scope(|scope| {
        for turn in 0..AT_ONCE {
            scope.spawn(move || {
                let world = World::new();
                for seed in seeds(100..580).skip(turn).step_by(AT_ONCE) {
                    let (_local, model) = world.while_it_syncs(|| compare(seed, 300, &world, |_| {}));
                    check_elsewhere(seed, &world, &model);
                    empty(&world);
                }
            });
        }
    });
}
