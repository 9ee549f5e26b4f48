//! Content files: what is kept, what goes, and what is noted of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bayou::cache::file::Access;
use bayou::cache::{Cache, CacheError, CacheOptions};
use bayou::os::clock::SystemClock;

use super::rig::Rig;

const KIB: usize = 1024;

/// Returns a rig whose bucket has three files of 1,000 KiB, and room for two and a half.
fn tight_rig() -> Rig {
    let rig = Rig::limited(2500 * KIB as u64);
    for key in ["a", "b", "c"] {
        rig.put_object(key, &vec![key.as_bytes()[0]; 1000 * KIB]);
    }
    rig.pull();
    rig
}

/// Returns how many KiB of a file are here.
fn kept(rig: &Rig, path: &str) -> u64 {
    rig.cache().present_bytes(rig.ino(path)).unwrap() / KIB as u64
}

#[test]
fn what_was_unused_for_longest_goes_first_and_the_budget_holds() {
    let rig = tight_rig();
    for path in ["a", "b", "a", "c"] {
        rig.read(path);
        assert!(rig.cache().local_bytes() <= 2500 * KIB as u64);
    }
    assert_eq!([kept(&rig, "a"), kept(&rig, "b"), kept(&rig, "c")], [1000, 0, 1000]);
    assert_eq!(rig.read("b"), vec![b'b'; 1000 * KIB]);
}

#[test]
fn dirty_content_never_goes_and_open_content_goes_last() {
    let rig = tight_rig();
    rig.make("d", &vec![b'd'; 100 * KIB]);
    rig.push();
    rig.write("a", 0, &vec![b'x'; 1000 * KIB]);
    rig.read("b");
    rig.cache().open_file(rig.ino("b"), Access::Read).unwrap();
    rig.read("d");
    rig.cache().evict(1);
    assert_eq!([kept(&rig, "a"), kept(&rig, "b"), kept(&rig, "d")], [1000, 1000, 0]);
    rig.cache().evict(u64::MAX);
    assert_eq!([kept(&rig, "a"), kept(&rig, "b"), kept(&rig, "d")], [1000, 0, 0]);
    assert_eq!(rig.read("b"), vec![b'b'; 1000 * KIB]);
    rig.write("b", 0, &vec![b'y'; 1000 * KIB]);
    let refused = rig.cache().write(rig.ino("c"), 0, &vec![b'x'; 1000 * KIB]);
    assert!(matches!(refused, Err(CacheError::Full { .. })), "{refused:?}");
    assert!(!rig.pending().contains(&"c".to_owned()));
    // Once it is pushed it may go.
    rig.push();
    rig.write("c", 0, &vec![b'x'; 1000 * KIB]);
    assert_eq!(rig.read("a"), vec![b'x'; 1000 * KIB]);
    assert_eq!(rig.read("b"), vec![b'y'; 1000 * KIB]);
}

#[test]
fn holes_and_cuts_read_as_on_any_disk() {
    let mut rig = Rig::new();
    rig.put_object("f", &[b'o'; 1000]);
    rig.pull();
    let cache = rig.cache();
    let ino = rig.ino("f");
    cache.truncate(ino, 500).unwrap();
    cache.write(ino, 800, b"behind").unwrap();
    cache.truncate(ino, 900).unwrap();
    let mut expected = [vec![b'o'; 500], vec![0; 300], b"behind".to_vec(), vec![0; 94]].concat();
    for _ in 0..2 {
        assert!(rig.read("f") == expected);
        rig.reopen();
    }
    rig.cache().truncate(rig.ino("f"), 0).unwrap();
    rig.cache().truncate(rig.ino("f"), 900).unwrap();
    expected.fill(0);
    assert!(rig.read("f") == expected);
    rig.push();
    assert!(rig.object("f").unwrap() == expected);
}

#[test]
fn a_partly_fetched_file_that_was_changed_is_whole_again_after_a_restart() {
    let mut rig = Rig::new();
    rig.put_object("f", &vec![b'o'; 3000 * KIB]);
    rig.pull();
    rig.fetch("f", 0..10);
    rig.write("f", 2_000_000, b"changed");
    rig.reopen();
    assert!(!rig.cache().is_complete(rig.ino("f")).unwrap());
    let mut expected = vec![b'o'; 3000 * KIB];
    expected[2_000_000..2_000_007].copy_from_slice(b"changed");
    assert!(rig.read("f") == expected);
}

#[test]
fn nobody_else_may_read_what_is_kept() {
    let rig = Rig::new();
    rig.make("f", b"secret");
    rig.cache().durable_point().unwrap();
    rig.cache().fold_catalog().unwrap();
    let folder = rig.cache().folder();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in [folder, &folder.join("state"), &folder.join("content")] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    for file in rig.on_disk().keys() {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(rig.content_file("f").parent().unwrap()), 0o700);
}

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let rig = Rig::new();
    let options = CacheOptions { folder: rig.cache().folder().to_owned(), limit_bytes: 1, min_free_bytes: 0 };
    let refused = Cache::open(options, SystemClock::shared()).unwrap_err();
    assert!(matches!(refused, CacheError::Locked(_)));
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
}

#[test]
fn a_copy_that_an_upload_left_behind_is_removed() {
    let mut rig = Rig::new();
    let left = rig.state("frozen-abc");
    rig.close();
    std::fs::File::create_new(&left).unwrap();
    rig.reopen();
    assert!(!left.exists());
}

/// Returns how many bytes the catalog's journal has.
fn noted(rig: &Rig) -> u64 {
    std::fs::metadata(rig.state("journal")).unwrap().len()
}

#[test]
fn a_sequential_write_of_a_new_file_notes_nothing_per_write() {
    let rig = Rig::new();
    let ino = rig.make("f", b"first");
    let before = noted(&rig);
    for at in 0..200 {
        rig.cache().write(ino, 5 + at * 100, &[1; 100]).unwrap();
    }
    assert_eq!(noted(&rig), before);
    rig.cache().durable_point().unwrap();
    let before = noted(&rig);
    for at in 200..400 {
        rig.cache().write(ino, 5 + at * 100, &[1; 100]).unwrap();
    }
    assert_eq!(noted(&rig), before);
}

#[test]
fn overwriting_what_is_durable_is_noted_once_for_each_durable_point() {
    let rig = Rig::new();
    let ino = rig.make("f", &[1; 10_000]);
    for _ in 0..3 {
        rig.cache().durable_point().unwrap();
        let before = noted(&rig);
        rig.cache().write(ino, 0, b"again").unwrap();
        let once = noted(&rig);
        assert!(once > before);
        for at in 0..100 {
            rig.cache().write(ino, at * 10, b"again").unwrap();
        }
        assert_eq!(noted(&rig), once);
    }
}
