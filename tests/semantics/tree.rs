//! The tree: what is there, and what it costs to look at it.

use std::fs;
use std::process::Command;

use bayou_test_server::Op;

use crate::person::{wait_until, write, write_synced};
use crate::world::{BUSY, QUIET, World, errno, read, sync};

/// Shows tree-1.
#[test]
fn a_bucket_without_an_index_is_listed_once() {
    let world = World::new(&[("a", b"1"), ("b/c", b"2"), ("b/.lock", b"3")], &QUIET);
    assert!(world.names("a") && world.names("b/c") && !world.names("b/.lock"));
    let listings =
        || world.server.requests().into_iter().filter(|sent| sent.prefix.as_deref() == Some("data/")).count();
    assert_eq!(listings(), 1);
    world.server.reset_counts();
    let other = world.another(&QUIET);
    assert_eq!(read(other.mnt("b/c")).unwrap(), b"2");
    assert_eq!(listings(), 0);
    assert_eq!(world.sent(Op::PutObject, "").len(), 0);
}

/// Shows tree-2.
#[test]
fn an_empty_bucket_gets_no_index() {
    let world = World::new(&[], &QUIET);
    assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 0);
    world.here.umount().says(&[]);
    assert_eq!(world.index(), None);
    world.here.mount(crate::world::SOURCE, &QUIET);
    write(world.path("a"), b"x");
    world.here.umount().says(&[]);
    assert!(world.names("a"));
}

/// Shows tree-3.
#[test]
fn looking_around_sends_no_request() {
    let objects: Vec<(String, Vec<u8>)> =
        (0..100).map(|n| (format!("d{}/e/f{n}", n % 10), vec![b'x'; n])).collect();
    let objects: Vec<(&str, &[u8])> =
        objects.iter().map(|(key, body)| (key.as_str(), body.as_slice())).collect();
    let world = World::new(&objects, &QUIET);
    world.server.reset_counts();
    let script = "find . -type f -size +0 | wc -l; ls -lR > /dev/null; du -s --apparent-size . > /dev/null
        for name in none d1/none d1/e/none none/none; do test ! -e $name; done; stat d1/e/f1 > /dev/null";
    let mut looking = Command::new("bash");
    let output = looking.args(["-euc", script]).current_dir(world.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "99");
    assert_eq!(world.server.requests(), []);
}

/// Shows tree-4.
#[test]
fn what_others_publish_appears() {
    let world = World::new(&[("old", b"old"), ("gone", b"gone")], &BUSY);
    let other = world.another(&BUSY);
    let listed = || fs::read_dir(world.path("")).unwrap().count();
    assert_eq!((listed(), listed()), (2, 2));
    write(other.mnt("unheard of"), b"new");
    wait_until("a name that nobody asked for is listed", || listed() == 3);
    assert_eq!(read(world.path("old")).unwrap(), b"old");
    assert_eq!(errno(read(world.path("new/file"))), libc::ENOENT);
    assert!(world.path("gone").exists());
    fs::create_dir(other.mnt("new")).unwrap();
    write(other.mnt("new/file"), b"new");
    write(other.mnt("old"), b"changed");
    fs::remove_file(other.mnt("gone")).unwrap();
    wait_until("the new file is seen", || read(world.path("new/file")).is_ok_and(|bytes| bytes == b"new"));
    wait_until("the change is seen", || read(world.path("old")).is_ok_and(|bytes| bytes == b"changed"));
    wait_until("the removal is seen", || !world.path("gone").exists());
    write(world.path("old"), b"and back");
    wait_until("the answer is seen", || read(other.mnt("old")).is_ok_and(|bytes| bytes == b"and back"));
}

/// Shows tree-5.
#[test]
fn no_news_cost_one_head() {
    let world = World::new(&[("a", b"1")], &QUIET);
    world.server.reset_counts();
    world.here.run(&["sync", "--pull", &world.here.path("mnt")]).says(&["Pulled nothing new"]);
    let sent: Vec<Op> = world.server.requests().iter().map(|sent| sent.op).collect();
    assert_eq!(sent, [Op::HeadObject]);
}

/// Shows tree-6.
#[test]
fn a_name_stays_while_its_object_does() {
    let world = World::new(&[("a", b"1"), ("b", b"2")], &QUIET);
    assert!(world.path("a").exists());
    world.edit_index(|index| drop(index["entries"].as_object_mut().unwrap().remove("a")));
    let pull = || world.here.run(&["sync", "--pull", &world.here.path("mnt")]).says(&[]);
    pull();
    assert_eq!(read(world.path("a")).unwrap(), b"1");
    world.server.delete_object("bucket", "data/a");
    pull();
    assert!(!world.path("a").exists());
    assert!(world.path("b").exists());
}

/// Shows tree-9.
#[test]
fn internal_names_are_not_shown_and_cannot_be_made() {
    let world = World::new(&[("_control/x", b"1"), ("a", b"2"), (".push-queue.json", b"[]")], &QUIET);
    let names: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
    for name in ["_index", "_control", ".datastore-index.json", ".datastore.lock", ".push-queue.json"] {
        assert_eq!(errno(fs::File::create(world.path(name))), libc::EPERM, "{name}");
        assert_eq!(errno(fs::create_dir(world.path(name))), libc::EPERM, "{name}");
    }
    fs::create_dir(world.path("below")).unwrap();
    write(world.path("below/_index"), b"a name like any other");
    world.sync();
    assert!(world.names("below/_index"));
}

/// Shows tree-10.
#[test]
fn files_of_this_machine_stay_on_it() {
    let world = World::new(&[("a/b", b"1")], &QUIET);
    let names = ["a/.lock", ".namespace.json", "a/_catalog.db", "a/_catalog.db-wal"];
    for name in names {
        write_synced(world.path(name), b"ours").unwrap();
    }
    for name in ["a/.locked.yaml", "a/lock", "a/foo.lock"] {
        write(world.path(name), b"a name like any other");
    }
    sync(&world.here);
    for name in names {
        assert_eq!((world.object(name), world.names(name)), (None, false), "{name}");
    }
    assert!(world.names("a/.locked.yaml") && world.names("a/lock") && world.names("a/foo.lock"));
    world.here.umount().says(&[]);
    world.here.mount(crate::world::SOURCE, &QUIET);
    for name in names {
        assert_eq!(read(world.path(name)).unwrap(), b"ours", "{name}");
    }
}
