//! Only what was compared is called equal (C-55 to C-58).

use super::clean_peer;
use super::peer::PeerOptions;
use super::world::{INDEX, World};

on_both_stores!(
    c_55_and_c_57_a_push_of_nothing_is_no_proof_of_equality,
    c_56_a_lost_sidecar_comes_back_with_the_next_push,
    c_58_the_first_push_after_a_pull_sends_nothing,
);

async fn c_55_and_c_57_a_push_of_nothing_is_no_proof_of_equality(world: World) {
    let peer = clean_peer(&world).await;
    let other = world.peer().await;
    other.write("data/b", "two");
    other.push().await;
    // Nothing to push: it is no reason to believe that all is here.
    peer.sync.push_pending().await.unwrap();
    assert!(!peer.cache.watermark().is_clean_at(world.version(INDEX).await.unwrap().as_str()));
    assert_eq!(peer.pull().await.pulled, 1);
    // Nor is a push of something.
    other.write("data/c", "three");
    other.push().await;
    peer.write("data/d", "four");
    peer.push().await;
    peer.pull().await;
    assert_eq!(peer.files(), ["data/a", "data/b", "data/c", "data/d"]);
}

async fn c_56_a_lost_sidecar_comes_back_with_the_next_push(world: World) {
    let (folder, _home) = clean_peer(&world).await.stop();
    std::fs::remove_file(folder.join("state/.datastore-sync-state.json")).unwrap();
    let peer = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(!peer.is_clean());
    assert!(peer.push().await.settled);
    assert!(peer.is_clean());
    assert_eq!(peer.count("put"), 0);
}

async fn c_58_the_first_push_after_a_pull_sends_nothing(world: World) {
    clean_peer(&world).await;
    let reader = world.peer().await;
    reader.text("data/a").await;
    let (folder, _home) = reader.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.push().await;
    assert_eq!(again.count("put"), 0);
}
