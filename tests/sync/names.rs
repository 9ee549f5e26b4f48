//! Names that are changed here and there: renames, and files that become folders.

use super::conflicts::{check_both, two_peers};
use super::world::World;

on_both_stores!(
    renamed_here_and_edited_there_nothing_is_lost,
    renamed_here_and_removed_there_what_is_here_is_kept,
    renamed_here_and_removed_there_unread_is_gone,
    renamed_over_a_file_that_was_edited_there_both_are_kept,
    a_file_that_became_a_folder_there_is_a_folder_here,
    a_folder_that_became_a_file_there_is_a_file_here,
    a_file_is_not_hidden_by_names_that_were_removed_below_it,
    a_folder_that_is_moved_to_where_its_parent_was_keeps_its_attributes,
);

async fn a_file_is_not_hidden_by_names_that_were_removed_below_it(world: World) {
    let here = world.peer().await;
    here.write("a/x", "1");
    here.push().await;
    here.rename("a", "b");
    here.write("a", "2");
    here.sync.push_names(vec!["a".into()]).await.unwrap();
    assert_eq!(world.index_keys().await, ["a", "a/x"]);
    // Another client writes the index anew, in another order.
    let reorder = |entries: &mut serde_json::Map<_, _>| {
        let below = entries.remove("a/x").unwrap();
        entries.insert("a/x".to_owned(), below);
    };
    world.edit_index(reorder).await;
    here.pull().await;
    assert_eq!(here.files(), ["a", "b/x"]);
    assert!(here.push().await.settled);
    assert_eq!(world.peer().await.files(), ["a", "b/x"]);
}

async fn a_folder_that_is_moved_to_where_its_parent_was_keeps_its_attributes(world: World) {
    let here = world.peer().await;
    here.mkdir("b/x");
    here.chmod("b", 0o700);
    here.push().await;
    here.rename("b", "t");
    here.mkdir("b");
    here.rename("t", "b/x");
    assert!(here.push().await.settled);
    let fresh = world.peer().await;
    assert_eq!(fresh.tree(), ["b/", "b/x/", "b/x/x/"]);
    assert_eq!(fresh.cache.attr(fresh.ino("b/x")).unwrap().mode, 0o700);
    assert_eq!(fresh.cache.attr(fresh.ino("b")).unwrap().mode, 0o755);
}

async fn renamed_here_and_edited_there_nothing_is_lost(world: World) {
    let there = world.peer().await;
    there.write("f", "base");
    there.push().await;
    let here = world.peer().await;
    there.write("f", "theirs");
    there.push().await;
    here.rename("f", "g");
    here.push().await;
    here.pull().await;
    let fresh = world.peer().await;
    for peer in [&here, &fresh] {
        assert_eq!(peer.files(), ["f"], "the bytes of g are nowhere: its rename is taken back");
        assert_eq!(peer.text("f").await, "theirs");
    }
    assert!(here.push().await.settled);
}

async fn renamed_here_and_removed_there_what_is_here_is_kept(world: World) {
    let (here, there) = two_peers(&world).await;
    assert_eq!(here.text("f").await, "base");
    there.remove("f");
    there.push().await;
    here.rename("f", "g");
    here.push().await;
    assert_eq!(here.files(), ["g"]);
    assert_eq!(world.peer().await.text("g").await, "base");
}

async fn renamed_here_and_removed_there_unread_is_gone(world: World) {
    let there = world.peer().await;
    there.write("f", "base");
    there.write("other", "x");
    there.push().await;
    let here = world.peer().await;
    there.remove("f");
    there.push().await;
    here.rename("f", "g");
    here.push().await;
    assert_eq!(here.files(), ["other"], "there is nothing that g could hold");
    assert_eq!(world.peer().await.files(), ["other"]);
    assert!(here.push().await.settled);
}

async fn renamed_over_a_file_that_was_edited_there_both_are_kept(world: World) {
    let (here, there) = two_peers(&world).await;
    here.write("new", "ours");
    here.push().await;
    there.write("f", "theirs");
    there.push().await;
    here.rename("new", "f");
    here.push().await;
    check_both(&world, &here, "theirs", "ours").await;
    assert!(!here.has("new"));
    assert!(world.object("new").await.is_none());
}

async fn a_file_that_became_a_folder_there_is_a_folder_here(world: World) {
    let (here, there) = two_peers(&world).await;
    there.remove("f");
    there.write("f/inside", "deep");
    there.push().await;
    here.pull().await;
    assert_eq!(here.tree(), ["f/", "f/inside"]);
    assert_eq!(here.text("f/inside").await, "deep");
    assert!(here.push().await.settled);
}

async fn a_folder_that_became_a_file_there_is_a_file_here(world: World) {
    let there = world.peer().await;
    there.write("f/inside", "deep");
    there.push().await;
    let here = world.peer().await;
    there.remove("f/inside");
    there.rmdir("f");
    there.write("f", "flat");
    there.push().await;
    here.pull().await;
    assert_eq!(here.tree(), ["f"]);
    assert_eq!(here.text("f").await, "flat");
    assert!(here.push().await.settled);
}
