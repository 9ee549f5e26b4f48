//! Uploads outside of the lock, the commit inside (C-128 to C-132, K-15).

use bayou_test_server::{Action, Fault, Op, Refusal};

use super::clean_peer;
use super::neighbour::{Neighbour, commit_seq, sharded, sharded_entries};
use super::peer::{LOCK, PeerOptions};
use super::world::{INDEX, World};

on_both_stores!(
    c_129_and_k_15_preparing_writes_objects_only_and_takes_no_lock,
    c_130_a_commit_names_what_others_committed_meanwhile,
    c_131_two_steps_are_one_push,
    c_132_nothing_to_push_is_an_empty_manifest,
    w_1_the_second_push_of_a_name_is_one_as_well,
    w_1b_and_w_11_who_commits_later_sees_who_committed_earlier,
    w_4_what_changes_between_the_steps_stays_dirty,
);

async fn c_129_and_k_15_preparing_writes_objects_only_and_takes_no_lock(world: World) {
    let peer = clean_peer(&world).await;
    let before = world.object(INDEX).await;
    peer.sync.lock().idle().await;
    peer.forget_requests();
    peer.write("data/b", "two");
    peer.remove("data/a");
    let manifest = peer.sync.prepare_push().await.unwrap();
    assert_eq!(manifest.len(), 1);
    assert!(peer.lock_requests().await.is_empty());
    assert_eq!(world.object(INDEX).await, before);
    assert_eq!(world.data_keys().await, ["data/a", "data/b"], "nothing is removed yet");
    assert!(!peer.is_clean());
    peer.forget_requests();
    let report = peer.sync.commit_push(manifest).await.unwrap();
    assert_eq!((report.pushed, report.deleted, report.settled), (1, 1, true));
    assert!(peer.lock_requests().await.contains(&"put".to_owned()), "the commit is made under the lock");
    assert!(world.object(LOCK).await.is_none(), "and the lock is given back");
    assert_eq!(world.index_keys().await, ["data/b"]);
    assert_eq!(world.data_keys().await, ["data/b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k_15_a_step_that_fails_leaves_no_lock_and_everything_dirty() {
    let world = World::s3().await;
    let peer = clean_peer(&world).await;
    peer.write("data/b", "two");
    let refuse = |key: &str| {
        let refused = Action::Refuse(Refusal::internal_error());
        world.server().fault(Fault::on(Op::PutObject, refused).key(key))
    };
    peer.sync.lock().idle().await;
    peer.forget_requests();
    let fault = refuse("data/b");
    assert!(peer.sync.prepare_push().await.is_err());
    assert!(peer.lock_requests().await.is_empty(), "an upload that fails needs no lock");
    fault.remove();
    let fault = refuse(INDEX);
    let manifest = peer.sync.prepare_push().await.unwrap();
    assert!(peer.sync.commit_push(manifest).await.is_err());
    peer.sync.lock().idle().await;
    assert!(world.object(LOCK).await.is_none());
    assert_eq!(peer.pending(), ["data/b"]);
    assert!(!peer.is_clean());
    fault.remove();
    peer.forget_requests();
    assert!(peer.push().await.settled);
    assert!(!peer.requests().contains(&"put data/b".to_owned()), "it is not sent again");
    assert_eq!(world.index_keys().await, ["data/a", "data/b"]);
}

async fn c_130_a_commit_names_what_others_committed_meanwhile(world: World) {
    let peer = clean_peer(&world).await;
    peer.write("data/b", "ours");
    let manifest = peer.sync.prepare_push().await.unwrap();
    let other = world.peer().await;
    other.write("data/c", "theirs");
    other.push().await;
    peer.sync.commit_push(manifest).await.unwrap();
    assert_eq!(world.index_keys().await, ["data/a", "data/b", "data/c"]);
    peer.pull().await;
    assert_eq!(peer.text("data/c").await, "theirs");
}

async fn c_131_two_steps_are_one_push(world: World) {
    let other = World::folder().await;
    let (one, two) = (clean_peer(&world).await, clean_peer(&other).await);
    for peer in [&one, &two] {
        peer.write("data/b", "two");
        peer.write("audit/x", "three");
        peer.rename("data/a", "data/moved");
        peer.symlink("link", "data/b");
    }
    assert!(one.push().await.settled);
    let manifest = two.sync.prepare_push().await.unwrap();
    assert!(two.sync.commit_push(manifest).await.unwrap().settled);
    assert_eq!(world.index_keys().await, other.index_keys().await);
    assert_eq!(world.data_keys().await, other.data_keys().await);
    for key in world.data_keys().await {
        assert_eq!(world.object(&key).await, other.object(&key).await, "{key}");
    }
}

async fn c_132_nothing_to_push_is_an_empty_manifest(world: World) {
    let peer = clean_peer(&world).await;
    peer.sync.lock().idle().await;
    peer.forget_requests();
    let manifest = peer.sync.prepare_push().await.unwrap();
    assert!(manifest.is_empty());
    assert_eq!(peer.requests(), [""; 0]);
    assert!(peer.sync.commit_push(manifest).await.unwrap().settled);
    assert_eq!(peer.requests(), [format!("head {INDEX}")]);
    assert!(peer.lock_requests().await.is_empty());
}

async fn w_1_the_second_push_of_a_name_is_one_as_well(world: World) {
    let (world, swamp, peer) = sharded(world).await;
    for round in 2..5 {
        peer.write("data/t/one/d/1/raw", format!("version {round}"));
        let manifest = peer.sync.prepare_push().await.unwrap();
        assert_eq!(manifest.len(), 1, "{round}");
        assert!(peer.sync.commit_push(manifest).await.unwrap().settled, "{round}");
        assert_eq!(commit_seq(&world).await, round);
    }
    assert_eq!(world.peer().await.text("data/t/one/d/1/raw").await, "version 4");
    drop(swamp);
}

async fn w_1b_and_w_11_who_commits_later_sees_who_committed_earlier(world: World) {
    let (world, swamp, peer) = sharded(world).await;
    peer.write("data/t/one/d/2/raw", "ours");
    let manifest = peer.sync.prepare_push().await.unwrap();
    assert_eq!(swamp.push("data/t/two/d/2/raw", "theirs").await, 1);
    peer.sync.commit_push(manifest).await.unwrap();
    peer.pull().await;
    assert_eq!(peer.text("data/t/two/d/2/raw").await, "theirs");
    // Nor does a step that finds nothing to commit say more than was looked at.
    let manifest = peer.sync.prepare_push().await.unwrap();
    swamp.push("data/t/two/d/3/raw", "later").await;
    peer.sync.commit_push(manifest).await.unwrap();
    peer.pull().await;
    assert_eq!(peer.text("data/t/two/d/3/raw").await, "later");
    assert_eq!(sharded_entries(&world).await.len(), 7);
    let fresh = Neighbour::new(&world);
    assert_eq!(fresh.pull().await, 7);
}

async fn w_4_what_changes_between_the_steps_stays_dirty(world: World) {
    let peer = clean_peer(&world).await;
    peer.write("data/b", "two");
    let manifest = peer.sync.prepare_push().await.unwrap();
    peer.write("data/b", "changed since");
    peer.write("data/c", "new since");
    let report = peer.sync.commit_push(manifest).await.unwrap();
    assert!(!report.settled && !peer.is_clean());
    assert_eq!(peer.pending(), ["data/b", "data/c"]);
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(again.push().await.settled);
    let fresh = world.peer().await;
    assert_eq!(fresh.text("data/b").await, "changed since");
    assert_eq!(fresh.text("data/c").await, "new since");
}
