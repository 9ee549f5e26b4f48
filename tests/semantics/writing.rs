//! Writing: what is seen, what it waits for, and in which order it reaches the bucket.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;

use bayou_test_server::{Action, Fault, Gate, Op};

use crate::person::{write, write_synced};
use crate::world::{QUIET, World, noise, read};

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
