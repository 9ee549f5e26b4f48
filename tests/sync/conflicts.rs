//! What was changed here and there: no version is lost, and what only looks like a conflict
//! makes no copy.

use std::time::Duration;

use bayou::cache::file::Access;
use bayou::sync::{OnConflict, SyncError, SyncOptions};

use super::peer::Peer;
use super::world::World;

on_both_stores!(
    edited_here_and_there_both_versions_are_kept,
    w_21_edited_here_and_there_is_found_by_a_pull_as_well,
    created_here_and_there_both_versions_are_kept,
    the_same_edit_here_and_there_is_no_conflict,
    the_same_file_created_here_and_there_is_no_conflict,
    written_here_through_a_handle_that_is_older_than_their_version_both_are_kept,
    written_here_through_a_handle_after_they_removed_the_file_it_comes_back,
    edited_here_and_removed_there_ours_keeps_the_name,
    edited_here_and_removed_there_without_a_pull_ours_keeps_the_name,
    removed_here_and_edited_there_theirs_comes_back,
    removed_here_and_edited_there_without_a_pull_theirs_comes_back,
    removed_here_and_there_is_no_conflict,
    removed_here_after_an_edit_while_edited_there_theirs_comes_back,
    removed_here_after_it_was_created_here_and_there_theirs_is_shown,
    removed_and_made_anew_here_replaces_the_old_version,
    a_conflict_copy_keeps_the_extension,
    an_orphan_of_a_bayou_that_died_is_replaced,
    an_object_that_somebody_may_be_about_to_commit_is_not_replaced,
    an_object_that_another_tool_put_there_is_not_replaced,
    conflicts_may_fail,
    ours_may_win,
    theirs_may_win,
    a_file_whose_base_vanished_keeps_what_was_written,
    a_file_whose_base_was_replaced_keeps_what_was_written_beside_it,
    new_attributes_here_and_new_content_there_are_both_kept,
    two_conflicts_on_one_name_make_two_copies,
);

/// Returns two machines that both know `f`, whose content is `base`.
pub(super) async fn two_peers(world: &World) -> (Peer, Peer) {
    let here = world.peer().await;
    here.write("f", "base");
    here.push().await;
    let there = world.peer().await;
    assert_eq!(there.text("f").await, "base");
    (here, there)
}

async fn publish(peer: &Peer, text: &str) {
    peer.write("f", text);
    peer.push().await;
}

async fn publish_removal(peer: &Peer) {
    peer.remove("f");
    peer.push().await;
}

/// Checks what `f` says, here and on a new machine.
async fn check_everywhere(world: &World, here: &Peer, text: &str) {
    assert_eq!(here.text("f").await, text);
    assert_eq!(world.peer().await.text("f").await, text);
}

/// Checks that both versions can be read: here, there and on a new machine.
pub(super) async fn check_both(world: &World, here: &Peer, theirs: &str, ours: &str) {
    let copy = here.conflict_copy();
    let fresh = world.peer().await;
    for peer in [here, &fresh] {
        assert_eq!(peer.text("f").await, theirs);
        assert_eq!(peer.text(&copy).await, ours);
    }
    assert!(here.pending().is_empty(), "{:?}", here.pending());
    assert!(here.push().await.settled);
}

async fn written_here_through_a_handle_that_is_older_than_their_version_both_are_kept(world: World) {
    let (here, there) = two_peers(&world).await;
    let ino = here.ino("f");
    here.cache.open_file(ino, Access::Write).unwrap();
    publish(&there, "theirs").await;
    here.pull().await;
    here.cache.write(ino, 0, b"ours").unwrap();
    here.sync.flush_file(ino).await.unwrap();
    here.cache.release(ino);
    check_both(&world, &here, "theirs", "ours").await;
}

async fn written_here_through_a_handle_after_they_removed_the_file_it_comes_back(world: World) {
    let (here, there) = two_peers(&world).await;
    let ino = here.ino("f");
    here.cache.open_file(ino, Access::Write).unwrap();
    publish_removal(&there).await;
    here.pull().await;
    here.cache.write(ino, 0, b"OURS").unwrap();
    here.sync.flush_file(ino).await.unwrap();
    here.cache.release(ino);
    assert_eq!(world.peer().await.text("f").await, "OURS");
}

async fn edited_here_and_there_both_versions_are_kept(world: World) {
    let (here, there) = two_peers(&world).await;
    publish(&there, "theirs").await;
    here.write("f", "ours");
    let report = here.push().await;
    assert_eq!(report.conflicts, [here.conflict_copy()]);
    check_both(&world, &here, "theirs", "ours").await;
    there.pull().await;
    assert_eq!(there.text(&here.conflict_copy()).await, "ours");
    assert_eq!(there.text("f").await, "theirs");
}

async fn w_21_edited_here_and_there_is_found_by_a_pull_as_well(world: World) {
    let (here, there) = two_peers(&world).await;
    publish(&there, "theirs").await;
    here.write("f", "ours");
    here.pull().await;
    assert_eq!(here.text("f").await, "ours", "a pull never takes away what was written here");
    assert_eq!(here.push().await.conflicts.len(), 1);
    check_both(&world, &here, "theirs", "ours").await;
}

async fn created_here_and_there_both_versions_are_kept(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    publish(&there, "theirs").await;
    publish(&here, "ours").await;
    check_both(&world, &here, "theirs", "ours").await;
}

async fn the_same_edit_here_and_there_is_no_conflict(world: World) {
    let (here, there) = two_peers(&world).await;
    publish(&there, "same").await;
    here.write("f", "same");
    let report = here.push().await;
    assert_eq!(report.conflicts, [""; 0]);
    assert_eq!(here.files(), ["f"]);
    assert!(report.settled);
    assert_eq!(world.peer().await.text("f").await, "same");
}

async fn the_same_file_created_here_and_there_is_no_conflict(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    publish(&there, "same").await;
    here.write("f", "same");
    here.write("other", "x");
    assert_eq!(here.push().await.conflicts, [""; 0]);
    assert_eq!(here.files(), ["f", "other"]);
    assert_eq!(world.data_keys().await, ["f", "other"]);
}

async fn edited_here_and_removed_there_ours_keeps_the_name(world: World) {
    let (here, there) = two_peers(&world).await;
    publish_removal(&there).await;
    here.write("f", "ours");
    here.pull().await;
    here.push().await;
    assert_eq!(here.files(), ["f"]);
    assert_eq!(world.peer().await.text("f").await, "ours");
}

async fn edited_here_and_removed_there_without_a_pull_ours_keeps_the_name(world: World) {
    let (here, there) = two_peers(&world).await;
    publish_removal(&there).await;
    assert_eq!(world.data_keys().await, [""; 0]);
    here.write("f", "ours");
    let report = here.push().await;
    assert_eq!(report.conflicts, [""; 0]);
    assert_eq!(here.files(), ["f"]);
    assert_eq!(world.peer().await.text("f").await, "ours");
}

async fn removed_here_and_edited_there_theirs_comes_back(world: World) {
    let (here, there) = two_peers(&world).await;
    publish(&there, "theirs").await;
    here.remove("f");
    here.pull().await;
    here.push().await;
    check_everywhere(&world, &here, "theirs").await;
}

async fn removed_here_and_edited_there_without_a_pull_theirs_comes_back(world: World) {
    let (here, there) = two_peers(&world).await;
    publish(&there, "theirs").await;
    here.remove("f");
    here.push().await;
    here.pull().await;
    check_everywhere(&world, &here, "theirs").await;
    assert!(here.push().await.settled);
}

async fn removed_here_and_there_is_no_conflict(world: World) {
    let (here, there) = two_peers(&world).await;
    publish_removal(&there).await;
    here.remove("f");
    assert!(here.push().await.settled);
    assert_eq!(world.keys().await, [".datastore-index.json"]);
    assert_eq!(world.index_keys().await, [""; 0]);
}

async fn removed_here_after_an_edit_while_edited_there_theirs_comes_back(world: World) {
    let (here, there) = two_peers(&world).await;
    here.write("f", "ours");
    publish(&there, "theirs").await;
    here.pull().await;
    here.remove("f");
    here.push().await;
    here.pull().await;
    check_everywhere(&world, &here, "theirs").await;
    assert!(here.push().await.settled);
}

async fn removed_here_after_it_was_created_here_and_there_theirs_is_shown(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("f", "ours");
    publish(&there, "theirs").await;
    here.pull().await;
    here.remove("f");
    here.push().await;
    here.pull().await;
    check_everywhere(&world, &here, "theirs").await;
}

async fn removed_and_made_anew_here_replaces_the_old_version(world: World) {
    let (here, _) = two_peers(&world).await;
    here.remove("f");
    here.write("f", "new");
    let report = here.push().await;
    assert_eq!((report.conflicts.len(), report.deleted), (0, 0));
    assert_eq!(world.peer().await.text("f").await, "new");
}

async fn a_conflict_copy_keeps_the_extension(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    there.write("dir/report.final.txt", "theirs");
    there.push().await;
    here.write("dir/report.final.txt", "ours");
    here.push().await;
    let copy = here.conflict_copy();
    assert!(copy.starts_with("dir/report.final.conflict-") && copy.ends_with(".txt"), "{copy}");
    assert_eq!(here.cache.conflicts().len(), 1);
}

async fn an_orphan_of_a_bayou_that_died_is_replaced(world: World) {
    let here = world.peer().await;
    here.write("other", "x");
    here.push().await;
    // The object, with a nonce, of a machine that died before it committed.
    world.put("f", "orphan").await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    here.write("f", "ours");
    assert_eq!(here.push().await.conflicts, [""; 0]);
    assert_eq!(here.files(), ["f", "other"]);
    assert_eq!(world.peer().await.text("f").await, "ours");
}

async fn an_object_that_somebody_may_be_about_to_commit_is_not_replaced(world: World) {
    let here = world.peer().await;
    here.write("other", "x");
    here.push().await;
    world.put("f", "theirs").await;
    publish(&here, "ours").await;
    assert_eq!(here.text(&here.conflict_copy()).await, "ours");
    assert_eq!(world.object("f").await.unwrap(), "theirs");
    assert_eq!(here.text("f").await, "theirs");
}

async fn an_object_that_another_tool_put_there_is_not_replaced(world: World) {
    let here = world.peer().await;
    here.write("other", "x");
    here.push().await;
    world.put_foreign("f", "theirs").await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    publish(&here, "ours").await;
    assert_eq!(here.text(&here.conflict_copy()).await, "ours");
    assert_eq!(world.object("f").await.unwrap(), "theirs");
    assert_eq!(here.text("f").await, "theirs");
}

async fn with_policy(world: &World, on_conflict: OnConflict) -> Peer {
    let there = world.peer().await;
    publish(&there, "base").await;
    let options = SyncOptions { on_conflict, ..SyncOptions::default() };
    let here = world.peer_syncing(options).await;
    publish(&there, "theirs").await;
    here.write("f", "ours");
    here.write("other", "goes through");
    here
}

async fn conflicts_may_fail(world: World) {
    let here = with_policy(&world, OnConflict::Fail).await;
    for _ in 0..2 {
        let failed = here.push_fails().await;
        assert!(matches!(&failed, SyncError::Conflict { path } if path == "f"), "{failed}");
        assert_eq!(here.text("f").await, "ours");
        assert_eq!(here.pending(), ["f"]);
        assert_eq!(world.object("f").await.unwrap(), "theirs");
        assert_eq!(world.object("other").await.unwrap(), "goes through");
        assert!(!here.is_clean());
    }
    assert!(matches!(here.fsync("f").await, Err(SyncError::Conflict { .. })));
}

async fn ours_may_win(world: World) {
    let here = with_policy(&world, OnConflict::Ours).await;
    assert_eq!(here.push().await.conflicts, [""; 0]);
    assert_eq!(world.peer().await.text("f").await, "ours");
    assert_eq!(here.files(), ["f", "other"]);
}

async fn theirs_may_win(world: World) {
    let here = with_policy(&world, OnConflict::Theirs).await;
    assert_eq!(here.push().await.conflicts, [""; 0]);
    check_everywhere(&world, &here, "theirs").await;
    assert_eq!(here.files(), ["f", "other"]);
}

/// Returns a machine that wrote two bytes into the middle of `f`, which it never read.
async fn half_written(world: &World) -> (Peer, Peer) {
    let there = world.peer().await;
    publish(&there, "0123456789").await;
    let here = world.peer().await;
    here.write_at("f", 4, "XY");
    assert_eq!(here.requests(), [""; 0], "a write never waits for the network");
    (here, there)
}

async fn a_file_whose_base_vanished_keeps_what_was_written(world: World) {
    let (here, there) = half_written(&world).await;
    publish_removal(&there).await;
    here.push().await;
    check_everywhere(&world, &here, "\0\0\0\0XY\0\0\0\0").await;
    assert!(here.pending().is_empty());
}

async fn a_file_whose_base_was_replaced_keeps_what_was_written_beside_it(world: World) {
    let (here, there) = half_written(&world).await;
    publish(&there, "theirs").await;
    here.push().await;
    check_both(&world, &here, "theirs", "\0\0\0\0XY\0\0\0\0").await;
}

async fn new_attributes_here_and_new_content_there_are_both_kept(world: World) {
    let (here, there) = two_peers(&world).await;
    publish(&there, "theirs").await;
    here.chmod("f", 0o700);
    assert_eq!(here.push().await.conflicts, [""; 0]);
    assert_eq!(here.files(), ["f"]);
    let fresh = world.peer().await;
    for peer in [&here, &fresh] {
        assert_eq!(peer.text("f").await, "theirs");
        assert_eq!(peer.cache.attr(peer.ino("f")).unwrap().mode, 0o700);
    }
}

async fn two_conflicts_on_one_name_make_two_copies(world: World) {
    let (here, there) = two_peers(&world).await;
    for round in ["one", "two"] {
        there.pull().await;
        there.write("f", format!("theirs {round}"));
        there.push().await;
        here.write("f", format!("ours {round}"));
        here.push().await;
    }
    let mut copies = Vec::new();
    for copy in here.conflict_copies() {
        copies.push(here.text(&copy).await);
    }
    copies.sort_unstable();
    assert_eq!(copies, ["ours one", "ours two"]);
    assert_eq!(here.text("f").await, "theirs two");
}
