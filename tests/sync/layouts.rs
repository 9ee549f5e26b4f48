//! Buckets that swamp wrote: old and new indexes, partitions, shards, locks and damage.

use std::time::Duration;

use bayou::cache::CacheError;
use bayou::sync::{SyncError, describe};
use serde_json::Value;

use super::peer::PeerOptions;
use super::world::{INDEX, World, fixture};

on_both_stores!(
    a_bucket_of_swamp_is_read_and_its_partitions_go_with_the_first_commit,
    an_old_pretty_index_is_read_and_written_compact,
    unknown_members_survive_a_push_of_something_else,
    an_index_without_entries_is_empty,
    a_damaged_index_is_an_error_with_its_place_and_nothing_is_written,
    a_damaged_index_takes_nothing_away_from_a_machine_that_runs,
    w_25_unsafe_keys_are_carried_through_every_commit,
    a_sharded_bucket_is_read_from_its_shards_and_may_not_be_written,
    shards_without_a_meta_are_read_only,
    a_sharded_bucket_that_misses_a_shard_is_not_shown_in_part,
    a_bucket_that_is_locked_is_read_only,
    a_lock_that_is_dead_does_not_matter,
);

async fn put_index_fixture(world: &World, name: &str) -> Vec<u8> {
    let text = std::fs::read(fixture(&format!("index/{name}"))).unwrap();
    world.put(INDEX, text.clone()).await;
    text
}

async fn a_bucket_of_swamp_is_read_and_its_partitions_go_with_the_first_commit(world: World) {
    world.put_fixture("bucket-v1").await;
    let partitions = |keys: &[String]| keys.iter().filter(|key| key.starts_with("_index/")).count();
    let peer = world.peer().await;
    assert_eq!(peer.files().len(), 11);
    for path in peer.files() {
        assert_eq!(peer.read(&path).await, world.object(&path).await.unwrap().to_vec(), "{path}");
    }
    assert!(peer.push().await.settled);
    assert_eq!(partitions(&world.keys().await), 9, "reading changes nothing");
    peer.write("new", "x");
    peer.push().await;
    assert_eq!(partitions(&world.keys().await), 0);
    assert_eq!(world.index_keys().await.len(), 12);
    peer.forget_requests();
    peer.write("new", "y");
    peer.push().await;
    assert_eq!(peer.store.count("list"), 0, "it is looked for them once");
}

async fn an_old_pretty_index_is_read_and_written_compact(world: World) {
    let old = put_index_fixture(&world, "v1-legacy-pretty-no-sha.json").await;
    assert!(old.contains(&b'\n'));
    let before: Value = serde_json::from_slice(&old).unwrap();
    let peer = world.peer().await;
    peer.write("new", "x");
    peer.push().await;
    assert!(!world.object(INDEX).await.unwrap().contains(&b'\n'));
    let mut after = world.index().await;
    after["entries"].as_object_mut().unwrap().remove("new").unwrap();
    assert_eq!(after["entries"], before["entries"]);
}

async fn unknown_members_survive_a_push_of_something_else(world: World) {
    let old = put_index_fixture(&world, "v1-unknown-fields.json").await;
    let before: Value = serde_json::from_slice(&old).unwrap();
    let peer = world.peer().await;
    peer.write("new", "x");
    peer.push().await;
    let after = world.index().await;
    for (name, value) in before.as_object().unwrap() {
        if name != "lastPulled" && name != "entries" {
            assert_eq!(after[name], *value, "{name}");
        }
    }
    for (key, entry) in before["entries"].as_object().unwrap() {
        assert_eq!(after["entries"][key], *entry, "{key}");
    }
}

async fn an_index_without_entries_is_empty(world: World) {
    put_index_fixture(&world, "v1-no-entries.json").await;
    let peer = world.peer().await;
    assert_eq!(peer.files(), [""; 0]);
    peer.write("new", "x");
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, ["new"]);
}

async fn a_damaged_index_is_an_error_with_its_place_and_nothing_is_written(world: World) {
    let damaged = put_index_fixture(&world, "v1-corrupt.json").await;
    world.put("object", "x").await;
    let peer = world.stranger(PeerOptions::default()).await;
    let failed = peer.sync.start().await.unwrap_err();
    assert!(matches!(failed, SyncError::DamagedIndex { .. }));
    let text = describe(&failed);
    assert!(text.contains("line 1, column"), "{text}");
    peer.write("mine", "kept");
    assert!(matches!(peer.push_fails().await, SyncError::DamagedIndex { .. }));
    assert_eq!(world.object(INDEX).await.unwrap(), damaged);
    assert_eq!(peer.pending(), ["mine"]);
    assert_eq!(peer.text("mine").await, "kept");
}

async fn a_damaged_index_takes_nothing_away_from_a_machine_that_runs(world: World) {
    let peer = world.peer().await;
    peer.write("a", "one");
    peer.push().await;
    let good = world.object(INDEX).await.unwrap();
    put_index_fixture(&world, "v1-corrupt.json").await;
    assert!(peer.sync.pull().await.is_err());
    assert_eq!(peer.text("a").await, "one");
    peer.write("b", "two");
    peer.push_fails().await;
    world.put(INDEX, good).await;
    peer.push().await;
    assert_eq!(world.peer().await.files(), ["a", "b"]);
}

async fn w_25_unsafe_keys_are_carried_through_every_commit(world: World) {
    put_index_fixture(&world, "v1-path-traversal.json").await;
    let peer = world.peer().await;
    assert_eq!(peer.files(), [""; 0]);
    assert_eq!(peer.sync.health().refused, ["../evil"]);
    peer.write("new", "x");
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, ["../evil", "new"]);
}

async fn a_sharded_bucket_is_read_from_its_shards_and_may_not_be_written(world: World) {
    world.put_fixture("bucket-v2").await;
    let keys = world.keys().await;
    let peer = world.peer().await;
    assert_eq!(peer.files().len(), 13, "{:?}", peer.files());
    assert_eq!(peer.text("data/probe/m-0002/result/latest").await, "3");
    let refused = peer.cache.create(bayou::cache::ROOT, "new", super::peer::FILE);
    assert!(matches!(refused, Err(CacheError::ReadOnly(reason)) if reason.contains("sharded")));
    peer.pull().await;
    assert_eq!(peer.files().len(), 13);
    assert_eq!(world.keys().await, keys);
    assert_eq!(peer.store.count("put") + peer.store.count("delete"), 0);
}

async fn shards_without_a_meta_are_read_only(world: World) {
    world.put_fixture("bucket-v2").await;
    world.delete("_index/_meta.json").await;
    let peer = world.peer().await;
    assert!(peer.cache.read_only_reason().unwrap().contains("_meta.json"));
    assert!(peer.has("data/probe/m-0002/result/3/raw"));
    let unknown = std::fs::read(fixture("index/meta-v3-unknown.json")).unwrap();
    world.put("_index/_meta.json", unknown).await;
    let peer = world.peer().await;
    assert!(peer.cache.read_only_reason().is_some(), "a meta of the future says nothing");
}

async fn a_sharded_bucket_that_misses_a_shard_is_not_shown_in_part(world: World) {
    world.put_fixture("bucket-v2").await;
    world.delete("_index/audit.json").await;
    let peer = world.stranger(PeerOptions::default()).await;
    let failed = peer.sync.start().await.unwrap_err();
    assert!(describe(&failed).contains("_index/audit.json"), "{}", describe(&failed));
    assert_eq!(peer.files(), [""; 0]);
}

async fn a_bucket_that_is_locked_is_read_only(world: World) {
    world.peer().await.push().await;
    let lock = std::fs::read(fixture("locks/global-solo__.datastore.lock")).unwrap();
    let holder: Value = serde_json::from_slice(&lock).unwrap();
    world.put(".datastore.lock", lock).await;
    let peer = world.peer().await;
    let reason = peer.cache.read_only_reason().unwrap();
    assert!(reason.contains(holder["holder"].as_str().unwrap()), "{reason}");
}

async fn a_lock_that_is_dead_does_not_matter(world: World) {
    let lock = std::fs::read(fixture("locks/global-solo__.datastore.lock")).unwrap();
    world.put(".datastore.lock", lock).await;
    world.clock.advance(Duration::from_secs(3600));
    let peer = world.peer().await;
    assert_eq!(peer.cache.read_only_reason(), None);
    peer.write("a", "x");
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, ["a"]);
    assert!(world.object(".datastore.lock").await.is_some(), "it is not ours to remove");
}
