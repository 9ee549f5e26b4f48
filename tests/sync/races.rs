//! Writers that meet, and files that change while they are pushed. Gates in the server hold one
//! side until the other has done what it does.

use std::sync::Arc;

use bayou::sync::{SyncError, SyncOptions, SyncReport};
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};
use tokio::task::JoinHandle;

use super::peer::Peer;
use super::world::{INDEX, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_moved_on_during_a_commit_is_merged_with() {
    let world = World::s3().await;
    let slow = Arc::new(world.peer().await);
    world.put_index(&serde_json::json!({"version": 1, "entries": {}})).await;
    slow.pull().await;
    let gate = Gate::new();
    slow.write("slow", "1");
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(INDEX).first(1));
    let committing = tokio::spawn({
        let slow = Arc::clone(&slow);
        async move { slow.fsync("slow").await }
    });
    gate.wait_for(1).await;
    // Somebody who takes no lock publishes in between.
    world.put("fast", "2").await;
    world.edit_index(|entries| drop(entries.insert("fast".to_owned(), serde_json::json!({"size": 1})))).await;
    gate.open();
    committing.await.unwrap().unwrap();
    assert_eq!(world.index_keys().await, ["fast", "slow"]);
    assert_eq!(slow.text("fast").await, "2", "a commit takes over what it merges with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_given_up_loses_nobody_elses_changes() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("first", "1");
    peer.push().await;
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(INDEX));
    for name in ["a", "b", "c"] {
        peer.write(name, name);
    }
    let fsync = |name: &'static str| {
        let peer = Arc::clone(&peer);
        tokio::spawn(async move { peer.fsync(name).await })
    };
    let blocker = fsync("a");
    gate.wait_for(1).await;
    // Both wait behind the first; whoever leads them is stopped in the middle.
    let (b, c) = (fsync("b"), fsync("c"));
    while peer.store.requests().iter().filter(|one| one.key == "b" || one.key == "c").count() < 2 {
        tokio::task::yield_now().await;
    }
    gate.close();
    blocker.abort();
    gate.wait_for(2).await;
    b.abort();
    gate.open();
    c.await.unwrap().unwrap();
    assert!(world.index_keys().await.contains(&"c".to_owned()), "{:?}", world.index_keys().await);
    peer.push().await;
    assert_eq!(world.index_keys().await, ["a", "b", "c", "first"]);
    assert_eq!(world.peer().await.files(), ["a", "b", "c", "first"]);
}

/// Begins to push `f` and returns what holds its upload.
async fn held_push(world: &World, peer: &Arc<Peer>) -> (Gate, JoinHandle<Result<SyncReport, SyncError>>) {
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("f").first(1));
    let pushing = tokio::spawn({
        let peer = Arc::clone(peer);
        async move { peer.sync.push_names(vec!["f".into()]).await }
    });
    gate.wait_for(1).await;
    (gate, pushing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_it_is_uploaded_stays_dirty_and_is_pushed_again() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("f", "first");
    let (gate, pushing) = held_push(&world, &peer).await;
    peer.write("f", "second");
    peer.chmod("f", 0o600);
    gate.open();
    pushing.await.unwrap().unwrap();
    assert_eq!(world.object("f").await.unwrap(), "first");
    assert_eq!(peer.pending(), ["f"]);
    let report = peer.push().await;
    assert_eq!((report.conflicts.len(), report.settled), (0, true));
    let fresh = world.peer().await;
    assert_eq!(fresh.text("f").await, "second");
    assert_eq!(fresh.cache.attr(fresh.ino("f")).unwrap().mode, 0o600);
}

/// Holds the upload of `f`, does something meanwhile, and pushes what is left.
async fn while_held(meanwhile: impl FnOnce(&Peer)) -> (World, Arc<Peer>) {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("f", "base");
    peer.push().await;
    peer.write("f", "newer");
    let (gate, pushing) = held_push(&world, &peer).await;
    meanwhile(&peer);
    gate.open();
    pushing.await.unwrap().unwrap();
    let report = peer.push().await;
    assert_eq!((report.conflicts.len(), report.settled), (0, true));
    (world, peer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_while_it_is_uploaded_is_gone() {
    let (world, peer) = while_held(|peer| peer.remove("f")).await;
    assert_eq!(peer.files(), [""; 0]);
    assert_eq!(world.data_keys().await, [""; 0]);
    assert_eq!(world.peer().await.files(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_renamed_while_it_is_uploaded_has_its_new_name() {
    let (world, _peer) = while_held(|peer| peer.rename("f", "g")).await;
    assert_eq!(world.data_keys().await, ["g"]);
    assert_eq!(world.index_keys().await, ["g"]);
    assert_eq!(world.peer().await.text("g").await, "newer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_made_anew_while_it_is_uploaded_is_the_new_one() {
    let (world, _peer) = while_held(|peer| {
        peer.remove("f");
        peer.write("f", "another");
    })
    .await;
    assert_eq!(world.data_keys().await, ["f"]);
    assert_eq!(world.peer().await.text("f").await, "another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_renamed_over_while_it_is_uploaded_is_the_new_one() {
    let (world, peer) = while_held(|peer| {
        peer.write("new", "another");
        peer.rename("new", "f");
    })
    .await;
    assert_eq!(world.data_keys().await, ["f"]);
    assert_eq!(world.peer().await.text("f").await, "another");
    assert_eq!(peer.files(), ["f"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_changes_between_its_parts_is_sent_as_one_moment() {
    let world = World::s3().await;
    let sync = SyncOptions { part_bytes: 5 << 20, ..SyncOptions::default() };
    let peer = Arc::new(world.peer_syncing(sync).await);
    peer.write("f", vec![1; 11 << 20]);
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::UploadPart, Action::Hold(gate.clone())).first(3));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.fsync("f").await }
    });
    gate.wait_for(1).await;
    peer.write_at("f", 0, vec![2; 11 << 20]);
    gate.open();
    pushing.await.unwrap().unwrap();
    assert!(world.object("f").await.unwrap() == vec![2; 11 << 20]);
    assert!(world.peer().await.read("f").await == vec![2; 11 << 20]);
    assert_eq!(world.server().uploads("bucket"), [""; 0], "what was given up is aborted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_delete_carries_the_version_that_was_removed() {
    let world = World::s3().await;
    let peer = world.peer().await;
    peer.write("f", "base");
    peer.push().await;
    let version = world.version("f").await.unwrap();
    peer.remove("f");
    world.server().reset_counts();
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::DeleteObject, Action::Hold(gate.clone())).key("f"));
    let peer = Arc::new(peer);
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push().await }
    });
    gate.wait_for(1).await;
    // Another client, which knows nothing of versions, writes the key in between.
    world.server().put_object("bucket", "f", "theirs");
    gate.open();
    pushing.await.unwrap().unwrap();
    let deletes: Vec<_> = world
        .server()
        .requests()
        .into_iter()
        .filter(|one| one.op == Op::DeleteObject && one.key == "f")
        .collect();
    assert!(deletes.iter().all(|one| one.if_match.as_deref().unwrap().contains(version.as_str())));
    assert_eq!(world.object("f").await.unwrap(), "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_others_overtake_again_and_again_goes_on() {
    let world = World::s3().await;
    let peer = world.peer().await;
    for (text, overtaken) in [("pushed", 6), ("fsynced", 20)] {
        peer.write("f", text);
        peer.write(text, "another");
        let refused = Action::Refuse(Refusal::new(412, "PreconditionFailed"));
        world.server().fault(Fault::on(Op::PutObject, refused).key("f").first(overtaken));
        match text {
            "pushed" => assert!(peer.push().await.settled),
            _ => peer.fsync("f").await.unwrap(),
        }
        assert_eq!(world.object("f").await.unwrap(), text);
        assert_eq!(peer.conflict_copies(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_while_a_folder_of_its_name_is_let_go_is_gone() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.mkdir("f");
    peer.push().await;
    peer.rmdir("f");
    peer.write("f", "a file now");
    peer.fsync("f").await.unwrap();
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(INDEX).first(1));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push_pending().await }
    });
    gate.wait_for(1).await;
    peer.remove("f");
    gate.open();
    pushing.await.unwrap().unwrap();
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, [""; 0]);
    assert_eq!(world.index_keys().await, [""; 0]);
    assert_eq!(world.peer().await.files(), [""; 0]);
}
