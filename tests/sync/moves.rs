//! Renamed content that is nowhere but in the bucket: it is copied there, never fetched, and no
//! object is replaced before it was copied, whatever the names did.

use std::collections::BTreeMap;

use bayou::cache::attributes::XattrMode;
use bayou::cache::file::Access;
use bayou::sync::SyncOptions;
use bayou_test_server::{Action, Fault, Gate, Op};

use super::peer::{LOCK, Peer, PeerOptions};
use super::upkeep::{found, upkeep};
use super::world::{INDEX, World};

on_both_stores!(
    a_rename_asks_nothing_and_its_push_fetches_nothing,
    a_chain_of_renames_mixes_nothing_up,
    a_chain_that_was_begun_earlier_mixes_nothing_up,
    names_that_change_places_keep_their_content,
    three_names_in_a_circle_keep_their_content,
    two_folders_that_change_places_keep_their_content,
    a_folder_that_moves_to_where_its_sibling_was_has_its_own_content,
    a_small_file_that_is_here_changes_places_with_one_that_is_not,
    exchanged_files_keep_their_content,
    exchanged_folders_keep_their_content_and_attributes,
    a_file_and_a_folder_that_are_exchanged_keep_their_content_and_attributes,
    what_is_exchanged_may_be_dirty_linked_or_half_here,
    what_is_exchanged_and_changed_back_is_what_it_was,
    what_was_set_aside_and_left_is_removed_by_who_made_it,
    what_is_set_aside_is_no_fault_of_the_bucket,
);

/// More than what is sent again rather than copied.
const LARGE: usize = (1 << 20) + 7;
/// Below this a push keeps what has no other place for a moment.
const TEMPORARY: &str = "_control/bayou/tmp/";

/// Returns a file's content, which nobody else has.
fn content(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(LARGE + name.len()).collect()
}

/// Brings these files into the bucket and returns another machine, which has fetched nothing.
async fn with_files(world: &World, names: &[&str]) -> Peer {
    let writer = world.peer().await;
    names.iter().for_each(|name| writer.write(name, content(name)));
    assert!(writer.push().await.settled);
    world.peer().await
}

/// Returns which bodies of objects were fetched since the last look, and all that was asked.
fn fetched(peer: &Peer) -> (Vec<String>, Vec<String>) {
    let asked = peer.requests();
    let is_index = |key: &str| key == INDEX || key == LOCK || key.starts_with("_index/");
    let bodies = asked.iter().filter_map(|one| one.strip_prefix("get ")).filter(|key| !is_index(key));
    (bodies.map(str::to_owned).collect(), asked)
}

/// Pushes, which fetches no body of an object, and checks that each name has the content of the
/// one on its right, here and everywhere. Returns how many objects were set aside.
async fn check(world: &World, peer: &Peer, expected: &[(&str, &str)]) -> usize {
    let report = peer.push().await;
    let (bodies, asked) = fetched(peer);
    assert_eq!(bodies, [""; 0], "nothing is fetched: {asked:?}");
    assert_eq!(report.conflicts, [""; 0]);
    assert!(report.settled);
    check_content(world, peer, expected).await;
    asked.iter().filter(|one| one.starts_with(&format!("copy {TEMPORARY}"))).count()
}

/// Checks that each name has the content of the one on its right, here and everywhere.
async fn check_content(world: &World, peer: &Peer, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    let names: Vec<_> = expected.keys().map(ToString::to_string).collect();
    assert_eq!(world.data_keys().await, names, "and nothing is left behind");
    assert_eq!(world.index_keys().await, names);
    for machine in [&world.peer().await, peer] {
        assert_eq!(machine.files(), names);
        for (name, was) in &expected {
            assert!(machine.read(name).await == content(was), "{name} is not what {was} was");
        }
    }
    peer.forget_requests();
}

async fn a_rename_asks_nothing_and_its_push_fetches_nothing(world: World) {
    let peer = with_files(&world, &["d/a", "d/b", "d/e/c"]).await;
    peer.rename("d", "n");
    peer.rename("n/e", "n/f");
    assert_eq!(peer.requests(), [""; 0]);
    let set_aside = check(&world, &peer, &[("n/a", "d/a"), ("n/b", "d/b"), ("n/f/c", "d/e/c")]).await;
    assert_eq!(set_aside, 0);
}

async fn a_chain_of_renames_mixes_nothing_up(world: World) {
    let peer = with_files(&world, &["a", "b", "c", "d"]).await;
    for (from, to) in [("d", "e"), ("c", "d"), ("b", "c"), ("a", "b")] {
        peer.rename(from, to);
    }
    let set_aside = check(&world, &peer, &[("b", "a"), ("c", "b"), ("d", "c"), ("e", "d")]).await;
    assert_eq!(set_aside, 0);
}

async fn a_chain_that_was_begun_earlier_mixes_nothing_up(world: World) {
    let peer = with_files(&world, &["a", "b"]).await;
    peer.rename("b", "c");
    peer.rename("a", "b");
    // Only what depends on the other is asked for.
    peer.fsync("b").await.unwrap();
    let (bodies, asked) = fetched(&peer);
    assert_eq!(bodies, [""; 0], "{asked:?}");
    assert!(world.index_keys().await.contains(&"c".to_owned()), "what b was is somewhere");
    let set_aside = check(&world, &peer, &[("b", "a"), ("c", "b")]).await;
    assert_eq!(set_aside, 0);
}

async fn names_that_change_places_keep_their_content(world: World) {
    let peer = with_files(&world, &["a", "b"]).await;
    for (from, to) in [("a", "t"), ("b", "a"), ("t", "b")] {
        peer.rename(from, to);
    }
    let set_aside = check(&world, &peer, &[("a", "b"), ("b", "a")]).await;
    assert_eq!(set_aside, 1);
}

async fn three_names_in_a_circle_keep_their_content(world: World) {
    let peer = with_files(&world, &["a", "b", "c", "x"]).await;
    for (from, to) in [("c", "t"), ("b", "c"), ("a", "b"), ("t", "a"), ("x", "y")] {
        peer.rename(from, to);
    }
    let set_aside = check(&world, &peer, &[("a", "c"), ("b", "a"), ("c", "b"), ("y", "x")]).await;
    assert_eq!(set_aside, 1);
}

async fn two_folders_that_change_places_keep_their_content(world: World) {
    let peer = with_files(&world, &["d/1", "d/2", "d/3", "e/1", "e/2", "e/only"]).await;
    for (from, to) in [("d", "t"), ("e", "d"), ("t", "e")] {
        peer.rename(from, to);
    }
    let expected = [
        ("d/1", "e/1"),
        ("d/2", "e/2"),
        ("d/only", "e/only"),
        ("e/1", "d/1"),
        ("e/2", "d/2"),
        ("e/3", "d/3"),
    ];
    let set_aside = check(&world, &peer, &expected).await;
    assert_eq!(set_aside, 2);
}

async fn a_folder_that_moves_to_where_its_sibling_was_has_its_own_content(world: World) {
    let peer = with_files(&world, &["p/one/f", "p/one/g", "p/two/f", "p/two/h"]).await;
    peer.rename("p/two", "away");
    peer.rename("p/one", "p/two");
    let expected =
        [("away/f", "p/two/f"), ("away/h", "p/two/h"), ("p/two/f", "p/one/f"), ("p/two/g", "p/one/g")];
    let set_aside = check(&world, &peer, &expected).await;
    assert_eq!(set_aside, 0);
}

async fn a_small_file_that_is_here_changes_places_with_one_that_is_not(world: World) {
    let peer = with_files(&world, &["large"]).await;
    peer.write("small", "here");
    peer.push().await;
    peer.forget_requests();
    for (from, to) in [("large", "t"), ("small", "large"), ("t", "small")] {
        peer.rename(from, to);
    }
    assert!(peer.push().await.settled);
    let (bodies, asked) = fetched(&peer);
    assert_eq!(bodies, [""; 0], "{asked:?}");
    let fresh = world.peer().await;
    assert_eq!(fresh.text("large").await, "here");
    assert!(fresh.read("small").await == content("large"));
    assert_eq!(world.data_keys().await, ["large", "small"]);
}

async fn exchanged_files_keep_their_content(world: World) {
    let peer = with_files(&world, &["a", "b", "d/c"]).await;
    peer.exchange("a", "b");
    peer.exchange("b", "d/c");
    assert_eq!(peer.requests(), [""; 0]);
    check(&world, &peer, &[("a", "b"), ("b", "d/c"), ("d/c", "a")]).await;
}

async fn exchanged_folders_keep_their_content_and_attributes(world: World) {
    let writer = world.peer().await;
    ["d/1", "d/2", "e/1", "e/x/3"].iter().for_each(|name| writer.write(name, content(name)));
    for (folder, mode) in [("d", 0o700), ("e", 0o750), ("e/x", 0o711)] {
        writer.chmod(folder, mode);
    }
    writer.cache.set_xattr(writer.ino("d"), "user.of", b"d", XattrMode::Any).unwrap();
    writer.push().await;
    let peer = world.peer().await;
    peer.exchange("d", "e");
    check(&world, &peer, &[("d/1", "e/1"), ("d/x/3", "e/x/3"), ("e/1", "d/1"), ("e/2", "d/2")]).await;
    for machine in [&world.peer().await, &peer] {
        let mode = |path: &str| machine.cache.attr(machine.ino(path)).unwrap().mode;
        assert_eq!((mode("d"), mode("e"), mode("d/x")), (0o750, 0o700, 0o711));
        assert_eq!(machine.cache.xattr(machine.ino("e"), "user.of").unwrap(), b"d");
    }
}

async fn a_file_and_a_folder_that_are_exchanged_keep_their_content_and_attributes(world: World) {
    let writer = world.peer().await;
    ["d/1", "d/2", "f"].iter().for_each(|name| writer.write(name, content(name)));
    writer.chmod("d", 0o700);
    writer.chmod("f", 0o600);
    writer.push().await;
    let peer = world.peer().await;
    let mode = |machine: &Peer, path: &str| machine.cache.attr(machine.ino(path)).unwrap().mode;
    peer.exchange("d", "f");
    // One of them is asked for, and both are published.
    peer.fsync("d").await.unwrap();
    assert_eq!(peer.pending(), [""; 0]);
    check(&world, &peer, &[("d", "f"), ("f/1", "d/1"), ("f/2", "d/2")]).await;
    let fresh = world.peer().await;
    assert_eq!((mode(&fresh, "d"), mode(&fresh, "f")), (0o600, 0o700));
    peer.exchange("d", "f");
    check(&world, &peer, &[("f", "f"), ("d/1", "d/1"), ("d/2", "d/2")]).await;
    let fresh = world.peer().await;
    assert_eq!((mode(&fresh, "d"), mode(&fresh, "f")), (0o700, 0o600));
}

async fn what_is_exchanged_may_be_dirty_linked_or_half_here(world: World) {
    let peer = with_files(&world, &["a", "b", "c", "l"]).await;
    peer.write_at("a", 5, "dirty");
    peer.hydrator.read(peer.ino("b"), 0, 10).await.unwrap();
    peer.cache.open_file(peer.ino("c"), Access::Read).unwrap();
    peer.link("l", "m");
    let (open, linked) = (peer.ino("c"), peer.ino("l"));
    peer.exchange("a", "b");
    peer.exchange("c", "m");
    peer.write_at("b", 0, "after");
    assert!(peer.push().await.settled);
    assert!(peer.hydrator.read(open, 0, 1 << 30).await.unwrap() == content("c"));
    peer.cache.release(open);
    assert_eq!((peer.ino("m"), peer.ino("c"), peer.ino("l")), (open, linked, linked));
    let mut dirty = content("a");
    dirty[..10].copy_from_slice(b"afterdirty");
    for machine in [&world.peer().await, &peer] {
        assert!(machine.read("a").await == content("b"));
        assert!(machine.read("b").await == dirty);
        assert!(machine.read("c").await == content("l") && machine.read("l").await == content("l"));
        assert!(machine.read("m").await == content("c"));
    }
    assert_eq!(world.data_keys().await, ["a", "b", "c", "l", "m"]);
}

async fn what_is_exchanged_and_changed_back_is_what_it_was(world: World) {
    let peer = with_files(&world, &["a", "b", "d/1", "e/1"]).await;
    for _ in 0..2 {
        peer.exchange("a", "b");
        peer.exchange("d", "e");
    }
    check(&world, &peer, &[("a", "a"), ("b", "b"), ("d/1", "d/1"), ("e/1", "e/1")]).await;
    for _ in 0..3 {
        peer.exchange("a", "d");
    }
    check(&world, &peer, &[("a/1", "d/1"), ("b", "b"), ("d", "a"), ("e/1", "e/1")]).await;
}

/// Has a machine set content aside and be stopped before it can name it; returns its cache.
async fn stopped_in_a_circle(world: &World) -> (std::path::PathBuf, Option<tempfile::TempDir>) {
    let peer = with_files(world, &["a", "b"]).await;
    peer.exchange("a", "b");
    let manifest = peer.sync.prepare_push().await.unwrap();
    assert_eq!(manifest.len(), 2);
    drop(manifest);
    let aside = |key: &String| key.starts_with(TEMPORARY);
    assert_eq!(world.keys().await.into_iter().filter(aside).count(), 1);
    peer.stop()
}

async fn what_was_set_aside_and_left_is_removed_by_who_made_it(world: World) {
    let (folder, _home) = stopped_in_a_circle(&world).await;
    let other = world.peer().await;
    other.write("new", "of another machine");
    assert!(other.push().await.settled);
    assert!(world.keys().await.iter().any(|key| key.starts_with(TEMPORARY)), "it is somebody's");
    other.remove("new");
    other.push().await;
    let peer = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    check(&world, &peer, &[("a", "b"), ("b", "a")]).await;
}

async fn what_is_set_aside_is_no_fault_of_the_bucket(world: World) {
    let (_folder, _home) = stopped_in_a_circle(&world).await;
    let survey = upkeep(&world).verify().await.unwrap();
    assert!(found(&survey).iter().all(|(_, keys)| keys.iter().all(|key| !key.starts_with(TEMPORARY))));
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(world.index_keys().await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_made_side_by_side() {
    let world = World::s3().await;
    let at_once = SyncOptions::default().uploads;
    let names: Vec<String> = (0..at_once + 4).map(|n| format!("d/{n}")).collect();
    let peer = with_files(&world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    peer.rename("d", "e");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::CopyObject, Action::Hold(gate.clone())));
    let peer = std::sync::Arc::new(peer);
    let pushing = tokio::spawn({
        let peer = std::sync::Arc::clone(&peer);
        async move { peer.sync.push().await }
    });
    gate.wait_for(at_once).await;
    assert_eq!(gate.arrived(), at_once, "and not more at once");
    gate.open();
    assert!(pushing.await.unwrap().unwrap().settled);
    assert_eq!(peer.count("copy"), at_once + 4);
    assert_eq!(fetched(&peer).0, [""; 0]);
    assert!(!world.keys().await.iter().any(|key| key.starts_with(TEMPORARY)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_while_names_are_exchanged_reads_its_own_file() {
    let world = World::s3().await;
    let peer = std::sync::Arc::new(with_files(&world, &["a", "b"]).await);
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::GetObject, Action::Hold(gate.clone())).key("a").first(1));
    let ino = peer.ino("a");
    let reading = tokio::spawn({
        let peer = std::sync::Arc::clone(&peer);
        async move { peer.hydrator.read(ino, 0, 1 << 30).await }
    });
    gate.wait_for(1).await;
    peer.exchange("a", "b");
    assert!(peer.push().await.settled);
    gate.open();
    assert!(reading.await.unwrap().unwrap() == content("a"));
    assert_eq!(peer.ino("b"), ino);
}
