//! What the kernel keeps it does not ask for again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::setup::{Setup, Use};
use super::world::World;

const FOLDERS: usize = 5;
const FILES: usize = 20;

/// Mounts a bucket with folders of small files.
fn a_tree(use_of_it: Use) -> World {
    let world = World::of(Setup { use_of_it, ..Setup::default() });
    let names: Vec<String> = (0..FOLDERS * FILES).map(|n| format!("{}/{n}", n % FOLDERS)).collect();
    world.publish(&names.iter().map(|name| (&**name, &b"small"[..])).collect::<Vec<_>>());
    world
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

/// Lists all folders, and asks for the size of every file.
fn visit(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.metadata().unwrap().is_dir() {
            visit(&entry.path());
        }
    }
}

fn read_all(world: &World) {
    for n in 0..FOLDERS * FILES {
        let mut file = File::open(world.path(format!("{}/{n}", n % FOLDERS))).unwrap();
        let mut bytes = [0; 5];
        file.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"small");
    }
}

/// Shows tree-16.
#[test]
fn a_tree_that_was_visited_is_not_asked_for_again() {
    let world = a_tree(Use::Everything);
    let first = world.asked_for(|| visit(&world.path("")));
    assert!(first["readdirplus"] <= 4 * (FOLDERS as u64 + 1), "{first:?}");
    assert!(first.get("lookup").is_none_or(|&count| count <= (FOLDERS * FILES) as u64), "{first:?}");
    let mut again = world.asked_for(|| visit(&world.path("")));
    // The time at which a folder was read is asked for, once for each.
    assert!(again.remove("getattr").is_none_or(|count| count <= FOLDERS as u64 + 1), "{again:?}");
    assert_eq!(again, BTreeMap::new());
    let absent = || drop(fs::metadata(world.path("0/absent")).unwrap_err());
    assert_eq!(world.asked_for(absent), counts(&[("lookup", 1)]));
    assert_eq!(world.asked_for(absent), BTreeMap::new());
}

/// Shows tree-16.
#[test]
fn a_small_file_that_was_read_is_only_opened_again() {
    let world = a_tree(Use::Everything);
    read_all(&world);
    let again = world.asked_for(|| read_all(&world));
    assert_eq!(again, counts(&[("open", (FOLDERS * FILES) as u64)]));
}

/// Shows readonly-3.
#[test]
fn on_a_read_only_mount_what_was_read_is_not_even_opened_again() {
    let world = a_tree(Use::Reading);
    let first = world.asked_for(|| read_all(&world));
    let once = |kind: &str| first.get(kind).is_none_or(|&count| count <= 1);
    assert!(once("open") && once("flush"), "{first:?}");
    assert_eq!(world.asked_for(|| read_all(&world)), BTreeMap::new());
}

/// Shows readonly-3.
#[test]
fn on_a_read_only_mount_an_open_file_outlives_its_replacement() {
    let world = World::of(Setup { use_of_it: Use::Reading, ..Setup::default() });
    world.publish(&[("f", b"the old one"), ("g", b"is removed")]);
    let open = ["f", "g"].map(|name| File::open(world.path(name)).unwrap());
    for name in ["f", "g"] {
        fs::read(world.path(name)).unwrap();
    }
    world.publish(&[("f", b"the newer one")]);
    for (file, expected) in open.iter().zip([&b"the old one"[..], b"is removed"]) {
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let mut bytes = vec![0; expected.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, expected);
    }
    assert_eq!(fs::read(world.path("f")).unwrap(), b"the newer one");
    drop(open);
    // What nobody has open any more the kernel forgets, and so do we.
    while world.cache.local_bytes() > b"the newer one".len() as u64 {
        std::thread::yield_now();
    }
    assert_eq!(fs::read(world.path("f")).unwrap(), b"the newer one");
}

#[test]
fn a_write_is_one_request() {
    let world = World::new();
    let file = File::create(world.path("f")).unwrap();
    // Bytes that are not in memory yet when they are copied are a request of their own.
    let page = vec![1; 4096];
    file.write_all_at(&page, 0).unwrap();
    let asked = world.asked_for(|| (1..20).for_each(|n| file.write_all_at(&page, n * 4096).unwrap()));
    assert_eq!(asked, counts(&[("write", 19)]));
}

#[test]
fn a_close_that_waits_for_nothing_is_not_reported() {
    let world = World::new();
    let write = || File::create(world.path("f")).unwrap().write_all_at(b"x", 0).unwrap();
    let asked = world.asked_for(write);
    assert_eq!((asked["create"], asked["write"], asked.get("flush")), (1, 1, None), "{asked:?}");
    // What may have been mapped is handed over by the close.
    let open = || File::options().read(true).write(true).open(world.path("f")).unwrap();
    assert_eq!(world.asked_for(|| drop(open()))["flush"], 1);
}

/// Shows read-10.
#[test]
fn what_is_lent_is_read_without_a_request() {
    let world = World::new();
    world.publish(&[("f", &vec![7; 3 << 20])]);
    fs::read(world.path("f")).unwrap();
    world.until_closed("f");
    let file = File::open(world.path("f")).unwrap();
    let asked = world.asked_for(|| {
        let mut bytes = vec![0; 4096];
        (0..700).for_each(|n| file.read_exact_at(&mut bytes, n * 4096).unwrap());
    });
    assert_eq!(asked, BTreeMap::new());
}
