//! Uploads that fail, answers that are lost, and stores that cannot do everything.

use std::time::Duration;

use bayou::store::ErrorKind;
use bayou_test_server::{Action, Conditions, Fault, KeyPair, Op, Options, Refusal};

use super::peer::{Peer, PeerOptions};
use super::world::{INDEX, World};

/// Returns what an upload may fail with, and how sync calls it.
fn failures() -> Vec<(&'static str, Action, ErrorKind)> {
    let refuse = |status, code| Action::Refuse(Refusal::new(status, code));
    vec![
        ("403", refuse(403, "AccessDenied"), ErrorKind::Denied),
        ("500", refuse(500, "InternalError"), ErrorKind::Unreachable),
        ("stalled", Action::Stall, ErrorKind::Unreachable),
        ("cut", Action::CutUpload(2), ErrorKind::Unreachable),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_fails_is_an_error_of_fsync_and_the_file_stays_dirty() {
    let world = World::s3().await;
    for (name, action, kind) in failures() {
        for key in ["f", INDEX] {
            let options = PeerOptions { timeout: Duration::from_millis(300), ..PeerOptions::default() };
            let peer = world.peer_with(options).await;
            peer.write("f", format!("{name} {key}"));
            let fault = world.server().fault(Fault::on(Op::PutObject, action.clone()).key(key));
            let failed = peer.fsync("f").await.expect_err(name);
            assert_eq!(failed.store_kind(), Some(kind), "{name} {key}: {failed}");
            assert!(fault.fired() > 0);
            assert_eq!(peer.pending(), ["f"], "{name} {key}");
            assert!(!peer.is_clean());
            assert!(peer.sync.health().last_error.is_some());
            fault.remove();
            if kind == ErrorKind::Denied {
                // The mount is read-only from then on; the next one pushes what is kept.
                let (folder, _home) = peer.stop();
                let next = PeerOptions { folder: Some(folder), ..PeerOptions::default() };
                world.peer_with(next).await.push().await;
            } else {
                peer.fsync("f").await.unwrap();
                assert!(peer.pending().is_empty());
            }
            let fresh = world.peer().await;
            assert_eq!(fresh.text("f").await, format!("{name} {key}"));
            assert_eq!(fresh.files(), ["f"], "{name} {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_a_push_is_told_until_a_push_succeeds_whatever_pulls_do() {
    let world = World::s3().await;
    let peer = world.peer().await;
    peer.write("f", "1");
    let refused = Action::Refuse(Refusal::new(500, "InternalError"));
    let fault = world.server().fault(Fault::on(Op::PutObject, refused).key("f"));
    peer.fsync("f").await.unwrap_err();
    peer.sync.pull().await.unwrap();
    let health = peer.sync.health();
    let told = health.last_error.unwrap_or_default();
    assert!(told.contains("500"), "{told:?}");
    assert!(health.offline_since.is_none(), "the bucket answered");
    fault.remove();
    peer.fsync("f").await.unwrap();
    assert!(peer.sync.health().last_error.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_put_under_a_removed_name_is_shown_though_our_upload_of_it_had_no_answer() {
    let sharded = World::s3().await;
    sharded.put_fixture("bucket-v2").await;
    for (world, key) in [(World::s3().await, "f"), (sharded, "data/probe/m-0002/result/2/f")] {
        let (here, there) = (world.peer().await, world.peer().await);
        here.write(key, "ours");
        let refused = Action::Refuse(Refusal::internal_error());
        let fault = world.server().fault(Fault::on(Op::PutObject, refused).key(key));
        here.fsync(key).await.expect_err("the server refuses it");
        fault.remove();
        there.write(key, "theirs");
        there.push().await;
        here.remove(key);
        here.pull().await;
        assert!(!here.has(key), "it may be ours, from the upload that had no answer");
        here.push().await;
        here.pull().await;
        assert_eq!(here.text(key).await, "theirs");
        assert!(here.push().await.settled);
    }
}

/// Returns a machine that has a newer `f` than it pushed.
async fn with_newer() -> (World, Peer) {
    let world = World::s3().await;
    let peer = world.peer().await;
    peer.write("f", "base");
    peer.push().await;
    peer.write("f", "newer");
    (world, peer)
}

/// Checks that a new machine sees the newer `f`, and nothing else.
async fn check_newer(world: &World) {
    let fresh = world.peer().await;
    assert_eq!((fresh.files(), fresh.text("f").await), (vec!["f".to_owned()], "newer".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_makes_no_conflict_and_no_second_object() {
    for key in ["f", INDEX] {
        let (world, peer) = with_newer().await;
        world.server().reset_counts();
        let fault = world.server().fault(Fault::on(Op::PutObject, Action::ApplyThenCut).key(key).first(1));
        let report = peer.push().await;
        assert_eq!((fault.fired(), report.conflicts.len(), report.settled), (1, 0, true), "{key}");
        let stored = world.server().requests();
        let is_written = |key: &str| key == "f" || key == INDEX;
        let written = stored.iter().filter(|one| one.op == Op::PutObject && is_written(&one.key));
        let written = written.filter(|one| one.status == Some(200)).count();
        assert_eq!(written, 1, "{key}: only the other of the two was answered");
        check_newer(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stays_lost_is_found_by_the_next_push() {
    for key in ["f", INDEX] {
        let (world, peer) = with_newer().await;
        let lost = Action::ApplyThenRefuse(Refusal::internal_error());
        world.server().fault(Fault::on(Op::PutObject, lost).key(key));
        // Nor can it be looked at whether it is there.
        world.server().fault(Fault::on(Op::HeadObject, Action::Cut).key(key));
        peer.push_fails().await;
        assert_eq!(peer.pending(), ["f"]);
        world.server().clear_faults();
        peer.forget_requests();
        let report = peer.push().await;
        assert_eq!((report.conflicts.len(), report.settled), (0, true), "{key}");
        let asked = peer.requests();
        assert!(!asked.contains(&"put f".to_owned()), "{key}: it was sent twice: {asked:?}");
        check_newer(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_file_whose_upload_was_never_committed_is_gone() {
    let world = World::s3().await;
    let peer = world.peer().await;
    peer.write("f", "base");
    peer.push().await;
    peer.write("f", "newer");
    let refused = Action::Refuse(Refusal::internal_error());
    let fault = world.server().fault(Fault::on(Op::PutObject, refused).key(INDEX));
    peer.push_fails().await;
    assert_eq!(world.object("f").await.unwrap(), "newer");
    fault.remove();
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.text("f").await, "newer");
    again.remove("f");
    again.push().await;
    assert_eq!(world.data_keys().await, [""; 0]);
    assert_eq!(world.index_keys().await, [""; 0]);
    again.pull().await;
    assert_eq!(again.files(), [""; 0]);
    assert!(again.push().await.settled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_conditions_loses_nothing_that_comes_one_after_the_other() {
    let ignored = Options { conditions: Conditions::IgnoredOnWrites, ..Options::default() };
    let world = World::s3_with(ignored).await;
    assert!(!world.conditions.put && !world.conditions.delete && !world.conditions.copy);
    let (here, there) = (world.peer().await, world.peer().await);
    there.write("f", "theirs");
    there.write("g", "removed there");
    there.push().await;
    here.write("f", "ours");
    here.write("h", vec![3; 2 << 20]);
    here.push().await;
    let copy = here.conflict_copy();
    assert_eq!(here.text("f").await, "theirs");
    here.rename("h", "moved");
    here.push().await;
    there.remove("g");
    there.push().await;
    there.pull().await;
    let fresh = world.peer().await;
    assert_eq!(fresh.files(), ["f".to_owned(), copy.clone(), "moved".to_owned()]);
    assert_eq!(fresh.text(&copy).await, "ours");
    assert!(fresh.read("moved").await == vec![3; 2 << 20]);
    // A delete means what was removed, here as well.
    here.pull().await;
    there.write("f", "edited there");
    there.push().await;
    here.remove("f");
    here.push().await;
    assert_eq!(world.object("f").await.unwrap(), "edited there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_may_only_read_keep_what_is_dirty() {
    let reader = KeyPair::new("reader", "reader-secret");
    let world = World::s3_with(Options { read_only_keys: Some(reader.clone()), ..Options::default() }).await;
    world.peer().await.push().await;
    let peer = world.peer_with(PeerOptions { keys: Some(reader), ..PeerOptions::default() }).await;
    peer.write("f", "kept");
    assert_eq!(peer.push_fails().await.store_kind(), Some(ErrorKind::Denied));
    assert_eq!((peer.pending(), peer.text("f").await), (vec!["f".to_owned()], "kept".to_owned()));
    assert_eq!(world.data_keys().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_whose_commit_failed_is_named_by_the_next_process() {
    let world = World::s3().await;
    let options = PeerOptions { timeout: Duration::from_millis(300), ..PeerOptions::default() };
    let peer = world.peer_with(options).await;
    peer.write("other", "x");
    peer.push().await;
    peer.write("f", "these");
    peer.write_at("f", 0, "bytes");
    let refusal = Action::Refuse(Refusal::new(500, "InternalError"));
    let fault = world.server().fault(Fault::on(Op::PutObject, refusal).key(INDEX));
    peer.fsync("f").await.expect_err("the index cannot be written");
    fault.remove();
    let (folder, _home) = peer.stop();
    let next = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    next.fsync("f").await.unwrap();
    assert!(next.push().await.settled);
    assert_eq!(world.peer().await.text("f").await, "bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_removed_after_its_commit_was_lost_stays_removed() {
    let world = World::s3().await;
    let options = PeerOptions { timeout: Duration::from_millis(300), ..PeerOptions::default() };
    let peer = world.peer_with(options).await;
    peer.write("other", "x");
    peer.push().await;
    peer.mkdir("folder");
    let lost = Action::ApplyThenRefuse(Refusal::internal_error());
    let faults = [
        world.server().fault(Fault::on(Op::PutObject, lost).key(INDEX)),
        world.server().fault(Fault::on(Op::HeadObject, Action::Cut).key(INDEX)),
    ];
    peer.push_fails().await;
    assert_eq!(world.index().await["bayouDirs"]["folder"], serde_json::json!({}));
    peer.rmdir("folder");
    faults.into_iter().for_each(|fault| fault.remove());
    let (folder, _home) = peer.stop();
    let next = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(next.tree(), ["other"]);
    assert!(next.push().await.settled);
    assert_eq!(world.peer().await.tree(), ["other"]);
}
