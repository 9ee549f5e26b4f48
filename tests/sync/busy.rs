//! Verify and repair beside machines that are at work, and beside parts of the bucket that have
//! an index of their own.

use std::sync::Arc;

use bayou::sync::SyncReport;
use bayou::sync::upkeep::Problem;
use bayou_test_server::{Action, Fault, Gate, Op};
use serde_json::json;
use tokio::task::JoinHandle;

use super::peer::{Peer, PeerOptions};
use super::upkeep::{found, upkeep};
use super::world::{INDEX, World};

on_both_stores!(
    what_was_uploaded_and_not_named_yet_is_left_to_its_writer,
    what_is_below_an_index_of_its_own_belongs_to_that,
    what_an_entry_names_is_there_also_below_another_index,
);

async fn what_was_uploaded_and_not_named_yet_is_left_to_its_writer(world: World) {
    let peer = world.peer().await;
    peer.write("old", "1");
    peer.push().await;
    peer.write("f", "x");
    let manifest = peer.sync.prepare_push().await.unwrap();
    assert_eq!(world.object("f").await.unwrap(), "x");
    let before = world.version(INDEX).await;
    for survey in [upkeep(&world).verify().await, upkeep(&world).repair().await] {
        let survey = survey.unwrap();
        assert_eq!(found(&survey), [(Problem::New, vec!["f"])]);
        assert!(!survey.findings[0].problem.is_repairable());
    }
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(world.version(INDEX).await, before);
    peer.sync.commit_push(manifest).await.unwrap();
    assert_eq!(world.index_keys().await, ["f", "old"]);
}

/// Has a machine upload `f` and somebody name it when it has rested.
async fn named_by_a_repair(world: &World) -> Peer {
    let peer = world.peer().await;
    peer.write("old", "1");
    peer.push().await;
    peer.write("f", "x");
    drop(peer.sync.prepare_push().await.unwrap());
    world.rest("f");
    assert_eq!(found(&upkeep(world).repair().await.unwrap()), [(Problem::Unindexed, vec!["f"])]);
    assert_eq!(world.index_keys().await, ["f", "old"]);
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_removes_what_it_never_named_removes_the_entry_that_somebody_made() {
    let world = World::s3().await;
    let peer = named_by_a_repair(&world).await;
    peer.remove("f");
    assert!(peer.push().await.settled);
    assert_eq!((world.object("f").await, world.index_keys().await), (None, vec!["old".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changes_what_it_never_named_has_no_conflict_with_itself() {
    let world = World::s3().await;
    let peer = named_by_a_repair(&world).await;
    peer.write("f", "newer");
    assert_eq!(peer.push().await.conflicts, [""; 0]);
    assert_eq!(
        (peer.files(), peer.text("f").await),
        (vec!["f".to_owned(), "old".to_owned()], "newer".into())
    );
    assert_eq!(world.object("f").await.unwrap(), "newer");
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
}

/// Has a machine remove `count` files and returns it when their objects are about to be deleted.
async fn deleting(world: &World, count: usize) -> (Arc<Peer>, Gate, JoinHandle<SyncReport>) {
    let peer = Arc::new(world.peer().await);
    let names: Vec<String> = (0..count).map(|one| format!("f{one:03}")).collect();
    names.iter().for_each(|name| peer.write(name, name));
    peer.push().await;
    names.iter().for_each(|name| world.rest(name));
    names.iter().for_each(|name| peer.remove(name));
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::DeleteObject, Action::Hold(gate.clone())).key("f0"));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move {
            let manifest = peer.sync.prepare_push().await.unwrap();
            peer.sync.commit_push(manifest).await.unwrap()
        }
    });
    gate.wait_for(1).await;
    (peer, gate, pushing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_waits_while_what_was_removed_is_deleted() {
    let world = World::s3().await;
    let (_peer, gate, pushing) = deleting(&world, 2).await;
    let keeper = upkeep(&world);
    let repairing = tokio::spawn(async move { keeper.repair().await });
    // Who waits for the lock looks at it again and again.
    world.server().reset_counts();
    while world.server().count(Op::GetObject) < 3 {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(pushing.await.unwrap().deleted, 2);
    assert_eq!(found(&repairing.await.unwrap().unwrap()), []);
    assert_eq!(world.index_keys().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_in_the_middle_of_many_deletes_leaves_no_entry_behind() {
    let world = World::s3().await;
    let (_peer, gate, pushing) = deleting(&world, 70).await;
    let repaired = upkeep(&world).repair().await.unwrap();
    assert_eq!(found(&repaired)[0].0, Problem::Unindexed);
    assert_ne!(world.index_keys().await, [""; 0]);
    gate.open();
    assert_eq!(pushing.await.unwrap().deleted, 70);
    assert_eq!((world.data_keys().await, world.index_keys().await), (vec![], vec![]));
}

async fn what_is_below_an_index_of_its_own_belongs_to_that(world: World) {
    let inner = world.peer_with(PeerOptions { namespace: Some("infra"), ..PeerOptions::default() }).await;
    inner.write("data/x", "inner");
    inner.push().await;
    world.put("infra/left", "of infra").await;
    world.put("team/a/_index/_meta.json", "{}").await;
    world.put("team/a/x", "of team/a").await;
    world.put("old/.namespace.json", "{}").await;
    world.put("old/x", "of old").await;
    world.put("infrastructure", "outer").await;
    let outer = world.peer().await;
    assert_eq!(outer.files(), ["infrastructure"], "discovered");
    for key in ["infra/left", "team/a/x", "old/x", "infra/data/x"] {
        world.rest(key);
    }
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    upkeep(&world).repair().await.unwrap();
    world.put(INDEX, "{").await;
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(world.index_keys().await, ["infrastructure"], "what a lost document named is not new");
    world.delete(INDEX).await;
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(world.index_keys().await, ["infrastructure"]);
}

async fn what_an_entry_names_is_there_also_below_another_index(world: World) {
    let peer = world.peer().await;
    peer.write("copy/x", "1");
    peer.write("copy/.datastore-index.json", "{}");
    peer.push().await;
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    world.put("copy/x", "longer").await;
    world.edit_index(|entries| drop(entries.insert("copy/gone".to_owned(), json!({"size": 1})))).await;
    let expected = [(Problem::Dangling, vec!["copy/gone"]), (Problem::Behind, vec!["copy/x"])];
    assert_eq!(found(&upkeep(&world).repair().await.unwrap()), expected);
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    assert_eq!(world.peer().await.text("copy/x").await, "longer");
}
