//! Partitions of an index that is one document: copies that swamp's scoped pulls trust (C-64 to
//! C-73). And how much is done at once.

use std::sync::Arc;

use bayou::sync::SyncOptions;
use bayou_test_server::{Action, Fault, Gate, Op};

use super::neighbour::{META, Neighbour, check_copies, partitions};
use super::peer::Peer;
use super::world::{INDEX, World};

on_both_stores!(
    c_64_and_c_71_and_w_20_copies_say_what_the_monolith_says_whatever_is_pushed,
    c_66_and_w_20_the_monolith_is_trusted_and_not_its_copies,
    c_69_one_changed_model_is_one_copy,
    c_70_every_touched_model_is_written,
    c_65_and_c_72_and_c_73_scoped_pulls_of_swamp_find_what_we_pushed,
);

/// Returns a bucket that swamp filled with models of some files each, and a machine of ours.
async fn with_models(world: World, models: usize, files: usize) -> (Arc<World>, Neighbour, Peer) {
    let world = Arc::new(world);
    let neighbour = Neighbour::new(&world);
    for model in 0..models {
        for file in 0..files {
            neighbour.machine.write(&raw(model, file), format!("{model}-{file}")).unwrap();
        }
    }
    assert_eq!(neighbour.push_all(&[]).await as usize, models * files);
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    peer.forget_requests();
    (world, neighbour, peer)
}

fn raw(model: usize, file: usize) -> String {
    format!("data/t/m{model}/d/{file}/raw")
}

/// Returns the documents of the index that were written, in order.
fn written(peer: &Peer) -> Vec<String> {
    let asked = peer.requests();
    let written = asked.iter().filter_map(|one| one.strip_prefix("put "));
    let mut written: Vec<_> =
        written.filter(|key| key.starts_with("_index/") || *key == INDEX).map(str::to_owned).collect();
    written.sort_unstable();
    written
}

async fn c_64_and_c_71_and_w_20_copies_say_what_the_monolith_says_whatever_is_pushed(world: World) {
    let (world, _, peer) = with_models(world, 5, 2).await;
    check_copies(&world).await;
    peer.write(&raw(0, 0), "changed");
    peer.write("audit/new", "x");
    peer.write("src/main.rs", "no shard has this");
    peer.push().await;
    check_copies(&world).await;
    let names = ["audit", "data--t--m0", "data--t--m1", "data--t--m2", "data--t--m3", "data--t--m4"];
    let mut listed = partitions(&world.json(META).await);
    listed.sort_unstable();
    assert_eq!(listed, names);
    peer.remove(&raw(1, 0));
    peer.remove(&raw(1, 1));
    peer.rename(&raw(2, 0), &raw(3, 7));
    peer.push().await;
    check_copies(&world).await;
    let emptied = world.object("_index/data--t--m1.json").await;
    assert!(emptied.is_none_or(|body| body == r#"{"version":1,"entries":{}}"#));
}

async fn c_66_and_w_20_the_monolith_is_trusted_and_not_its_copies(world: World) {
    let (world, _, peer) = with_models(world, 3, 2).await;
    world.delete("_index/data--t--m0.json").await;
    // An old client wrote this one: it names what is gone, and not what is there.
    let stale = r#"{"version":1,"entries":{"data/t/m1/d/9/raw":{"key":"data/t/m1/d/9/raw","size":1}}}"#;
    world.put("_index/data--t--m1.json", stale).await;
    let reader = world.peer().await;
    assert_eq!(reader.files().len(), 6);
    assert_eq!(reader.text(&raw(1, 1)).await, "1-1");
    peer.write(&raw(0, 0), "changed");
    peer.write(&raw(1, 0), "changed");
    peer.push().await;
    check_copies(&world).await;
}

async fn c_69_one_changed_model_is_one_copy(world: World) {
    let (_world, _, peer) = with_models(world, 50, 4).await;
    peer.write(&raw(7, 0), "changed");
    peer.push().await;
    let written = written(&peer);
    assert_eq!(
        written.iter().filter(|key| *key != META).collect::<Vec<_>>(),
        [INDEX, "_index/data--t--m7.json"]
    );
}

async fn c_70_every_touched_model_is_written(world: World) {
    let (world, _, peer) = with_models(world, 10, 2).await;
    (0..10).for_each(|model| peer.write(&raw(model, 1), "changed"));
    peer.push().await;
    assert_eq!(written(&peer).iter().filter(|key| key.contains("data--t--m")).count(), 10);
    check_copies(&world).await;
}

async fn c_65_and_c_72_and_c_73_scoped_pulls_of_swamp_find_what_we_pushed(world: World) {
    let (world, _, peer) = with_models(world, 3, 20).await;
    peer.write(&raw(0, 3), "edited by us");
    peer.write(&raw(0, 20), "new");
    peer.push().await;
    let swamp = Neighbour::new(&world);
    let read = swamp.pull_model("t/m0").await;
    assert!(!read.iter().any(|one| one.contains(INDEX)), "{read:?}");
    assert_eq!(swamp.text(&raw(0, 3)).unwrap(), "edited by us");
    assert_eq!(swamp.text(&raw(0, 20)).unwrap(), "new");
    let swamp = Neighbour::new(&world);
    let read = swamp.pull_model("t/m1").await;
    assert!(!read.iter().any(|one| one.contains(INDEX)), "{read:?}");
    assert_eq!(swamp.machine.files().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_68_no_more_uploads_run_at_once_than_were_asked_for() {
    let world = World::s3().await;
    let peer = world.peer_syncing(SyncOptions { uploads: 3, ..SyncOptions::default() }).await;
    (0..20).for_each(|n| peer.write(&format!("f{n}"), "x"));
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("f"));
    let pushing = tokio::spawn(async move { peer.push().await });
    gate.wait_for(3).await;
    // All that may run have arrived; whoever came as well would be counted here.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(gate.arrived() <= 3, "{} at once", gate.arrived());
    }
    gate.open();
    assert_eq!(pushing.await.unwrap().pushed, 20);
}
