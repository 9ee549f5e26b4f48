//! What is removed here is removed there, and nothing else ever is (C-121 to C-127).

use std::time::Duration;

use super::peer::PeerOptions;
use super::world::World;
use super::{clean_peer, uploads};

on_both_stores!(
    c_121_and_c_122_a_removed_file_goes_with_its_entry_and_its_neighbours_stay,
    c_123_and_w_2_however_much_is_dirty_absence_removes_nothing,
    c_124_and_c_126_who_lacks_a_file_does_not_remove_it,
    c_125_a_machine_that_fetched_nothing_removes_nothing,
);

async fn c_121_and_c_122_a_removed_file_goes_with_its_entry_and_its_neighbours_stay(world: World) {
    let writer = clean_peer(&world).await;
    writer.write("data/b", "two");
    writer.push().await;
    let peer = world.peer().await;
    peer.remove("data/a");
    let report = peer.push().await;
    assert_eq!((report.deleted, report.pushed), (1, 0));
    assert_eq!(world.data_keys().await, ["data/b"]);
    assert_eq!(world.index_keys().await, ["data/b"]);
    writer.pull().await;
    assert_eq!(writer.files(), ["data/b"], "others are told");
}

async fn c_123_and_w_2_however_much_is_dirty_absence_removes_nothing(world: World) {
    let peer = clean_peer(&world).await;
    (0..250).for_each(|n| peer.write(&format!("many/{n}"), "x"));
    peer.push().await;
    // Somebody adds a file that we have not heard of.
    let other = world.peer().await;
    other.write("theirs", "unseen");
    other.push().await;
    (0..250).for_each(|n| peer.write(&format!("many/{n}"), "changed"));
    peer.symlink("many/dangling", "nowhere");
    peer.remove("data/a");
    peer.forget_requests();
    let report = peer.push().await;
    assert_eq!((report.pushed, report.deleted), (252, 1), "the emptied folder is recorded");
    let deletions: Vec<_> = peer.requests().into_iter().filter(|one| one.starts_with("delete ")).collect();
    assert!(deletions.iter().all(|one| one == "delete data/a" || one.ends_with(".lock")), "{deletions:?}");
    assert_eq!(world.index_keys().await.len(), 252);
    assert_eq!(world.peer().await.text("theirs").await, "unseen");
}

async fn c_124_and_c_126_who_lacks_a_file_does_not_remove_it(world: World) {
    clean_peer(&world).await;
    let peer = world.stranger(PeerOptions::default()).await;
    peer.push().await;
    peer.write("data/new", "x");
    peer.push().await;
    assert_eq!(world.index_keys().await, ["data/a", "data/new"]);
    assert_eq!(world.data_keys().await, ["data/a", "data/new"]);
    let asked = peer.requests();
    assert!(!asked.iter().any(|one| one.starts_with("delete data/")), "{asked:?}");
}

async fn c_125_a_machine_that_fetched_nothing_removes_nothing(world: World) {
    let writer = clean_peer(&world).await;
    (0..220).for_each(|n| writer.write(&format!("data/t/m/d/{n}/raw"), n.to_string()));
    writer.push().await;
    let reader = world.peer().await;
    // Everything is dirty: times of all, the content of none.
    for n in 0..220 {
        reader.chmod(&format!("data/t/m/d/{n}/raw"), 0o600);
    }
    world.clock.advance(Duration::from_secs(5));
    reader.push().await;
    let asked = reader.requests();
    assert_eq!(uploads(&asked), [""; 0]);
    assert!(!asked.iter().any(|one| one.starts_with("delete data/")), "{asked:?}");
    assert_eq!(world.data_keys().await.len(), 221);
    assert_eq!(world.peer().await.text("data/t/m/d/77/raw").await, "77");
}
