//! Files that were changed here and elsewhere.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use crate::person::{Person, write, write_synced};
use crate::world::{QUIET, World, errno, read, sync};

/// Returns a bucket with the file `a.txt`, mounted here and elsewhere.
fn two_machines(flags: &[&str]) -> (World, Person) {
    let world = World::new(&[("a.txt", b"base")], &[&QUIET[..], flags].concat());
    let other = world.another(&QUIET);
    assert_eq!(read(world.path("a.txt")).unwrap(), b"base");
    (world, other)
}

/// Returns the only conflict that is listed.
fn conflict(world: &World) -> String {
    let listed = world.here.status()["conflicts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    listed[0].as_str().unwrap().to_owned()
}

/// Shows conflict-1.
#[test]
fn changed_here_and_elsewhere() {
    let (world, other) = two_machines(&[]);
    write_synced(other.mnt("a.txt"), b"theirs").unwrap();
    write(world.path("a.txt"), b"ours, longer");
    world.sync();
    assert_eq!(read(world.path("a.txt")).unwrap(), b"theirs");
    let kept = conflict(&world);
    assert!(kept.starts_with("a.conflict-") && kept.ends_with(".txt"), "{kept}");
    assert_eq!(read(world.path(&kept)).unwrap(), b"ours, longer");
    sync(&other);
    assert_eq!(read(other.mnt(&kept)).unwrap(), b"ours, longer");
    assert_eq!(world.object("a.txt").unwrap(), b"theirs");
}

/// Shows conflict-2.
#[test]
fn changed_here_and_removed_elsewhere() {
    let (world, other) = two_machines(&[]);
    fs::remove_file(other.mnt("a.txt")).unwrap();
    sync(&other);
    assert_eq!(world.object("a.txt"), None);
    write(world.path("a.txt"), b"ours");
    world.sync();
    assert_eq!(world.object("a.txt").unwrap(), b"ours");
    assert!(world.names("a.txt"));
    assert_eq!(world.here.status()["conflicts"].as_array().unwrap().len(), 0);
}

/// Shows conflict-3.
#[test]
fn removed_here_and_changed_elsewhere() {
    let (world, other) = two_machines(&[]);
    write_synced(other.mnt("a.txt"), b"theirs").unwrap();
    fs::remove_file(world.path("a.txt")).unwrap();
    world.sync();
    assert_eq!(read(world.path("a.txt")).unwrap(), b"theirs");
    assert_eq!(world.object("a.txt").unwrap(), b"theirs");
    assert!(world.names("a.txt"));
}

/// Shows conflict-4.
#[test]
fn made_here_and_elsewhere() {
    let (world, other) = two_machines(&[]);
    write(world.path("new"), b"ours");
    write_synced(other.mnt("new"), b"theirs").unwrap();
    world.sync();
    assert_eq!(read(world.path("new")).unwrap(), b"theirs");
    assert_eq!(read(world.path(&conflict(&world))).unwrap(), b"ours");
    world.server.put_object("bucket", "data/by-a-plain-client", "theirs");
    write(world.path("by-a-plain-client"), b"ours");
    world.sync();
    assert_eq!(read(world.path("by-a-plain-client")).unwrap(), b"theirs");
    let conflicts = world.here.status()["conflicts"].clone();
    let kept: Vec<_> = conflicts.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(kept.iter().all(|name| read(world.path(name)).unwrap() == b"ours"), "{kept:?}");
    assert_eq!(kept.len(), 2);
}

/// Shows conflict-6.
#[test]
fn written_here_after_others_replaced_or_removed_it() {
    let (world, other) = two_machines(&[]);
    write_synced(other.mnt("b.txt"), b"base").unwrap();
    world.sync();
    let open = |name| OpenOptions::new().append(true).open(world.path(name)).unwrap();
    let (mut replaced, mut removed) = (open("a.txt"), open("b.txt"));
    assert_eq!(read(world.path("b.txt")).unwrap(), b"base");
    write_synced(other.mnt("a.txt"), b"theirs").unwrap();
    fs::remove_file(other.mnt("b.txt")).unwrap();
    sync(&other);
    world.sync();
    assert_eq!(read(world.path("a.txt")).unwrap(), b"theirs");
    assert_eq!(errno(read(world.path("b.txt"))), libc::ENOENT);
    for file in [&mut replaced, &mut removed] {
        file.write_all(b", and ours").unwrap();
        file.sync_all().unwrap();
    }
    let kept = conflict(&world);
    assert!(kept.starts_with("a.conflict-") && kept.ends_with(".txt"), "{kept}");
    for name in [&*kept, "b.txt"] {
        assert_eq!(world.object(name).unwrap(), b"base, and ours", "{name}");
        assert_eq!(read(world.path(name)).unwrap(), b"base, and ours", "{name}");
        assert!(world.names(name));
    }
    assert_eq!(world.object("a.txt").unwrap(), b"theirs");
}

/// Shows conflict-7.
#[test]
fn written_here_beside_what_was_never_read_and_others_replaced() {
    let world = World::new(&[("a.txt", b"0123456789")], &QUIET);
    let other = world.another(&QUIET);
    let mut file = OpenOptions::new().write(true).open(world.path("a.txt")).unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    write_synced(other.mnt("a.txt"), b"theirs").unwrap();
    file.write_all(b"ours").unwrap();
    file.sync_all().unwrap();
    assert_eq!(world.object("a.txt").unwrap(), b"theirs");
    let kept = conflict(&world);
    assert_eq!(read(world.path(&kept)).unwrap(), b"\0\0\0\0ours\0\0");
    assert_eq!(world.object(&kept).unwrap(), b"\0\0\0\0ours\0\0");
}

/// Shows conflict-5.
#[test]
fn a_rule_for_conflicts_can_be_chosen() {
    for (rule, outcome) in [("fail", "theirs"), ("ours", "ours"), ("theirs", "theirs")] {
        let (world, other) = two_machines(&[&format!("--on-conflict={rule}")]);
        write_synced(other.mnt("a.txt"), b"theirs").unwrap();
        let synced = write_synced(world.path("a.txt"), b"ours");
        assert_eq!(world.object("a.txt").unwrap(), outcome.as_bytes(), "{rule}");
        assert_eq!(world.here.status()["conflicts"].as_array().unwrap().len(), 0, "{rule}");
        if rule == "fail" {
            assert_eq!(errno(synced), libc::ESTALE);
            assert_eq!(read(world.path("a.txt")).unwrap(), b"ours");
        } else {
            synced.unwrap();
            assert_eq!(read(world.path("a.txt")).unwrap(), outcome.as_bytes(), "{rule}");
        }
    }
}
