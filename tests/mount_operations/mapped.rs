//! Files that are lent and changed through a mapping, which nobody tells the mount of.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};

use super::lent::{MIB, are_equal, bytes_of, read_once, writable};
use super::mapping::{Descriptor, Mapping};
use super::world::World;

const STORED: usize = MIB + 123;

/// Returns when everything is pushed and nothing is watched any more.
fn settle(world: &World) {
    while !world.push() {
        std::thread::yield_now();
    }
}

/// A file that is lent to a reader, and mapped.
fn mapped(seed: u64, descriptor: Descriptor) -> (World, Vec<u8>, File, Mapping) {
    let bytes = bytes_of(seed, 2 * MIB);
    let world = read_once(&[("f", &bytes)]);
    let reader = File::open(world.path("f")).unwrap();
    let mapping = Mapping::of(&world.path("f"), descriptor);
    assert_eq!(world.passthrough.opens(), 2);
    (world, bytes, reader, mapping)
}

/// Shows write-3.
#[test]
fn what_is_stored_into_a_lent_file_reaches_the_bucket() {
    let (world, mut bytes, reader, mut mapping) = mapped(1, Descriptor::Open);
    for (value, is_synced) in [(1, true), (2, false), (3, false)] {
        mapping.store(STORED, value, 500);
        bytes[STORED..STORED + 500].fill(value);
        if is_synced {
            mapping.sync();
        }
        let mut part = vec![0; 500];
        reader.read_exact_at(&mut part, STORED as u64).unwrap();
        are_equal(&part, &bytes[STORED..STORED + 500]);
        assert!(!world.push(), "settled though it may be changed at any moment");
        are_equal(&world.published()["f"].2, &bytes);
    }
    drop((mapping, reader));
    settle(&world);
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
}

/// Shows write-3.
#[test]
fn what_is_stored_after_the_close_reaches_the_bucket() {
    let (world, mut bytes, reader, mut mapping) = mapped(2, Descriptor::Closed);
    drop(reader);
    assert!(!world.push());
    for value in 1..4 {
        // The same page again: the disk's filesystem hears of it only when it was written down.
        mapping.store(STORED, value, 500);
        mapping.store(STORED, value + 10, 500);
        bytes[STORED..STORED + 500].fill(value + 10);
        assert!(!world.push());
        are_equal(&world.published()["f"].2, &bytes);
        are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    }
    mapping.store(0, 99, 1);
    bytes[0] = 99;
    drop(mapping);
    settle(&world);
    are_equal(&world.published()["f"].2, &bytes);
}

#[test]
fn a_file_that_was_only_open_for_writing_is_not_sent() {
    let (world, bytes, reader, mapping) = mapped(3, Descriptor::Open);
    assert!(!world.push());
    assert!(world.cache.all_pending().is_empty());
    drop((mapping, reader));
    settle(&world);
    assert_eq!(world.puts("f"), 0);
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
}

#[test]
fn a_file_is_not_sent_again_though_it_stays_mapped() {
    let (world, mut bytes, reader, mut mapping) = mapped(4, Descriptor::Closed);
    drop(reader);
    mapping.store(0, 7, 10);
    bytes[..10].fill(7);
    for _ in 0..5 {
        assert!(!world.push());
        world.cache.durable_point().unwrap();
    }
    assert_eq!(world.puts("f"), 1);
    are_equal(&world.published()["f"].2, &bytes);
}

/// Shows write-1.
#[test]
fn stores_and_writes_to_one_file_both_count() {
    let (world, mut bytes, reader, mut mapping) = mapped(5, Descriptor::Open);
    let writer = writable(&world.path("f"));
    for n in 0..20 {
        let (store, write) = (n * 50_000, n * 50_000 + 4_000);
        mapping.store(store, n as u8, 300);
        writer.write_all_at(&[100 + n as u8; 300], write as u64).unwrap();
        bytes[store..store + 300].fill(n as u8);
        bytes[write..write + 300].fill(100 + n as u8);
        are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
        if n % 5 == 0 {
            world.push();
        }
    }
    drop((mapping, writer, reader));
    settle(&world);
    are_equal(&world.published()["f"].2, &bytes);
}

#[test]
fn what_may_be_changed_unseen_is_not_dropped() {
    let (world, bytes, reader, mapping) = mapped(6, Descriptor::Closed);
    drop(reader);
    assert_eq!(world.cache.evict(u64::MAX), 0);
    drop(mapping);
    while world.cache.evict(u64::MAX) == 0 {
        settle(&world);
    }
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
}

/// Shows conflict-6.
#[test]
fn a_store_into_a_file_that_others_replaced_is_kept_beside_it() {
    for descriptor in [Descriptor::Open, Descriptor::Closed] {
        let (world, mut bytes, reader, mut mapping) = mapped(7, descriptor);
        drop(reader);
        let theirs = bytes_of(8, MIB);
        world.publish(&[("f", &theirs)]);
        mapping.store(STORED, 5, 500);
        bytes[STORED..STORED + 500].fill(5);
        drop(mapping);
        settle(&world);
        let seen = world.published();
        are_equal(&seen["f"].2, &theirs);
        let kept: Vec<_> = seen.keys().filter(|name| name.contains(".conflict-")).collect();
        assert_eq!(kept.len(), 1, "{descriptor:?}: {:?}", seen.keys());
        are_equal(&seen[kept[0]].2, &bytes);
    }
}

#[test]
fn a_store_into_a_file_that_is_renamed_goes_with_it() {
    let (world, mut bytes, reader, mut mapping) = mapped(9, Descriptor::Closed);
    world.rename("f", "g").unwrap();
    world.push();
    mapping.store(STORED, 5, 500);
    bytes[STORED..STORED + 500].fill(5);
    drop((mapping, reader));
    settle(&world);
    let seen = world.published();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["g"]);
    are_equal(&seen["g"].2, &bytes);
}

#[test]
fn a_store_into_a_removed_file_is_nowhere() {
    let (world, _, reader, mut mapping) = mapped(10, Descriptor::Closed);
    fs::remove_file(world.path("f")).unwrap();
    mapping.store(STORED, 5, 500);
    drop((mapping, reader));
    settle(&world);
    assert!(world.published().is_empty());
}

#[test]
fn the_time_of_a_file_is_that_of_the_last_store() {
    let (world, _, reader, mut mapping) = mapped(11, Descriptor::Open);
    let before = reader.metadata().unwrap().modified().unwrap();
    mapping.store(STORED, 5, 500);
    world.cache.look_at_watched();
    let stored = world.cache.lookup(bayou::cache::ROOT, "f").unwrap().mtime;
    let before = before.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    assert!(stored as u128 > before, "{stored} is not after {before}");
}

#[test]
fn a_time_that_is_set_after_a_write_beside_readers_stays() {
    let (world, _, reader, mut mapping) = mapped(12, Descriptor::Open);
    let writer = writable(&world.path("f"));
    mapping.store(STORED, 5, 500);
    writer.write_all_at(b"written", 0).unwrap();
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    writer.set_modified(long_ago).unwrap();
    world.push();
    drop((mapping, writer, reader));
    settle(&world);
    assert_eq!(fs::metadata(world.path("f")).unwrap().modified().unwrap(), long_ago);
}
