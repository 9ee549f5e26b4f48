//! When bytes are in the bucket: fsync of files and folders, close, and what they tell.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

use bayou::fs::front::{CloseMode, FsyncMode};

use super::errno;
use super::world::World;

const INDEX: &str = ".datastore-index.json";

fn index(world: &World) -> String {
    fs::read_to_string(world.object(INDEX)).unwrap_or_default()
}

fn names(world: &World, key: &str) -> bool {
    index(world).contains(&format!("{key:?}"))
}

#[test]
fn a_file_that_was_fsynced_is_in_the_bucket_under_its_key_and_in_the_index() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    let mut file = File::create(world.path("a/f")).unwrap();
    file.write_all(b"bytes").unwrap();
    assert!(!world.object("a/f").exists());
    file.sync_all().unwrap();
    assert_eq!(fs::read(world.object("a/f")).unwrap(), b"bytes");
    assert!(names(&world, "a/f"), "{}", index(&world));
    file.write_all(b" and more").unwrap();
    file.sync_data().unwrap();
    assert_eq!(fs::read(world.object("a/f")).unwrap(), b"bytes and more");
}

#[test]
fn a_folder_that_was_fsynced_has_its_names_in_the_index() {
    let world = World::with(&[("a/old", b"1"), ("a/gone", b"2")]);
    fs::remove_file(world.path("a/gone")).unwrap();
    world.rename("a/old", "a/new").unwrap();
    symlink("new", world.path("a/link")).unwrap();
    File::open(world.path("a")).unwrap().sync_all().unwrap();
    assert!(names(&world, "a/new") && names(&world, "a/link"), "{}", index(&world));
    assert!(!names(&world, "a/old") && !names(&world, "a/gone"), "{}", index(&world));
    assert!(!world.object("a/gone").exists());
}

#[test]
fn a_folder_that_was_fsynced_has_let_go_of_what_was_renamed_to_another_folder() {
    let world = World::with(&[("a/old", b"1"), ("b/x", b"2")]);
    world.rename("a/old", "b/new").unwrap();
    File::open(world.path("a")).unwrap().sync_all().unwrap();
    assert!(names(&world, "b/new") && !names(&world, "a/old"), "{}", index(&world));
    assert_eq!(fs::read(world.object("b/new")).unwrap(), b"1");
}

#[test]
fn close_returns_at_once_unless_it_was_asked_to_flush() {
    let lazy = World::mounted(CloseMode::Returns, FsyncMode::Remote);
    lazy.write("f", b"bytes");
    assert!(!lazy.object("f").exists());
    let eager = World::mounted(CloseMode::Flushes, FsyncMode::Remote);
    eager.write("f", b"bytes");
    assert_eq!(fs::read(eager.object("f")).unwrap(), b"bytes");
    assert!(names(&eager, "f"));
}

#[test]
fn a_local_fsync_asks_the_bucket_for_nothing() {
    let world = World::mounted(CloseMode::Returns, FsyncMode::Local);
    let mut file = File::create(world.path("f")).unwrap();
    file.write_all(b"bytes").unwrap();
    file.sync_all().unwrap();
    File::open(world.path("")).unwrap().sync_all().unwrap();
    assert!(!world.object("f").exists());
    assert!(!world.object(INDEX).exists());
}

#[test]
fn an_fsync_that_cannot_reach_the_bucket_fails_and_the_file_stays_dirty() {
    let world = World::new();
    let mut file = File::create(world.path("f")).unwrap();
    file.write_all(b"bytes").unwrap();
    fs::remove_dir(world.object("")).unwrap();
    assert_eq!(errno(file.sync_all()), libc::EIO);
    assert_eq!(fs::read(world.path("f")).unwrap(), b"bytes");
    assert!(!world.cache.nothing_pending());
    fs::create_dir(world.object("")).unwrap();
}

#[test]
fn what_is_dirty_is_pushed_to_make_room_for_more() {
    let world = World::new();
    let block = vec![7; 8 << 20];
    for n in 0..12 {
        world.write(&format!("f{n}"), &block);
    }
    for n in 0..12 {
        assert!(fs::read(world.path(format!("f{n}"))).unwrap() == block, "f{n} differs");
    }
}

#[test]
fn a_cache_that_is_full_of_changes_keeps_none_of_them_from_the_bucket() {
    let world = World::with(&[("large", &[1; 8 << 20])]);
    let block = vec![7; 8 << 20];
    for n in 0..7 {
        world.write(&format!("f{n}"), &block);
    }
    let mut large = File::options().append(true).open(world.path("large")).unwrap();
    large.write_all(b"more").unwrap();
    large.sync_all().unwrap();
    assert_eq!(fs::metadata(world.object("large")).unwrap().len(), (8 << 20) + 4);
}
