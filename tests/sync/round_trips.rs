//! How many round trips somebody waits who waits for a small file to be safe: what is asked side
//! by side is held until all of it has arrived.

use std::sync::Arc;

use bayou_test_server::{Action, Fault, Gate, Op};

use super::peer::{LOCK, Peer, PeerOptions};
use super::world::{INDEX, World};

const META: &str = "_index/_meta.json";

/// Holds requests until all of them have arrived.
fn held(world: &World, requests: &[(Op, &str)]) -> Gate {
    let gate = Gate::new();
    for (op, key) in requests {
        world.server().fault(Fault::on(*op, Action::Hold(gate.clone())).key(key).first(1));
    }
    gate
}

/// Returns a machine that has pushed once, whose clocks stand still.
async fn machine(world: &World) -> Arc<Peer> {
    let lock_clock = Arc::new(Arc::clone(&world.clock));
    let peer = world.peer_with(PeerOptions { lock_clock, ..PeerOptions::default() }).await;
    peer.write("first", "1");
    assert!(peer.push().await.settled);
    world.server().reset_counts();
    Arc::new(peer)
}

fn said(world: &World) -> Vec<String> {
    world.server().requests().iter().map(|sent| format!("{:?} {}", sent.op, sent.key)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsync_of_a_small_file_is_three_round_trips_with_the_lock() {
    let world = World::s3().await;
    let peer = machine(&world).await;
    world.clock.advance(std::time::Duration::from_secs(1));
    let first = held(&world, &[(Op::PutObject, "file"), (Op::PutObject, LOCK)]);
    let second = held(&world, &[(Op::GetObject, LOCK), (Op::HeadObject, META)]);
    let third = held(&world, &[(Op::PutObject, INDEX)]);
    let after = held(&world, &[(Op::DeleteObject, LOCK)]);
    peer.write("file", "content");
    let (syncing, here) = (Arc::clone(&peer), Arc::clone(&peer));
    let fsync = tokio::spawn(async move { syncing.fsync("file").await });
    for (gate, requests) in [(first, 2), (second, 2), (third, 1)] {
        gate.wait_for(requests).await;
        assert!(!fsync.is_finished());
        gate.open();
    }
    fsync.await.unwrap().unwrap();
    after.wait_for(1).await;
    let asked = said(&world);
    assert_eq!(asked.len(), 6, "{asked:?}");
    after.open();
    here.sync.lock().idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fsyncs_that_follow_each_other_each_is_three_round_trips_and_the_lock_is_kept() {
    let world = World::s3().await;
    let peer = machine(&world).await;
    for n in 0..10 {
        if n == 2 {
            // The first is over at once; who follows it finds that others may follow.
            world.server().reset_counts();
        }
        peer.write("file", format!("{n}"));
        peer.fsync("file").await.unwrap();
    }
    let asked = said(&world);
    let each = ["PutObject file".to_owned(), format!("GetObject {LOCK}"), format!("HeadObject {META}")];
    for request in each.iter().chain([&format!("PutObject {INDEX}")]) {
        assert_eq!(asked.iter().filter(|one| *one == request).count(), 8, "{request} of {asked:?}");
    }
    assert_eq!(asked.len(), 32, "{asked:?}");
    assert!(world.server().object("bucket", LOCK).is_some(), "it is kept for the next");
    world.server().reset_counts();
    peer.sync.lock().idle().await;
    assert_eq!(said(&world), [format!("DeleteObject {LOCK}")], "who leaves keeps nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_nobody_follows_in_is_given_back_at_once_and_a_kept_one_soon() {
    let world = World::s3().await;
    let peer = machine(&world).await;
    let second = std::time::Duration::from_secs(1);
    for _ in 0..3 {
        world.clock.advance(second);
        peer.write("file", "x");
        peer.fsync("file").await.unwrap();
        while world.server().object("bucket", LOCK).is_some() {
            tokio::task::yield_now().await;
        }
    }
    for n in 0..2 {
        peer.write("file", format!("{n}"));
        peer.fsync("file").await.unwrap();
    }
    assert!(world.server().object("bucket", LOCK).is_some());
    while world.server().object("bucket", LOCK).is_some() {
        world.clock.advance(second / 10);
        tokio::task::yield_now().await;
    }
}
