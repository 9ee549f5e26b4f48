//! Files that the cache has no room for, open and larger than it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use super::errno;
use super::world::{Step, World};

const MIB: u64 = 1 << 20;
/// Room for two parts of an upload.
const CACHE_BYTES: u64 = 16 * MIB;

/// Returns bytes of which no two windows are the same.
fn bytes_of(seed: u64, len: u64) -> Vec<u8> {
    let words = (0..len / 8).map(|n| (n ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// Checks bytes without printing them.
#[track_caller]
fn are_equal(found: &[u8], expected: &[u8]) {
    if found != expected {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        panic!("{} of {} bytes, differs at {differs:?}", found.len(), expected.len());
    }
}

/// Shows write-10.
#[test]
fn a_file_larger_than_the_cache_is_written_and_read() {
    let world = World::tight(CACHE_BYTES, &[]);
    let bytes = bytes_of(1, 2 * CACHE_BYTES + 5 * MIB);
    let mut file = File::create(world.path("large")).unwrap();
    for part in bytes.chunks(1 << 20) {
        file.write_all(part).unwrap();
        assert!(world.cache.local_bytes() <= CACHE_BYTES, "{}", world.cache.local_bytes());
    }
    let moved = world.cache.moved();
    assert!(moved.evictions > 0, "{moved:?}");
    assert_eq!(moved.fetched_bytes, 0, "what the bucket has of it is not fetched to send the rest");
    are_equal(&fs::read(world.path("large")).unwrap(), &bytes);
    drop(file);
    are_equal(&world.seen_elsewhere()["large"].2, &bytes);
    assert!(world.cache.local_bytes() <= CACHE_BYTES, "{}", world.cache.local_bytes());
}

/// Shows write-10.
#[test]
fn a_file_larger_than_the_cache_is_changed_anywhere() {
    let mut bytes = bytes_of(2, 2 * CACHE_BYTES);
    let world = World::tight(CACHE_BYTES, &[("large", &bytes)]);
    let file = OpenOptions::new().read(true).write(true).open(world.path("large")).unwrap();
    let change = bytes_of(3, 4 * MIB);
    for n in 0..8 {
        let (at, len) = ((n * 3 * MIB + 12_345) as usize, (n * MIB / 2) as usize + 100);
        file.write_all_at(&change[..len], at as u64).unwrap();
        bytes[at..at + len].copy_from_slice(&change[..len]);
        assert!(world.cache.local_bytes() <= CACHE_BYTES, "{}", world.cache.local_bytes());
    }
    file.set_len(bytes.len() as u64 - 77).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    let end = bytes.len() - 77;
    bytes[end..].fill(0);
    are_equal(&world.seen_elsewhere()["large"].2, &bytes);
    assert!(world.cache.local_bytes() <= CACHE_BYTES, "{}", world.cache.local_bytes());
    are_equal(&fs::read(world.path("large")).unwrap(), &bytes);
}

/// Shows read-7.
#[test]
fn an_open_file_makes_room_for_others() {
    let (first, second) = (bytes_of(4, CACHE_BYTES - 4 * MIB), bytes_of(5, CACHE_BYTES - 4 * MIB));
    let world = World::tight(CACHE_BYTES, &[("first", &first), ("second", &second)]);
    let mut open = OpenOptions::new().read(true).write(true).open(world.path("first")).unwrap();
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    are_equal(&bytes, &first);
    are_equal(&fs::read(world.path("second")).unwrap(), &second);
    assert!(world.cache.moved().evictions > 0);
    let kept = world.gets();
    are_equal(&fs::read(world.path("second")).unwrap(), &second);
    assert_eq!(world.gets(), kept, "the second file is kept");
    // The kernel forgets its pages, so that it asks again.
    rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    open.write_all_at(b"changed", 1_000_001).unwrap();
    bytes[1_000_001..1_000_008].copy_from_slice(b"changed");
    are_equal(&fs::read(world.path("first")).unwrap(), &bytes);
    are_equal(&world.seen_elsewhere()["first"].2, &bytes);
}

/// Shows read-4.
#[test]
fn an_open_file_whose_bytes_went_is_still_of_one_version() {
    let (old, new) = (bytes_of(6, 4 * MIB), bytes_of(7, 4 * MIB));
    let world = World::tight(CACHE_BYTES, &[("file", &old)]);
    let open = File::open(world.path("file")).unwrap();
    let mut part = vec![0; 4096];
    open.read_exact_at(&mut part, 0).unwrap();
    are_equal(&part, &old[..4096]);
    assert!(world.cache.evict(u64::MAX) > 0);
    File::create(world.object("file")).unwrap().write_all(&new).unwrap();
    rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert_eq!(errno(open.read_exact_at(&mut part, 3 * MIB)), libc::ESTALE);
    are_equal(&fs::read(world.path("file")).unwrap(), &new);
}

/// Shows disk-1.
#[test]
fn what_there_is_no_room_for_and_no_bucket_is_refused_before_it_is_accepted() {
    let world = World::tight(CACHE_BYTES, &[]);
    world.write("before", b"in the bucket");
    world.sync_now(Step::Push);
    // Without this folder nothing comes into the bucket.
    let (way_in, away) = (world.object(".bayou-folder/tmp"), world.object(".bayou-folder/away"));
    rustix::fs::rename(&way_in, &away).unwrap();
    File::create(&way_in).unwrap();
    let bytes = bytes_of(8, CACHE_BYTES + MIB);
    let mut file = File::create(world.path("large")).unwrap();
    let mut written = 0;
    let refused = loop {
        match file.write(&bytes[written..][..1 << 20]) {
            Ok(count) => written += count,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(file.metadata().unwrap().len(), written as u64);
    are_equal(&fs::read(world.path("large")).unwrap(), &bytes[..written]);
    fs::remove_file(&way_in).unwrap();
    rustix::fs::rename(&away, &way_in).unwrap();
    file.write_all(&bytes[written..]).unwrap();
    are_equal(&world.seen_elsewhere()["large"].2, &bytes);
}
