//! What is in the bucket and not here yet, and what others change there.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::errno;
use super::machine::CACHE_BYTES;
use super::world::World;

fn text(world: &World, name: &str) -> String {
    fs::read_to_string(world.path(name)).unwrap()
}

#[test]
fn looking_around_fetches_nothing() {
    let world = World::with(&[("a/b/c", b"one"), ("a/d", b"two")]);
    let mut seen = 0;
    let mut folders = vec![world.path("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            seen += 1;
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { folders.push(entry.path()) } else { assert_eq!(meta.len(), 3) }
        }
    }
    assert_eq!(seen, 4);
    assert_eq!(world.gets(), 0);
}

#[test]
fn bytes_are_fetched_when_they_are_read_and_only_once() {
    let world = World::with(&[("f", b"far bytes")]);
    assert_eq!(text(&world, "f"), "far bytes");
    assert_eq!(text(&world, "f"), "far bytes");
    assert_eq!(world.gets(), 1);
}

#[test]
fn a_large_file_is_fetched_where_it_is_read() {
    let bytes: Vec<u8> = (0..20u32 << 20).map(|n| (n >> 12) as u8).collect();
    let world = World::with(&[("f", &bytes)]);
    let file = File::open(world.path("f")).unwrap();
    let mut part = [0; 4096];
    file.read_exact_at(&mut part, 10 << 20).unwrap();
    assert_eq!(part, bytes[10 << 20..(10 << 20) + 4096]);
    assert!(fs::read(world.path("f")).unwrap() == bytes);
}

#[test]
fn a_write_into_an_absent_file_keeps_the_rest_of_it() {
    let world = World::with(&[("f", b"0123456789")]);
    let file = OpenOptions::new().write(true).open(world.path("f")).unwrap();
    file.write_all_at(b"XY", 4).unwrap();
    assert_eq!(world.gets(), 0);
    assert_eq!(text(&world, "f"), "0123XY6789");
}

#[test]
fn an_absent_file_is_cut_without_fetching_what_goes() {
    let world = World::with(&[("f", b"0123456789"), ("g", b"0123456789")]);
    let file = OpenOptions::new().write(true).open(world.path("f")).unwrap();
    file.set_len(4).unwrap();
    file.set_len(6).unwrap();
    assert_eq!(text(&world, "f"), "0123\0\0");
    world.write("g", b"new");
    assert_eq!(text(&world, "g"), "new");
    assert_eq!(world.gets(), 1);
}

#[test]
fn a_file_larger_than_the_cache_can_be_read() {
    let len = CACHE_BYTES as usize + (16 << 20);
    let bytes: Vec<u8> = (0..len).map(|n| (n >> 16) as u8).collect();
    let world = World::with(&[("small", b"first"), ("large", &bytes)]);
    assert_eq!(text(&world, "small"), "first");
    assert!(fs::read(world.path("large")).unwrap() == bytes);
    assert_eq!(text(&world, "small"), "first");
}

#[test]
fn what_others_write_is_seen_though_the_kernel_had_it() {
    let world = World::with(&[("a", b"one"), ("b", b"stays")]);
    assert_eq!(text(&world, "a"), "one");
    assert!(!world.path("new").exists());
    assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 2);
    world.publish(&[("a", b"second"), ("new", b"new")]);
    assert_eq!(text(&world, "a"), "second");
    assert_eq!(text(&world, "new"), "new");
    assert_eq!(errno(fs::metadata(world.path("b"))), libc::ENOENT);
    let names: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_listing_that_the_kernel_keeps_follows_others_though_nobody_asked_for_their_names() {
    let world = World::with(&[("d/a", b"one")]);
    let listed = || {
        let names = fs::read_dir(world.path("d")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(listed(), ["a"]);
    assert_eq!(listed(), ["a"]);
    world.publish(&[("d/a", b"one"), ("d/b", b"new"), ("d/e/f", b"new")]);
    assert_eq!(listed(), ["a", "b", "e"]);
    world.publish(&[("d/b", b"new"), ("d/c", b"newer"), ("d/e/f", b"new")]);
    assert_eq!(listed(), ["b", "c", "e"]);
}

#[test]
fn folders_that_others_make_are_seen_though_the_kernel_knew_of_none() {
    let world = World::with(&[("a", b"one")]);
    assert_eq!(errno(fs::metadata(world.path("new"))), libc::ENOENT);
    world.publish(&[("a", b"one"), ("new/below/f", b"new")]);
    assert_eq!(text(&world, "new/below/f"), "new");
}

#[test]
fn an_open_file_keeps_its_version_when_the_name_gets_another() {
    let world = World::with(&[("f", b"old bytes")]);
    let mut file = File::open(world.path("f")).unwrap();
    let mut first = [0; 3];
    file.read_exact(&mut first).unwrap();
    world.publish(&[("f", b"new bytes")]);
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " bytes");
    assert_eq!(text(&world, "f"), "new bytes");
    assert_ne!(file.metadata().unwrap().ino(), fs::metadata(world.path("f")).unwrap().ino());
}

#[test]
fn bytes_of_a_version_that_is_gone_are_stale() {
    let world = World::with(&[("f", b"old bytes")]);
    let mut file = File::open(world.path("f")).unwrap();
    world.publish(&[("f", b"new bytes")]);
    let mut all = Vec::new();
    assert_eq!(errno(file.read_to_end(&mut all)), libc::ESTALE);
}

#[test]
fn a_file_whose_object_is_missing_can_be_looked_at_but_not_read() {
    let world = World::with(&[("f", b"bytes")]);
    fs::remove_file(world.object("f")).unwrap();
    assert_eq!(fs::metadata(world.path("f")).unwrap().len(), 5);
    assert_eq!(errno(fs::read(world.path("f"))), libc::ESTALE);
}
