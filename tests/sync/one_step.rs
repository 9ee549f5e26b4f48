//! A renamed directory is one step to whoever reads the index: it names all of it under the new
//! name or all of it under the old one, whatever goes on in it and whoever asks for a part of it.

use std::sync::Arc;

use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use super::peer::Peer;
use super::world::{INDEX, World};

on_both_stores!(
    a_directory_of_many_files_is_renamed_in_one_step,
    fsync_of_a_renamed_file_publishes_the_whole_directory,
    a_push_of_a_part_publishes_the_whole_directory,
    a_directory_with_dirty_files_is_renamed_in_one_step,
    two_directories_change_places_in_one_step,
    what_was_removed_from_a_directory_before_is_not_left_behind,
    what_is_renamed_and_made_in_a_folder_is_in_the_index_with_one_commit,
);

/// Brings `count` files of a folder into the bucket and returns another machine.
async fn with_folder(world: &World, folder: &str, count: usize) -> Peer {
    let writer = world.peer().await;
    (0..count).for_each(|n| writer.write(&format!("{folder}/{n}"), format!("{folder} {n}")));
    assert!(writer.push().await.settled);
    world.peer().await
}

/// Returns how many keys below a folder the index names.
async fn named(world: &World, folder: &str) -> usize {
    let folder = format!("{folder}/");
    world.index_keys().await.iter().filter(|key| key.starts_with(&folder)).count()
}

async fn a_directory_of_many_files_is_renamed_in_one_step(world: World) {
    const COUNT: usize = 520;
    let peer = with_folder(&world, "d", COUNT).await;
    let reader = world.peer().await;
    peer.rename("d", "e");
    peer.push().await;
    let asked = peer.requests();
    let at = |is: &dyn Fn(&str) -> bool| {
        asked.iter().enumerate().filter(|(_, one)| is(one)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    let committed = at(&|one| one == format!("put {INDEX}"));
    assert!(committed.len() <= 2, "a long push commits again what it let go of");
    assert!(at(&|one| one.starts_with("copy ")).iter().all(|copied| *copied < committed[0]));
    assert!(at(&|one| one.starts_with("delete d/")).iter().all(|deleted| *deleted > committed[0]));
    reader.pull().await;
    assert_eq!((reader.files().len(), reader.has("d")), (COUNT, false));
    assert_eq!(reader.text("e/519").await, "d 519");
}

async fn what_is_renamed_and_made_in_a_folder_is_in_the_index_with_one_commit(world: World) {
    let peer = with_folder(&world, "d", 2).await;
    peer.rename("d/0", "d/9");
    peer.write("d/made", "anew");
    peer.forget_requests();
    peer.sync.flush_folder(peer.ino("d")).await.unwrap();
    let asked = peer.requests();
    let commits = asked.iter().filter(|one| **one == format!("put {INDEX}")).count();
    assert_eq!(commits, 1, "{asked:?}");
    assert_eq!(world.index_keys().await, ["d/1", "d/9", "d/made"]);
}

async fn fsync_of_a_renamed_file_publishes_the_whole_directory(world: World) {
    let peer = with_folder(&world, "d", 9).await;
    peer.rename("d", "e");
    peer.fsync("e/3").await.unwrap();
    assert_eq!((named(&world, "d").await, named(&world, "e").await), (0, 9));
    assert!(peer.push().await.settled);
}

async fn a_push_of_a_part_publishes_the_whole_directory(world: World) {
    let peer = with_folder(&world, "d", 9).await;
    peer.rename("d", "e");
    peer.sync.push_names(vec!["d/5".into()]).await.unwrap();
    assert_eq!((named(&world, "d").await, named(&world, "e").await), (0, 9));
    assert!(peer.push().await.settled);
}

async fn a_directory_with_dirty_files_is_renamed_in_one_step(world: World) {
    let peer = with_folder(&world, "d", 9).await;
    peer.write("d/2", "changed before");
    peer.write_at("d/3", 0, "D");
    peer.write("d/new", "new");
    peer.rename("d", "e");
    peer.write("e/4", "changed after");
    peer.sync.push_names(vec!["e/1".into()]).await.unwrap();
    assert_eq!(named(&world, "d").await, 0);
    assert!(named(&world, "e").await >= 9);
    assert!(peer.push().await.settled);
    let fresh = world.peer().await;
    let texts = [("e/2", "changed before"), ("e/3", "D 3"), ("e/4", "changed after"), ("e/new", "new")];
    for (name, text) in texts {
        assert_eq!(fresh.text(name).await, text);
    }
}

async fn two_directories_change_places_in_one_step(world: World) {
    let writer = with_folder(&world, "d", 9).await;
    (0..9).for_each(|n| writer.write(&format!("e/{n}"), format!("e {n}")));
    writer.push().await;
    let peer = world.peer().await;
    for (from, to) in [("d", "t"), ("e", "d"), ("t", "e")] {
        peer.rename(from, to);
    }
    peer.fsync("d/3").await.unwrap();
    assert_eq!(peer.pending(), [""; 0], "one was asked for, and all is published");
    let fresh = world.peer().await;
    for n in 0..9 {
        assert_eq!(fresh.text(&format!("d/{n}")).await, format!("e {n}"));
        assert_eq!(fresh.text(&format!("e/{n}")).await, format!("d {n}"));
    }
    assert!(peer.push().await.settled);
}

async fn what_was_removed_from_a_directory_before_is_not_left_behind(world: World) {
    let peer = with_folder(&world, "d", 9).await;
    peer.remove("d/7");
    peer.rename("d", "e");
    peer.fsync("e/3").await.unwrap();
    assert_eq!((named(&world, "d").await, named(&world, "e").await), (0, 8));
    assert!(peer.push().await.settled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_being_uploaded_holds_its_directory_back() {
    let world = World::s3().await;
    let peer = Arc::new(with_folder(&world, "d", 9).await);
    peer.write("d/2", "newer");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("d/2").first(1));
    let uploading = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push_names(vec!["d/2".into()]).await }
    });
    gate.wait_for(1).await;
    peer.rename("d", "e");
    peer.sync.push_names(peer.cache.all_pending()).await.unwrap();
    let (old, new) = (named(&world, "d").await, named(&world, "e").await);
    assert!((old, new) == (9, 0) || (old, new) == (0, 9), "{old} old and {new} new names");
    gate.open();
    uploading.await.unwrap().unwrap();
    assert!(peer.push().await.settled);
    assert_eq!((named(&world, "d").await, named(&world, "e").await), (0, 9));
    assert_eq!(world.peer().await.text("e/2").await, "newer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_fails_holds_its_directory_back_and_nothing_else() {
    let world = World::s3().await;
    let peer = with_folder(&world, "d", 9).await;
    peer.rename("d", "e");
    peer.write("other", "goes on");
    let fails = Action::Refuse(Refusal::internal_error());
    world.server().fault(Fault::on(Op::CopyObject, fails).key("e/5"));
    peer.push_fails().await;
    assert_eq!((named(&world, "d").await, named(&world, "e").await), (9, 0));
    assert!(world.index_keys().await.contains(&"other".to_owned()));
    world.server().clear_faults();
    assert!(peer.push().await.settled);
    assert_eq!((named(&world, "d").await, named(&world, "e").await), (0, 9));
    assert_eq!(world.peer().await.text("e/5").await, "d 5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_renamed_again_while_it_is_pushed_is_never_seen_in_parts() {
    let world = World::s3().await;
    let peer = Arc::new(with_folder(&world, "d", 9).await);
    peer.rename("d", "e");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::CopyObject, Action::Hold(gate.clone())).key("e/5"));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push_names(peer.cache.all_pending()).await }
    });
    gate.wait_for(1).await;
    peer.rename("e", "f");
    gate.open();
    pushing.await.unwrap().unwrap();
    let counts = [named(&world, "d").await, named(&world, "e").await, named(&world, "f").await];
    assert!([[9, 0, 0], [0, 9, 0], [0, 0, 9]].contains(&counts), "{counts:?}");
    assert!(peer.push().await.settled);
    assert_eq!(world.peer().await.files().len(), 9);
    assert_eq!((named(&world, "f").await, world.data_keys().await.len()), (9, 9));
}
