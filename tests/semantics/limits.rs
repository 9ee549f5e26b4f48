//! What is not to be expected, and mounts that only read.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use bayou_test_server::{Action, Conditions, Fault, Gate, Op, Options, S3Server};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::person::{Person, write, write_synced};
use crate::world::{QUIET, SOURCE, World, errno, exchange, noise, read, sync};

/// Shows limit-1.
#[test]
fn locks_are_of_one_machine() {
    let world = World::new(&[("a", b"1")], &QUIET);
    let other = world.another(&QUIET);
    let first = File::open(world.path("a")).unwrap();
    first.try_lock().unwrap();
    assert!(File::open(world.path("a")).unwrap().try_lock().is_err());
    File::open(other.mnt("a")).unwrap().try_lock().unwrap();
}

/// Shows limit-2.
#[test]
fn access_times_and_times_of_directories_stay_here() {
    let world = World::new(&[("d/a", b"1")], &QUIET);
    let accessed = fs::metadata(world.path("d/a")).unwrap().atime();
    read(world.path("d/a")).unwrap();
    assert_eq!(fs::metadata(world.path("d/a")).unwrap().atime(), accessed);
    let past = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(world.path("d")).unwrap().set_modified(past).unwrap();
    File::open(world.path("d/a")).unwrap().set_times(FileTimes::new().set_accessed(past)).unwrap();
    world.here.umount().says(&[]);
    world.here.mount(SOURCE, &QUIET);
    let accessed = |path: &Path| fs::metadata(path).unwrap().accessed().unwrap();
    assert_eq!(accessed(&world.path("d/a")), past);
    File::open(world.path("d")).unwrap().set_modified(past).unwrap();
    assert_eq!(fs::metadata(world.path("d")).unwrap().modified().unwrap(), past);
    world.sync();
    let other = world.another(&QUIET);
    assert_ne!(fs::metadata(other.mnt("d")).unwrap().modified().unwrap(), past);
    assert_ne!(accessed(&other.mnt("d/a")), past);
}

/// Shows limit-3.
#[test]
fn devices_open_nothing() {
    let world = World::new(&[], &QUIET);
    mknodat(CWD, world.path("null"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).unwrap();
    assert_eq!(errno(File::open(world.path("null"))), libc::EACCES);
}

/// Shows limit-9.
#[test]
fn an_object_that_is_exchanged_is_ahead_of_the_index_for_a_moment() {
    let world = World::new(&[("a", b"1"), ("b", b"2")], &QUIET);
    let other = world.another(&QUIET);
    exchange(&world, "a", "b");
    let gate = Gate::new();
    world
        .server
        .fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("data/.datastore-index.json"));
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| world.sync());
        gate.wait_for_blocking(1);
        assert_eq!(fs::read(other.mnt("a")).unwrap(), b"2");
        gate.open();
        syncing.join().unwrap();
    });
    other.umount().says(&[]);
}

/// Shows limit-10.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn where_copies_have_no_conditions_what_is_renamed_is_sent_again() {
    let conditions = Conditions::IgnoredOnWrites;
    let server = S3Server::start(Options { conditions, ..Options::default() });
    server.put_object("bucket", "data/d/f", noise(2 << 20));
    let person = Person::at(&server);
    person.mount(SOURCE, &QUIET);
    server.reset_counts();
    fs::rename(person.mnt("d"), person.mnt("e")).unwrap();
    sync(&person);
    assert_eq!(server.count(Op::CopyObject), 0);
    assert_eq!(server.object("bucket", "data/e/f").unwrap().body, noise(2 << 20));
    assert!(server.object("bucket", "data/d/f").is_none());
    person.umount().says(&[]);
}

/// Shows limit-8.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn between_shards_a_renamed_file_has_both_names_for_a_moment() {
    let server = S3Server::start(Options::default());
    let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/swamp/bucket-v2");
    put_all(&server, &shown, &shown);
    let person = Person::at(&server);
    person.mount(SOURCE, &QUIET);
    write_synced(person.mnt("audit/new"), b"moves").unwrap();
    let names = |shard: &str, key: &str| {
        let stored = server.object("bucket", &format!("data/_index/{shard}.json"));
        let stored = stored.map(|stored| serde_json::from_slice::<serde_json::Value>(&stored.body).unwrap());
        stored.is_some_and(|shard| shard["entries"][key].is_object())
    };
    fs::create_dir_all(person.mnt("logs")).unwrap();
    fs::rename(person.mnt("audit/new"), person.mnt("logs/new")).unwrap();
    let (new, old) = (Gate::new(), Gate::new());
    for (gate, key) in [(&new, "data/_index/logs.json"), (&old, "data/_index/audit.json")] {
        server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(key));
    }
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| sync(&person));
        new.wait_for_blocking(1);
        let other = Person::at(&server);
        other.mount(SOURCE, &QUIET);
        assert_eq!(read(other.mnt("audit/new")).unwrap(), b"moves");
        assert_eq!(old.arrived(), 0, "the old name waits until the new one is there");
        new.open();
        old.wait_for_blocking(1);
        assert!(names("logs", "logs/new") && names("audit", "audit/new"));
        old.open();
        syncing.join().unwrap();
        other.umount().says(&[]);
    });
    assert!(names("logs", "logs/new") && !names("audit", "audit/new"));
    person.umount().says(&[]);
}

/// Shows limit-4.
#[test]
fn names_are_utf8_and_not_too_long() {
    let world = World::new(&[], &QUIET);
    let create = |name: &Path| File::create(world.path("").join(name));
    assert_eq!(errno(create(Path::new(OsStr::from_bytes(b"a\xff")))), libc::EILSEQ);
    assert_eq!(errno(create(Path::new(&"n".repeat(256)))), libc::ENAMETOOLONG);
    let folders: String = (0..4).map(|n| format!("{n}{}/", "d".repeat(199))).collect();
    fs::create_dir_all(world.path(&folders)).unwrap();
    let fits = format!("{folders}{}", "f".repeat(1024 - "data/".len() - folders.len()));
    create(Path::new(&fits)).unwrap();
    assert_eq!(errno(create(Path::new(&format!("{fits}f")))), libc::ENAMETOOLONG);
    write(world.path(&fits), b"ours");
    world.sync();
    assert!(world.names(&fits));
    let other = world.another(&QUIET);
    write_synced(other.mnt(&fits), b"theirs").unwrap();
    write(world.path(&fits), b"ours again");
    world.sync();
    let kept = world.here.status()["conflicts"][0].as_str().unwrap().to_owned();
    assert_eq!(read(world.path(&kept)).unwrap(), b"ours again", "the copy of a long name fits, too");
    assert!(world.names(&kept));
}

/// Shows limit-5.
#[test]
fn a_sync_of_everything_does_not_reach_the_bucket() {
    let world = World::new(&[], &QUIET);
    write(world.path("a"), b"bytes");
    rustix::fs::syncfs(File::open(world.path("")).unwrap()).unwrap();
    assert_eq!(world.object("a"), None);
    sync(&world.here);
    assert_eq!(world.object("a").unwrap(), b"bytes");
}

/// Shows limit-6.
#[test]
fn a_bucket_with_shards_is_written_and_what_has_no_shard_is_kept_beside() {
    let server = S3Server::start(Options::default());
    let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/swamp/bucket-v2");
    put_all(&server, &shown, &shown);
    let person = Person::at(&server);
    person.mount(SOURCE, &QUIET);
    assert!(fs::read_dir(person.mnt("")).unwrap().count() > 0);
    fs::create_dir(person.mnt("src")).unwrap();
    for (path, bytes) in [("audit/new", "sharded"), ("src/main.rs", "beside")] {
        write_synced(person.mnt(path), bytes.as_bytes()).unwrap();
    }
    let document = |key: &str| {
        let stored = server.object("bucket", &format!("data/{key}")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&stored.body).unwrap()
    };
    assert!(document("_index/audit.json")["entries"]["audit/new"].is_object());
    assert!(document("_control/bayou/index.json")["entries"]["src/main.rs"].is_object());
    assert_eq!(document("_index/_meta.json")["commitSeq"], 44);
    person.umount().says(&[]);
    let other = Person::at(&server);
    other.mount(SOURCE, &QUIET);
    assert_eq!(fs::read(other.mnt("src/main.rs")).unwrap(), b"beside");
    other.umount().says(&[]);
}

fn put_all(server: &S3Server, root: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            put_all(server, root, &path);
        } else {
            let key = path.strip_prefix(root).unwrap().to_str().unwrap();
            server.put_object("bucket", &format!("data/{key}"), fs::read(&path).unwrap());
        }
    }
}

/// Shows readonly-1.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn a_mount_that_only_reads_writes_nothing() {
    let world = World::new(&[("a", b"1"), ("d/b", b"2")], &["--read-only", "--refresh=500ms"]);
    assert_eq!(read(world.path("d/b")).unwrap(), b"2");
    let path = |name: &str| world.path(name);
    for outcome in [
        File::create(path("new")).map(drop),
        OpenOptions::new().append(true).open(path("a")).map(drop),
        fs::remove_file(path("a")),
        fs::create_dir(path("e")),
        fs::rename(path("a"), path("c")),
        symlink("a", path("link")),
        fs::set_permissions(path("a"), Permissions::from_mode(0o600)),
    ] {
        assert_eq!(errno(outcome), libc::EROFS);
    }
    let other = world.another(&QUIET);
    assert_eq!(
        world.writes().iter().filter(|sent| sent.key.contains("index.json")).count(),
        1,
        "the other's"
    );
    write_synced(other.mnt("d/b"), b"news").unwrap();
    crate::person::wait_until("the news are seen", || read(path("d/b")).is_ok_and(|bytes| bytes == b"news"));
    drop(other);
    world.server.reset_counts();
    world.here.umount().says(&[]);
    assert_eq!(world.writes(), []);
}
