//! fsync: when it returns, what it costs, and what it says when it cannot.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use crate::person::{wait_until, write, write_synced};
use crate::world::{QUIET, SOURCE, World, errno, read};

/// Shows fsync-1.
#[test]
fn bytes_are_in_the_bucket_and_named_when_fsync_returns() {
    let world = World::new(&[], &QUIET);
    fs::create_dir(world.path("d")).unwrap();
    for text in [&b"first"[..], b"second, and longer", b""] {
        write_synced(world.path("d/a"), text).unwrap();
        assert_eq!(world.object("d/a").unwrap(), text);
        let index = world.index().unwrap();
        assert_eq!(index["entries"]["d/a"]["size"], text.len());
    }
}

/// Shows fsync-2.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn names_are_in_the_index_when_fsync_of_their_directory_returns() {
    let world = World::new(&[("d/old", b"1"), ("d/gone", b"2")], &QUIET);
    fs::rename(world.path("d/old"), world.path("d/new")).unwrap();
    fs::remove_file(world.path("d/gone")).unwrap();
    write(world.path("d/made"), b"3");
    symlink("made", world.path("d/link")).unwrap();
    File::open(world.path("d")).unwrap().sync_all().unwrap();
    let named = ["d/new", "d/made", "d/link", "d/old", "d/gone"].map(|key| world.names(key));
    assert_eq!(named, [true, true, true, false, false]);
    assert_eq!(world.object("d/new").unwrap(), b"1");
}

/// Shows fsync-3.
#[test]
fn programs_that_fsync_together_share_the_index() {
    let world = World::new(&[("first", b"1")], &QUIET);
    let gate = Gate::new();
    world.server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("index.json"));
    world.server.reset_counts();
    const PROGRAMS: usize = 64;
    std::thread::scope(|scope| {
        let world = &world;
        let name = |n: usize| format!("f{n}");
        let writers: Vec<_> = (0..PROGRAMS)
            .map(|n| scope.spawn(move || write_synced(world.path(&name(n)), b"bytes")))
            .collect();
        gate.wait_for_blocking(1);
        let arrived = || (0..PROGRAMS).filter(|n| world.object(&name(*n)).is_some()).count();
        wait_until("all files are uploaded", || arrived() == PROGRAMS);
        gate.open();
        writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
    });
    assert!((0..PROGRAMS).all(|n| world.names(&format!("f{n}"))));
    let commits = world.sent(Op::PutObject, "").len();
    assert!(commits <= 3, "{commits} commits of {PROGRAMS} files");
}

/// Shows fsync-4.
#[test]
fn an_upload_that_fails_is_an_error_and_nothing_is_lost() {
    let world = World::new(&[], &[&QUIET[..], &["--timeout=2s"]].concat());
    let fails = Action::Refuse(Refusal::internal_error());
    let fault = world.server.fault(Fault::on(Op::PutObject, fails).key("data/a"));
    write(world.path("a"), b"kept");
    let file = File::options().write(true).open(world.path("a")).unwrap();
    assert_eq!(errno(file.sync_all()), libc::EIO);
    assert_eq!(world.here.status()["dirty"]["files"], 1);
    assert_eq!(read(world.path("a")).unwrap(), b"kept");
    fault.remove();
    file.sync_all().unwrap();
    assert_eq!(world.object("a").unwrap(), b"kept");
    assert!(world.names("a"));
}

/// Shows fsync-5, readonly-2.
#[test]
fn an_upload_that_is_refused_makes_the_mount_read_only_and_nothing_is_lost() {
    let world = World::new(&[], &QUIET);
    let refused = Action::Refuse(Refusal::access_denied());
    let fault = world.server.fault(Fault::on_writes(refused));
    write(world.path("other"), b"kept, too");
    assert_eq!(errno(write_synced(world.path("a"), b"kept")), libc::EACCES);
    assert_eq!(errno(File::create(world.path("new"))), libc::EROFS);
    assert_eq!(world.here.status()["dirty"]["files"], 2);
    assert_eq!(read(world.path("a")).unwrap(), b"kept");
    world.here.umount().fails_with(5, &["2 files (13 bytes)"]);
    fault.remove();
    world.here.mount(SOURCE, &QUIET);
    world.here.umount().says(&["Flushed 2 files"]);
    assert_eq!(world.object("a").unwrap(), b"kept");
}

/// Shows fsync-6.
#[test]
fn an_upload_without_progress_is_given_up() {
    let world = World::new(&[], &[&QUIET[..], &["--timeout=1s"]].concat());
    let fault = world.server.fault(Fault::on(Op::PutObject, Action::Stall).key("data/a"));
    assert_eq!(errno(write_synced(world.path("a"), b"kept")), libc::EIO);
    assert!(fault.fired() > 0);
    assert_eq!(world.here.status()["dirty"]["files"], 1);
    fault.remove();
    world.sync();
    assert_eq!(world.object("a").unwrap(), b"kept");
}

/// Shows fsync-7.
#[test]
fn a_local_fsync_sends_no_request() {
    let world = World::new(&[("b", b"1")], &[&QUIET[..], &["--fsync=local"]].concat());
    world.server.reset_counts();
    write_synced(world.path("a"), b"bytes").unwrap();
    File::open(world.path("")).unwrap().sync_all().unwrap();
    assert_eq!(world.server.requests(), []);
    assert_eq!(world.object("a"), None);
    world.here.umount().says(&["Flushed 1 file"]);
    assert_eq!(world.object("a").unwrap(), b"bytes");
}
