//! The catalog lost, damaged, older or cut: dirty files are found again by what their content
//! files say of themselves, and clean content is dropped.

use std::path::Path;

use bayou::cache::ROOT;
use bayou::cache::attributes::SetAttr;
use bayou::os::durable_file;

use super::rig::Rig;

type Harm = (&'static str, fn(&Rig));

/// What may happen to the files of a closed catalog.
const HARMS: [Harm; 5] = [
    ("garbled", |rig| durable_file::replace(&rig.state("catalog.db"), &[7; 16 << 10]).unwrap()),
    ("truncated", |rig| {
        let bytes = std::fs::read(rig.state("catalog.db")).unwrap();
        durable_file::replace(&rig.state("catalog.db"), &bytes[..5000]).unwrap();
    }),
    ("deleted", |rig| remove(&rig.state("catalog.db"))),
    ("all deleted", |rig| {
        ["catalog.db", "journal"].iter().for_each(|name| remove(&rig.state(name)));
    }),
    ("journal deleted", |rig| remove(&rig.state("journal"))),
];

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
    for suffix in ["-wal", "-shm"] {
        let beside = format!("{}{suffix}", path.display());
        std::fs::remove_file(beside).ok();
    }
}

/// Returns a rig with clean files, and with dirty ones of every kind.
fn busy_rig() -> Rig {
    let rig = Rig::new();
    for key in ["clean", "edited", "half", "renamed-clean", "moded"] {
        rig.put_object(key, &[b'o'; 3000]);
    }
    rig.pull();
    for path in ["clean", "edited", "renamed-clean"] {
        rig.read(path);
    }
    rig.cache().fold_catalog().unwrap();
    rig.write("edited", 10, b"EDITED");
    rig.write("half", 2000, b"HALF");
    rig.make_folder("d");
    rig.make("d/new", b"new content");
    rig.make("before", b"renamed while dirty");
    rig.rename("before", "after");
    rig.rename("renamed-clean", "elsewhere");
    let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    rig.cache().set_attr(rig.ino("moded"), mode).unwrap();
    rig.write("moded", 0, b"MODED");
    rig
}

fn edited(at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'o'; 3000];
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// Checks that everything dirty of the busy rig is there, under its name or beside it.
fn check_dirty_files(rig: &Rig, harm: &str) {
    for (path, bytes) in [
        ("edited", edited(10, b"EDITED")),
        ("d/new", b"new content".to_vec()),
        ("after", b"renamed while dirty".to_vec()),
    ] {
        assert!(rig.read(path) == bytes, "{path}, catalog {harm}");
        assert!(rig.pending().contains(&path.to_owned()), "{path}, catalog {harm}");
    }
    // Which bytes of a partly fetched file are real is not known any more: beside, or whole.
    for (path, at, with) in [("half", 2000, &b"HALF"[..]), ("moded", 0, b"MODED")] {
        let beside = rig.beside(&format!("{path}.recovered-"));
        let kept = beside.first().map_or(path, String::as_str);
        assert_eq!(&rig.read(kept)[at..at + with.len()], with, "{kept}, catalog {harm}");
        assert!(rig.pending().contains(&kept.to_owned()), "{kept}, catalog {harm}");
    }
    assert!(rig.cache().watermark().is_dirty(), "catalog {harm}");
}

#[test]
fn dirty_files_are_found_again_whatever_happens_to_the_catalog() {
    for (harm, harmed) in HARMS {
        for folded in [false, true] {
            let mut rig = busy_rig();
            if folded {
                rig.cache().fold_catalog().unwrap();
            }
            rig.close();
            harmed(&rig);
            rig.reopen();
            check_dirty_files(&rig, harm);
            rig.pull();
            check_dirty_files(&rig, harm);
            assert!(rig.read("clean") == [b'o'; 3000], "catalog {harm}");
            rig.push();
            assert!(rig.object("edited").unwrap() == edited(10, b"EDITED"), "catalog {harm}");
            let half = rig.object("half").unwrap();
            assert!(half == [b'o'; 3000] || half == edited(2000, b"HALF"), "catalog {harm}");
            rig.reopen();
            assert!(rig.pending().is_empty(), "catalog {harm}: {:?}", rig.pending());
        }
    }
}

#[test]
fn an_older_catalog_loses_nothing_dirty() {
    let mut rig = Rig::new();
    rig.put_object("f", b"in the bucket");
    rig.pull();
    rig.read("f");
    rig.cache().fold_catalog().unwrap();
    rig.close();
    let older: Vec<_> =
        ["catalog.db", "journal"].map(|name| (name, std::fs::read(rig.state(name)).unwrap())).into();
    rig.reopen();
    rig.write("f", 0, b"IN");
    rig.make("new", b"made later");
    rig.cache().fold_catalog().unwrap();
    rig.close();
    for (name, bytes) in older {
        remove(&rig.state(name));
        durable_file::replace(&rig.state(name), &bytes).unwrap();
    }
    rig.reopen();
    assert_eq!((rig.read("f"), rig.read("new")), (b"IN the bucket".to_vec(), b"made later".to_vec()));
    assert_eq!(rig.pending(), ["f", "new"]);
}

#[test]
fn a_database_that_is_older_than_its_journal_is_not_believed() {
    let mut rig = Rig::new();
    rig.make("f", b"first");
    rig.close();
    let older = std::fs::read(rig.state("catalog.db")).unwrap();
    rig.reopen();
    rig.cache().fold_catalog().unwrap();
    rig.write("f", 0, b"FIRST");
    rig.close();
    remove(&rig.state("catalog.db"));
    durable_file::replace(&rig.state("catalog.db"), &older).unwrap();
    rig.reopen();
    assert_eq!(rig.read("f"), b"FIRST");
    assert!(rig.state("catalog.db.damaged").exists());
}

#[test]
fn a_journal_cut_at_any_byte_loses_no_file_that_was_all_here() {
    let mut rig = busy_rig();
    rig.close();
    let whole = std::fs::read(rig.state("journal")).unwrap();
    rig.keep_cache();
    for cut in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        rig.restore_cache();
        durable_file::replace(&rig.state("journal"), &whole[..cut]).unwrap();
        rig.reopen();
        let found: Vec<Vec<u8>> = everything(&rig);
        for bytes in [&edited(10, b"EDITED"), &b"new content".to_vec(), &b"renamed while dirty".to_vec()] {
            assert!(found.contains(bytes), "{cut} bytes of the journal are left");
        }
        // Where a file was only partly here, what was noted last may be lost; it never mixes.
        for (path, at, with) in [("half", 2000, &b"HALF"[..]), ("moded", 0, b"MODED")] {
            let known = |bytes: Vec<u8>| bytes == [b'o'; 3000] || bytes == edited(at, with);
            assert!(rig.find(path).is_err() || known(rig.read(path)), "{path}, {cut} bytes are left");
        }
        rig.close();
    }
}

/// Returns the bytes of every file that can be read.
fn everything(rig: &Rig) -> Vec<Vec<u8>> {
    let below = rig.find("d").map(|d| rig.list(d.ino)).unwrap_or_default();
    let below = below.into_iter().map(|name| format!("d/{name}"));
    let paths = rig.list(ROOT).into_iter().filter(|name| name != "d").chain(below);
    paths.map(|path| rig.read(&path)).collect()
}

#[test]
fn a_content_file_that_is_gone_gives_the_name_back_to_the_bucket() {
    let mut rig = Rig::new();
    rig.put_object("f", b"in the bucket");
    rig.pull();
    rig.write("f", 0, b"IN");
    rig.make("new", b"only here");
    let (f, new) = (rig.content_file("f"), rig.content_file("new"));
    rig.close();
    std::fs::remove_file(f).unwrap();
    std::fs::remove_file(new).unwrap();
    rig.reopen();
    assert_eq!(rig.list(ROOT), ["f"]);
    assert_eq!(rig.read("f"), b"in the bucket");
}

#[test]
fn a_sidecar_that_was_deleted_only_means_dirty_and_the_next_push_settles_again() {
    let mut rig = Rig::new();
    rig.make("f", b"1");
    assert!(rig.push());
    rig.close();
    std::fs::remove_file(rig.state(".datastore-sync-state.json")).unwrap();
    rig.reopen();
    assert!(rig.cache().watermark().is_dirty());
    assert_eq!(rig.read("f"), b"1");
    rig.pull();
    assert!(rig.push());
    assert!(!rig.cache().watermark().is_dirty());
}

#[test]
fn what_was_removed_stays_removed_over_a_restart_and_is_pushed_after_it() {
    let mut rig = Rig::new();
    rig.put_object("f", b"1");
    rig.put_object("g", b"2");
    rig.pull();
    rig.unlink("f");
    rig.rename("g", "h");
    rig.reopen();
    assert_eq!(rig.pending(), ["f", "g", "h"]);
    rig.push();
    assert_eq!((rig.object("f"), rig.object("g"), rig.object("h").unwrap()), (None, None, b"2".to_vec()));
}

#[test]
fn clean_content_is_dropped_with_the_catalog_and_no_file_is_left_behind() {
    let mut rig = busy_rig();
    rig.push();
    rig.close();
    remove(&rig.state("catalog.db"));
    remove(&rig.state("journal"));
    rig.reopen();
    assert_eq!((rig.cache().local_bytes(), rig.list(ROOT).len()), (0, 0));
    assert!(!rig.on_disk().keys().any(|path| path.to_string_lossy().contains("/content/")));
    rig.pull();
    assert!(rig.read("edited") == edited(10, b"EDITED"));
}
