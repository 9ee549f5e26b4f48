//! Large files that are here and clean are read by the kernel itself.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, copy_file_range, fadvise};
use rustix::io::Errno;

use super::mapping::{Descriptor, Mapping};
use super::setup::Setup;
use super::world::{Step, World};

pub(crate) const MIB: usize = 1 << 20;

/// Returns bytes of which no two windows are the same.
pub(crate) fn bytes_of(seed: u64, len: usize) -> Vec<u8> {
    let words = (0..len as u64 / 8).map(|n| (n ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// Checks bytes without printing them.
#[track_caller]
pub(crate) fn are_equal(found: &[u8], expected: &[u8]) {
    if found != expected {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        panic!("{} of {} bytes, differs at {differs:?}", found.len(), expected.len());
    }
}

/// Mounts a bucket with these files, and reads each once: they are here then.
pub(crate) fn read_once(files: &[(&str, &[u8])]) -> World {
    let world = World::with(files);
    for (name, bytes) in files {
        are_equal(&fs::read(world.path(name)).unwrap(), bytes);
        world.until_closed(name);
    }
    world
}

pub(crate) fn writable(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Returns what `sendfile` sends of a file.
pub(crate) fn sent(file: &File, from: u64, len: usize) -> rustix::io::Result<Vec<u8>> {
    let (mut target, mut at) = (tempfile::tempfile().unwrap(), from);
    while at < from + len as u64 {
        let left = len - (at - from) as usize;
        if rustix::fs::sendfile(&target, file, Some(&mut at), left)? == 0 {
            break;
        }
    }
    let mut sent = Vec::new();
    target.rewind().unwrap();
    target.read_to_end(&mut sent).unwrap();
    Ok(sent)
}

/// Returns whether this is how kernels tell a program that it must read itself.
pub(crate) fn is_refusal(failed: Errno) -> bool {
    failed == Errno::INVAL || failed == Errno::IO
}

/// Shows read-10.
#[test]
fn a_large_file_that_is_here_is_lent_from_its_second_opening_on() {
    let bytes = bytes_of(1, 3 * MIB);
    let world = World::with(&[("f", &bytes)]);
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    assert_eq!(world.passthrough.opens(), 0);
    let fetched = world.gets();
    world.until_closed("f");
    let (one, two) = (File::open(world.path("f")).unwrap(), File::open(world.path("f")).unwrap());
    let mut part = vec![0; 4096];
    for (file, at) in [(&one, 0), (&two, MIB), (&one, 3 * MIB - 4096)] {
        file.read_exact_at(&mut part, at as u64).unwrap();
        are_equal(&part, &bytes[at..at + 4096]);
    }
    drop((one, two));
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    assert_eq!(world.passthrough.opens(), 3);
    assert_eq!(world.gets(), fetched);
}

#[test]
fn what_is_small_or_changed_or_kept_open_otherwise_is_not_lent() {
    let (small, large) = (bytes_of(2, MIB - 8), bytes_of(3, MIB));
    let world = read_once(&[("small", &small), ("changed", &large), ("open", &large)]);
    writable(&world.path("changed")).write_all_at(b"x", 0).unwrap();
    world.until_closed("changed");
    let kept = writable(&world.path("open"));
    for name in ["small", "changed", "open"] {
        fs::read(world.path(name)).unwrap();
    }
    world.until_closed("changed");
    assert_eq!(world.passthrough.opens(), 0);
    drop(kept);
    world.until_closed("open");
    world.sync_now(Step::Push);
    are_equal(&fs::read(world.path("changed")).unwrap()[1..], &large[1..]);
    assert_eq!(world.passthrough.opens(), 1);
}

#[test]
fn a_file_that_is_not_all_here_is_not_lent() {
    let bytes = bytes_of(4, 12 * MIB);
    let world = World::with(&[("f", &bytes)]);
    let mut part = vec![0; 4096];
    for at in [0, 8 * MIB] {
        File::open(world.path("f")).unwrap().read_exact_at(&mut part, at as u64).unwrap();
        are_equal(&part, &bytes[at..at + 4096]);
        world.until_closed("f");
    }
    assert_eq!(world.passthrough.opens(), 0);
}

#[test]
fn a_cache_whose_disk_does_not_tell_of_stores_is_not_lent_from() {
    let bytes = bytes_of(5, 2 * MIB);
    let world = World::of(Setup { disk: "/dev/shm".into(), ..Setup::default() });
    world.publish(&[("f", &bytes)]);
    for _ in 0..3 {
        are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
        world.until_closed("f");
    }
    assert_eq!(world.passthrough.opens(), 0);
    assert!(world.passthrough.off_reason().unwrap().contains("not on ext4"));
}

/// Shows read-7.
#[test]
fn a_file_is_not_dropped_while_it_is_lent() {
    let bytes = bytes_of(6, 2 * MIB);
    let world = read_once(&[("f", &bytes), ("g", &bytes)]);
    let (mut lent, fetched) = (File::open(world.path("f")).unwrap(), world.gets());
    assert_eq!(world.cache.evict(u64::MAX), 2 * MIB as u64);
    let mut read = Vec::new();
    lent.read_to_end(&mut read).unwrap();
    are_equal(&read, &bytes);
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    assert_eq!(world.gets(), fetched);
    drop(lent);
    while world.cache.evict(u64::MAX) == 0 {
        std::thread::yield_now();
    }
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    assert!(world.gets() > fetched);
}

/// Shows write-10.
#[test]
fn at_most_half_of_the_cache_is_lent() {
    let bytes = bytes_of(13, 3 * MIB);
    let world = World::tight(12 << 20, &[("f", &bytes), ("g", &bytes), ("h", &bytes)]);
    for name in ["f", "g", "h"] {
        fs::read(world.path(name)).unwrap();
        world.until_closed(name);
    }
    let mut open: Vec<_> = ["f", "g", "h", "h"].map(|name| File::open(world.path(name)).unwrap()).into();
    assert_eq!(world.passthrough.opens(), 2);
    // The last two are none of the kernel's business, and there is room for what is written.
    world.write("large", &bytes_of(14, 8 * MIB));
    are_equal(&world.seen_elsewhere()["large"].2, &bytes_of(14, 8 * MIB));
    open.clear();
    world.until_closed("h");
    assert!(fs::read(world.path("f")).unwrap() == bytes && world.passthrough.opens() == 3);
}

/// Shows write-12.
#[test]
fn what_may_be_stored_into_unseen_is_lent_though_half_of_the_cache_is() {
    let mut bytes = bytes_of(16, 3 * MIB);
    let world = World::tight(16 << 20, &[("f", &bytes), ("g", &bytes_of(17, 6 * MIB))]);
    for name in ["f", "g"] {
        fs::read(world.path(name)).unwrap();
        world.until_closed(name);
    }
    let reader = File::open(world.path("f")).unwrap();
    let mut mapping = Mapping::of(&world.path("f"), Descriptor::Closed);
    drop(reader);
    world.until_closed("f");
    let _other = File::open(world.path("g")).unwrap();
    assert_eq!(world.passthrough.opens(), 3);
    let again = File::open(world.path("f")).unwrap();
    assert_eq!(world.passthrough.opens(), 4);
    for value in [1, 2] {
        mapping.store(MIB, value, 8192);
        bytes[MIB..MIB + 8192].fill(value);
        are_equal(&sent(&again, MIB as u64, 8192).unwrap(), &bytes[MIB..MIB + 8192]);
    }
}

/// Shows read-4.
#[test]
fn who_has_a_replaced_file_lent_goes_on_with_its_version() {
    let (old, new) = (bytes_of(7, 2 * MIB), bytes_of(8, 3 * MIB));
    let world = read_once(&[("f", &old)]);
    let mut lent = File::open(world.path("f")).unwrap();
    world.publish(&[("f", &new)]);
    for _ in 0..2 {
        are_equal(&fs::read(world.path("f")).unwrap(), &new);
        world.until_closed("f");
    }
    let mut read = Vec::new();
    lent.read_to_end(&mut read).unwrap();
    are_equal(&read, &old);
    assert_eq!(world.passthrough.opens(), 2);
}

#[test]
fn a_lent_file_lives_on_when_it_is_removed_or_replaced_here() {
    let (first, second) = (bytes_of(9, 2 * MIB), bytes_of(10, 2 * MIB));
    let world = read_once(&[("f", &first), ("g", &second)]);
    let [mut one, mut two] = ["f", "g"].map(|name| File::open(world.path(name)).unwrap());
    world.rename("g", "f").unwrap();
    fs::remove_file(world.path("f")).unwrap();
    for (file, bytes) in [(&mut one, &first), (&mut two, &second)] {
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        are_equal(&read, bytes);
    }
    assert_eq!(world.passthrough.opens(), 2);
    drop((one, two));
    assert!(world.seen_elsewhere().is_empty());
}

/// Shows write-1.
#[test]
fn who_reads_a_lent_file_sees_each_write_at_once() {
    let mut bytes = bytes_of(11, 2 * MIB);
    let world = read_once(&[("f", &bytes)]);
    let reader = File::open(world.path("f")).unwrap();
    let writer = writable(&world.path("f"));
    let mut part = vec![0; 100];
    for at in [0, 4000, MIB, 2 * MIB - 100] {
        writer.write_all_at(&[at as u8; 100], at as u64).unwrap();
        bytes[at..at + 100].fill(at as u8);
        for file in [&reader, &writer] {
            file.read_exact_at(&mut part, at as u64).unwrap();
            are_equal(&part, &bytes[at..at + 100]);
        }
    }
    OpenOptions::new().append(true).open(world.path("f")).unwrap().write_all(b"more").unwrap();
    bytes.extend(b"more");
    assert_eq!(reader.metadata().unwrap().len(), bytes.len() as u64);
    writer.set_len(MIB as u64).unwrap();
    bytes.truncate(MIB);
    assert_eq!(reader.metadata().unwrap().len(), MIB as u64);
    assert_eq!(reader.read_at(&mut part, MIB as u64).unwrap(), 0);
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    drop(writer);
    are_equal(&fs::read(world.path("f")).unwrap(), &bytes);
    world.push();
    are_equal(&world.published()["f"].2, &bytes);
}

/// Shows write-12.
#[test]
fn what_is_stored_into_a_lent_file_is_what_is_sent_and_copied_of_it() {
    let mut bytes = bytes_of(15, 2 * MIB);
    let world = read_once(&[("f", &bytes)]);
    let reader = File::open(world.path("f")).unwrap();
    let writer = writable(&world.path("f"));
    let copy = File::create(world.path("copy")).unwrap();
    let mut mapping = Mapping::of(&world.path("f"), Descriptor::Open);
    for value in [1, 2, 3] {
        fadvise(&reader, MIB as u64, NonZeroU64::new(8192), Advice::WillNeed).unwrap();
        mapping.store(MIB, value, 8192);
        bytes[MIB..MIB + 8192].fill(value);
        are_equal(&sent(&reader, MIB as u64, 8192).unwrap(), &bytes[MIB..MIB + 8192]);
        // A kernel that would keep these pages, and not hear of the next store, is refused.
        match sent(&writer, MIB as u64, 8192) {
            Ok(sent) => are_equal(&sent, &bytes[MIB..MIB + 8192]),
            Err(refused) => assert!(is_refusal(refused), "{refused}"),
        }
        let (mut at, mut to) = (MIB as u64, 0);
        while to < 8192 {
            let left = 8192 - to as usize;
            assert!(copy_file_range(&writer, Some(&mut at), &copy, Some(&mut to), left).unwrap() > 0);
        }
        are_equal(&fs::read(world.path("copy")).unwrap(), &bytes[MIB..MIB + 8192]);
    }
    drop((reader, writer, mapping));
    while !world.push() {
        std::thread::yield_now();
    }
    are_equal(&world.published()["f"].2, &bytes);
}

#[test]
fn a_lent_file_may_be_emptied_by_its_opening() {
    let world = read_once(&[("f", &bytes_of(12, 2 * MIB))]);
    let reader = File::open(world.path("f")).unwrap();
    world.write("f", b"a new beginning");
    let mut part = [0; 5];
    reader.read_exact_at(&mut part, 2).unwrap();
    assert_eq!(&part, b"new b");
    assert_eq!(reader.metadata().unwrap().len(), 15);
    world.push();
    assert_eq!(world.published()["f"].2, b"a new beginning");
}
