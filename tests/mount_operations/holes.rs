//! `fallocate`, holes, copies of ranges, `O_DIRECT`, and appends of several processes.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom as From, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::process::Command;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};

use super::world::World;
use super::{machine::CACHE_BYTES, sys_errno};

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const MIB: u64 = 1 << 20;

fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|n| 1 + (n % 251) as u8).collect()
}

fn open(world: &World, name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(world.path(name)).unwrap()
}

/// Shows write-7.
#[test]
fn a_punched_hole_is_zeros_also_in_what_was_never_fetched() {
    let mut bytes = pattern(5 * MIB);
    let world = World::with(&[("far", &bytes)]);
    let file = open(&world, "far");
    fallocate(&file, PUNCH, MIB + 7, 2 * MIB).unwrap();
    bytes[(MIB + 7) as usize..(3 * MIB + 7) as usize].fill(0);
    assert_eq!(world.gets(), 0, "nothing is fetched to make zeros");
    assert!(fs::read(world.path("far")).unwrap() == bytes);
    assert!(world.seen_elsewhere()["far"].2 == bytes);
    assert_eq!(file.metadata().unwrap().len(), 5 * MIB);
}

/// Shows write-7.
#[test]
fn a_range_is_allocated_reserved_and_zeroed() {
    let world = World::new();
    world.write("f", &pattern(1000));
    let file = open(&world, "f");
    let size = || file.metadata().unwrap().len();
    fallocate(&file, FallocateFlags::KEEP_SIZE, 500, 10_000).unwrap();
    assert_eq!(size(), 1000);
    fallocate(&file, FallocateFlags::empty(), 500, 1500).unwrap();
    assert_eq!(size(), 2000);
    fallocate(&file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, 900, 5000).unwrap();
    assert_eq!(size(), 2000);
    fallocate(&file, FallocateFlags::ZERO_RANGE, 100, 3000).unwrap();
    assert_eq!(size(), 3100);
    let mut expected = pattern(100);
    expected.resize(3100, 0);
    assert_eq!(fs::read(world.path("f")).unwrap(), expected);
    assert_eq!(world.seen_elsewhere()["f"].2, expected);
    let refused = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(sys_errno(refused), libc::EOPNOTSUPP);
    let refused = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 4 * CACHE_BYTES);
    assert_eq!(sys_errno(refused), libc::ENOSPC, "more than the cache may ever hold");
}

/// Shows write-7.
#[test]
fn holes_and_data_are_found() {
    let world = World::with(&[("far", &pattern(3 * MIB))]);
    world.write("near", &pattern(4 * MIB));
    let near = open(&world, "near");
    near.set_len(6 * MIB).unwrap();
    fallocate(&near, PUNCH, MIB, MIB).unwrap();
    let data = |at: u64| seek(&near, SeekFrom::Data(at));
    let hole = |at: u64| seek(&near, SeekFrom::Hole(at));
    assert_eq!((data(0), hole(0)), (Ok(0), Ok(MIB)));
    assert_eq!((data(MIB + 5), hole(MIB + 5)), (Ok(2 * MIB), Ok(MIB + 5)));
    assert_eq!(hole(3 * MIB), Ok(4 * MIB));
    assert_eq!((sys_errno(data(5 * MIB)), hole(5 * MIB)), (libc::ENXIO, Ok(5 * MIB)));
    assert_eq!((sys_errno(data(6 * MIB)), sys_errno(hole(6 * MIB))), (libc::ENXIO, libc::ENXIO));
    let far = open(&world, "far");
    assert_eq!((seek(&far, SeekFrom::Data(5)), seek(&far, SeekFrom::Hole(5))), (Ok(5), Ok(3 * MIB)));
    let mut part = [0; 10];
    far.read_exact_at(&mut part, 2 * MIB).unwrap();
    assert_eq!(
        (seek(&far, SeekFrom::Data(5)), seek(&far, SeekFrom::Hole(5))),
        (Ok(5), Ok(3 * MIB)),
        "in part here"
    );
    fallocate(&far, PUNCH, MIB, 4096 * 4).unwrap();
    assert_eq!(seek(&far, SeekFrom::Hole(0)), Ok(MIB));
    assert_eq!(seek(&far, SeekFrom::Data(MIB)), Ok(MIB + 4096 * 4));
}

#[test]
fn a_sparse_file_is_copied_sparsely() {
    let world = World::new();
    let mut file = File::create(world.path("sparse")).unwrap();
    file.seek(From::Start(40 * MIB)).unwrap();
    file.write_all(b"end").unwrap();
    drop(file);
    let mut copy = Command::new("cp");
    copy.arg("--sparse=always").arg(world.path("sparse")).arg(world.path("copy"));
    assert!(copy.status().unwrap().success());
    assert_eq!(fs::metadata(world.path("copy")).unwrap().len(), 40 * MIB + 3);
    assert!(world.cache.local_bytes() < MIB, "{}", world.cache.local_bytes());
}

/// Shows write-7.
#[test]
fn o_direct_reads_and_writes_what_others_see() {
    let world = World::with(&[("far", &pattern(2 * MIB))]);
    let direct = |name: &str| {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(world.path(name))
    };
    let file = direct("far").unwrap();
    // O_DIRECT wants its buffers aligned.
    let mut room = vec![0_u8; 3 * 4096];
    let from = room.as_ptr().align_offset(4096);
    let page = &mut room[from..from + 4096];
    file.read_exact_at(page, MIB).unwrap();
    assert!(page == &pattern(2 * MIB)[MIB as usize..MIB as usize + 4096]);
    page.fill(b'd');
    file.write_all_at(page, 4096).unwrap();
    let seen = fs::read(world.path("far")).unwrap();
    assert!(seen[4096..8192].iter().all(|byte| *byte == b'd') && seen.len() as u64 == 2 * MIB);
    OpenOptions::new().write(true).open(world.path("far")).unwrap().write_all_at(b"cached", 4096).unwrap();
    file.read_exact_at(page, 4096).unwrap();
    assert_eq!(&page[..7], b"cachedd");
}

/// Shows write-7.
#[test]
fn ranges_are_copied_between_files_and_within_one_as_on_a_local_disk() {
    use rustix::fs::copy_file_range;
    let bytes = pattern(3 * MIB);
    let world = World::with(&[("from", &bytes)]);
    let beside = tempfile::tempdir().unwrap();
    File::create(beside.path().join("from")).unwrap().write_all(&bytes).unwrap();
    let copied = |folder: &std::path::Path| {
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let from = options().open(folder.join("from")).unwrap();
        let to = options().open(folder.join("to")).unwrap();
        let mut done = Vec::new();
        let mut copy = |source: &File, at: u64, target: &File, to: u64, len: usize| {
            let (mut at, mut to, mut left) = (at, to, len);
            // It may copy less than it was asked for.
            let outcome = loop {
                match copy_file_range(source, Some(&mut at), target, Some(&mut to), left) {
                    Ok(0) => break Ok(len - left),
                    Ok(some) => left -= some,
                    Err(refused) => break Err(refused),
                }
            };
            done.push(outcome);
        };
        copy(&from, 5, &to, 100_000, 1_000_003);
        copy(&from, 2 * MIB, &to, 0, 70_000);
        copy(&from, 3 * MIB - 10, &to, 2 * MIB, 100_000);
        copy(&from, 4 * MIB, &to, 0, 10);
        copy(&to, 0, &to, 3 * MIB, 500_000);
        copy(&from, 100, &from, 150, 100);
        copy(&from, 100, &from, 50, 51);
        copy(&from, 100, &from, 200, 100);
        drop((from, to));
        (done, fs::read(folder.join("from")).unwrap(), fs::read(folder.join("to")).unwrap())
    };
    let (there, here) = (copied(beside.path()), copied(&world.path("")));
    assert_eq!(here.0, there.0);
    assert!(here.0[5].is_err() && here.0[6].is_err(), "ranges of one file that overlap: {:?}", here.0);
    assert!(here.1 == there.1 && here.2 == there.2);
    let seen = world.seen_elsewhere();
    assert!(seen["from"].2 == there.1 && seen["to"].2 == there.2);
}

#[test]
fn appends_of_several_processes_are_all_there() {
    let world = World::new();
    world.write("log", b"");
    let append = |who: usize| {
        let script = format!("for n in $(seq 200); do echo {who}-$n; done >> \"$0\"");
        Command::new("bash").arg("-c").arg(script).arg(world.path("log")).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(append).collect();
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let text = fs::read_to_string(world.path("log")).unwrap();
    for who in 0..4 {
        let own: Vec<_> = text.lines().filter(|line| line.starts_with(&format!("{who}-"))).collect();
        let expected: Vec<_> = (1..=200).map(|n| format!("{who}-{n}")).collect();
        assert_eq!(own, expected);
    }
    assert_eq!(world.seen_elsewhere()["log"].2.len() as u64, fs::metadata(world.path("log")).unwrap().size());
}
