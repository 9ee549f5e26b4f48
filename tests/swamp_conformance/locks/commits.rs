//! What the lock is for: commits of the index.

use std::sync::Arc;

use bayou::sync::SyncError;
use bayou_test_server::{Action, Fault, Gate, Op};

use super::rig::{self, LOCK, foreign, nonce};
use crate::world::{INDEX, World};

on_both_stores!(w_23_a_commit_waits_until_the_lock_is_free);

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
