//! Making, listing, renaming and removing names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bayou::cache::listing::EntryKind;
use bayou::model::special::{Device, Special};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

use super::world::World;
use super::{errno, sys_errno};

fn listed(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn files_and_folders_appear_and_vanish_in_listings() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    fs::create_dir(world.path("a/b")).unwrap();
    File::create(world.path("a/ünï cödé")).unwrap();
    assert_eq!(listed(&world.path("")), set(&["a"]));
    assert_eq!(listed(&world.path("a")), set(&["b", "ünï cödé"]));
    fs::remove_file(world.path("a/ünï cödé")).unwrap();
    fs::remove_dir(world.path("a/b")).unwrap();
    assert_eq!(listed(&world.path("a")), set(&[]));
    assert!(!world.path("a/b").exists());
}

#[test]
fn a_long_listing_is_complete_and_shows_each_name_once() {
    let world = World::new();
    let names: BTreeSet<String> = (0..3000).map(|n| format!("file with a rather long name {n:06}")).collect();
    names.iter().for_each(|name| drop(File::create(world.path(name)).unwrap()));
    let seen: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(seen.len(), names.len());
    assert!(seen.iter().all(|entry| entry.metadata().unwrap().ino() == rustix_ino(entry)));
    assert_eq!(listed(&world.path("")), names);
}

fn rustix_ino(entry: &fs::DirEntry) -> u64 {
    use std::os::unix::fs::DirEntryExt;
    entry.ino()
}

#[test]
fn names_that_are_removed_while_a_listing_is_read_hide_no_others() {
    let world = World::new();
    (0..2000).for_each(|n| drop(File::create(world.path(format!("{n:04}-{}", "x".repeat(100)))).unwrap()));
    let mut removed = 0;
    for entry in fs::read_dir(world.path("")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        removed += 1;
    }
    assert_eq!(removed, 2000);
    assert_eq!(listed(&world.path("")), set(&[]));
}

#[test]
fn dot_and_dot_dot_are_listed_with_their_inodes() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    let folder = File::open(world.path("a")).unwrap();
    let entries: Vec<_> = rustix::fs::Dir::read_from(&folder).unwrap().map(|entry| entry.unwrap()).collect();
    let ino =
        |name: &str| entries.iter().find(|e| e.file_name().to_bytes() == name.as_bytes()).unwrap().ino();
    assert_eq!(ino("."), fs::metadata(world.path("a")).unwrap().ino());
    assert_eq!(ino(".."), fs::metadata(world.path("")).unwrap().ino());
}

#[test]
fn a_folder_with_names_in_it_is_not_removed() {
    let world = World::new();
    fs::create_dir_all(world.path("a/b")).unwrap();
    assert_eq!(errno(fs::remove_dir(world.path("a"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::remove_file(world.path("a"))), libc::EISDIR);
    assert_eq!(errno(fs::create_dir(world.path("a"))), libc::EEXIST);
}

#[test]
fn what_a_path_goes_through_must_be_a_folder() {
    let world = World::new();
    File::create(world.path("f")).unwrap();
    assert_eq!(errno(File::open(world.path("f/x"))), libc::ENOTDIR);
    assert_eq!(errno(fs::remove_dir(world.path("f"))), libc::ENOTDIR);
    assert_eq!(errno(File::create(world.path("absent/x"))), libc::ENOENT);
}

#[test]
fn a_rename_takes_the_place_of_an_existing_file() {
    let world = World::new();
    world.write("new", b"new");
    world.write("old", b"old");
    world.rename("new", "old").unwrap();
    assert_eq!(fs::read(world.path("old")).unwrap(), b"new");
    assert_eq!(listed(&world.path("")), set(&["old"]));
}

#[test]
fn a_folder_is_renamed_with_all_that_is_below() {
    let world = World::with(&[("a/b/remote", b"far")]);
    world.write("a/b/local", b"near");
    fs::create_dir(world.path("c")).unwrap();
    world.rename("a", "c/d").unwrap();
    assert_eq!(fs::read(world.path("c/d/b/remote")).unwrap(), b"far");
    assert_eq!(fs::read(world.path("c/d/b/local")).unwrap(), b"near");
    assert_eq!(listed(&world.path("")), set(&["c"]));
    assert!(!world.path("a/b").exists());
}

#[test]
fn renames_that_cannot_be_are_refused() {
    let world = World::new();
    fs::create_dir_all(world.path("a/b")).unwrap();
    fs::create_dir_all(world.path("full/x")).unwrap();
    world.write("f", b"");
    assert_eq!(errno(world.rename("a", "a/b/c")), libc::EINVAL);
    assert_eq!(errno(world.rename("a", "full")), libc::ENOTEMPTY);
    assert_eq!(errno(world.rename("a", "f")), libc::ENOTDIR);
    assert_eq!(errno(world.rename("f", "a")), libc::EISDIR);
    assert_eq!(errno(world.rename("absent", "x")), libc::ENOENT);
    world.rename("f", "f").unwrap();
    world.rename("a/b", "a/b").unwrap();
}

#[test]
fn a_rename_that_must_not_replace_does_not() {
    let world = World::new();
    world.write("a", b"a");
    world.write("b", b"b");
    let rename = |to: &str, flags| renameat_with(CWD, world.path("a"), CWD, world.path(to), flags);
    assert_eq!(sys_errno(rename("b", RenameFlags::NOREPLACE)), libc::EEXIST);
    rename("c", RenameFlags::NOREPLACE).unwrap();
    assert_eq!(listed(&world.path("")), set(&["b", "c"]));
}

#[test]
fn two_names_are_exchanged_whatever_they_are() {
    let world = World::with(&[("far", b"remote"), ("d/in", b"below")]);
    world.write("near", b"local");
    fs::create_dir(world.path("e")).unwrap();
    world.write("e/other", b"of e");
    let exchange =
        |a: &str, b: &str| renameat_with(CWD, world.path(a), CWD, world.path(b), RenameFlags::EXCHANGE);
    exchange("far", "near").unwrap();
    exchange("d", "e").unwrap();
    let read = |name: &str| fs::read(world.path(name)).unwrap();
    assert_eq!((read("far"), read("near")), (b"local".to_vec(), b"remote".to_vec()));
    assert_eq!((read("e/in"), read("d/other")), (b"below".to_vec(), b"of e".to_vec()));
    exchange("d", "far").unwrap();
    assert_eq!((read("d"), read("far/other")), (b"local".to_vec(), b"of e".to_vec()));
    assert_eq!(sys_errno(exchange("far", "none")), libc::ENOENT);
    assert_eq!(sys_errno(exchange("far", "far/other")), libc::EINVAL);
    exchange("near", "near").unwrap();
    world.write(".lock", b"of this machine");
    assert_eq!(sys_errno(exchange("near", ".lock")), libc::EXDEV);
    let seen = world.seen_elsewhere();
    let bytes = |name: &str| seen[name].2.as_slice();
    assert_eq!(
        (bytes("d"), bytes("near"), bytes("far/other"), bytes("e/in")),
        (&b"local"[..], &b"remote"[..], &b"of e"[..], &b"below"[..])
    );
    assert_eq!(seen.len(), 6, "{:?}", seen.keys());
}

#[test]
fn a_symbolic_link_keeps_its_target_whatever_it_is() {
    let world = World::new();
    symlink("no such/ünï", world.path("l")).unwrap();
    assert_eq!(fs::read_link(world.path("l")).unwrap(), Path::new("no such/ünï"));
    assert_eq!(fs::symlink_metadata(world.path("l")).unwrap().len(), "no such/ünï".len() as u64);
    assert_eq!(errno(File::open(world.path("l"))), libc::ENOENT);
    world.write("f", b"through");
    fs::remove_file(world.path("l")).unwrap();
    symlink("f", world.path("l")).unwrap();
    assert_eq!(fs::read(world.path("l")).unwrap(), b"through");
}

#[test]
fn names_that_no_key_can_have_are_refused() {
    let world = World::new();
    let not_utf8 = world.path(OsStr::from_bytes(b"a\xff"));
    assert_eq!(errno(File::create(&not_utf8)), libc::EILSEQ);
    assert_eq!(errno(File::open(&not_utf8)), libc::ENOENT);
    assert_eq!(errno(symlink(OsStr::from_bytes(b"\xff"), world.path("l"))), libc::EILSEQ);
    assert_eq!(errno(File::create(world.path("x".repeat(256)))), libc::ENAMETOOLONG);
    assert_eq!(errno(File::open(world.path("x".repeat(256)))), libc::ENAMETOOLONG);
    File::create(world.path("x".repeat(255))).unwrap();
}

#[test]
fn a_key_of_more_than_1024_bytes_cannot_be_made() {
    let world = World::new();
    let deep = ["d".repeat(250), "d".repeat(250), "d".repeat(250), "d".repeat(250)].join("/");
    fs::create_dir_all(world.path(&deep)).unwrap();
    File::create(world.path(format!("{deep}/{}", "x".repeat(20)))).unwrap();
    assert_eq!(errno(File::create(world.path(format!("{deep}/{}", "x".repeat(21))))), libc::ENAMETOOLONG);
    world.write("f", b"");
    assert_eq!(errno(world.rename("f", &format!("{deep}/{}", "y".repeat(21)))), libc::ENAMETOOLONG);
}

#[test]
fn reserved_names_are_hidden_and_refused_at_the_root_only() {
    let world = World::new();
    for reserved in ["_index", "_control", ".datastore-index.json", ".push-queue.json"] {
        assert_eq!(errno(File::create(world.path(reserved))), libc::EPERM, "{reserved}");
        assert_eq!(errno(fs::create_dir(world.path(reserved))), libc::EPERM, "{reserved}");
        assert_eq!(errno(fs::metadata(world.path(reserved))), libc::ENOENT, "{reserved}");
    }
    world.write("f", b"");
    assert_eq!(errno(world.rename("f", "_control")), libc::EPERM);
    fs::create_dir_all(world.path("a/_control")).unwrap();
}

#[test]
fn pipes_sockets_and_devices_are_made_renamed_and_seen_elsewhere() {
    let world = World::new();
    let disk = makedev(259, 70_000);
    let kinds = [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("block", FileType::BlockDevice, disk),
        ("char", FileType::CharacterDevice, makedev(1, 3)),
    ];
    for (name, kind, device) in kinds {
        let make = || mknodat(CWD, world.path(name), kind, Mode::RUSR | Mode::WUSR, device);
        make().unwrap();
        assert_eq!(sys_errno(make()), libc::EEXIST);
        let meta = fs::symlink_metadata(world.path(name)).unwrap();
        assert_eq!(FileType::from_raw_mode(meta.mode()), kind, "{name}");
        assert_eq!((meta.mode() & 0o7777, meta.rdev(), meta.nlink()), (0o600, device, 1), "{name}");
        assert_eq!(FileType::from_raw_mode(fs::metadata(world.path(name)).unwrap().mode()), kind);
    }
    assert_eq!(errno(File::open(world.path("char"))), libc::EACCES, "devices of a mount open nothing");
    world.rename("fifo", "pipe").unwrap();
    fs::remove_file(world.path("socket")).unwrap();
    let seen = world.seen_elsewhere();
    let kind = |name: &str| seen.get(name).map(|(kind, mode, _)| (*kind, *mode));
    assert_eq!(kind("pipe"), Some((EntryKind::Special(Special::Fifo), 0o600)));
    let device = Device { major: 259, minor: 70_000 };
    assert_eq!(kind("block"), Some((EntryKind::Special(Special::Block(device)), 0o600)));
    assert_eq!((kind("fifo"), kind("socket")), (None, None));
    assert_eq!(fs::metadata(world.object("pipe")).unwrap().len(), 0);
}

#[test]
fn a_pipe_carries_bytes_between_programs() {
    let world = World::new();
    mknodat(CWD, world.path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(world.path("pipe")).unwrap());
        world.write("pipe", b"through the pipe");
        assert_eq!(reader.join().unwrap(), b"through the pipe");
    });
}

#[test]
fn a_folder_counts_the_folders_in_it() {
    let world = World::with(&[("far/a/x", b"1"), ("far/b/c/x", b"2")]);
    let links = |name: &str| fs::metadata(world.path(name)).unwrap().nlink();
    assert_eq!((links(""), links("far"), links("far/b")), (3, 4, 3));
    fs::create_dir_all(world.path("d/e")).unwrap();
    assert_eq!((links(""), links("d"), links("d/e")), (4, 3, 2));
    world.rename("d", "far/d").unwrap();
    assert_eq!((links(""), links("far"), links("far/d")), (3, 5, 3));
    fs::remove_dir(world.path("far/d/e")).unwrap();
    assert_eq!(links("far/d"), 2);
    world.publish(&[("far/a/x", b"1"), ("far/new/x", b"1")]);
    assert_eq!(links("far"), 6, "a, b, which its last file left empty, new, and d, which is ours");
}

#[test]
fn a_rename_is_a_change_of_the_file() {
    let world = World::new();
    world.write("f", b"");
    let changed = |name: &str| {
        let meta = fs::metadata(world.path(name)).unwrap();
        (meta.ctime(), meta.ctime_nsec())
    };
    let before = changed("f");
    world.rename("f", "g").unwrap();
    assert!(changed("g") > before);
}

#[test]
fn a_plain_file_can_be_made_as_a_node() {
    let world = World::new();
    let make = || mknodat(CWD, world.path("f"), FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0);
    make().unwrap();
    assert_eq!(sys_errno(make()), libc::EEXIST);
    world.write("f", b"bytes");
    let meta = fs::metadata(world.path("f")).unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o7777), (5, 0o600));
}

#[test]
fn a_machine_local_file_works_but_does_not_change_its_kind_by_a_rename() {
    let world = World::new();
    world.write(".lock", b"pid 7");
    assert_eq!(fs::read(world.path(".lock")).unwrap(), b"pid 7");
    world.write("f", b"");
    assert_eq!(
        errno(world.rename("f", "a.lock").and_then(|()| world.rename("a.lock", ".lock"))),
        libc::EXDEV
    );
    assert!(world.cache.watermark().is_dirty());
    fs::remove_file(world.path(".lock")).unwrap();
}
