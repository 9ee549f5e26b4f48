//! What is in the bucket under a name that went from here before it was known to be there: an
//! upload of a process that died can come that late. It is shown again, and not left without a name.

use std::sync::Arc;
use std::time::Duration;

use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use super::peer::Peer;
use super::world::World;

/// Returns when a push has come to ask what a key is, and what becomes of the push then.
async fn push_until_it_looks(
    world: &World,
    peer: &Arc<Peer>,
    key: &str,
    gate: &Gate,
) -> tokio::task::JoinHandle<()> {
    world.server().fault(Fault::on(Op::HeadObject, Action::Hold(gate.clone())).key(key).first(1));
    let peer = Arc::clone(peer);
    let pushing = tokio::spawn(async move { drop(peer.push().await) });
    gate.wait_for(1).await;
    pushing
}

async fn check_shown(world: &World, peer: &Peer, key: &str) {
    peer.push().await;
    assert!(!peer.has(key), "whoever put it may be about to name it, or to remove it");
    world.clock.advance(Duration::from_secs(61));
    // Nobody answers the first time: it is not forgotten.
    let refused = Action::Refuse(Refusal::access_denied());
    let refused = world.server().fault(Fault::on(Op::HeadObject, refused).key(key).first(1));
    drop(peer.sync.pull().await);
    assert_eq!(refused.fired(), 1);
    peer.pull().await;
    assert!(peer.push().await.settled);
    assert_eq!(peer.text(key).await, "came late");
    assert_eq!(world.index().await["entries"][key]["size"], 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_push_meets_of_a_name_that_goes_meanwhile_is_shown() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("other", "x");
    peer.push().await;
    peer.write("name", "ours");
    world.put_foreign("name", "came late").await;
    let gate = Gate::new();
    let pushing = push_until_it_looks(&world, &peer, "name", &gate).await;
    peer.remove("name");
    gate.open();
    pushing.await.unwrap();
    check_shown(&world, &peer, "name").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_instead_of_an_upload_in_doubt_is_shown() {
    let world = World::s3().await;
    let peer = Arc::new(world.peer().await);
    peer.write("other", "x");
    peer.push().await;
    peer.write("name", "ours");
    let never = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(never.clone())).key("name").first(1));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push_names(vec!["name".into()]).await }
    });
    never.wait_for(1).await;
    pushing.abort();
    assert!(pushing.await.unwrap_err().is_cancelled());
    peer.remove("name");
    world.put_foreign("name", "came late").await;
    check_shown(&world, &peer, "name").await;
}
