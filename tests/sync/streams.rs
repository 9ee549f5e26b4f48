//! Large files are sent while they are written, and what is in the bucket then is what was written.

use bayou::model::content_hash::ContentHash;
use bayou::sync::SyncOptions;
use bayou_test_server::{Fault, Gate, Op};

use super::peer::Peer;
use super::world::World;

const MIB: usize = 1 << 20;
const PART: usize = 5 * MIB;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 9) ^ (at >> 17)) as u8).collect()
}

/// Writes `from..` of a file's bytes on, as programs do.
fn write_on(peer: &Peer, path: &str, bytes: &[u8], from: usize) {
    let places = (from..bytes.len()).step_by(MIB);
    places.for_each(|at| peer.write_at(path, at as u64, &bytes[at..bytes.len().min(at + MIB)]));
}

async fn wait_for_parts(world: &World, count: usize) {
    while parts_sent(world) < count {
        tokio::task::yield_now().await;
    }
}

fn parts_sent(world: &World) -> usize {
    let answered = |one: &&bayou_test_server::Recorded| one.op == Op::UploadPart && one.status == Some(200);
    world.server().requests().iter().filter(answered).count()
}

/// Returns a machine that is writing a file, of which `parts` are in the bucket, and what it wrote.
async fn writing(world: &World, len: usize, parts: usize) -> (Peer, Vec<u8>) {
    let options = SyncOptions { part_bytes: PART as u64, ..SyncOptions::default() };
    let peer = world.peer_syncing(options).await;
    peer.sync.send_while_written();
    let bytes = pattern(len);
    peer.write("f", b"");
    write_on(&peer, "f", &bytes, 0);
    wait_for_parts(world, parts).await;
    (peer, bytes)
}

async fn check(world: &World, path: &str, bytes: &[u8]) {
    assert!(world.object(path).await.unwrap() == bytes);
    let said = world.index().await["entries"][path]["sha256"].as_str().map(str::to_owned);
    assert_eq!(said.unwrap(), ContentHash::of(bytes).to_string());
    assert_eq!(world.server().uploads("bucket"), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_complete_of_a_file_is_in_the_bucket_before_it_is_asked_for() {
    let world = World::s3().await;
    let (peer, mut bytes) = writing(&world, 22 * MIB, 4).await;
    bytes.extend_from_slice(&pattern(9 * MIB));
    write_on(&peer, "f", &bytes, 22 * MIB);
    wait_for_parts(&world, 6).await;
    assert_eq!(world.data_keys().await, [""; 0], "it is no object yet");
    peer.fsync("f").await.unwrap();
    check(&world, "f", &bytes).await;
    let asked = peer.requests();
    assert_eq!(asked.iter().filter(|one| *one == "begin_upload f").count(), 1);
    assert_eq!(asked.iter().filter(|one| *one == "upload_part f").count(), 7);
    assert!(!asked.contains(&"head f".to_owned()), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_after_it_was_sent_is_sent_again() {
    let world = World::s3().await;
    let (peer, mut bytes) = writing(&world, 22 * MIB, 4).await;
    peer.write_at("f", 7 << 20, b"changed");
    bytes[7 * MIB..7 * MIB + 7].copy_from_slice(b"changed");
    peer.fsync("f").await.unwrap();
    check(&world, "f", &bytes).await;
    assert_eq!(parts_sent(&world), 6, "five parts, and one of them twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_it_is_sent_early_is_sent_again() {
    let world = World::s3().await;
    let gate = Gate::new();
    let held = Fault::on(Op::UploadPart, bayou_test_server::Action::Hold(gate.clone())).first(1);
    world.server().fault(held);
    let (peer, mut bytes) = writing(&world, 22 * MIB, 0).await;
    gate.wait_for(1).await;
    for at in [0, 7 * MIB, 21 * MIB] {
        peer.write_at("f", at as u64, b"changed");
        bytes[at..at + 7].copy_from_slice(b"changed");
    }
    gate.open();
    peer.fsync("f").await.unwrap();
    check(&world, "f", &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_is_what_is_left() {
    for left in [10, 12 * MIB] {
        let world = World::s3().await;
        let (peer, mut bytes) = writing(&world, 22 * MIB, 4).await;
        peer.cache.truncate(peer.ino("f"), left as u64).unwrap();
        bytes.truncate(left);
        peer.fsync("f").await.unwrap();
        check(&world, "f", &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_gets_another_name_is_sent_under_that() {
    let world = World::s3().await;
    let (peer, bytes) = writing(&world, 22 * MIB, 4).await;
    peer.rename("f", "g");
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, ["g"]);
    check(&world, "g", &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_file_that_is_removed_nothing_is_left() {
    let world = World::s3().await;
    let (peer, _) = writing(&world, 22 * MIB, 4).await;
    peer.remove("f");
    peer.write("other", "x");
    // What was removed while it was sent is looked for again.
    peer.push().await;
    peer.pull().await;
    assert!(peer.push().await.settled);
    assert_eq!(peer.pending(), [""; 0]);
    assert_eq!(world.data_keys().await, ["other"]);
    assert_eq!(world.server().uploads("bucket"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_others_made_meanwhile_is_kept() {
    let world = World::s3().await;
    let (peer, bytes) = writing(&world, 22 * MIB, 4).await;
    world.put_foreign("f", "theirs").await;
    peer.push().await;
    assert_eq!(world.object("f").await.unwrap(), "theirs");
    check(&world, &peer.conflict_copy(), &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_written_on_while_it_is_pushed_again_and_again() {
    let world = World::s3().await;
    let (peer, mut bytes) = writing(&world, 16 * MIB, 3).await;
    for _ in 0..3 {
        peer.fsync("f").await.unwrap();
        check_bytes(&world, &bytes).await;
        let from = bytes.len();
        bytes.extend_from_slice(&pattern(7 * MIB + 3));
        write_on(&peer, "f", &bytes, from);
    }
    peer.fsync("f").await.unwrap();
    check(&world, "f", &bytes).await;
}

async fn check_bytes(world: &World, bytes: &[u8]) {
    assert!(world.object("f").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_early_is_sent_later() {
    let world = World::s3().await;
    let refused = bayou_test_server::Action::Refuse(bayou_test_server::Refusal::access_denied());
    let fault = world.server().fault(Fault::on(Op::CreateMultipartUpload, refused));
    let (peer, bytes) = writing(&world, 22 * MIB, 0).await;
    while fault.fired() == 0 {
        tokio::task::yield_now().await;
    }
    fault.remove();
    peer.fsync("f").await.unwrap();
    check(&world, "f", &bytes).await;
}
