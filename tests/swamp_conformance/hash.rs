//! Contents are compared by their hash, never by their time (C-59 to C-63).

use std::time::Duration;

use bayou::model::content_hash::ContentHash;

use super::clean_peer;
use super::world::World;

on_both_stores!(
    c_59_a_pushed_entry_carries_the_hash_of_its_bytes,
    c_60_and_c_63_the_same_bytes_written_again_are_not_sent,
    c_61_and_c_62_other_bytes_of_the_same_size_and_time_are_sent,
);

async fn c_59_a_pushed_entry_carries_the_hash_of_its_bytes(world: World) {
    clean_peer(&world).await;
    let entry = world.index().await["entries"]["data/a"].clone();
    assert_eq!(entry["sha256"].as_str().unwrap(), ContentHash::of(b"one").to_string());
    assert_eq!((&entry["key"], &entry["size"]), (&"data/a".into(), &3.into()));
    let names: Vec<_> = entry.as_object().unwrap().keys().take(5).cloned().collect();
    assert_eq!(names, ["key", "size", "lastModified", "localMtime", "sha256"]);
}

async fn c_60_and_c_63_the_same_bytes_written_again_are_not_sent(world: World) {
    let peer = clean_peer(&world).await;
    world.clock.advance(Duration::from_secs(100));
    peer.write("data/a", "one");
    assert_eq!(peer.push().await.pushed_bytes, 0);
    assert!(!peer.requests().contains(&"put data/a".to_owned()));
}

async fn c_61_and_c_62_other_bytes_of_the_same_size_and_time_are_sent(world: World) {
    let peer = clean_peer(&world).await;
    let ino = peer.ino("data/a");
    let mtime = Some(peer.cache.attr(ino).unwrap().mtime);
    peer.write("data/a", "two");
    let set = bayou::cache::attributes::SetAttr { mtime, ..Default::default() };
    peer.cache.set_attr(ino, set).unwrap();
    assert_eq!(peer.push().await.pushed_bytes, 3);
    assert_eq!(world.peer().await.text("data/a").await, "two");
}
