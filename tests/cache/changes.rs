//! Every call that changes something marks the cache dirty before it changes anything, and
//! nothing else does.

use bayou::cache::attributes::{SetAttr, XattrMode};
use bayou::cache::file::Access;
use bayou::cache::rename::Replace;
use bayou::cache::rows::{Path, Remote, Uploaded, Uploading};
use bayou::cache::{CacheError, Ino, ROOT};
use bayou::model::entry::Entry;
use bayou::model::key::DataKey;
use bayou::store::{Nonce, Version};

use super::rig::{FILE, FOLDER, Rig};

type Outcome = Result<(), CacheError>;
type Call = (&'static str, fn(&Rig) -> Outcome);

/// All calls that change something, each on its own.
const CHANGES: [Call; 22] = [
    ("create", |rig| rig.cache().create(ROOT, "new", FILE).map(drop)),
    ("create in a folder", |rig| rig.cache().create(rig.ino("d"), "new", FILE).map(drop)),
    ("make_folder", |rig| rig.cache().make_folder(ROOT, "new", FOLDER).map(drop)),
    ("make_symlink", |rig| rig.cache().make_symlink(ROOT, "new", FILE, "f").map(drop)),
    ("unlink a file", |rig| rig.cache().unlink(ROOT, "f")),
    ("unlink a link", |rig| rig.cache().unlink(ROOT, "l")),
    ("remove_folder", |rig| rig.cache().remove_folder(ROOT, "d")),
    ("rename a file", |rig| rig.cache().rename((ROOT, "f"), (ROOT, "x"), Replace::No)),
    ("rename over a file", |rig| rig.cache().rename((ROOT, "f"), (ROOT, "g"), Replace::Yes)),
    ("rename a folder", |rig| rig.cache().rename((ROOT, "full"), (rig.ino("d"), "x"), Replace::Yes)),
    ("write inside", |rig| rig.cache().write(rig.ino("f"), 1, b"X")),
    ("write behind", |rig| rig.cache().write(rig.ino("f"), 100, b"X")),
    ("write to what is absent", |rig| rig.cache().write(rig.ino("absent"), 1, b"X")),
    ("truncate to less", |rig| rig.cache().truncate(rig.ino("f"), 1)),
    ("truncate to more", |rig| rig.cache().truncate(rig.ino("absent"), 1000)),
    ("set_attr size", |rig| set(rig, SetAttr { size: Some(0), ..SetAttr::default() })),
    ("set_attr mode", |rig| set(rig, SetAttr { mode: Some(0o600), ..SetAttr::default() })),
    ("set_attr owner", |rig| set(rig, SetAttr { uid: Some(7), ..SetAttr::default() })),
    ("set_attr group", |rig| set(rig, SetAttr { gid: Some(7), ..SetAttr::default() })),
    ("set_attr mtime", |rig| set(rig, SetAttr { mtime: Some(1), ..SetAttr::default() })),
    ("set_xattr", |rig| rig.cache().set_xattr(rig.ino("f"), "user.b", b"1", XattrMode::Any)),
    ("remove_xattr", |rig| rig.cache().remove_xattr(rig.ino("f"), "user.a")),
];

/// Calls that find nothing to do.
const NO_OPS: [Call; 9] = [
    ("write nothing", |rig| rig.cache().write(rig.ino("f"), 3, b"")),
    ("truncate to the same size", |rig| rig.cache().truncate(rig.ino("f"), 5)),
    ("rename onto itself", |rig| rig.cache().rename((ROOT, "f"), (ROOT, "f"), Replace::Yes)),
    ("set_attr of nothing", |rig| set(rig, SetAttr::default())),
    ("set_attr of the same", |rig| {
        set(rig, SetAttr { mode: Some(0o644), size: Some(5), ..SetAttr::default() })
    }),
    ("set_xattr of the same", |rig| rig.cache().set_xattr(rig.ino("f"), "user.a", b"1", XattrMode::Any)),
    ("open for writing", |rig| {
        rig.cache().open_file(rig.ino("f"), Access::Write)?;
        rig.cache().release(rig.ino("f"));
        Ok(())
    }),
    ("durable_point", |rig| rig.cache().durable_point()),
    ("fold_catalog", |rig| rig.cache().fold_catalog()),
];

/// Calls that only look, however much is fetched for them.
const READS: [Call; 9] = [
    ("lookup", |rig| rig.find("full/x").map(drop)),
    ("attr", |rig| rig.cache().attr(rig.ino("f")).map(drop)),
    ("read_folder", |rig| rig.cache().read_folder(ROOT, 0, 10).map(drop)),
    ("read_link", |rig| rig.cache().read_link(rig.ino("l")).map(drop)),
    ("read what is here", |rig| {
        assert_eq!(rig.read("f"), b"hello");
        Ok(())
    }),
    ("read what is absent", |rig| {
        assert_eq!(rig.read("absent"), b"somewhere else");
        Ok(())
    }),
    ("xattr", |rig| rig.cache().xattr(rig.ino("f"), "user.a").map(drop)),
    ("snapshot", |rig| rig.cache().snapshot(rig.ino("f")).map(drop)),
    ("evict", |rig| {
        rig.cache().evict(u64::MAX);
        Ok(())
    }),
];

/// Calls that are refused.
const REFUSED: [Call; 16] = [
    ("create what exists", |rig| rig.cache().create(ROOT, "f", FILE).map(drop)),
    ("create in a file", |rig| rig.cache().create(rig.ino("f"), "x", FILE).map(drop)),
    ("create a part that is too long", |rig| rig.cache().create(ROOT, &"x".repeat(256), FILE).map(drop)),
    ("create ..", |rig| rig.cache().create(ROOT, "..", FILE).map(drop)),
    ("make_folder that exists", |rig| rig.cache().make_folder(ROOT, "f", FOLDER).map(drop)),
    ("unlink what is not there", |rig| rig.cache().unlink(ROOT, "nothing")),
    ("unlink a folder", |rig| rig.cache().unlink(ROOT, "d")),
    ("remove_folder of a file", |rig| rig.cache().remove_folder(ROOT, "f")),
    ("remove_folder that is not empty", |rig| rig.cache().remove_folder(ROOT, "full")),
    ("rename to what exists", |rig| rig.cache().rename((ROOT, "f"), (ROOT, "g"), Replace::No)),
    ("rename below itself", |rig| rig.cache().rename((ROOT, "full"), (rig.ino("full"), "x2"), Replace::Yes)),
    ("rename over a folder that is not empty", |rig| {
        rig.cache().rename((ROOT, "d"), (ROOT, "full"), Replace::Yes)
    }),
    ("write to a folder", |rig| rig.cache().write(rig.ino("d"), 0, b"x")),
    ("truncate a folder", |rig| rig.cache().truncate(rig.ino("d"), 9)),
    ("set_xattr that exists", |rig| rig.cache().set_xattr(rig.ino("f"), "user.a", b"2", XattrMode::Create)),
    ("remove_xattr that is not there", |rig| rig.cache().remove_xattr(rig.ino("f"), "user.none")),
];

const RESERVED: [&str; 6] = [
    "_index",
    "_control",
    ".datastore-index.json",
    ".datastore.lock",
    ".datastore-sync-state.json",
    ".push-queue.json",
];

const LOCAL: [&str; 4] = [".lock", "_catalog.db", "_catalog.db-wal", ".namespace.json"];

fn set(rig: &Rig, attributes: SetAttr) -> Outcome {
    rig.cache().set_attr(rig.ino("f"), attributes).map(drop)
}

/// Returns a machine whose tree is in the bucket, and proven to be.
fn clean_rig() -> Rig {
    let rig = Rig::new();
    rig.put_object("absent", b"somewhere else");
    rig.pull();
    rig.make("f", b"hello");
    rig.cache().set_xattr(rig.ino("f"), "user.a", b"1", XattrMode::Any).unwrap();
    rig.make("g", b"other");
    rig.make_folder("d");
    rig.make_folder("full");
    rig.make("full/x", b"below");
    rig.cache().make_symlink(ROOT, "l", FILE, "f").unwrap();
    assert!(rig.push());
    assert!(!rig.cache().watermark().is_dirty());
    rig
}

#[test]
fn every_change_is_marked_on_the_disk() {
    for (name, change) in CHANGES {
        let rig = clean_rig();
        change(&rig).unwrap();
        assert!(rig.sidecar().contains("\"localDirty\": true"), "{name}");
        assert!(!rig.pending().is_empty(), "{name}");
    }
}

#[test]
fn a_change_that_cannot_be_marked_changes_nothing() {
    let rig = clean_rig();
    rig.cache().content_of(rig.ino("absent")).unwrap();
    let in_the_way = rig.state(".datastore-sync-state.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let before = (rig.on_disk(), rig.list(ROOT), rig.sidecar());
    for (name, change) in CHANGES {
        assert!(matches!(change(&rig), Err(CacheError::Io { .. })), "{name}");
        assert!((rig.on_disk(), rig.list(ROOT), rig.sidecar()) == before, "{name} left a trace");
        assert!(rig.pending().is_empty(), "{name}");
    }
    std::fs::remove_dir(in_the_way).unwrap();
    CHANGES[0].1(&rig).unwrap();
}

#[test]
fn what_changes_nothing_marks_nothing() {
    let rig = clean_rig();
    let clean = rig.sidecar();
    for (name, call) in NO_OPS.iter().chain(&READS) {
        call(&rig).unwrap_or_else(|failed| panic!("{name}: {failed}"));
        assert_eq!(rig.sidecar(), clean, "{name}");
        assert!(rig.pending().is_empty(), "{name}");
    }
    for (name, call) in REFUSED {
        assert!(call(&rig).is_err(), "{name} was not refused");
        assert_eq!(rig.sidecar(), clean, "{name}");
        assert!(rig.pending().is_empty(), "{name}");
    }
    assert!(!rig.cache().watermark().is_dirty());
}

#[test]
fn machine_local_files_work_and_are_never_dirty() {
    let mut rig = clean_rig();
    let clean = rig.sidecar();
    for folder in ["", "full/"] {
        for name in LOCAL {
            let path = format!("{folder}{name}");
            let ino = rig.make(&path, b"mine");
            rig.cache().truncate(ino, 2).unwrap();
            let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
            rig.cache().set_attr(ino, mode).unwrap();
            rig.cache().set_xattr(ino, "user.x", b"y", XattrMode::Any).unwrap();
        }
        rig.rename(&format!("{folder}.lock"), &format!("{folder}_catalog.db-shm"));
        rig.unlink(&format!("{folder}_catalog.db-wal"));
    }
    assert_eq!(rig.sidecar(), clean);
    assert!(rig.pending().is_empty());
    rig.reopen();
    assert_eq!(rig.read("full/_catalog.db-shm"), b"mi");
    assert!(rig.push() && rig.sidecar() == clean);
    for name in LOCAL {
        assert_eq!(rig.object(name), None);
    }
}

#[test]
fn the_last_name_in_a_folder_of_others_may_be_a_machine_local_one() {
    let rig = Rig::new();
    rig.put_object("implied/f", b"1");
    rig.pull();
    rig.make("implied/.lock", b"");
    std::fs::remove_dir_all(rig.content_file("implied/f").ancestors().nth(4).unwrap().join("bucket/implied"))
        .unwrap();
    rig.settle();
    let known = rig.cache().file_state("implied/f").and_then(|state| state.name.remote);
    rig.cache().apply_vanished(&"implied/f".into(), &known).unwrap();
    rig.unlink("implied/.lock");
    assert!(rig.pending().is_empty() && !rig.cache().watermark().is_dirty());
}

#[test]
fn local_and_ordinary_names_cannot_take_each_others_place() {
    let rig = clean_rig();
    rig.make(".lock", b"mine");
    let cache = rig.cache();
    let there = cache.rename((ROOT, "f"), (ROOT, "_catalog.db"), Replace::Yes);
    let back = cache.rename((ROOT, ".lock"), (ROOT, "f"), Replace::Yes);
    assert!(matches!((there, back), (Err(CacheError::AcrossLocal(_)), Err(CacheError::AcrossLocal(_)))));
    assert!(rig.pending().is_empty() && !cache.watermark().is_dirty());
}

#[test]
fn reserved_names_are_refused_in_the_root_only() {
    let rig = clean_rig();
    for name in RESERVED {
        let cache = rig.cache();
        let made = cache.create(ROOT, name, FILE).map(drop);
        let folder = cache.make_folder(ROOT, name, FOLDER).map(drop);
        let link = cache.make_symlink(ROOT, name, FILE, "f").map(drop);
        let renamed = cache.rename((ROOT, "f"), (ROOT, name), Replace::Yes);
        for refused in [made, folder, link, renamed] {
            assert!(matches!(refused, Err(CacheError::Reserved(_))), "{name}");
        }
        assert!(!cache.watermark().is_dirty(), "{name}");
    }
    for name in RESERVED {
        rig.make(&format!("full/{name}"), b"ordinary");
    }
    for name in ["lock", "foo.lock", ".locked.yaml", "_catalog.dbx"] {
        rig.make(name, b"ordinary");
        assert!(rig.pending().contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn read_only_refuses_every_change() {
    let rig = clean_rig();
    rig.make(".lock", b"mine");
    rig.cache().make_read_only("the bucket is in shards");
    let clean = rig.sidecar();
    for (name, change) in CHANGES {
        assert!(matches!(change(&rig), Err(CacheError::ReadOnly(_))), "{name}");
    }
    let local = rig.cache().write(rig.ino(".lock"), 0, b"x");
    let open = rig.cache().open_file(rig.ino("f"), Access::Write);
    assert!(matches!((local, open), (Err(CacheError::ReadOnly(_)), Err(CacheError::ReadOnly(_)))));
    for (name, read) in READS {
        read(&rig).unwrap_or_else(|failed| panic!("{name}: {failed}"));
    }
    assert_eq!(rig.sidecar(), clean);
}

#[test]
fn an_unlinked_file_that_is_still_written_to_dirties_nothing() {
    let rig = clean_rig();
    let ino = rig.ino("f");
    rig.cache().open_file(ino, Access::Write).unwrap();
    rig.unlink("f");
    assert!(rig.push());
    rig.cache().write(ino, 0, b"nobody sees this").unwrap();
    rig.cache().truncate(ino, 3).unwrap();
    assert!(!rig.cache().watermark().is_dirty() && rig.pending().is_empty());
    assert_eq!(rig.read_ino(ino), b"nob");
}

#[test]
fn a_name_that_is_removed_while_it_is_committed_leaves_what_the_index_says_of_it() {
    let rig = Rig::new();
    let (path, ino): (Path, Ino) = ("f".into(), rig.make("f", b"hello"));
    let (cache, nonce) = (rig.cache(), Nonce::from_text("n"));
    let stamp = cache.stamp_of(ino).unwrap();
    let uploading = Uploading { ino, stamp, nonce: nonce.clone(), upload: None };
    cache.sync_upload(cache.note_uploading(&path, ino, uploading).unwrap().unwrap()).unwrap();
    let remote = Remote { size: 5, modified: String::new(), sha256: None, version: Version::new("v1") };
    cache.note_uploaded(&path, ino, &nonce, Uploaded { stamp, remote: remote.clone() }).unwrap();
    rig.unlink("f");
    cache.note_committed(&path, ino, stamp, Some(remote.clone()), None).unwrap();
    assert_eq!(cache.tombstone("f").unwrap().indexed.as_ref(), Some(&remote));
    rig.make("f", b"again");
    assert_eq!(cache.file_state("f").unwrap().name.remote, Some(remote));
}

#[test]
fn what_a_pull_took_over_before_a_commit_was_noted_is_taken_over_again() {
    let rig = Rig::new();
    let (path, ino): (Path, Ino) = ("f".into(), rig.make("f", b"ours"));
    let (cache, nonce) = (rig.cache(), Nonce::from_text("n"));
    let stamp = cache.stamp_of(ino).unwrap();
    let uploading = Uploading { ino, stamp, nonce: nonce.clone(), upload: None };
    cache.sync_upload(cache.note_uploading(&path, ino, uploading).unwrap().unwrap()).unwrap();
    let ours = Remote { size: 4, modified: String::new(), sha256: None, version: Version::new("v1") };
    cache.note_uploaded(&path, ino, &nonce, Uploaded { stamp, remote: ours.clone() }).unwrap();
    let newer = Entry { size: Some(6), version: Version::new("v2"), ..Entry::default() };
    let index = [(DataKey::admit("f").unwrap(), newer)];
    cache.apply_index(&index, &[], &|_| true).unwrap();
    cache.note_applied(Some("newer")).unwrap();
    cache.note_committed(&path, ino, stamp, Some(ours), None).unwrap();
    assert_eq!(cache.applied_fingerprint(), None, "the next pull must not believe that it is up to date");
    cache.apply_index(&index, &[], &|_| true).unwrap();
    assert_eq!(cache.attr(rig.ino("f")).unwrap().size, 6);
}
