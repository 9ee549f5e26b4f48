//! Files that others replace while they are read here: what the kernel remembers of the older
//! version never shows in the newer one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::thread;

use bayou::fs::front::{CloseMode, FsyncMode};

use super::pace::Pace;
use super::world::World;

/// Requests after which it is known that an object is another version: the one that is refused,
/// and the look at the object.
const UNTIL_KNOWN: usize = 2;

const MANY: usize = 200;
const READERS: usize = 4;

/// Has a file of `before` read whose object is `after` by now, and holds the reply until the
/// kernel was told.
fn read_while_replaced(before: &[u8], after: &[u8]) {
    let pace = Pace::new();
    let world = World::paced(CloseMode::Returns, FsyncMode::Remote, &pace);
    world.publish(&[("f", before)]);
    assert_eq!(fs::metadata(world.path("f")).unwrap().len(), before.len() as u64);
    world.publish_unseen(&[("f", after)]);
    let mut reading = world.reading("f");
    let read = world.read_for(&pace, UNTIL_KNOWN, &mut reading).unwrap_or_else(|| {
        // The next request waits, and with it the reply.
        world.announce_or_wait();
        pace.open();
        world.read_ended(reading)
    });
    pace.open();
    match read {
        Ok(read) => assert!(read == after, "{} bytes instead of {}", read.len(), after.len()),
        Err(failed) => assert_eq!(failed.raw_os_error(), Some(libc::ESTALE)),
    }
    assert!(fs::read(world.path("f")).unwrap() == after);
}

#[test]
fn a_file_that_became_shorter_is_not_read_at_its_old_length() {
    read_while_replaced(b"0123456789a", b"9876543210");
}

#[test]
fn a_file_that_became_longer_is_not_read_at_its_old_length() {
    read_while_replaced(b"0123456789", b"a9876543210");
}

/// Here the kernel decides which comes first.
#[test]
fn many_files_that_became_shorter_are_not_read_at_their_old_length() {
    let names: Vec<String> = (0..MANY).map(|n| format!("f{n}")).collect();
    let all = |bytes: &'static [u8]| names.iter().map(|name| (&**name, bytes)).collect::<Vec<_>>();
    let (before, after): (&[u8], &[u8]) = (b"0123456789a", b"9876543210");
    let world = World::with(&all(before));
    names.iter().for_each(|name| assert_eq!(fs::metadata(world.path(name)).unwrap().len(), 11));
    world.publish_unseen(&all(after));
    thread::scope(|scope| {
        for some in names.chunks(MANY / READERS) {
            let world = &world;
            scope.spawn(move || {
                for name in some {
                    match fs::read(world.path(name)) {
                        Ok(read) => assert_eq!(read, after, "{name}"),
                        Err(failed) => assert_eq!(failed.raw_os_error(), Some(libc::ESTALE)),
                    }
                }
            });
        }
    });
    names.iter().for_each(|name| assert_eq!(fs::read(world.path(name)).unwrap(), after));
}

#[test]
fn a_file_that_kept_its_length_is_read_as_it_is_now() {
    let world = World::with(&[("f", b"0123456789")]);
    assert_eq!(fs::metadata(world.path("f")).unwrap().len(), 10);
    world.publish_unseen(&[("f", b"9876543210")]);
    assert_eq!(fs::read(world.path("f")).unwrap(), b"9876543210");
}

/// Reads the beginning of a large file, lets go of what is kept of it, and has it replaced.
fn begun_and_dropped(drop_it: impl FnOnce(&World)) {
    let (before, after) = (vec![b'1'; 6 << 20], vec![b'2'; 6 << 20]);
    let world = World::with(&[("f", &before)]);
    File::open(world.path("f")).unwrap().read_exact_at(&mut [0; 4096], 0).unwrap();
    drop_it(&world);
    world.publish_unseen(&[("f", &after)]);
    let read = fs::read(world.path("f"));
    match &read {
        Ok(read) => {
            let mixed = read.contains(&b'1') && read.contains(&b'2');
            assert!(!mixed, "two versions in one read");
        }
        Err(failed) => assert_eq!(failed.raw_os_error(), Some(libc::ESTALE)),
    }
    assert!(fs::read(world.path("f")).unwrap() == after);
}

/// Shows read-4.
#[test]
fn what_the_kernel_has_of_evicted_content_is_not_mixed_with_a_newer_version() {
    begun_and_dropped(|world| {
        // It is kept until the kernel has said that it is closed.
        while world.cache.evict(u64::MAX) == 0 {
            std::thread::yield_now();
        }
    });
}

/// Shows read-4.
#[test]
fn opening_a_file_again_gives_the_new_version_though_the_kernel_was_not_told() {
    let world = World::with(&[("f", b"the old one")]);
    let mut kept: File = File::open(world.path("f")).unwrap();
    world.publish_unseen(&[("f", b"the newer one")]);
    world.deafen_kernel();
    let read = |file: &mut File| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    };
    assert_eq!(read(&mut kept).unwrap_err().raw_os_error(), Some(libc::ESTALE));
    assert_eq!(fs::read(world.path("f")).unwrap(), b"the newer one");
    assert_eq!(read(&mut kept).unwrap_err().raw_os_error(), Some(libc::ESTALE));
}
