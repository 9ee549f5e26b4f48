//! Mounts that show a part of a bucket: a namespace, or what is below a path.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use bayou::model::content_hash::ContentHash;
use bayou_test_server::{Options, S3Server};
use serde_json::json;

use crate::person::{Person, wait_until, write, write_synced};
use crate::world::{BUSY, QUIET, SOURCE, World, errno, read, sync};

/// Returns everything in the bucket but what is below a prefix.
fn others(server: &S3Server, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let keys = server.keys("bucket").into_iter().filter(|key| !key.starts_with(prefix));
    keys.map(|key| (key.clone(), server.object("bucket", &key).unwrap().body.to_vec())).collect()
}

/// Shows part-1.
#[test]
fn a_namespace_is_all_that_its_mount_knows_of() {
    let server = S3Server::start(Options::default());
    for (key, body) in [
        ("data/infra/.namespace.json", "{}"),
        ("data/infra/notes/a", "of infra"),
        ("data/team-b/.namespace.json", "{}"),
        ("data/team-b/notes/a", "of team-b"),
        ("data/notes/a", "of nobody"),
    ] {
        server.put_object("bucket", key, body);
    }
    let before = others(&server, "data/infra/");
    let person = Person::at(&server);
    person.mount(SOURCE, &["--namespace=infra", "--write-back=1h", "--refresh=0"]);
    assert_eq!(person.status()["namespace"], "infra");
    let names = || fs::read_dir(person.mnt("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names().collect::<Vec<_>>(), ["notes"]);
    assert_eq!(read(person.mnt("notes/a")).unwrap(), b"of infra");
    write_synced(person.mnt("notes/b"), b"new").unwrap();
    fs::remove_file(person.mnt("notes/a")).unwrap();
    person.umount().says(&[]);
    assert_eq!(&*server.object("bucket", "data/infra/notes/b").unwrap().body, b"new");
    assert!(server.object("bucket", "data/infra/notes/a").is_none());
    assert_eq!(others(&server, "data/infra/"), before);
}

#[test]
fn a_path_in_a_namespace_has_room_for_what_stands_before_it() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--namespace=infra", "--write-back=1h", "--refresh=0"]);
    let folders: String = (0..4).map(|n| format!("{n}{}/", "d".repeat(199))).collect();
    fs::create_dir_all(person.mnt(&folders)).unwrap();
    let fits = format!("{folders}{}", "f".repeat(1024 - "data/infra/".len() - folders.len()));
    assert_eq!(errno(File::create(person.mnt(&format!("{fits}f")))), libc::ENAMETOOLONG);
    write_synced(person.mnt(&fits), b"x").unwrap();
    assert!(server.object("bucket", &format!("data/infra/{fits}")).is_some());
}

/// Shows part-2.
#[test]
fn content_outside_of_a_namespace_counts_only_if_it_is_the_entry_s() {
    let server = S3Server::start(Options::default());
    let entry =
        |body: &str| json!({"size": body.len(), "sha256": ContentHash::of(body.as_bytes()).to_string()});
    let entries = json!({"same": entry("left behind"), "other": entry("left behind")});
    let index = json!({"version": 1, "lastPulled": "2026-08-01T09:31:12.500Z", "entries": entries});
    server.put_object("bucket", "data/infra/.datastore-index.json", index.to_string());
    server.put_object("bucket", "data/same", "left behind");
    server.put_object("bucket", "data/other", "LEFT BEHIND");
    let person = Person::at(&server);
    person.mount(SOURCE, &["--namespace=infra", "--write-back=1h", "--refresh=0"]);
    assert_eq!(read(person.mnt("same")).unwrap(), b"left behind");
    errno(read(person.mnt("other")));
}

/// Shows part-3.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn below_a_path_is_all_that_can_be_seen_and_changed() {
    let objects: [(&str, &[u8]); 4] =
        [("top", b"1"), ("notes/here/a", b"2"), ("notes/b", b"3"), ("notes/hereafter", b"4")];
    let mut world = World::new(&objects, &QUIET);
    world.here.umount().says(&[]);
    world.here = Person::at(&world.server);
    world.here.mount(SOURCE, &["--under=notes/here/", "--write-back=1h", "--refresh=0"]);
    assert_eq!(world.here.status()["under"], "notes/here");
    let path = |name: &str| world.path(name);
    let listed = |name: &str| fs::read_dir(path(name)).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(listed("").collect::<Vec<_>>(), ["notes"]);
    assert_eq!(listed("notes").collect::<Vec<_>>(), ["here"]);
    for outcome in [
        File::create(path("new")).map(drop),
        File::create(path("notes/b")).map(drop),
        File::create(path("notes/.lock")).map(drop),
        fs::create_dir(path("notes/folder")),
        symlink("a", path("notes/link")),
        fs::rename(path("notes/here/a"), path("notes/a")),
        fs::rename(path("notes/here"), path("notes/there")),
        fs::rename(path("notes"), path("papers")),
        fs::set_permissions(path("notes"), Permissions::from_mode(0o700)),
    ] {
        assert_eq!(errno(outcome), libc::EPERM);
    }
    write(path("notes/here/new"), b"5");
    fs::rename(path("notes/here/a"), path("notes/here/renamed")).unwrap();
    fs::remove_file(path("notes/here/renamed")).unwrap();
    fs::remove_file(path("notes/here/new")).unwrap();
    fs::remove_dir(path("notes/here")).unwrap();
    assert_eq!(errno(fs::remove_dir(path("notes"))), libc::EPERM);
    fs::create_dir(path("notes/here")).unwrap();
    write(path("notes/here/last"), b"6");
    world.sync();
    assert_eq!(world.here.status()["state"], "clean");
    for key in ["top", "notes/b", "notes/hereafter", "notes/here/last"] {
        assert!(world.names(key) && world.object(key).is_some(), "{key}");
    }
    assert!(!world.names("notes/here/a") && world.object("notes/here/a").is_none());
}

/// Shows part-4.
#[test]
fn a_mount_of_a_part_and_one_of_the_whole_see_each_other() {
    let world = World::new(&[("notes/a", b"old"), ("b", b"old")], &BUSY);
    let part = Person::at(&world.server);
    part.mount(SOURCE, &["--under=notes", "--write-back=500ms", "--refresh=500ms"]);
    write(part.mnt("notes/a"), b"from the part");
    wait_until("the part is seen", || read(world.path("notes/a")).is_ok_and(|it| it == b"from the part"));
    write(world.path("notes/c"), b"from the whole");
    write(world.path("d"), b"not of the part");
    wait_until("the whole is seen", || read(part.mnt("notes/c")).is_ok_and(|it| it == b"from the whole"));
    sync(&world.here);
    sync(&part);
    assert!(world.names("d"));
    assert_eq!(errno(read(part.mnt("d"))), libc::ENOENT);
    fs::remove_file(world.path("notes/a")).unwrap();
    wait_until("the removal is seen", || !part.mnt("notes/a").exists());
}

/// Shows part-5.
#[test]
fn a_sync_of_a_part_leaves_the_rest_and_claims_nothing_of_it() {
    let world = World::new(&[], &QUIET);
    for path in ["notes", "else", "data", "data/t", "data/t/m", "data/t/n"] {
        fs::create_dir(world.path(path)).unwrap();
    }
    for path in ["notes/a", "else/b", "data/t/m/c", "data/t/n/d"] {
        write(world.path(path), path.as_bytes());
    }
    let mnt = world.here.path("mnt");
    let said = world.here.run(&["sync", &mnt, "--under", "notes", "--model", "t/m"]);
    said.says(&["Pushed 2 files", "Only t/m, notes was looked at; the rest stays as it is"]);
    assert!(!said.out.contains("the same"), "{said:?}");
    assert!(world.names("notes/a") && world.names("data/t/m/c"));
    assert!(!world.names("else/b") && !world.names("data/t/n/d"));
    assert_eq!(world.here.status()["state"], "dirty");
    let inside = world.path("else");
    let said = world.here.run(&["sync", "--json", &mnt, "--under", inside.to_str().unwrap()]);
    let summary: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&summary["scope"], &summary["in_sync"]), (&json!(["else"]), &json!(false)));
    assert!(world.names("else/b") && !world.names("data/t/n/d"));
    world.here.run(&["sync", &mnt]).says(&["Both sides are the same"]);
    assert!(world.names("data/t/n/d"));
}
