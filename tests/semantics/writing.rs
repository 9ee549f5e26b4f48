//! Writing: what is seen, what it waits for, and in which order it reaches the bucket.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use bayou_test_server::{Action, Fault, Gate, Op};

use crate::person::{write, write_synced};
use crate::world::{QUIET, World, exchange, noise, read};

/// Shows write-1.
#[test]
fn a_write_is_seen_at_once() {
    let world = World::new(&[("a", b"old bytes")], &QUIET);
    let reader = File::open(world.path("a")).unwrap();
    let writer = OpenOptions::new().write(true).open(world.path("a")).unwrap();
    writer.write_all_at(b"new", 0).unwrap();
    let mut part = [0; 9];
    reader.read_exact_at(&mut part, 0).unwrap();
    assert_eq!(&part, b"new bytes");
    let output = Command::new("cat").arg(world.path("a")).output().unwrap();
    assert_eq!(output.stdout, b"new bytes");
}

/// Shows write-2.
#[test]
fn a_write_does_not_wait_for_the_bucket() {
    let mut bytes = noise(6 << 20);
    let world = World::new(&[("far", &bytes)], &QUIET);
    let gate = Gate::new();
    let held = world.server.fault(Fault::on_any(Action::Hold(gate.clone())));
    write(world.path("new"), b"new");
    let file = OpenOptions::new().write(true).open(world.path("far")).unwrap();
    file.write_all_at(b"changed", 3_000_001).unwrap();
    file.write_all_at(b"end", 6 << 20).unwrap();
    drop(file);
    fs::create_dir(world.path("folder")).unwrap();
    assert_eq!(fs::metadata(world.path("far")).unwrap().len(), (6 << 20) + 3);
    held.remove();
    gate.open();
    world.sync();
    bytes[3_000_001..3_000_008].copy_from_slice(b"changed");
    bytes.extend_from_slice(b"end");
    assert!(world.object("far").unwrap() == bytes);
    assert!(read(world.path("far")).unwrap() == bytes);
}

/// Shows write-5.
#[test]
fn objects_come_before_their_names_and_go_after_them() {
    let world = World::new(&[], &QUIET);
    let gate = Gate::new();
    let held = world.server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("index.json"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_synced(world.path("a"), b"bytes"));
        gate.wait_for_blocking(1);
        assert_eq!((world.object("a").unwrap(), world.names("a")), (b"bytes".to_vec(), false));
        gate.open();
        writer.join().unwrap().unwrap();
    });
    assert!(world.names("a"));
    held.remove();
    let gate = Gate::new();
    world.server.fault(Fault::on(Op::DeleteObject, Action::Hold(gate.clone())).key("data/a"));
    fs::remove_file(world.path("a")).unwrap();
    std::thread::scope(|scope| {
        let syncer = scope.spawn(|| world.sync());
        gate.wait_for_blocking(1);
        assert!(!world.names("a") && world.object("a").is_some());
        gate.open();
        syncer.join().unwrap();
    });
    assert_eq!(world.object("a"), None);
}

/// Shows write-6.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn a_renamed_directory_is_copied_in_the_bucket() {
    let objects: Vec<(String, Vec<u8>)> =
        (0..10).map(|n| (format!("from/d/{n}"), vec![b'x'; n + 1])).collect();
    let objects: Vec<(&str, &[u8])> =
        objects.iter().map(|(key, body)| (key.as_str(), body.as_slice())).collect();
    let world = World::new(&objects, &QUIET);
    world.server.reset_counts();
    fs::rename(world.path("from"), world.path("to")).unwrap();
    world.sync();
    for n in 0..10 {
        assert!(world.names(&format!("to/d/{n}")) && !world.names(&format!("from/d/{n}")));
        assert_eq!(world.object(&format!("to/d/{n}")).unwrap(), vec![b'x'; n + 1]);
        assert_eq!(world.object(&format!("from/d/{n}")), None);
    }
    assert_eq!(world.server.count(Op::CopyObject), 10);
    let requests = world.server.requests();
    let written: Vec<_> =
        requests.iter().filter(|one| one.op == Op::PutObject).map(|one| &*one.key).collect();
    assert_eq!(written, ["data/.datastore.lock", "data/.datastore-index.json"], "one commit names them all");
}

/// Shows write-6.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn a_renamed_directory_asks_nothing_and_is_published_whole() {
    let large = noise(2 << 20);
    let world = World::new(&[("from/a", &large), ("from/b", b"small"), ("from/c/d", b"deep")], &QUIET);
    world.server.reset_counts();
    fs::rename(world.path("from"), world.path("to")).unwrap();
    assert_eq!(world.server.requests().len(), 0);
    // What is not on this machine is not opened for reading here either.
    File::open(world.path("to/b")).unwrap().sync_all().unwrap();
    for (old, new) in [("from/a", "to/a"), ("from/b", "to/b"), ("from/c/d", "to/c/d")] {
        assert!(world.names(new) && !world.names(old));
        assert!(world.sent(Op::GetObject, old).is_empty() && world.sent(Op::GetObject, new).is_empty());
    }
    assert_eq!(world.object("to/a").unwrap(), large);
}

/// Shows write-8.
#[test]
fn exchanged_names_are_exchanged_everywhere() {
    let world = World::new(&[("a", b"1"), ("d/b", b"2"), ("d/c", b"3")], &QUIET);
    fs::set_permissions(world.path("d"), Permissions::from_mode(0o750)).unwrap();
    exchange(&world, "a", "d");
    assert_eq!(read(world.path("d")).unwrap(), b"1");
    assert_eq!(read(world.path("a/c")).unwrap(), b"3");
    File::open(world.path("d")).unwrap().sync_all().unwrap();
    assert!(world.names("d") && world.names("a/b") && world.names("a/c"));
    assert!(!world.names("a") && !world.names("d/b") && !world.names("d/c"));
    let other = world.another(&QUIET);
    assert_eq!(read(other.mnt("d")).unwrap(), b"1");
    assert_eq!(read(other.mnt("a/b")).unwrap(), b"2");
    assert_eq!(fs::metadata(other.mnt("a")).unwrap().permissions().mode() & 0o777, 0o750);
    other.umount().says(&[]);
}

/// Shows write-9.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn names_that_follow_each_other_in_a_circle_are_copied_and_never_fetched() {
    let bodies: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 1 << 20]).collect();
    let world =
        World::new(&[("a", &bodies[0]), ("b", &bodies[1]), ("c", &bodies[2]), ("d", &bodies[3])], &QUIET);
    world.server.reset_counts();
    for (from, to) in [("c", "t"), ("b", "c"), ("a", "b"), ("t", "a"), ("d", "e")] {
        fs::rename(world.path(from), world.path(to)).unwrap();
    }
    world.sync();
    for (name, body) in [("a", 2), ("b", 0), ("c", 1), ("e", 3)] {
        assert!(world.object(name).unwrap() == bodies[body], "{name}");
        assert!(world.sent(Op::GetObject, name).is_empty());
    }
    assert_eq!(world.object("d"), None);
    assert!(!world.server.keys("bucket").iter().any(|key| key.contains("_control/bayou/tmp/")));
}

/// Shows write-11.
#[test]
fn of_an_edited_large_file_the_bucket_copies_what_was_not_changed() {
    let mut bytes = noise(24 << 20);
    let world = World::new(&[("far", &bytes)], &QUIET);
    let file = OpenOptions::new().write(true).open(world.path("far")).unwrap();
    file.write_all_at(b"!", 9 << 20).unwrap();
    bytes[9 << 20] = b'!';
    file.sync_all().unwrap();
    assert!(world.object("far").unwrap() == bytes);
    let sent: u64 = world.sent(Op::UploadPart, "far").iter().map(|sent| sent.bytes_in).sum();
    assert!(sent <= 8 << 20, "{sent} bytes were sent");
    let fetched: u64 = world.sent(Op::GetObject, "far").iter().map(|sent| sent.bytes_out).sum();
    assert!(fetched <= 8 << 20, "{fetched} bytes were fetched");
    assert!(read(world.path("far")).unwrap() == bytes);
}

/// Shows write-13.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn a_large_file_is_sent_while_it_is_written() {
    let world = World::new(&[], &QUIET);
    let bytes = noise(40 << 20);
    for (name, end) in [("kept", "kept"), ("renamed", "elsewhere")] {
        let file = OpenOptions::new().write(true).create_new(true).open(world.path(name)).unwrap();
        for (at, some) in (0u64..).step_by(1 << 20).zip(bytes.chunks(1 << 20)) {
            file.write_all_at(some, at).unwrap();
        }
        while world.sent(Op::UploadPart, name).len() < 5 {
            std::thread::yield_now();
        }
        assert_eq!(world.object(name), None);
        fs::rename(world.path(name), world.path(end)).unwrap();
        file.sync_all().unwrap();
        assert!(world.object(end).unwrap() == bytes);
    }
    write(world.path("removed"), &bytes);
    fs::remove_file(world.path("removed")).unwrap();
    world.sync();
    assert_eq!(world.object("removed"), None);
    assert_eq!(world.server.uploads("bucket"), [""; 0]);
}
