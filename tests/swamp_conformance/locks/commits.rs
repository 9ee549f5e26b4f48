//! What the lock is for: commits of the index.

use std::sync::Arc;
use std::time::Duration;

use bayou::sync::SyncError;
use bayou_test_server::{Action, Fault, Gate, Op};

use super::rig::{self, LOCK, foreign, nonce};
use crate::neighbour::{META, Neighbour, commit_seq, sharded};
use crate::peer::{Peer, PeerOptions};
use crate::world::{INDEX, World};

on_both_stores!(
    w_23_a_commit_waits_until_the_lock_is_free,
    a_lock_that_our_last_process_left_keeps_nobody_here_waiting,
    w_23_every_document_is_written_on_condition,
    c_134_the_counter_grows_by_one_with_each_commit,
);

/// How long something is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(30);
const SHARD: &str = "_index/data--t--one.json";

/// Starts a push and returns when an upload to this key is under way and held there.
async fn push_held_at(
    world: &World,
    peer: &Arc<Peer>,
    key: &str,
) -> (Gate, tokio::task::JoinHandle<Result<bayou::sync::SyncReport, SyncError>>) {
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(key));
    let peer = Arc::clone(peer);
    let pushing = tokio::spawn(async move { peer.sync.push().await });
    gate.wait_for(1).await;
    (gate, pushing)
}

async fn a_lock_that_our_last_process_left_keeps_nobody_here_waiting(world: World) {
    // Its clock stands still: it does not renew the lock, as if it had died.
    let lock_clock = Arc::new(Arc::clone(&world.clock));
    let peer = world.peer_with(PeerOptions { lock_clock, ..PeerOptions::default() }).await;
    std::mem::forget(peer.sync.lock().hold().await.unwrap());
    let left = nonce(&world).await;
    peer.write("f", "ours");
    let (folder, _home) = peer.stop();
    let timeout = Duration::from_secs(10);
    let again = PeerOptions { folder: Some(folder.clone()), timeout, ..PeerOptions::default() };
    let again = world.peer_with(again).await;
    assert_eq!(std::fs::read_to_string(folder.join("state/lock-nonce")).unwrap(), left);
    again.fsync("f").await.unwrap();
    assert_eq!(world.index_keys().await, ["f"]);
}

async fn w_23_every_document_is_written_on_condition(world: World) {
    let (_world, _, peer) = sharded(world).await;
    peer.write("data/t/one/d/2/raw", "x");
    peer.write("logs/new", "x");
    peer.write("src/main.rs", "x");
    assert!(peer.push().await.settled);
    let is_document = |key: &str| key.starts_with("_index/") || key.starts_with("_control/");
    let written: Vec<_> = peer.store.take().into_iter().filter(|one| one.operation == "put").collect();
    let documents: Vec<_> =
        written.iter().filter(|one| is_document(&one.key)).map(ToString::to_string).collect();
    assert_eq!(documents.len(), 4, "{documents:?}");
    assert!(
        documents.iter().all(|one| one.contains("IfVersion") || one.contains("IfAbsent")),
        "{documents:?}"
    );
}

async fn c_134_the_counter_grows_by_one_with_each_commit(world: World) {
    let (world, _, peer) = sharded(world).await;
    let before = commit_seq(&world).await;
    for commit in 1..=3 {
        peer.write("data/t/one/d/2/raw", format!("{commit}"));
        peer.write("audit/a.jsonl", format!("{commit}"));
        assert!(peer.push().await.settled);
        assert_eq!(commit_seq(&world).await, before + commit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_is_taken_while_a_short_push_uploads() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("held", "ours");
    let (gate, pushing) = push_held_at(&world, &peer, "held").await;
    let is_taken = async {
        while world.version(LOCK).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_taken).await.unwrap();
    gate.open();
    assert!(pushing.await.unwrap().unwrap().settled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_23_a_lock_that_is_taken_between_a_shard_and_the_meta_document_ends_the_commit() {
    let (world, _, peer) = sharded(World::s3().await).await;
    let (seq, peer) = (commit_seq(&world).await, Arc::new(peer));
    peer.write("data/t/one/d/2/raw", "ours");
    let (gate, pushing) = push_held_at(&world, &peer, SHARD).await;
    rig::put_foreign(&world, &foreign(Some("thief"))).await;
    gate.open();
    let lost = pushing.await.unwrap().unwrap_err();
    assert!(matches!(lost, SyncError::LockLost { .. }), "{lost}");
    assert_eq!((commit_seq(&world).await, peer.pending()), (seq, vec!["data/t/one/d/2/raw".to_owned()]));
    world.delete(LOCK).await;
    assert!(peer.push().await.settled);
    assert_eq!(world.json(META).await["commitSeq"], seq + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_18_a_shard_that_swamp_writes_meanwhile_is_merged_with() {
    let (world, swamp, peer) = sharded(World::s3().await).await;
    let swamp: Neighbour = swamp;
    let peer = Arc::new(peer);
    peer.write("data/t/one/d/2/raw", "ours");
    let (gate, pushing) = push_held_at(&world, &peer, SHARD).await;
    // Its lock is lost, or was never taken.
    swamp.push("data/t/one/d/3/raw", "theirs").await;
    gate.open();
    pushing.await.unwrap().unwrap();
    let entries = world.json(SHARD).await["entries"].clone();
    assert!(
        entries["data/t/one/d/2/raw"].is_object() && entries["data/t/one/d/3/raw"].is_object(),
        "{entries}"
    );
}

async fn w_23_a_commit_waits_until_the_lock_is_free(world: World) {
    let peer = Arc::new(world.peer().await);
    rig::put_foreign(&world, &foreign(Some("theirs"))).await;
    peer.write("f", "ours");
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.push().await }
    });
    let asks_for_lock = || peer.store.requests().iter().filter(|one| one.key == LOCK).count();
    while asks_for_lock() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(world.object(INDEX).await.is_none());
    world.delete(LOCK).await;
    assert!(pushing.await.unwrap().settled);
    assert_eq!(world.index_keys().await, ["f"]);
    peer.sync.lock().idle().await;
    assert!(world.version(LOCK).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_23_a_commit_whose_lock_was_taken_writes_nothing_and_what_is_dirty_stays() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("first", "1");
    peer.push().await;
    peer.sync.lock().idle().await;
    let before = world.version(INDEX).await;
    peer.write("f", "ours");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::GetObject, Action::Hold(gate.clone())).key(LOCK).first(1));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push().await }
    });
    gate.wait_for(1).await;
    rig::put_foreign(&world, &foreign(Some("thief"))).await;
    gate.open();
    let lost = pushing.await.unwrap().unwrap_err();
    assert!(matches!(lost, SyncError::LockLost { .. }), "{lost}");
    assert_eq!((world.version(INDEX).await, peer.pending()), (before, vec!["f".to_owned()]));
    peer.sync.lock().idle().await;
    assert_eq!(nonce(&world).await, "thief");

    world.delete(LOCK).await;
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, ["f", "first"]);
}
