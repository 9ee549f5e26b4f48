//! Buckets without an index: it is built from a listing and published once, or kept here.

use std::sync::Arc;
use std::time::Duration;

use bayou::sync::SyncOptions;
use bayou_test_server::{Action, Fault, Gate, KeyPair, Op, Options, Refusal};

use super::peer::PeerOptions;
use super::world::{INDEX, World, fixture};

on_both_stores!(
    c_13_and_c_14_and_c_18_a_bucket_without_an_index_gets_one_and_the_second_reader_writes_nothing,
    c_15_the_fixture_is_discovered_as_swamp_discovers_it_without_leftovers,
    more_than_a_page_of_objects_is_discovered,
    c_16_an_empty_bucket_gets_no_index,
    a_read_only_machine_keeps_what_it_discovers_to_itself,
    c_17_the_first_push_into_a_bucket_without_an_index_names_all_that_is_there,
    what_others_put_into_an_empty_bucket_is_named_by_our_first_push,
    an_index_that_is_removed_is_built_anew,
    a_second_discoverer_takes_the_first_ones_index,
    c_127_a_dangling_entry_fails_only_its_own_read,
);

async fn c_13_and_c_14_and_c_18_a_bucket_without_an_index_gets_one_and_the_second_reader_writes_nothing(
    world: World,
) {
    world.put_foreign("a/b c", "one").await;
    world.put_foreign("ünï", "two").await;
    let first = world.stranger(PeerOptions::default()).await;
    assert_eq!(first.sync.start().await.unwrap().pulled, 2);
    assert_eq!(first.count("put"), 1);
    assert_eq!(world.index_keys().await, ["a/b c", "ünï"]);
    let entry = world.index().await["entries"]["a/b c"].clone();
    assert_eq!((&entry["key"], &entry["size"]), (&"a/b c".into(), &3.into()));
    assert!(entry["lastModified"].as_str().unwrap().ends_with('Z'), "{entry}");
    assert!(entry.get("sha256").is_none() && entry.get("localMtime").is_none(), "{entry}");
    assert_eq!(first.text("a/b c").await, "one");
    let before = world.version(INDEX).await;
    let second = world.stranger(PeerOptions::default()).await;
    assert_eq!(second.sync.start().await.unwrap().pulled, 2);
    assert_eq!(second.text("ünï").await, "two");
    assert!(second.push().await.settled);
    assert_eq!(second.count("put"), 0);
    assert_eq!(world.version(INDEX).await, before);
}

async fn c_15_the_fixture_is_discovered_as_swamp_discovers_it_without_leftovers(world: World) {
    world.put_fixture("bucket-unindexed").await;
    // Its lock is long dead.
    world.clock.advance(Duration::from_secs(3600));
    let peer = world.peer().await;
    let text = std::fs::read(fixture("index/discovery-expected-keys.json")).unwrap();
    let mut expected: Vec<String> = serde_json::from_slice(&text).unwrap();
    expected.retain(|key| !key.starts_with(".locks/") && !key.ends_with(".tmp"));
    assert_eq!(expected.len(), 11);
    assert_eq!(world.index_keys().await, expected);
    assert_eq!(peer.files(), expected);
    assert!(peer.push().await.settled);
}

async fn more_than_a_page_of_objects_is_discovered(world: World) {
    for n in 0..1100 {
        world.put_foreign(&format!("d{}/f{n:04}", n % 7), "x").await;
    }
    let peer = world.peer().await;
    assert_eq!(peer.files().len(), 1100);
    assert_eq!(world.index_keys().await.len(), 1100);
    assert_eq!(peer.text("d3/f1004").await, "x");
}

async fn c_16_an_empty_bucket_gets_no_index(world: World) {
    let peer = world.peer().await;
    peer.pull().await;
    peer.push().await;
    assert_eq!(world.keys().await, [""; 0]);
    assert_eq!(peer.count("put"), 0);
}

async fn a_read_only_machine_keeps_what_it_discovers_to_itself(world: World) {
    world.put_foreign("a", "one").await;
    let options = SyncOptions { read_only: true, ..SyncOptions::default() };
    let peer = world.peer_syncing(options).await;
    assert_eq!(peer.text("a").await, "one");
    assert_eq!(world.keys().await, ["a"]);
    peer.forget_requests();
    peer.pull().await;
    assert_eq!(peer.requests(), [format!("head {INDEX}")]);
}

async fn c_17_the_first_push_into_a_bucket_without_an_index_names_all_that_is_there(world: World) {
    world.put_foreign("theirs/1", "one").await;
    world.put_foreign("theirs/2", "two").await;
    let peer = world.stranger(PeerOptions::default()).await;
    peer.write("ours", "three");
    assert_eq!(peer.push().await.pushed, 1);
    assert_eq!(world.index_keys().await, ["ours", "theirs/1", "theirs/2"]);
    assert_eq!(peer.files(), ["ours", "theirs/1", "theirs/2"]);
}

async fn what_others_put_into_an_empty_bucket_is_named_by_our_first_push(world: World) {
    let peer = world.peer().await;
    world.put_foreign("theirs", "one").await;
    peer.write("ours", "two");
    peer.push().await;
    assert_eq!(world.index_keys().await, ["ours", "theirs"]);
    assert_eq!(peer.text("theirs").await, "one");
}

async fn an_index_that_is_removed_is_built_anew(world: World) {
    let peer = world.peer().await;
    peer.write("a", "one");
    peer.push().await;
    world.delete(INDEX).await;
    world.put_foreign("b", "two").await;
    peer.pull().await;
    assert_eq!(world.index_keys().await, ["a", "b"]);
    assert_eq!(peer.files(), ["a", "b"]);
    assert_eq!(peer.text("a").await, "one");
    peer.write("c", "three");
    peer.push().await;
    assert_eq!(world.peer().await.files(), ["a", "b", "c"]);
}

async fn a_second_discoverer_takes_the_first_ones_index(world: World) {
    for n in 0..20 {
        world.put_foreign(&format!("f{n}"), "x").await;
    }
    let mut starting = Vec::new();
    for _ in 0..4 {
        let peer = world.stranger(PeerOptions::default()).await;
        starting.push(tokio::spawn(async move {
            peer.sync.start().await.unwrap();
            peer
        }));
    }
    let version_of_all = {
        let mut versions = Vec::new();
        for one in starting {
            let peer = one.await.unwrap();
            assert_eq!(peer.files().len(), 20);
            versions.push(peer.cache.applied_fingerprint());
        }
        versions
    };
    let now = world.version(INDEX).await.map(|version| version.as_str().to_owned());
    assert!(version_of_all.iter().all(|one| *one == now), "{version_of_all:?} {now:?}");
}

async fn c_127_a_dangling_entry_fails_only_its_own_read(world: World) {
    let peer = world.peer().await;
    peer.write("gone", "bytes");
    peer.write("stays", "bytes");
    peer.push().await;
    world.delete("gone").await;
    let reader = world.peer().await;
    assert_eq!(reader.files(), ["gone", "stays"]);
    assert!(reader.try_read("gone").await.is_err());
    assert_eq!(reader.text("stays").await, "bytes");
    reader.write("new", "x");
    assert!(reader.push().await.settled);
    assert_eq!(world.index_keys().await, ["gone", "new", "stays"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_19_a_race_of_two_discoverers_is_won_by_one() {
    let world = World::s3().await;
    world.put_foreign("a", "one").await;
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(INDEX).first(1));
    let slow = world.stranger(PeerOptions::default()).await;
    let slow = tokio::spawn(async move { slow.sync.start().await.map(|_| slow) });
    gate.wait_for(1).await;
    let fast = world.peer().await;
    world.put_foreign("b", "two").await;
    fast.write("c", "three");
    fast.push().await;
    let before = world.version(INDEX).await;
    gate.open();
    let slow = slow.await.unwrap().unwrap();
    assert_eq!(world.version(INDEX).await, before, "the loser replaced the winner's index");
    assert_eq!(slow.files(), ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_markers_and_unsafe_keys_are_never_published() {
    let world = World::s3().await;
    for key in ["ok", "dir/", "dir/sub/", "../up", "a/../b", "a//b", "/abs", "./dot", "dir/file"] {
        world.server().put_object("bucket", key, "x");
    }
    let peer = world.peer().await;
    assert_eq!(world.index_keys().await, ["dir/file", "ok"]);
    assert_eq!(peer.tree(), ["dir/", "dir/file", "ok"]);
    peer.write("new", "x");
    assert!(peer.push().await.settled);
    assert_eq!(world.keys().await.len(), 11, "nothing of others is removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_publication_keeps_the_index_here() {
    let reader = KeyPair::new("reader", "reader-secret");
    let world = World::s3_with(Options { read_only_keys: Some(reader.clone()), ..Options::default() }).await;
    world.put_foreign("a", "one").await;
    let peer = world.peer_with(PeerOptions { keys: Some(reader), ..PeerOptions::default() }).await;
    assert_eq!(peer.text("a").await, "one");
    assert_eq!(world.keys().await, ["a"]);
    peer.pull().await;
    assert_eq!(peer.files(), ["a"]);
}

/// What goes wrong with the request for the index.
fn troubles() -> Vec<(&'static str, Action)> {
    let refuse = |status, code| Action::Refuse(Refusal::new(status, code));
    vec![
        ("500", refuse(500, "InternalError")),
        ("503", refuse(503, "SlowDown")),
        ("403", refuse(403, "AccessDenied")),
        ("400", refuse(400, "ExpiredToken")),
        ("cut", Action::Cut),
        ("stall", Action::Stall),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_404_means_no_index_whatever_else_goes_wrong_changes_nothing() {
    let world = World::s3().await;
    let writer = world.peer().await;
    writer.write("a", "one");
    writer.push().await;
    let quick = || PeerOptions { timeout: Duration::from_millis(300), ..PeerOptions::default() };
    for (name, action) in troubles() {
        let peer = world.peer_with(quick()).await;
        peer.write("mine", "kept");
        writer.write("moved", name);
        writer.push().await;
        let (index, keys) = (world.object(INDEX).await, world.keys().await);
        for op in [Op::GetObject, Op::HeadObject] {
            let fault = world.server().fault(Fault::on(op, action.clone()).key(INDEX));
            assert!(peer.sync.pull().await.is_err(), "{name}: pull with {op}");
            let fresh = world.stranger(quick()).await;
            assert!(fresh.sync.start().await.is_err(), "{name}: start with {op}");
            assert_eq!(fresh.files(), [""; 0], "{name}");
            assert!(fault.fired() > 0, "{name}");
            fault.remove();
        }
        assert_eq!(world.object(INDEX).await, index, "{name}");
        assert_eq!(world.keys().await, keys, "{name}");
        assert!(peer.has("a") && peer.text("mine").await == "kept", "{name}");
        peer.remove("mine");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_fails_publishes_nothing_and_one_that_stumbles_is_retried() {
    let world = World::s3().await;
    for n in 0..1100 {
        world.server().put_object("bucket", &format!("f{n:04}"), "x");
    }
    let refused = Action::Refuse(Refusal::internal_error());
    let fault = world.server().fault(Fault::on(Op::ListObjectsV2, refused.clone()).nth(3..=99));
    let peer = world.stranger(PeerOptions::default()).await;
    assert!(peer.sync.start().await.is_err());
    assert!(world.object(INDEX).await.is_none(), "half a listing is not an index");
    assert_eq!(peer.files(), [""; 0]);
    fault.remove();
    world.server().fault(Fault::on(Op::ListObjectsV2, refused).nth(2..=4));
    peer.sync.start().await.unwrap();
    assert_eq!(peer.files().len(), 1100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_discoverers_at_once_one_publishes() {
    let world = World::s3().await;
    world.put_foreign("a", "one").await;
    let peers = [world.stranger(PeerOptions::default()).await, world.stranger(PeerOptions::default()).await];
    let peers = peers.map(Arc::new);
    let all = peers.iter().map(|peer| peer.sync.start());
    for outcome in futures::future::join_all(all).await {
        outcome.unwrap();
    }
    let puts: usize = peers.iter().map(|peer| peer.count("put")).sum();
    assert!((1..=2).contains(&puts), "{puts}");
    assert_eq!(
        world
            .server()
            .requests()
            .iter()
            .filter(|one| one.op == Op::PutObject && one.status == Some(200))
            .count(),
        1
    );
}
