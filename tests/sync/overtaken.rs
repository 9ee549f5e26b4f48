//! A name that is given to another file while it is found out what became of the one that had it.

use std::sync::Arc;

use bayou::cache::file::Access;
use bayou_test_server::{Action, Fault, Gate, Op};
use tokio::task::JoinHandle;

use super::peer::Peer;
use super::world::World;

/// Returns a push that tries to complete `name`, which was renamed from an object that is gone by now.
async fn pushing(world: &World, gate: &Gate) -> (Arc<Peer>, JoinHandle<()>) {
    let writer = world.peer().await;
    writer.write("old", "gone soon");
    writer.push().await;
    let peer = Arc::new(world.peer().await);
    peer.pull().await;
    // Somebody has it open, so it lives on when another takes its name.
    peer.cache.open_file(peer.ino("old"), Access::Read).unwrap();
    peer.rename("old", "name");
    world.delete("old").await;
    world.server().fault(Fault::on(Op::GetObject, Action::Hold(gate.clone())).key("old").nth(2..=2));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { drop(peer.sync.push().await) }
    });
    gate.wait_for(1).await;
    (peer, pushing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_the_name_of_a_file_whose_content_is_nowhere_is_kept() {
    let (world, gate) = (World::s3().await, Gate::new());
    let (peer, pushing) = pushing(&world, &gate).await;
    peer.write("fresh", "must be kept");
    peer.rename("fresh", "name");
    gate.open();
    pushing.await.unwrap();
    assert_eq!(peer.text("name").await, "must be kept");
    peer.push().await;
    assert_eq!(world.object("name").await.unwrap(), "must be kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_the_name_of_a_file_whose_rename_is_taken_back_is_kept() {
    let (world, gate) = (World::s3().await, Gate::new());
    world.put_foreign("name", "theirs").await;
    let (peer, pushing) = pushing(&world, &gate).await;
    peer.write("fresh", "must be kept");
    peer.rename("fresh", "name");
    gate.open();
    pushing.await.unwrap();
    peer.push().await;
    let held: Vec<String> = peer.files().into_iter().filter(|path| path.starts_with("name")).collect();
    let mut texts = Vec::new();
    for path in &held {
        texts.push(peer.text(path).await);
    }
    assert!(texts.contains(&"must be kept".to_owned()), "{held:?}: {texts:?}");
}
