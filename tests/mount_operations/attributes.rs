//! Modes, owners, times, totals.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::world::World;

fn mode(world: &World, name: &str) -> u32 {
    fs::metadata(world.path(name)).unwrap().mode() & 0o7777
}

#[test]
fn modes_and_owners_are_kept() {
    let world = World::new();
    world.write("f", b"");
    fs::set_permissions(world.path("f"), Permissions::from_mode(0o640)).unwrap();
    chown(world.path("f"), Some(12), Some(34)).unwrap();
    let meta = fs::metadata(world.path("f")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o640, 12, 34));
}

#[test]
fn a_folder_hands_its_group_down_if_it_says_so() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    chown(world.path("a"), None, Some(34)).unwrap();
    fs::set_permissions(world.path("a"), Permissions::from_mode(0o2775)).unwrap();
    world.write("a/f", b"");
    fs::create_dir(world.path("a/b")).unwrap();
    assert_eq!(fs::metadata(world.path("a/f")).unwrap().gid(), 34);
    let below = fs::metadata(world.path("a/b")).unwrap();
    assert_eq!((below.gid(), below.mode() & 0o2000), (34, 0o2000));
}

#[test]
fn a_new_owner_takes_privileges_from_a_program() {
    let world = World::new();
    world.write("f", b"");
    fs::set_permissions(world.path("f"), Permissions::from_mode(0o6755)).unwrap();
    assert_eq!(mode(&world, "f"), 0o6755);
    chown(world.path("f"), Some(12), None).unwrap();
    assert_eq!(mode(&world, "f"), 0o755);
}

/// Runs a shell command as a user who is nobody special.
fn as_nobody(world: &World, command: &str) -> bool {
    let nobody = 65534;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(world.path("")).uid(nobody).gid(nobody);
    shell.stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn permissions_are_checked_for_other_users() {
    let world = World::new();
    world.write("private", b"x");
    world.write("public", b"x");
    fs::set_permissions(world.path("private"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(world.path("public"), Permissions::from_mode(0o644)).unwrap();
    assert!(as_nobody(&world, "test -r public"));
    assert!(as_nobody(&world, "read line < public; test \"$line\" = x"));
    assert!(!as_nobody(&world, "read line < private"));
    assert!(!as_nobody(&world, "echo y >> public"));
    assert!(!as_nobody(&world, "rm -f public"));
    assert!(!as_nobody(&world, "mkdir new"));
}

#[test]
fn what_another_user_makes_belongs_to_that_user() {
    let world = World::new();
    fs::set_permissions(world.path(""), Permissions::from_mode(0o1777)).unwrap();
    world.write("roots", b"");
    assert!(as_nobody(&world, "umask 027; echo x > f && mkdir d && ln -s f l"));
    for name in ["f", "d", "l"] {
        let meta = fs::symlink_metadata(world.path(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (65534, 65534), "{name}");
    }
    assert_eq!((mode(&world, "f"), mode(&world, "d")), (0o640, 0o750));
    assert!(!as_nobody(&world, "rm -f roots"), "the sticky bit protects the files of others");
}

#[test]
fn a_write_by_another_user_takes_privileges_from_a_program() {
    let world = World::new();
    for (name, command) in [("w", "echo x >> w"), ("t", "truncate -s 1 t"), ("o", ": > o")] {
        world.write(name, b"program");
        fs::set_permissions(world.path(name), Permissions::from_mode(0o6777)).unwrap();
        assert!(as_nobody(&world, command), "{command}");
        assert_eq!(mode(&world, name), 0o777, "{command}");
    }
}

#[test]
fn a_time_that_is_out_of_reach_is_the_nearest_that_can_be_kept() {
    let world = World::new();
    world.write("f", b"");
    let last = (i64::MAX.div_euclid(1_000_000_000), i64::MAX.rem_euclid(1_000_000_000));
    let first = (i64::MIN.div_euclid(1_000_000_000), i64::MIN.rem_euclid(1_000_000_000));
    let cases = [
        (i64::MIN, 0, first),
        (i64::MIN, 999_999_999, first),
        (i64::MIN + 1, 999_999_999, first),
        (i64::MAX, 999_999_999, last),
        (-1, 999_999_999, (-1, 999_999_999)),
    ];
    for (tv_sec, tv_nsec, kept) in cases {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, world.path("f"), &times, AtFlags::empty()).unwrap();
        let meta = fs::metadata(world.path("f")).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), kept, "{tv_sec} s and {tv_nsec} ns");
    }
}

#[test]
fn times_are_kept_to_the_nanosecond_also_before_1970() {
    let world = World::new();
    let file = File::create(world.path("f")).unwrap();
    for time in [
        UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
        UNIX_EPOCH - Duration::new(1, 200_000_000),
        UNIX_EPOCH,
    ] {
        file.set_modified(time).unwrap();
        assert_eq!(fs::metadata(world.path("f")).unwrap().modified().unwrap(), time);
    }
}

#[test]
fn a_time_of_access_that_is_set_stays_and_makes_nothing_dirty() {
    let world = World::with(&[("f", b"far")]);
    assert_eq!(world.seen_elsewhere().len(), 1);
    assert!(!world.cache.watermark().is_dirty());
    let modified = fs::metadata(world.path("f")).unwrap().modified().unwrap();
    let accessed = UNIX_EPOCH + Duration::new(3_000_000_000, 5);
    File::open(world.path("f")).unwrap().set_times(FileTimes::new().set_accessed(accessed)).unwrap();
    fs::read(world.path("f")).unwrap();
    let meta = fs::metadata(world.path("f")).unwrap();
    assert_eq!((meta.accessed().unwrap(), meta.modified().unwrap()), (accessed, modified));
    assert!(!world.cache.watermark().is_dirty() && world.cache.nothing_pending());
}

#[test]
fn a_write_sets_the_time_and_a_read_does_not() {
    let world = World::new();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    world.write("f", b"1");
    let mut file = OpenOptions::new().append(true).open(world.path("f")).unwrap();
    file.set_modified(old).unwrap();
    fs::read(world.path("f")).unwrap();
    assert_eq!(file.metadata().unwrap().modified().unwrap(), old);
    file.write_all(b"2").unwrap();
    assert!(fs::metadata(world.path("f")).unwrap().modified().unwrap() > old);
}

#[test]
fn emptying_an_empty_file_makes_it_new() {
    let world = World::new();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::create(world.path("stamp")).unwrap();
    for renew in [
        |world: &World| drop(File::create(world.path("stamp")).unwrap()),
        |world: &World| {
            OpenOptions::new().write(true).open(world.path("stamp")).unwrap().set_len(0).unwrap();
        },
    ] {
        file.set_modified(old).unwrap();
        renew(&world);
        assert!(fs::metadata(world.path("stamp")).unwrap().modified().unwrap() > old);
    }
}

#[test]
fn a_folder_is_as_new_as_the_last_change_of_its_names() {
    let world = World::new();
    fs::create_dir(world.path("a")).unwrap();
    let folder = File::open(world.path("a")).unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    folder.set_modified(old).unwrap();
    assert_eq!(folder.metadata().unwrap().modified().unwrap(), old);
    world.write("a/f", b"");
    assert!(folder.metadata().unwrap().modified().unwrap() > old);
}

#[test]
fn totals_are_those_of_the_bucket_and_of_the_room_in_the_cache() {
    let world = World::with(&[("a", &[0; 10_000]), ("b", &[0; 10_000])]);
    let totals = rustix::fs::statvfs(world.path("")).unwrap();
    assert_eq!(totals.f_bsize, 4096);
    assert_eq!(totals.f_blocks - totals.f_bfree, 20_000u64.div_ceil(4096));
    assert_eq!(totals.f_files - totals.f_ffree, 2);
    assert_eq!(totals.f_namemax, 255);
    assert!(totals.f_bavail > 0 && totals.f_bavail <= super::machine::CACHE_BYTES / 4096);
}
