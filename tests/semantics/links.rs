//! Files with several names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bayou_test_server::Op;

use crate::person::{write, write_synced};
use crate::world::{QUIET, SOURCE, World, noise, read, sync};

fn is_one(names: &[&Path]) -> bool {
    let seen = |name: &&Path| fs::symlink_metadata(name).map(|meta| (meta.ino(), meta.nlink())).unwrap();
    names.iter().all(|name| seen(name) == (seen(&names[0]).0, names.len() as u64))
}

/// Shows tree-13.
#[test]
fn a_file_with_several_names_is_one_file_everywhere() {
    let world = World::new(&[("a", b"first"), ("d/x", b"")], &QUIET);
    let other = world.another(&QUIET);
    let (a, b) = (world.path("a"), world.path("d/b"));
    fs::hard_link(&a, &b).unwrap();
    assert!(is_one(&[&a, &b]));
    write(&b, b"through the second name");
    assert_eq!(read(a.clone()).unwrap(), b"through the second name");
    world.sync();
    for key in ["a", "d/b"] {
        assert_eq!(world.object(key).unwrap(), b"through the second name", "{key}");
    }
    sync(&other);
    assert!(is_one(&[&other.mnt("a"), &other.mnt("d/b")]));
    write_synced(other.mnt("a"), b"back").unwrap();
    sync(&world.here);
    assert_eq!((read(a.clone()).unwrap(), read(b.clone()).unwrap()), (b"back".to_vec(), b"back".to_vec()));
    world.here.umount().says(&[]);
    world.here.mount(SOURCE, &QUIET);
    assert!(is_one(&[&a, &b]));
    fs::remove_file(&a).unwrap();
    assert!(is_one(&[&b]));
    world.here.umount().says(&[]);
    assert_eq!((world.object("a"), world.object("d/b").unwrap()), (None, b"back".to_vec()));
    sync(&other);
    assert!(is_one(&[&other.mnt("d/b")]) && !other.mnt("a").exists());
}

/// Shows tree-14.
#[test]
fn the_content_of_a_file_with_several_names_is_sent_once() {
    let world = World::new(&[("x", b"")], &QUIET);
    let bytes = noise(3 << 20);
    write(world.path("a"), &bytes);
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    world.server.reset_counts();
    world.sync();
    let (sent, copied) = (
        world.sent(Op::PutObject, "a").len() + world.sent(Op::PutObject, "b").len(),
        world.server.count(Op::CopyObject),
    );
    assert_eq!((sent, copied), (1, 1));
    assert!(world.object("a").unwrap() == bytes && world.object("b").unwrap() == bytes);
    assert!(world.server.count(Op::GetObject) == 0 || world.sent(Op::GetObject, "a").is_empty());
}

/// Shows tree-15.
#[test]
fn a_name_that_others_replace_is_a_file_of_its_own() {
    let world = World::new(&[("a", b"ours")], &QUIET);
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    fs::hard_link(world.path("a"), world.path("c")).unwrap();
    world.sync();
    world.server.put_object("bucket", "data/b", b"theirs".to_vec());
    world.edit_index(|index| {
        index["entries"]["b"] =
            serde_json::json!({"key": "b", "size": 6, "lastModified": "2027-01-01T00:00:00.000Z"});
    });
    world.sync();
    assert!(is_one(&[&world.path("a"), &world.path("c")]) && is_one(&[&world.path("b")]));
    write(world.path("c"), b"ours again");
    world.sync();
    let seen = ["a", "b", "c"].map(|key| String::from_utf8(world.object(key).unwrap()).unwrap());
    assert_eq!(seen, ["ours again", "theirs", "ours again"]);
    assert_eq!(read(world.path("b")).unwrap(), b"theirs");
}

/// Shows part-6.
#[test]
fn a_mount_of_a_part_leaves_the_names_outside_of_it_alone() {
    let world = World::new(&[("d/a", b"both"), ("e/x", b"")], &QUIET);
    fs::hard_link(world.path("d/a"), world.path("d/b")).unwrap();
    fs::hard_link(world.path("d/a"), world.path("e/c")).unwrap();
    world.sync();
    let part = world.another(&[&QUIET[..], &["--under=d"]].concat());
    assert!(is_one(&[&part.mnt("d/a"), &part.mnt("d/b")]));
    write_synced(part.mnt("d/b"), b"changed").unwrap();
    world.sync();
    assert!(is_one(&[&world.path("d/a"), &world.path("d/b")]) && is_one(&[&world.path("e/c")]));
    assert_eq!(read(world.path("d/a")).unwrap(), b"changed");
    assert_eq!(read(world.path("e/c")).unwrap(), b"both");
}

/// Shows limit-7.
#[test]
fn a_large_file_without_a_hash_that_is_not_here_is_linked_here_only() {
    let world = World::new(&[("large", &noise(9 << 20)), ("small", &noise(1 << 20))], &QUIET);
    for name in ["large", "small"] {
        fs::hard_link(world.path(name), world.path(&format!("{name} 2"))).unwrap();
    }
    world.server.reset_counts();
    world.sync();
    assert_eq!(world.sent(Op::GetObject, "large").len(), 0, "it is not fetched for that");
    assert!(is_one(&[&world.path("large"), &world.path("large 2")]));
    let other = world.another(&QUIET);
    assert!(is_one(&[&other.mnt("small"), &other.mnt("small 2")]));
    assert!(is_one(&[&other.mnt("large")]) && is_one(&[&other.mnt("large 2")]));
    assert!(read(other.mnt("large 2")).unwrap() == noise(9 << 20));
}
