//! Without the bucket.

use std::fs;

use bayou::os::clock::{Clock, SystemClock};
use bayou_test_server::{Action, Fault, Op};

use crate::person::{wait_until, write, write_synced};
use crate::world::{QUIET, SOURCE, World, errno, read};

const IMPATIENT: [&str; 3] = ["--timeout=2s", "--refresh=500ms", "--write-back=500ms"];

/// Shows offline-1, offline-2, offline-3.
#[test]
fn what_is_here_goes_on_and_what_was_written_follows() {
    let world = World::new(&[("d/here", b"here"), ("d/far", b"far")], &IMPATIENT);
    assert_eq!(read(world.path("d/here")).unwrap(), b"here");
    let dead = world.server.fault(Fault::on_any(Action::Cut));
    wait_until("it is known to be offline", || world.here.status()["offline_since"].is_string());
    assert_eq!(fs::read_dir(world.path("d")).unwrap().count(), 2);
    assert_eq!(read(world.path("d/here")).unwrap(), b"here");
    let start = SystemClock.instant();
    assert_eq!(errno(read(world.path("d/far"))), libc::EIO);
    assert!(SystemClock.instant().duration_since(start).as_secs() < 20, "the read did not fail fast");
    let log = fs::read_to_string(world.here.cache().join("state/bayou.log")).unwrap();
    assert!(log.lines().any(|line| line.contains("d/far")), "{log}");
    write(world.path("d/here"), b"changed");
    write(world.path("d/new"), b"new");
    fs::remove_file(world.path("d/far")).unwrap();
    assert_eq!(read(world.path("d/here")).unwrap(), b"changed");
    assert_eq!(world.object("d/new"), None);
    dead.remove();
    wait_until("all is in the bucket", || world.names("d/new") && !world.names("d/far"));
    assert_eq!(world.object("d/here").unwrap(), b"changed");
    wait_until("it is online again", || world.here.status()["offline_since"].is_null());
}

/// Shows offline-1.
#[test]
fn a_server_that_fails_is_not_taken_for_an_empty_bucket() {
    for (op, status, code) in [
        (Op::HeadObject, 500, "InternalError"),
        (Op::GetObject, 503, "SlowDown"),
        (Op::HeadObject, 403, "AccessDenied"),
    ] {
        let world = World::new(&[("a", b"1")], &[&QUIET[..], &["--timeout=1s"]].concat());
        let refusal = bayou_test_server::Refusal::new(status, code);
        world.edit_index(|index| index["lastPulled"] = "2026-02-01T00:00:00.000Z".into());
        world.server.fault(Fault::on(op, Action::Refuse(refusal)));
        let said = world.here.run(&["sync", "--pull", &world.here.path("mnt")]);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(world.path("a").exists(), "{code}");
    }
}

/// Shows offline-4.
#[test]
fn a_known_bucket_is_mounted_without_it() {
    let world = World::new(&[("here", b"here"), ("far", b"far")], &IMPATIENT);
    assert_eq!(read(world.path("here")).unwrap(), b"here");
    world.here.umount().says(&[]);
    let dead = world.server.fault(Fault::on_any(Action::Cut));
    world.here.mount(SOURCE, &IMPATIENT);
    assert_eq!(read(world.path("here")).unwrap(), b"here");
    assert!(world.path("far").exists());
    write(world.path("new"), b"new");
    dead.remove();
    wait_until("what was written is in the bucket", || world.names("new"));
    assert_eq!(read(world.path("far")).unwrap(), b"far");
}

/// Shows offline-4.
#[test]
fn a_bucket_is_mounted_without_it_after_a_death_in_the_middle_of_a_flush() {
    let flags = [&QUIET[..], &["--timeout=2s"]].concat();
    let mut world = World::unmounted(&[("here", b"here")]);
    // The index names the file, and nothing here says so.
    world.here.set("BAYOU_CRASH_AT", "content-unmarked");
    world.here.mount(SOURCE, &flags);
    assert_eq!(read(world.path("here")).unwrap(), b"here");
    assert!(write_synced(world.path("new"), b"new").is_err(), "it dies");
    assert!(world.names("new"));
    world.here.set("BAYOU_CRASH_AT", "shard-deleted");
    let dead = world.server.fault(Fault::on_any(Action::Cut));
    world.here.mount(SOURCE, &flags);
    for name in ["here", "new"] {
        assert_eq!(read(world.path(name)).unwrap(), name.as_bytes());
    }
    dead.remove();
    world.here.run(&["sync", &world.here.path("mnt")]).says(&[]);
    assert_eq!(world.object("new").unwrap(), b"new");
}
