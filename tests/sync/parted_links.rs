//! Names that leave a file with several names because others change them.

use bayou::cache::CacheError;
use serde_json::json;

use super::links::{is_one, links};
use super::world::World;

on_both_stores!(
    a_name_that_a_foreign_writer_replaces_is_a_file_of_its_own,
    a_name_whose_group_a_foreign_writer_dropped_is_a_file_of_its_own,
    a_name_that_a_foreign_writer_removes_leaves_the_others,
    a_change_through_one_name_and_a_foreign_one_of_another_are_both_kept,
    an_object_that_is_ahead_of_its_entry_leaves_the_group,
    what_a_new_name_needs_is_not_dropped_before_it_is_in_the_bucket,
);

async fn a_name_that_a_foreign_writer_replaces_is_a_file_of_its_own(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("a", "ours");
    here.link("a", "b");
    here.link("a", "c");
    here.push().await;
    there.pull().await;
    let version = world.put_foreign("b", "theirs!").await;
    world
        .edit_index(|entries| {
            entries["b"] = json!({"key": "b", "size": 7, "lastModified": "2027-01-01T00:00:00.000Z", "etag": version.as_str()});
        })
        .await;
    for peer in [&here, &there] {
        peer.pull().await;
        assert!(is_one(peer, &["a", "c"]));
        assert_eq!((links(peer, "b"), peer.text("b").await), (1, "theirs!".into()));
        assert_eq!((peer.text("a").await, peer.text("c").await), ("ours".into(), "ours".into()));
    }
    there.write("c", "ours again");
    there.push().await;
    assert_eq!(world.object("a").await.unwrap(), "ours again");
    assert_eq!(world.object("b").await.unwrap(), "theirs!");
    here.pull().await;
    assert_eq!((here.text("a").await, here.text("b").await), ("ours again".into(), "theirs!".into()));
    assert!(here.push().await.settled && there.push().await.settled);
}

async fn a_name_whose_group_a_foreign_writer_dropped_is_a_file_of_its_own(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("a", "same");
    here.link("a", "b");
    here.push().await;
    there.pull().await;
    assert_eq!(there.text("a").await, "same");
    world.edit_index(|entries| drop(entries["a"].as_object_mut().unwrap().remove("link"))).await;
    for peer in [&here, &there] {
        peer.pull().await;
        assert_eq!((links(peer, "a"), links(peer, "b")), (1, 1));
        assert_ne!(peer.ino("a"), peer.ino("b"));
        assert_eq!((peer.text("a").await, peer.text("b").await), ("same".into(), "same".into()));
    }
    there.write("a", "changed");
    there.push().await;
    here.pull().await;
    assert_eq!((here.text("a").await, here.text("b").await), ("changed".into(), "same".into()));
    assert_eq!(world.object("b").await.unwrap(), "same");
}

async fn a_name_that_a_foreign_writer_removes_leaves_the_others(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("a", "content");
    here.link("a", "b");
    here.push().await;
    there.pull().await;
    world.edit_index(|entries| drop(entries.remove("a"))).await;
    world.delete("a").await;
    for peer in [&here, &there] {
        peer.pull().await;
        assert_eq!(peer.files(), ["b"]);
        assert_eq!((links(peer, "b"), peer.text("b").await), (1, "content".into()));
        assert!(peer.push().await.settled);
    }
}

async fn a_change_through_one_name_and_a_foreign_one_of_another_are_both_kept(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("a", "base");
    here.link("a", "b");
    here.push().await;
    there.pull().await;
    there.rename("b", "moved away");
    there.write("b", "theirs");
    there.push().await;
    here.write("a", "ours");
    here.push().await;
    here.push().await;
    let copy = here.conflict_copy();
    assert_eq!((here.text("b").await, here.text(&copy).await), ("theirs".into(), "ours".into()));
    assert_eq!(here.text("a").await, "ours");
    assert!(here.push().await.settled);
    there.pull().await;
    assert_eq!(there.text("a").await, "ours");
    assert_eq!(there.text(&copy).await, "ours");
    assert_eq!((there.text("b").await, there.text("moved away").await), ("theirs".into(), "ours".into()));
    assert!(there.push().await.settled);
}

async fn an_object_that_is_ahead_of_its_entry_leaves_the_group(world: World) {
    let writer = world.peer().await;
    writer.write("a", "old bytes");
    writer.link("a", "b");
    writer.push().await;
    let reader = world.peer().await;
    world.put_foreign("a", "newer bytes").await;
    world.put_foreign("b", "other newer").await;
    let stale = reader.try_read("a").await.unwrap_err();
    assert!(matches!(stale, CacheError::Stale { .. }), "who opened one name never reads another's bytes");
    assert_eq!(reader.text("a").await, "newer bytes");
    assert_eq!(reader.text("b").await, "other newer");
    assert_ne!(reader.ino("a"), reader.ino("b"));
}

async fn what_a_new_name_needs_is_not_dropped_before_it_is_in_the_bucket(world: World) {
    let peer = world.peer().await;
    peer.write("a", "only here soon");
    peer.push().await;
    peer.link("a", "b");
    assert_eq!(peer.cache.evict(1 << 20), 0);
    world.put_foreign("a", "theirs").await;
    peer.push().await;
    peer.push().await;
    assert_eq!(peer.text("b").await, "only here soon");
    assert_eq!(world.object("b").await.unwrap(), "only here soon");
    assert_eq!(world.object("a").await.unwrap(), "theirs");
}
