//! Reading and writing content.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

use rustix::fs::{Mode, OFlags};

use super::errno;
use super::world::World;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let world = World::new();
    for len in [0, 1, 4095, 4096, 4097, 1 << 20, (3 << 20) + 17] {
        let bytes = pattern(len);
        world.write("f", &bytes);
        assert_eq!(fs::metadata(world.path("f")).unwrap().len(), len as u64);
        assert!(fs::read(world.path("f")).unwrap() == bytes, "{len} bytes differ");
    }
}

#[test]
fn appends_go_to_the_end_whoever_wrote_before() {
    let world = World::new();
    let mut one = OpenOptions::new().append(true).create(true).open(world.path("f")).unwrap();
    let mut two = OpenOptions::new().append(true).open(world.path("f")).unwrap();
    one.write_all(b"a").unwrap();
    two.write_all(b"b").unwrap();
    one.write_all(b"c").unwrap();
    assert_eq!(fs::read(world.path("f")).unwrap(), b"abc");
}

#[test]
fn a_file_is_cut_extended_and_emptied() {
    let world = World::new();
    world.write("f", b"0123456789");
    let file = OpenOptions::new().read(true).write(true).open(world.path("f")).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(fs::read(world.path("f")).unwrap(), b"0123");
    file.set_len(6).unwrap();
    assert_eq!(fs::read(world.path("f")).unwrap(), b"0123\0\0");
    OpenOptions::new().write(true).truncate(true).open(world.path("f")).unwrap();
    assert_eq!(fs::metadata(world.path("f")).unwrap().len(), 0);
    assert_eq!(file.metadata().unwrap().len(), 0);
}

#[test]
fn a_hole_reads_as_zeros() {
    let world = World::new();
    let file = File::create(world.path("f")).unwrap();
    file.write_all_at(b"end", 100_000).unwrap();
    let bytes = fs::read(world.path("f")).unwrap();
    assert_eq!(bytes.len(), 100_003);
    assert!(bytes[..100_000].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[100_000..], b"end");
}

#[test]
fn overlapping_writes_leave_the_last_bytes_of_each() {
    let world = World::new();
    let file = File::create(world.path("f")).unwrap();
    let mut expected = vec![0; 300_000];
    for n in 0..200usize {
        let (at, len) = ((n * 7919) % 250_000, 1 + (n * 613) % 50_000);
        let bytes = vec![n as u8; len];
        file.write_all_at(&bytes, at as u64).unwrap();
        expected[at..at + len].copy_from_slice(&bytes);
    }
    let size = file.metadata().unwrap().len() as usize;
    assert!(fs::read(world.path("f")).unwrap() == expected[..size]);
}

#[test]
fn a_removed_file_lives_on_for_those_who_have_it_open() {
    let world = World::new();
    world.write("f", b"before");
    let mut file = OpenOptions::new().read(true).write(true).open(world.path("f")).unwrap();
    fs::remove_file(world.path("f")).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b" and after").unwrap();
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"before and after");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.sync_all().unwrap();
    assert!(!world.path("f").exists());
    world.write("f", b"another");
    assert_eq!(file.metadata().unwrap().len(), 16);
}

#[test]
fn a_file_that_was_renamed_over_lives_on_for_those_who_have_it_open() {
    let world = World::new();
    world.write("old", b"old bytes");
    world.write("new", b"new");
    let mut file = File::open(world.path("old")).unwrap();
    world.rename("new", "old").unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old bytes");
    assert_eq!(fs::read(world.path("old")).unwrap(), b"new");
}

#[test]
fn a_file_that_exists_is_not_made_again() {
    let world = World::new();
    world.write("f", b"kept");
    let exclusive = OpenOptions::new().write(true).create_new(true).open(world.path("f"));
    assert_eq!(errno(exclusive), libc::EEXIST);
    OpenOptions::new().write(true).create(true).truncate(false).open(world.path("f")).unwrap();
    assert_eq!(fs::read(world.path("f")).unwrap(), b"kept");
}

#[test]
fn files_and_folders_can_be_flushed() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    let mut file = File::create(world.path("a/f")).unwrap();
    file.write_all(b"x").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(world.path("a")).unwrap().sync_all().unwrap();
}

#[test]
fn a_folder_cannot_be_written_as_a_file() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    assert_eq!(errno(OpenOptions::new().write(true).open(world.path("a"))), libc::EISDIR);
}

#[test]
fn locks_are_kept_between_the_programs_of_this_machine() {
    use rustix::fs::{FlockOperation, flock};
    let world = World::new();
    let one = File::create(world.path("f")).unwrap();
    let two = File::open(world.path("f")).unwrap();
    flock(&one, FlockOperation::LockExclusive).unwrap();
    assert!(flock(&two, FlockOperation::NonBlockingLockShared).is_err());
    flock(&one, FlockOperation::Unlock).unwrap();
    flock(&two, FlockOperation::NonBlockingLockShared).unwrap();
}

#[test]
fn requests_that_we_do_not_have_are_refused_and_the_mount_goes_on() {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    use rustix::fs::{FallocateFlags, Mode, OFlags, copy_file_range, fallocate, openat, seek, statx};
    let world = World::new();
    world.write("f", b"0123456789");
    for _ in 0..6 {
        let nameless = openat(CWD, world.path(""), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
        assert_eq!(super::sys_errno(nameless), libc::EOPNOTSUPP);
        let file = OpenOptions::new().read(true).write(true).open(world.path("f")).unwrap();
        let moved = fallocate(&file, FallocateFlags::INSERT_RANGE, 0, 4096);
        assert_eq!(super::sys_errno(moved), libc::EOPNOTSUPP);
        assert_eq!(super::sys_errno(rustix::fs::ioctl_getflags(&file)), libc::ENOTTY);
        assert_eq!(seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap(), 10);
        seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        let copy = File::create(world.path("copy")).unwrap();
        assert_eq!(copy_file_range(&file, None, &copy, None, 10).unwrap(), 10);
        assert_eq!(fs::read(world.path("copy")).unwrap(), b"0123456789");
        let all = StatxFlags::ALL | StatxFlags::BTIME;
        assert_eq!(statx(CWD, world.path("f"), AtFlags::STATX_FORCE_SYNC, all).unwrap().stx_size, 10);
        rustix::fs::syncfs(&file).unwrap();
    }
}

#[test]
fn no_file_is_a_terminal() {
    let world = World::with(&[("f", b"bytes")]);
    let asked = std::process::Command::new("stty").arg("-F").arg(world.path("f")).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("Inappropriate ioctl for device"), "{said}");
}

#[test]
fn a_program_that_runs_is_not_emptied_by_a_refused_open() {
    let world = World::new();
    let program = world.path("program");
    let bytes = fs::read("/bin/sleep").unwrap();
    world.write("program", &bytes);
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let mut running = Command::new(&program).arg("60").spawn().unwrap();
    for flags in [OFlags::WRONLY, OFlags::RDWR | OFlags::TRUNC, OFlags::RDONLY | OFlags::TRUNC] {
        let refused = rustix::fs::open(&program, flags, Mode::empty());
        assert_eq!(super::sys_errno(refused), libc::ETXTBSY, "{flags:?}");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(fs::read(&program).unwrap() == bytes);
}
