//! Partitions of an index that is one document, and how much is done at once (C-64 to C-73).

use bayou::sync::SyncOptions;
use bayou_test_server::{Action, Fault, Gate, Op};

use super::world::World;

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
