//! A removed file whose name is given to it again while its removal is pushed: what it needs of
//! its object is not deleted, and what is pushed with the removal is named.

use std::sync::Arc;
use std::time::Duration;

use bayou::cache::rows::{Path, ROOT};
use bayou::os::clock::{Clock, SystemClock};
use bayou_test_server::{Action, Fault, Gate, Op};
use tokio::task::JoinHandle;

use super::links::is_one;
use super::peer::{Peer, PeerOptions};
use super::world::{INDEX, World};

/// More than are removed under one hold of the lock.
const MANY: usize = 70;

/// Brings many files into the bucket; returns their names.
async fn many(peer: &Peer) -> Vec<String> {
    let names: Vec<String> = (0..MANY).map(|n| format!("f{n:02}")).collect();
    names.iter().for_each(|name| peer.write(name, "x"));
    assert!(peer.push().await.settled);
    names
}

/// Returns a bucket with a file and a machine that has read nothing of it.
async fn with_file(name: &str) -> (World, Arc<Peer>) {
    let world = World::s3().await;
    let writer = world.peer().await;
    writer.write(name, "content");
    assert!(writer.push().await.settled);
    let peer = Arc::new(world.peer().await);
    (world, peer)
}

/// Pushes the names directly in the root; returns when that waits at the gate.
async fn flush_root_until(peer: &Arc<Peer>, gate: &Gate) -> JoinHandle<bayou::sync::Result<()>> {
    let flushing = tokio::spawn({
        let peer = Arc::clone(peer);
        async move { peer.sync.flush_folder(ROOT).await }
    });
    gate.wait_for(1).await;
    flushing
}

/// Checks that both names are one file, here and elsewhere, and have all of its bytes.
async fn check(world: &World, peer: &Peer, names: [&str; 2]) {
    let report = peer.push().await;
    assert_eq!((report.conflicts.len(), report.settled), (0, true));
    for machine in [peer, &world.peer().await] {
        assert!(is_one(machine, &names));
        for name in names {
            assert_eq!(machine.text(name).await, "content", "{name}");
        }
    }
    assert_eq!(world.data_keys().await, names);
    assert_eq!(world.index_keys().await, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_back_while_the_index_lets_go_of_it_keeps_its_bytes() {
    let (world, peer) = with_file("name").await;
    peer.link("name", "folder/other");
    peer.remove("name");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(INDEX).first(1));
    let flushing = flush_root_until(&peer, &gate).await;
    peer.link("folder/other", "name");
    gate.open();
    flushing.await.unwrap().unwrap();
    check(&world, &peer, ["folder/other", "name"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_back_while_its_object_is_deleted_keeps_its_bytes() {
    let (world, peer) = with_file("name").await;
    peer.link("name", "folder/other");
    peer.remove("name");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::DeleteObject, Action::Hold(gate.clone())).key("name").first(1));
    let flushing = flush_root_until(&peer, &gate).await;
    peer.link("folder/other", "name");
    gate.open();
    flushing.await.unwrap().unwrap();
    check(&world, &peer, ["folder/other", "name"]).await;
}

/// Has an upload of a file given up in the middle: whoever has the key next must look for it.
async fn leave_in_doubt(world: &World, peer: &Arc<Peer>, key: &'static str) {
    let never = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(never.clone())).key(key).first(1));
    let peer = Arc::clone(peer);
    let pushing = tokio::spawn(async move { peer.sync.push_names(vec![key.into()]).await });
    never.wait_for(1).await;
    pushing.abort();
    assert!(pushing.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_back_before_it_is_committed_with_its_removal_is_named() {
    let (world, peer) = with_file("x").await;
    // So many that the index lets go of them a second time when their objects are gone.
    let gone = many(&peer).await;
    gone.iter().for_each(|name| peer.remove(name));
    peer.write("x", "newer");
    leave_in_doubt(&world, &peer, "x").await;
    peer.rename("x", "y");
    peer.write("name", "content");
    peer.link("name", "folder/other");
    let (copied, looked) = (Gate::new(), Gate::new());
    world.server().fault(Fault::on(Op::CopyObject, Action::Hold(copied.clone())).key("name").first(1));
    world.server().fault(Fault::on(Op::HeadObject, Action::Hold(looked.clone())).key("x").first(1));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        let named = ["folder/other", "name", "y"].into_iter().map(Path::from);
        let all = named.chain(gone.iter().map(|name| Path::from(&**name))).collect();
        async move { peer.sync.push_names(all).await }
    });
    copied.wait_for(1).await;
    // It is in the bucket, and goes before the index names it.
    peer.remove("folder/other");
    copied.open();
    looked.wait_for(1).await;
    // Its removal is to be committed.
    peer.link("name", "folder/other");
    looked.open();
    pushing.await.unwrap().unwrap();
    let names = ["folder/other", "name", "y"];
    assert_eq!(world.index_keys().await, names, "before anything more is pushed");
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, names);
    assert_eq!(world.index_keys().await, names);
    for machine in [&*peer, &world.peer().await] {
        assert!(is_one(machine, &names[..2]));
        assert_eq!(machine.text("folder/other").await, "content");
        assert_eq!(machine.text("y").await, "newer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_back_while_many_others_go_stays_in_the_index() {
    let (world, peer) = with_file("back").await;
    let others = many(&peer).await;
    peer.link("back", "folder/other");
    others.iter().map(String::as_str).chain(["back"]).for_each(|name| peer.remove(name));
    let (letting_go, deleting) = (Gate::new(), Gate::new());
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(letting_go.clone())).key(INDEX).first(1));
    for name in &others {
        world.server().fault(Fault::on(Op::DeleteObject, Action::Hold(deleting.clone())).key(name));
    }
    let flushing = flush_root_until(&peer, &letting_go).await;
    peer.link("folder/other", "back");
    letting_go.open();
    deleting.wait_for(1).await;
    let fsync = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.fsync("back").await }
    });
    // It may be named at once, or when the others are gone.
    for _ in 0..500 {
        if fsync.is_finished() {
            break;
        }
        SystemClock.sleep(Duration::from_millis(1)).await;
    }
    deleting.open();
    flushing.await.unwrap().unwrap();
    fsync.await.unwrap().unwrap();
    assert!(world.index_keys().await.contains(&"back".to_owned()));
    check(&world, &peer, ["back", "folder/other"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_while_objects_are_deleted_takes_the_index_over_anew_whatever_others_published() {
    let (world, peer) = with_file("name").await;
    assert!(peer.push().await.settled);
    peer.remove("name");
    let never = Gate::new();
    world.server().fault(Fault::on(Op::DeleteObject, Action::Hold(never.clone())).key("name").first(1));
    let flushing = flush_root_until(&peer, &never).await;
    world.put("others", "2").await;
    world
        .edit_index(|entries| drop(entries.insert("others".to_owned(), serde_json::json!({"size": 1}))))
        .await;
    peer.pull().await;
    assert!(peer.cache.applied_fingerprint().is_some());
    flushing.abort();
    assert!(flushing.await.unwrap_err().is_cancelled());
    let (folder, _home) = Arc::into_inner(peer).unwrap().stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.cache.applied_fingerprint(), None);
    again.push().await;
    assert_eq!(again.pending(), [""; 0]);
    assert_eq!(again.files(), ["others"]);
    assert_eq!(world.data_keys().await, ["others"]);
}

#[tokio::test]
async fn a_name_that_came_back_and_went_again_has_not_left() {
    let (_world, peer) = with_file("name").await;
    let path = Path::from("name");
    peer.link("name", "folder/other");
    peer.remove("name");
    let removed = peer.cache.tombstone(&path).unwrap();
    peer.cache.begin_leaving(&path, &removed);
    peer.link("folder/other", "name");
    assert!(!peer.cache.is_removed(&path, &removed));
    peer.cache.begin_leaving(&path, &removed);
    peer.remove("name");
    assert!(peer.cache.is_removed(&path, &removed), "it looks as if it had been gone all the time");
    assert!(!peer.cache.has_left(&path, &removed));
    peer.cache.begin_leaving(&path, &removed);
    assert!(peer.cache.has_left(&path, &removed));
}
