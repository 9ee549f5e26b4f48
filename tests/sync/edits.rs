//! Of a large file of which little was changed little is sent, and nothing is fetched for the rest.

use std::sync::Arc;
use std::time::Duration;

use bayou::cache::holes::Fallocate;
use bayou::model::content_hash::ContentHash;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use super::peer::{Peer, PeerOptions};
use super::world::World;

const MIB: usize = 1 << 20;
/// What may be sent, or fetched, for one byte of a large file.
const LITTLE: u64 = 8 << 20;

where_parts_are_copied!(
    one_byte_of_a_large_file_that_is_not_here_is_one_part_sent_and_little_fetched,
    what_is_appended_to_a_large_file_is_all_that_is_sent,
    edits_at_several_places_are_sent_around_each,
    a_large_file_that_was_cut_is_copied,
    holes_and_zeros_are_changes,
    an_edit_after_a_rename_is_copied_from_the_old_key,
    an_edit_of_an_edit_is_copied_from_the_first,
    what_a_process_changed_before_it_ended_is_known_to_the_next,
    a_file_of_which_most_was_changed_is_sent_as_a_whole,
    what_is_absent_comes_from_the_edited_object_as_soon_as_it_is_there,
    of_an_object_that_was_replaced_nothing_is_copied,
);

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 7) ^ (at >> 15)) as u8).collect()
}

/// Brings a large file into the bucket; returns a machine that has none of it, and its bytes.
pub(super) async fn with_large(world: &World, len: usize) -> (Peer, Vec<u8>) {
    let bytes = pattern(len);
    let writer = world.peer().await;
    writer.write("large", &bytes);
    assert!(writer.push().await.settled);
    (world.peer().await, bytes)
}

/// What a push costs.
pub(super) struct Cost {
    pub(super) sent: u64,
    pub(super) fetched: u64,
    pub(super) copied: usize,
    pub(super) parts: usize,
}

pub(super) async fn cost_of_push(peer: &Peer) -> Cost {
    peer.forget_requests();
    let report = peer.push().await;
    assert!(report.settled);
    let asked = peer.store.take();
    let data = |what: &str| {
        let of = asked.iter().filter(|one| one.operation == what && !one.key.starts_with(['.', '_']));
        of.cloned().collect::<Vec<_>>()
    };
    let fetched =
        data("get").iter().map(|get| get.range.as_ref().map_or(u64::MAX, |r| r.end - r.start)).sum();
    let (copied, parts) = (data("copy_part").len(), data("upload_part").len());
    Cost { sent: report.pushed_bytes, fetched, copied, parts }
}

/// The bucket, this machine and a new one have the same bytes.
pub(super) async fn check(world: &World, peer: &Peer, name: &str, expected: &[u8]) {
    assert!(world.object(name).await.unwrap() == expected, "the object");
    assert!(peer.read(name).await == expected, "this machine");
    assert!(world.peer().await.read(name).await == expected, "a new machine");
}

async fn one_byte_of_a_large_file_that_is_not_here_is_one_part_sent_and_little_fetched(world: World) {
    let (peer, mut bytes) = with_large(&world, 64 * MIB).await;
    let at = 40 * MIB + 5;
    peer.write_at("large", at as u64, b"!");
    bytes[at] = b'!';
    let cost = cost_of_push(&peer).await;
    assert!(cost.sent <= LITTLE && cost.fetched <= LITTLE, "{} sent, {} fetched", cost.sent, cost.fetched);
    assert_eq!(cost.parts, 1);
    assert!(cost.copied <= 4, "{} copies, one of them to see what the bucket does", cost.copied);
    check(&world, &peer, "large", &bytes).await;
    assert!(world.index().await["entries"]["large"]["sha256"].is_null(), "nobody saw all of the bytes");
}

async fn what_is_appended_to_a_large_file_is_all_that_is_sent(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    peer.write_at("large", bytes.len() as u64, b"tail");
    bytes.extend_from_slice(b"tail");
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.fetched, cost.parts), (4, 0, 1));
    check(&world, &peer, "large", &bytes).await;
    let hash = world.index().await["entries"]["large"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(hash, ContentHash::of(&bytes).to_string(), "all of it is here");
}

async fn edits_at_several_places_are_sent_around_each(world: World) {
    let (peer, mut bytes) = with_large(&world, 60 * MIB).await;
    for (at, len) in [(0, 3), (MIB, 5), (30 * MIB - 1, 2), (60 * MIB - 1, 1)] {
        peer.write_at("large", at as u64, vec![7; len]);
        bytes[at..at + len].fill(7);
    }
    let cost = cost_of_push(&peer).await;
    assert!(
        cost.sent <= 11 << 20 && cost.fetched <= cost.sent,
        "{} sent, {} fetched",
        cost.sent,
        cost.fetched
    );
    assert_eq!(cost.parts, 3);
    check(&world, &peer, "large", &bytes).await;
}

async fn a_large_file_that_was_cut_is_copied(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.cache.truncate(peer.ino("large"), 18 << 20).unwrap();
    bytes.truncate(18 * MIB);
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.fetched, cost.parts), (0, 0, 0));
    check(&world, &peer, "large", &bytes).await;
    // What comes back behind the cut is zeros, and not what was there.
    peer.cache.truncate(peer.ino("large"), 9 << 20).unwrap();
    peer.cache.truncate(peer.ino("large"), 12 << 20).unwrap();
    bytes[9 * MIB..].fill(0);
    bytes.truncate(12 * MIB);
    peer.push().await;
    check(&world, &peer, "large", &bytes).await;
}

async fn holes_and_zeros_are_changes(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    let ino = peer.ino("large");
    peer.cache.fallocate(ino, 2 << 20..3 << 20, Fallocate::Zero).unwrap();
    bytes[2 * MIB..3 * MIB].fill(0);
    peer.cache.fallocate(ino, 20 << 20..21 << 20, Fallocate::ZeroAndGrow).unwrap();
    bytes.resize(21 * MIB, 0);
    let cost = cost_of_push(&peer).await;
    assert!(cost.sent <= LITTLE && cost.copied > 0, "{} sent", cost.sent);
    check(&world, &peer, "large", &bytes).await;
}

async fn an_edit_after_a_rename_is_copied_from_the_old_key(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.rename("large", "renamed");
    peer.write_at("renamed", 12 << 20, b"edited");
    bytes[12 * MIB..12 * MIB + 6].copy_from_slice(b"edited");
    let cost = cost_of_push(&peer).await;
    assert!(cost.sent <= LITTLE && cost.copied > 0, "{} sent", cost.sent);
    assert_eq!(world.data_keys().await, ["renamed"]);
    check(&world, &peer, "renamed", &bytes).await;
}

async fn an_edit_of_an_edit_is_copied_from_the_first(world: World) {
    let (peer, mut bytes) = with_large(&world, 30 * MIB).await;
    for round in 0..3 {
        let at = (3 + 9 * round) * MIB;
        peer.write_at("large", at as u64, b"again");
        bytes[at..at + 5].copy_from_slice(b"again");
        let cost = cost_of_push(&peer).await;
        assert!(cost.sent <= LITTLE && cost.copied > 0, "{} sent in round {round}", cost.sent);
        check(&world, &world.peer().await, "large", &bytes).await;
    }
    check(&world, &peer, "large", &bytes).await;
}

async fn what_a_process_changed_before_it_ended_is_known_to_the_next(world: World) {
    let (peer, mut bytes) = with_large(&world, 40 * MIB).await;
    for at in [MIB, 20 * MIB] {
        peer.write_at("large", at as u64, b"noted");
        bytes[at..at + 5].copy_from_slice(b"noted");
    }
    // Once from the journal, once from the database.
    peer.cache.fold_catalog().unwrap();
    peer.write_at("large", 35 << 20, b"later");
    bytes[35 * MIB..35 * MIB + 5].copy_from_slice(b"later");
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    let cost = cost_of_push(&again).await;
    assert!(cost.copied > 0 && cost.sent <= 18 << 20, "{} sent", cost.sent);
    check(&world, &again, "large", &bytes).await;
}

async fn a_file_of_which_most_was_changed_is_sent_as_a_whole(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    peer.write_at("large", 0, vec![9; 16 * MIB]);
    bytes[..16 * MIB].fill(9);
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.copied), (20 << 20, 0));
    check(&world, &peer, "large", &bytes).await;
    let hash = world.index().await["entries"]["large"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(hash, ContentHash::of(&bytes).to_string());
}

async fn what_is_absent_comes_from_the_edited_object_as_soon_as_it_is_there(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.write_at("large", 12 << 20, b"mine");
    bytes[12 * MIB..12 * MIB + 4].copy_from_slice(b"mine");
    // The object is replaced and the index does not say so: the lock is not given to us.
    world.put(super::peer::LOCK, "not a lock of anybody's").await;
    let upload = tokio::time::timeout(Duration::from_secs(20), peer.sync.push()).await;
    drop(upload);
    assert!(world.object("large").await.unwrap() == bytes);
    peer.write_at("large", 0, b"changed since");
    bytes[..13].copy_from_slice(b"changed since");
    assert!(peer.read("large").await == bytes);
    world.delete(super::peer::LOCK).await;
    peer.push().await;
    check(&world, &peer, "large", &bytes).await;
}

async fn of_an_object_that_was_replaced_nothing_is_copied(world: World) {
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    peer.read("large").await;
    peer.write_at("large", 12 << 20, b"ours");
    bytes[12 * MIB..12 * MIB + 4].copy_from_slice(b"ours");
    let theirs = vec![5; 20 * MIB];
    world.put_foreign("large", theirs.clone()).await;
    peer.push().await;
    let kept = peer.conflict_copy();
    assert!(world.object("large").await.unwrap() == theirs);
    assert!(world.object(&kept).await.unwrap() == bytes, "ours is whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_its_parts_are_copied_is_sent_as_one_moment() {
    let world = World::s3().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    let peer = Arc::new(peer);
    peer.write_at("large", 12 << 20, b"first");
    bytes[12 * MIB..12 * MIB + 5].copy_from_slice(b"first");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::UploadPartCopy, Action::Hold(gate.clone())).nth(2..=2));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.fsync("large").await }
    });
    gate.wait_for(1).await;
    // In a part that is copied, and in the one that was sent.
    for at in [3 * MIB, 12 * MIB + 2] {
        peer.write_at("large", at as u64, b"second");
        bytes[at..at + 6].copy_from_slice(b"second");
    }
    gate.open();
    pushing.await.unwrap().unwrap();
    check(&world, &peer, "large", &bytes).await;
    assert_eq!(world.server().uploads("bucket"), [""; 0], "what was given up is aborted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_copies_no_parts_is_asked_once() {
    let world = World::s3().await;
    let (peer, mut bytes) = with_large(&world, 20 * MIB).await;
    let refused = Action::Refuse(Refusal::new(501, "NotImplemented"));
    world.server().fault(Fault::on(Op::UploadPartCopy, refused));
    for (at, copied) in [(3 * MIB, 1), (9 * MIB, 0)] {
        peer.write_at("large", at as u64, b"edit");
        bytes[at..at + 4].copy_from_slice(b"edit");
        let cost = cost_of_push(&peer).await;
        assert_eq!((cost.sent, cost.copied), (20 << 20, copied));
        check(&world, &peer, "large", &bytes).await;
    }
    assert_eq!(world.server().uploads("bucket"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_google_cloud_storage_an_edited_file_is_sent_again() {
    let world = World::gcs().await;
    let (peer, mut bytes) = with_large(&world, 12 * MIB).await;
    peer.write_at("large", 5 << 20, b"edit");
    bytes[5 * MIB..5 * MIB + 4].copy_from_slice(b"edit");
    let cost = cost_of_push(&peer).await;
    assert_eq!((cost.sent, cost.copied), (12 << 20, 0));
    check(&world, &peer, "large", &bytes).await;
}
