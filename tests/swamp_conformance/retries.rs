//! What fails is said, tried again, or given up, and leaves nothing behind (C-27 to C-35). What is
//! about single requests is in `tests/store_faults`.

use std::sync::Arc;

use bayou::sync::describe;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use super::clean_peer;
use super::world::{INDEX, World};

on_both_stores!(c_35_only_a_missing_object_is_missing);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_28_a_push_that_fails_says_why_and_knows_which_files() {
    let world = World::s3().await;
    let peer = clean_peer(&world).await;
    let names = ["f1", "f2", "f3", "f4", "f5"];
    names.iter().for_each(|name| peer.write(name, "x"));
    let refusal = Refusal::new(400, "InvalidArgument");
    let fault = world.server().fault(Fault::on(Op::PutObject, Action::Refuse(refusal)).key("f"));
    let failed = describe(&peer.push_fails().await);
    assert!(failed.contains("Uploading f") && failed.contains("HTTP 400, InvalidArgument"), "{failed}");
    assert_eq!(peer.pending(), names);
    assert_eq!(fault.fired(), 5, "one that fails does not keep the others from being tried");
    fault.remove();
    assert_eq!(peer.push().await.pushed, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_34_and_h_6_what_is_given_up_asks_for_nothing_more() {
    let world = World::s3().await;
    let peer = Arc::new(clean_peer(&world).await);
    peer.write("data/b", "two");
    drop((peer.sync.pull(), peer.sync.push()));
    assert_eq!(peer.requests(), [""; 0], "what never began");
    let gate = Gate::new();
    let fault = world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("data/b"));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push().await }
    });
    gate.wait_for(1).await;
    pushing.abort();
    assert!(pushing.await.unwrap_err().is_cancelled());
    peer.forget_requests();
    gate.open();
    fault.remove();
    assert_eq!(peer.requests(), [""; 0]);
    assert_eq!(world.index_keys().await, ["data/a"]);
    assert_eq!(peer.pending(), ["data/b"], "it stays dirty");
    assert!(!peer.is_clean());
    assert_eq!(peer.push().await.pushed, 1);
    assert_eq!(world.peer().await.text("data/b").await, "two");
}

async fn c_35_only_a_missing_object_is_missing(world: World) {
    clean_peer(&world).await;
    let reader = world.peer().await;
    world.delete("data/a").await;
    assert!(reader.try_read("data/a").await.is_err());
    reader.pull().await;
    assert_eq!(reader.files(), ["data/a"], "an entry is removed by who removes it, not by who reads");
    assert_eq!(world.index_keys().await, ["data/a"]);
    let Some(server) = world.s3_server() else { return };
    world.put("data/a", "one").await;
    let index = world.object(INDEX).await;
    for status in [500, 403] {
        let refused = Action::Refuse(Refusal::new(status, "InternalError"));
        let fault = server.fault(Fault::on(Op::GetObject, refused).key("data/a"));
        assert!(reader.try_read("data/a").await.is_err(), "{status}");
        reader.pull().await;
        assert_eq!(reader.files(), ["data/a"]);
        fault.remove();
    }
    assert_eq!(world.object(INDEX).await, index);
}
