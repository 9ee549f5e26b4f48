//! The five rules that swamp learned the hard way, each under its name.

use bayou::cache::attributes::{SetAttr, XattrMode};
use bayou::cache::file::Access;
use bayou::cache::rename::Replace;
use bayou::cache::{self, Ino, ROOT};
use bayou::model::sidecar::Sidecar;
use bayou::sync::SyncOptions;

use super::peer::{FILE, Peer, PeerOptions};
use super::world::{INDEX, World};

on_both_stores!(
    what_is_written_here_is_read_on_a_fresh_machine,
    c_43_and_k_24_rule_1_every_change_marks_dirty_on_the_disk,
    rule_1_no_change_is_made_that_could_not_be_marked,
    k_24_rule_1_what_changes_nothing_marks_nothing,
    rule_2_an_empty_push_on_an_empty_machine_is_no_proof,
    rule_2_what_only_one_side_has_is_no_proof,
    rule_2_equality_that_was_seen_is_proof_though_nothing_was_sent,
    rule_2_reading_never_makes_dirty,
    rule_3_a_push_is_one_push,
    rule_4_scope_speaks_of_names_only,
    rule_5_an_unindexed_bucket_heals_once,
    rule_5_machinery_is_never_captured,
);

async fn what_is_written_here_is_read_on_a_fresh_machine(world: World) {
    let peer = world.peer().await;
    peer.write("a/ünï cödé", "one");
    peer.write("empty", "");
    peer.symlink("link", "a/ünï cödé");
    peer.mkdir("hollow");
    let report = peer.push().await;
    assert_eq!((report.pushed, report.settled), (4, true));
    assert!(peer.is_clean());
    assert!(peer.pending().is_empty());
    let reader = world.peer().await;
    assert_eq!(reader.tree(), ["a/", "a/ünï cödé", "empty", "hollow/", "link"]);
    assert_eq!(reader.text("a/ünï cödé").await, "one");
    assert_eq!(reader.text("empty").await, "");
    assert_eq!(reader.cache.read_link(reader.ino("link")).unwrap(), "a/ünï cödé");
    assert_eq!(world.data_keys().await, ["a/ünï cödé", "empty", "link"]);
}

/// One call that changes something.
type Change = fn(&Peer, Ino) -> cache::Result<()>;

/// Every call of the cache that changes what the bucket is to have; the inode is that of `f`.
const CHANGES: [(&str, Change); 14] = [
    ("create", |peer, _| peer.cache.create(ROOT, "new", FILE).map(drop)),
    ("make_folder", |peer, _| peer.cache.make_folder(ROOT, "new", FILE).map(drop)),
    ("make_symlink", |peer, _| peer.cache.make_symlink(ROOT, "new", FILE, "f").map(drop)),
    ("write", |peer, f| peer.cache.write(f, 1, b"X")),
    ("write behind the end", |peer, f| peer.cache.write(f, 100, b"X")),
    ("truncate", |peer, f| peer.cache.truncate(f, 1)),
    ("extend", |peer, f| peer.cache.truncate(f, 100)),
    ("chmod", |peer, f| set(peer, f, SetAttr { mode: Some(0o600), ..SetAttr::default() })),
    ("utimes", |peer, f| set(peer, f, SetAttr { mtime: Some(1), ..SetAttr::default() })),
    ("set_xattr", |peer, f| peer.cache.set_xattr(f, "user.a", b"1", XattrMode::Any)),
    ("remove_xattr", |peer, f| peer.cache.remove_xattr(f, "user.there")),
    ("unlink", |peer, _| peer.cache.unlink(ROOT, "f")),
    ("remove_folder", |peer, _| peer.cache.remove_folder(ROOT, "hollow")),
    ("rename", |peer, _| peer.cache.rename((ROOT, "f"), (ROOT, "g"), Replace::No)),
];

fn set(peer: &Peer, ino: Ino, set: SetAttr) -> cache::Result<()> {
    peer.cache.set_attr(ino, set).map(drop)
}

/// Returns a machine that is clean and has a file, a folder and an attribute.
async fn clean(world: &World) -> (Peer, Ino) {
    let peer = world.peer().await;
    if !peer.has("f") {
        peer.write("f", "content");
        peer.cache.set_xattr(peer.ino("f"), "user.there", b"1", XattrMode::Any).unwrap();
        peer.mkdir("hollow");
    }
    assert!(peer.push().await.settled);
    assert!(!on_disk(&peer).is_dirty());
    let f = peer.ino("f");
    (peer, f)
}

/// Returns what a process that starts now would read.
fn on_disk(peer: &Peer) -> Sidecar {
    let bytes = std::fs::read(peer.folder.join("state/.datastore-sync-state.json")).unwrap();
    Sidecar::parse(&bytes).unwrap()
}

async fn c_43_and_k_24_rule_1_every_change_marks_dirty_on_the_disk(world: World) {
    for (name, change) in CHANGES {
        let (peer, f) = clean(&world).await;
        change(&peer, f).unwrap();
        assert!(on_disk(&peer).is_dirty(), "{name}");
        assert!(!peer.pending().is_empty(), "{name}");
    }
}

async fn rule_1_no_change_is_made_that_could_not_be_marked(world: World) {
    for (name, change) in CHANGES {
        let (peer, f) = clean(&world).await;
        // A folder stands where the mark would be written.
        let sidecar = peer.folder.join("state/.datastore-sync-state.json");
        std::fs::remove_file(&sidecar).unwrap();
        std::fs::create_dir_all(sidecar.join("in the way")).unwrap();
        let (tree, attr) = (peer.tree(), peer.cache.attr(f).unwrap());
        assert!(change(&peer, f).is_err(), "{name}");
        assert_eq!(peer.tree(), tree, "{name}");
        assert_eq!(peer.cache.attr(f).unwrap(), attr, "{name}");
        assert_eq!(peer.cache.xattr_names(f).unwrap(), ["user.there"], "{name}");
        assert_eq!(peer.text("f").await, "content", "{name}");
        assert_eq!(peer.pending(), [""; 0], "{name}");
    }
}

async fn k_24_rule_1_what_changes_nothing_marks_nothing(world: World) {
    let calls: [(&str, Change); 10] = [
        ("nothing written", |peer, f| peer.cache.write(f, 0, b"")),
        ("same size", |peer, f| peer.cache.truncate(f, 7)),
        ("same mode", |peer, f| set(peer, f, SetAttr { mode: Some(0o644), ..SetAttr::default() })),
        ("open to write", |peer, f| peer.cache.open_file(f, Access::Write).map(|()| peer.cache.release(f))),
        ("name that exists", |peer, _| refused(peer.cache.create(ROOT, "f", FILE))),
        ("reserved name", |peer, _| refused(peer.cache.create(ROOT, "_index", FILE))),
        ("rename onto itself", |peer, _| peer.cache.rename((ROOT, "f"), (ROOT, "f"), Replace::Yes)),
        ("rename that may not replace", |peer, _| {
            refused(peer.cache.rename((ROOT, "f"), (ROOT, "hollow"), Replace::No))
        }),
        ("unlink of nothing", |peer, _| refused(peer.cache.unlink(ROOT, "nothing"))),
        ("file of this machine", |peer, _| {
            let made = peer.cache.create(ROOT, ".lock", FILE)?;
            peer.cache.write(made.ino, 0, b"local")
        }),
    ];
    let (peer, f) = clean(&world).await;
    for (name, call) in calls {
        call(&peer, f).unwrap();
        assert!(!on_disk(&peer).is_dirty() && peer.is_clean(), "{name}");
    }
    assert_eq!(peer.pending(), [""; 0]);
}

fn refused<T>(outcome: cache::Result<T>) -> cache::Result<()> {
    assert!(outcome.is_err());
    Ok(())
}

async fn rule_2_an_empty_push_on_an_empty_machine_is_no_proof(world: World) {
    clean(&world).await;
    let empty = world.stranger(PeerOptions::default()).await;
    // It has nothing to push; the bucket has what it has not seen.
    empty.sync.push_pending().await.unwrap();
    assert!(!empty.sync.settle().await.unwrap());
    assert!(!empty.is_clean());
    empty.pull().await;
    assert_eq!(empty.files(), ["f"]);
}

async fn rule_2_what_only_one_side_has_is_no_proof(world: World) {
    let (peer, _) = clean(&world).await;
    // The index lost it, but its object is there: it is not known to be deleted.
    world.edit_index(|entries| drop(entries.remove("f"))).await;
    peer.pull().await;
    assert!(!peer.sync.settle().await.unwrap(), "only here");
    peer.write("unpushed", "x");
    assert!(!peer.sync.settle().await.unwrap(), "only here, and dirty");
    let fresh = world.peer().await;
    fresh.write("mine", "x");
    fresh.remove("mine");
    world.edit_index(|entries| drop(entries.insert("more".to_owned(), serde_json::json!({"size": 1})))).await;
    fresh.push().await;
    let version = world.version(INDEX).await.unwrap();
    assert!(fresh.has("more") || !fresh.cache.watermark().is_clean_at(version.as_str()), "only there");
}

async fn rule_2_equality_that_was_seen_is_proof_though_nothing_was_sent(world: World) {
    clean(&world).await;
    let reader = world.peer().await;
    assert!(!reader.is_clean());
    assert!(reader.push().await.settled);
    assert_eq!(reader.count("put"), 0);
    let version = world.version(INDEX).await.unwrap();
    assert!(reader.cache.watermark().is_clean_at(version.as_str()));
}

async fn rule_2_reading_never_makes_dirty(world: World) {
    clean(&world).await;
    let (reader, f) = clean(&world).await;
    reader.text("f").await;
    reader.cache.xattr(f, "user.there").unwrap();
    reader.tree();
    reader.pull().await;
    assert!(reader.is_clean() && !on_disk(&reader).is_dirty());
    reader.forget_requests();
    assert!(reader.push().await.settled);
    assert_eq!(reader.requests(), [format!("head {INDEX}")]);
}

async fn rule_3_a_push_is_one_push(world: World) {
    let (peer, _) = clean(&world).await;
    peer.write("f", "other");
    peer.forget_requests();
    let report = peer.push().await;
    assert_eq!((report.pushed, report.settled), (1, true));
    let puts: Vec<_> = peer.requests().into_iter().filter(|one| one.starts_with("put")).collect();
    assert_eq!(puts, ["put f".to_owned(), format!("put {INDEX}")]);
    // What cannot be done is said once, as a failure, and tried once.
    let reader = world.peer_syncing(SyncOptions { read_only: true, ..SyncOptions::default() }).await;
    reader.write("f", "mine");
    assert!(reader.sync.push().await.is_err());
    assert_eq!(reader.requests(), [""; 0]);
}

async fn rule_4_scope_speaks_of_names_only(world: World) {
    let (peer, _) = clean(&world).await;
    for name in ["in/1", "in/2", "out"] {
        peer.write(name, "x");
    }
    peer.sync.push_names(vec!["in/1".into(), "in/2".into()]).await.unwrap();
    assert_eq!(world.data_keys().await, ["f", "in/1", "in/2"]);
    assert!(!peer.sync.settle().await.unwrap(), "a part that was pushed does not settle the whole");
    assert_eq!(peer.pending(), ["in", "out"]);
}

async fn rule_5_an_unindexed_bucket_heals_once(world: World) {
    world.put_foreign("theirs", "x").await;
    let first = world.peer().await;
    assert_eq!(first.text("theirs").await, "x");
    let version = world.version(INDEX).await;
    world.peer().await.push().await;
    first.push().await;
    assert_eq!(world.version(INDEX).await, version);
}

async fn rule_5_machinery_is_never_captured(world: World) {
    for key in
        ["data/.lock", "_catalog.db", "data/_catalog.db-wal", "_control/x", "x/.namespace.json", "f.lock"]
    {
        world.put_foreign(key, "x").await;
    }
    let peer = world.peer().await;
    assert_eq!(world.index_keys().await, ["f.lock"]);
    assert_eq!(peer.files(), ["f.lock"]);
}
