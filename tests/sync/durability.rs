//! Nothing that was written is lost: whatever is renamed, removed or dropped from the index by
//! others, and whoever dies in between.

use std::sync::Arc;
use std::time::Duration;

use bayou::cache::file::Access;
use bayou::sync::SyncError;
use bayou::sync::guarded::Round;

use super::peer::{Peer, PeerOptions};
use super::world::{INDEX, World};

on_both_stores!(
    two_machines_that_commit_at_once_lose_no_entry,
    w_19_an_entry_that_another_writer_dropped_is_published_again,
    an_entry_that_another_writer_dropped_is_no_deletion_for_a_reader_who_names_it_again,
    a_dropped_name_whose_object_is_deleted_as_well_goes,
    an_entry_that_was_dropped_while_its_writer_was_away_is_published_again,
    an_unlinked_open_file_keeps_its_bytes,
    a_renamed_file_that_was_read_in_part_keeps_its_bytes,
    a_renamed_file_keeps_its_bytes_when_its_old_name_is_made_anew,
    names_that_change_places_keep_their_bytes,
    a_renamed_link_keeps_nobody_from_its_old_name,
    what_was_not_pushed_is_pushed_by_the_next_process,
    a_chain_of_renames_is_pushed_as_its_end,
    a_file_renamed_away_and_back_is_still_there,
    a_folder_of_removed_files_is_gone_for_everybody,
);

async fn two_machines_that_commit_at_once_lose_no_entry(world: World) {
    let (a, b) = (Arc::new(world.peer().await), Arc::new(world.peer().await));
    for round in 0..4 {
        let work = [("a", &a), ("b", &b)].map(|(name, peer)| {
            let peer = Arc::clone(peer);
            tokio::spawn(async move {
                for n in 0..6 {
                    let path = format!("{name}/{round}-{n}");
                    peer.write(&path, &path);
                    peer.fsync(&path).await.unwrap();
                }
            })
        });
        for one in work {
            one.await.unwrap();
        }
    }
    let fresh = world.peer().await;
    assert_eq!(fresh.files().len(), 48);
    for path in fresh.files() {
        assert_eq!(fresh.text(&path).await, path);
    }
    assert_eq!(world.index_keys().await, fresh.files());
}

/// Returns a machine that committed `f`, which another writer's rewrite of the index dropped.
async fn with_dropped_entry(world: &World) -> Peer {
    let peer = world.peer().await;
    peer.write("f", "ours");
    peer.write("other", "x");
    peer.push().await;
    world.edit_index(|entries| drop(entries.remove("f"))).await;
    peer
}

async fn w_19_an_entry_that_another_writer_dropped_is_published_again(world: World) {
    let peer = with_dropped_entry(&world).await;
    for _ in 0..6 {
        peer.pull().await;
        assert_eq!(peer.text("f").await, "ours");
        assert!(!peer.push().await.settled);
        assert_eq!(world.index_keys().await, ["other"]);
        world.clock.advance(Duration::from_secs(10));
    }
    peer.pull().await;
    peer.push().await;
    assert_eq!(world.index_keys().await, ["f", "other"]);
    assert!(peer.push().await.settled);
    assert_eq!(world.peer().await.text("f").await, "ours");
}

async fn an_entry_that_another_writer_dropped_is_no_deletion_for_a_reader_who_names_it_again(world: World) {
    let writer = world.peer().await;
    writer.write("f", "bytes");
    writer.push().await;
    let reader = world.peer().await;
    world.edit_index(|entries| drop(entries.remove("f"))).await;
    reader.pull().await;
    world.clock.advance(Duration::from_secs(50));
    assert!(!reader.push().await.settled);
    assert_eq!(world.index_keys().await, [""; 0], "somebody may be about to delete it");
    world.clock.advance(Duration::from_secs(50));
    reader.pull().await;
    assert_eq!(reader.files(), ["f"]);
    assert!(reader.push().await.settled);
    assert_eq!(world.index_keys().await, ["f"]);
}

async fn a_dropped_name_whose_object_is_deleted_as_well_goes(world: World) {
    let writer = world.peer().await;
    for name in ["a", "b", "c"] {
        writer.write(name, name);
    }
    writer.push().await;
    let reader = world.peer().await;
    world.edit_index(serde_json::Map::clear).await;
    reader.pull().await;
    for name in ["a", "b"] {
        // As long as they go, somebody is at it.
        world.clock.advance(Duration::from_secs(61));
        world.delete(name).await;
        reader.pull().await;
        reader.push().await;
        assert_eq!(world.index_keys().await, [""; 0]);
    }
    assert_eq!(reader.files(), ["c"]);
    world.delete("c").await;
    reader.pull().await;
    assert!(reader.push().await.settled);
    assert_eq!(reader.files(), [""; 0], "without its object it is deleted");
}

async fn an_entry_that_was_dropped_while_its_writer_was_away_is_published_again(world: World) {
    let (folder, _home) = with_dropped_entry(&world).await.stop();
    let options = PeerOptions { folder: Some(folder.clone()), ..PeerOptions::default() };
    let again = world.peer_with(options.clone()).await;
    assert_eq!(again.files(), ["f", "other"]);
    let (_, none) = again.stop();
    assert!(none.is_none());
    // It goes away once more before the time is over.
    let again = world.peer_with(options).await;
    again.pull().await;
    world.clock.advance(Duration::from_secs(61));
    again.pull().await;
    again.push().await;
    assert_eq!(world.index_keys().await, ["f", "other"]);
}

async fn with_large_file(world: &World) -> (Peer, Vec<u8>) {
    let large: Vec<u8> = (0..3u32 << 20).map(|n| (n >> 9) as u8).collect();
    let writer = world.peer().await;
    writer.write("f", &large);
    writer.push().await;
    (world.peer().await, large)
}

async fn an_unlinked_open_file_keeps_its_bytes(world: World) {
    let (peer, large) = with_large_file(&world).await;
    let ino = peer.ino("f");
    peer.cache.open_file(ino, Access::Read).unwrap();
    assert!(peer.hydrator.read(ino, 0, 100).await.unwrap() == large[..100]);
    peer.remove("f");
    peer.push().await;
    assert_eq!(world.data_keys().await, [""; 0]);
    assert!(peer.hydrator.read(ino, 0, 3 << 20).await.unwrap() == large);
    peer.cache.release(ino);
    assert!(peer.push().await.settled);
}

async fn a_renamed_file_that_was_read_in_part_keeps_its_bytes(world: World) {
    let (peer, mut large) = with_large_file(&world).await;
    assert_eq!(peer.hydrator.read(peer.ino("f"), 0, 100).await.unwrap().len(), 100);
    peer.rename("f", "g");
    peer.write_at("g", 2 << 20, "changed");
    large[2 << 20..(2 << 20) + 7].copy_from_slice(b"changed");
    peer.push().await;
    assert_eq!(world.data_keys().await, ["g"]);
    assert!(peer.read("g").await == large);
    assert!(world.peer().await.read("g").await == large);
}

async fn a_renamed_file_keeps_its_bytes_when_its_old_name_is_made_anew(world: World) {
    let (peer, large) = with_large_file(&world).await;
    peer.rename("f", "g");
    peer.write("f", "new");
    peer.push().await;
    for one in [&peer, &world.peer().await] {
        assert!(one.read("g").await == large);
        assert_eq!(one.text("f").await, "new");
    }
    assert!(peer.push().await.settled);
}

async fn names_that_change_places_keep_their_bytes(world: World) {
    let writer = world.peer().await;
    writer.write("a", vec![1; 2 << 20]);
    writer.write("b", vec![2; 2 << 20]);
    writer.push().await;
    let peer = world.peer().await;
    peer.rename("a", "t");
    peer.rename("b", "a");
    peer.rename("t", "b");
    peer.push().await;
    for one in [&peer, &world.peer().await] {
        assert!(one.read("a").await == vec![2; 2 << 20]);
        assert!(one.read("b").await == vec![1; 2 << 20]);
        assert_eq!(one.files(), ["a", "b"]);
    }
    assert_eq!(world.data_keys().await, ["a", "b"]);
}

async fn a_renamed_link_keeps_nobody_from_its_old_name(world: World) {
    let writer = world.peer().await;
    writer.symlink("link", "target");
    writer.write("file", "base");
    writer.push().await;
    let peer = world.peer().await;
    peer.rename("link", "moved link");
    peer.rename("file", "moved file");
    for name in ["link", "file"] {
        peer.write(name, "new");
        peer.fsync(name).await.unwrap();
    }
    assert!(peer.push().await.settled);
    let fresh = world.peer().await;
    assert_eq!(fresh.files(), ["file", "link", "moved file", "moved link"]);
    assert_eq!(fresh.text("moved file").await, "base");
    assert_eq!(fresh.cache.read_link(fresh.ino("moved link")).unwrap(), "target");
}

async fn what_was_not_pushed_is_pushed_by_the_next_process(world: World) {
    let peer = world.peer().await;
    peer.write("old", "1");
    peer.write("removed", "2");
    peer.push().await;
    peer.write("new", "3");
    peer.write("old", "one");
    peer.remove("removed");
    peer.mkdir("hollow");
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.tree(), ["hollow/", "new", "old"]);
    assert!(again.push().await.settled);
    let fresh = world.peer().await;
    assert_eq!(fresh.tree(), ["hollow/", "new", "old"]);
    assert_eq!(fresh.text("old").await, "one");
    assert_eq!(world.data_keys().await, ["new", "old"]);
}

async fn a_chain_of_renames_is_pushed_as_its_end(world: World) {
    let (peer, large) = with_large_file(&world).await;
    peer.rename("f", "g");
    peer.rename("g", "dir/h");
    peer.rename("dir", "folder");
    peer.push().await;
    assert_eq!(world.data_keys().await, ["folder/h"]);
    assert_eq!(world.index_keys().await, ["folder/h"]);
    assert!(world.peer().await.read("folder/h").await == large);
    assert!(peer.push().await.settled);
}

async fn a_file_renamed_away_and_back_is_still_there(world: World) {
    let (peer, large) = with_large_file(&world).await;
    peer.rename("f", "g");
    peer.rename("g", "f");
    peer.push().await;
    assert_eq!(world.data_keys().await, ["f"]);
    assert!(world.peer().await.read("f").await == large);
    assert!(peer.push().await.settled);
    peer.rename("f", "g");
    peer.push().await;
    peer.rename("g", "f");
    peer.push().await;
    assert!(world.peer().await.read("f").await == large);
    assert_eq!(world.data_keys().await, ["f"]);
}

async fn a_folder_of_removed_files_is_gone_for_everybody(world: World) {
    let peer = world.peer().await;
    peer.write("d/e/1", "1");
    peer.write("d/2", "2");
    peer.push().await;
    let other = world.peer().await;
    for file in ["d/e/1", "d/2"] {
        peer.remove(file);
    }
    peer.rmdir("d/e");
    peer.rmdir("d");
    peer.push().await;
    assert_eq!(world.data_keys().await, [""; 0]);
    other.pull().await;
    assert_eq!(other.tree(), [""; 0]);
    assert!(other.push().await.settled && peer.push().await.settled);
}

/// Shows crash-9.
#[tokio::test]
async fn after_a_panic_all_of_the_index_is_taken_over_anew() {
    let world = World::s3().await;
    let peer = world.peer().await;
    peer.write("f", "1");
    peer.push().await;
    peer.pull().await;
    peer.forget_requests();
    peer.pull().await;
    let read = format!("get {INDEX}");
    assert!(!peer.requests().contains(&read), "it is known");
    let work = async { panic!("a test asked for it") };
    let panicked = peer.sync.guarded::<()>(Round::Refresh, work).await;
    assert!(matches!(panicked, Err(SyncError::Panicked { .. })), "{panicked:?}");
    assert_eq!(peer.cache.applied_fingerprint(), None);
    peer.pull().await;
    assert!(peer.requests().contains(&read));
}
