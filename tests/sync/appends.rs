//! Of a large file that was appended to only that is sent, where objects are put together.

use std::sync::Arc;

use bayou::model::content_hash::ContentHash;
use bayou::sync::SyncOptions;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};
use tokio::task::JoinHandle;

use super::edits::{check, cost_of_push, pattern, with_large};
use super::peer::{Peer, PeerOptions};
use super::world::World;

const MIB: usize = 1 << 20;
/// What is set aside in the bucket is below this.
const ASIDE: &str = "_control/bayou/tmp/";

fn server(world: &World) -> &bayou_test_server::GcsServer {
    world.gcs_server().unwrap()
}

/// Appends to a file, and to what it is expected to be.
fn append(peer: &Peer, path: &str, bytes: &mut Vec<u8>, tail: &[u8]) {
    peer.write_at(path, bytes.len() as u64, tail);
    bytes.extend_from_slice(tail);
}

/// Has the file fsynced; returns when that waits at the gate.
async fn fsync_until(peer: &Arc<Peer>, gate: &Gate) -> JoinHandle<bayou::sync::Result<()>> {
    let peer = Arc::clone(peer);
    let fsync = tokio::spawn(async move { peer.fsync("large").await });
    gate.wait_for(1).await;
    fsync
}

async fn said_hash(world: &World, path: &str) -> Option<String> {
    world.index().await["entries"][path]["sha256"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_is_all_that_is_sent_and_nothing_is_fetched() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    append(&peer, "large", &mut bytes, b"the end");
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.fetched, cost.parts), (7, 0, 0));
    assert_eq!(server(&world).count(Op::ComposeObject), 1);
    assert_eq!(world.data_keys().await, ["large"], "what was set aside is removed");
    check(&world, &peer, "large", &bytes).await;
    assert_eq!(said_hash(&world, "large").await, None, "nobody saw all of the bytes");
    // All of it is here now.
    append(&peer, "large", &mut bytes, b", and more");
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.fetched), (10, 0));
    check(&world, &peer, "large", &bytes).await;
    assert_eq!(said_hash(&world, "large").await, Some(ContentHash::of(&bytes).to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_that_is_appended_is_sent_in_pieces_and_too_much_as_a_whole() {
    let world = World::gcs().await;
    let (writer, mut bytes) = with_large(&world, 10 * MIB).await;
    drop(writer);
    let options = SyncOptions { part_bytes: MIB as u64, ..SyncOptions::default() };
    let peer = world.peer_syncing(options).await;
    append(&peer, "large", &mut bytes, &pattern(7 * MIB + 3));
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.fetched), (7 * MIB as u64 + 3, 0));
    let pieces = server(&world).requests().into_iter().filter(|one| one.key.starts_with(ASIDE));
    assert_eq!(pieces.filter(|one| one.op == Op::PutObject).count(), 8);
    check(&world, &peer, "large", &bytes).await;
    append(&peer, "large", &mut bytes, &pattern(32 * MIB));
    let cost = cost_of_push(&peer).await;
    assert_eq!(cost.sent, bytes.len() as u64, "so many pieces are not put together");
    assert_eq!(server(&world).count(Op::ComposeObject), 1);
    check(&world, &peer, "large", &bytes).await;
    assert_eq!(world.data_keys().await, ["large"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_also_changed_before_its_old_end_is_sent_as_a_whole() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 12 * MIB).await;
    append(&peer, "large", &mut bytes, b"tail");
    peer.write_at("large", 3, b"head");
    bytes[3..7].copy_from_slice(b"head");
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, server(&world).count(Op::ComposeObject)), (bytes.len() as u64, 0));
    check(&world, &peer, "large", &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_file_is_put_together_from_its_old_key() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.rename("large", "renamed");
    append(&peer, "renamed", &mut bytes, b"tail");
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.fetched), (4, 0));
    assert_eq!(world.data_keys().await, ["renamed"]);
    check(&world, &peer, "renamed", &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_put_there_meanwhile_is_kept_and_ours_beside_it() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    append(&peer, "large", &mut bytes, b"ours");
    let theirs = vec![5; 20 * MIB];
    world.put_foreign("large", theirs.clone()).await;
    peer.push().await;
    let kept = peer.conflict_copy();
    assert!(world.object("large").await.unwrap() == theirs);
    assert!(world.object(&kept).await.unwrap() == bytes, "ours is whole");
    assert!(peer.push().await.settled);
    assert!(world.keys().await.iter().all(|key| !key.starts_with(ASIDE)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_is_gone_nothing_is_put_together() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    peer.rename("large", "renamed");
    append(&peer, "renamed", &mut bytes, b"tail");
    world.delete("large").await;
    peer.push().await;
    assert!(world.object("renamed").await.unwrap() == bytes);
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, ["renamed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_others_replaced_nothing_is_put_together_in_whichever_words_that_is_refused() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    peer.rename("large", "renamed");
    append(&peer, "renamed", &mut bytes, b"tail");
    world.put_foreign("large", "theirs").await;
    let refused = Action::Refuse(Refusal::new(412, "conditionNotMet"));
    let refused = server(&world).fault(Fault::on(Op::ComposeObject, refused));
    peer.push().await;
    assert_eq!(refused.fired(), 1);
    assert!(world.object("renamed").await.unwrap() == bytes);
    assert!(peer.push().await.settled);
    assert_eq!(world.object("large").await.unwrap(), "theirs");
    assert_eq!(peer.conflict_copies(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_no_conflict_and_a_refusal_is_asked_for_once() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    append(&peer, "large", &mut bytes, b"one");
    let lost = server(&world).fault(Fault::on(Op::ComposeObject, Action::ApplyThenCut).first(1));
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, lost.fired()), (3, 1));
    check(&world, &peer, "large", &bytes).await;
    let refused = Action::Refuse(Refusal::new(501, "NotImplemented"));
    let refused = server(&world).fault(Fault::on(Op::ComposeObject, refused));
    for tail in [b"two", b"3rd"] {
        append(&peer, "large", &mut bytes, tail);
        assert_eq!(cost_of_push(&peer).await.sent, bytes.len() as u64);
        assert_eq!(refused.fired(), 1, "the bucket does not do that");
        check(&world, &peer, "large", &bytes).await;
    }
    assert_eq!(world.data_keys().await, ["large"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_while_it_is_sent_is_sent_too() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    let peer = Arc::new(peer);
    append(&peer, "large", &mut bytes, b"first, ");
    let gate = Gate::new();
    server(&world).fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(ASIDE).first(1));
    let fsync = fsync_until(&peer, &gate).await;
    append(&peer, "large", &mut bytes, b"second");
    gate.open();
    fsync.await.unwrap().unwrap();
    peer.fsync("large").await.unwrap();
    check(&world, &peer, "large", &bytes).await;
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, ["large"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_set_aside_before_it_died_is_removed_by_the_next() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    let peer = Arc::new(peer);
    append(&peer, "large", &mut bytes, b"tail");
    let gate = Gate::new();
    server(&world).fault(Fault::on(Op::ComposeObject, Action::Hold(gate.clone())).first(1));
    let fsync = fsync_until(&peer, &gate).await;
    fsync.abort();
    fsync.await.unwrap_err();
    assert!(world.keys().await.iter().any(|key| key.starts_with(ASIDE)));
    let (folder, _home) = Arc::into_inner(peer).unwrap().stop();
    let next = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(next.push().await.settled);
    assert_eq!(world.data_keys().await, ["large"]);
    check(&world, &next, "large", &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hash_in_the_index_is_that_of_what_was_put_together() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    let peer = Arc::new(peer);
    append(&peer, "large", &mut bytes, b"tail");
    let gate = Gate::new();
    server(&world).fault(Fault::on(Op::ComposeObject, Action::Hold(gate.clone())).first(1));
    let fsync = fsync_until(&peer, &gate).await;
    peer.write_at("large", 20 << 20, b"TAIL");
    gate.open();
    fsync.await.unwrap().unwrap();
    let put_together = world.object("large").await.unwrap();
    assert_eq!(said_hash(&world, "large").await, Some(ContentHash::of(&put_together).to_string()));
    peer.fsync("large").await.unwrap();
    bytes[20 * MIB..].copy_from_slice(b"TAIL");
    check(&world, &peer, "large", &bytes).await;
}
