//! Buckets that swamp wrote: old and new indexes, partitions, shards, locks and damage.

use std::time::Duration;

use bayou::sync::{SyncError, describe};
use bayou_test_server::{Action, Fault, Op, Refusal};
use serde_json::{Value, json};

use super::peer::{LOCK, PeerOptions};
use super::world::{INDEX, World, fixture};

on_both_stores!(
    copies_of_the_monolith_stay_true,
    a_sharded_bucket_is_read_and_written_in_its_shards,
    w_9_what_has_no_shard_is_kept_in_an_index_of_our_own,
    a_shard_goes_with_its_last_entry,
    a_pull_reads_the_shards_that_changed,
    w_12_a_shard_that_was_written_without_its_meta_is_found,
    a_shard_that_a_meta_forgot_is_taken_in,
    a_migration_under_a_running_machine_is_noticed,
    w_17_shards_that_lost_their_meta_are_the_index_still,
    a_bucket_that_another_has_locked_is_written_when_it_is_free,
    an_old_pretty_index_is_read_and_written_compact,
    unknown_members_survive_a_push_of_something_else,
    an_index_without_entries_is_empty,
    a_damaged_index_is_an_error_with_its_place_and_nothing_is_written,
    a_damaged_index_takes_nothing_away_from_a_machine_that_runs,
    w_25_unsafe_keys_are_carried_through_every_commit,
    shards_that_lost_their_meta_are_seen_by_a_process_that_knew_the_monolith,
    a_sharded_bucket_that_misses_a_shard_is_not_shown_in_part,
);

async fn put_index_fixture(world: &World, name: &str) -> Vec<u8> {
    let text = std::fs::read(fixture(&format!("index/{name}"))).unwrap();
    world.put(INDEX, text.clone()).await;
    text
}

async fn copies_of_the_monolith_stay_true(world: World) {
    world.put_fixture("bucket-v1").await;
    let before = world.json("_index/_meta.json").await;
    let peer = world.peer().await;
    assert_eq!(peer.files().len(), 11);
    for path in peer.files() {
        assert_eq!(peer.read(&path).await, world.object(&path).await.unwrap().to_vec(), "{path}");
    }
    assert!(peer.push().await.settled);
    peer.forget_requests();
    peer.write("files/new", "x");
    peer.remove("audit/2026-08-01.jsonl");
    assert!(peer.push().await.settled);
    let mut written: Vec<_> = peer.requests().into_iter().filter(|one| one.starts_with("put")).collect();
    written.sort_unstable();
    let copies = ["put _index/_meta.json", "put _index/audit.json", "put _index/files.json", "put files/new"];
    assert_eq!(written[1..], copies, "only what was touched");
    let index = world.index().await;
    let meta = world.json("_index/_meta.json").await;
    assert_eq!(meta["version"], 1);
    assert_ne!(meta, before);
    for name in meta["partitions"].as_array().unwrap() {
        let copy = world.json(&format!("_index/{}.json", name.as_str().unwrap())).await;
        for (key, entry) in copy["entries"].as_object().unwrap() {
            assert_eq!(index["entries"][key], *entry, "{key}");
        }
    }
    assert_eq!(world.json("_index/audit.json").await["entries"], serde_json::json!({}), "emptied ones too");
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

async fn a_sharded_bucket_is_read_and_written_in_its_shards(world: World) {
    world.put_fixture("bucket-v2").await;
    let frozen = world.object(INDEX).await;
    let peer = world.peer().await;
    assert_eq!(peer.files().len(), 13, "{:?}", peer.files());
    assert_eq!(peer.text("data/probe/m-0002/result/latest").await, "3");
    assert!(peer.push().await.settled);
    peer.forget_requests();
    peer.write("audit/new", "x");
    peer.write("README.md", "y");
    assert!(peer.push().await.settled);
    let mut asked = peer.requests();
    asked.sort_unstable();
    let commit = ["put README.md", "put _index/_meta.json", "put _index/_root.json", "put _index/audit.json"];
    assert_eq!(asked[..4].iter().filter(|one| one.starts_with("get")).count(), 0, "{asked:?}");
    for one in commit {
        assert!(asked.contains(&one.to_owned()), "{one}: {asked:?}");
    }
    assert_eq!(asked.iter().filter(|one| one.starts_with("put")).count(), 5, "{asked:?}");
    let meta = world.json("_index/_meta.json").await;
    assert_eq!((&meta["version"], &meta["commitSeq"]), (&2.into(), &43.into()));
    assert_eq!(world.object(INDEX).await, frozen, "an old monolith is not touched");
    assert!(world.json("_index/audit.json").await["entries"]["audit/new"]["sha256"].is_string());
    assert_eq!(world.peer().await.text("README.md").await, "y");
}

async fn w_9_what_has_no_shard_is_kept_in_an_index_of_our_own(world: World) {
    world.put_fixture("bucket-v2").await;
    let peer = world.peer().await;
    peer.write("src/main.rs", "fn main() {}");
    peer.mkdir("empty");
    assert!(peer.push().await.settled);
    let meta = world.json("_index/_meta.json").await;
    assert_eq!(meta["partitions"].as_array().unwrap().len(), 9, "no shard that swamp's rule does not give");
    let ours = world.json("_control/bayou/index.json").await;
    assert_eq!(ours["entries"].as_object().unwrap().keys().collect::<Vec<_>>(), ["src/main.rs"]);
    assert!(ours["bayouDirs"]["empty"].is_object());
    let reader = world.peer().await;
    assert_eq!(reader.text("src/main.rs").await, "fn main() {}");
    assert!(reader.has("empty"));

    peer.rename("src/main.rs", "audit/main.rs");
    assert!(peer.push().await.settled);
    assert_eq!(reader.pull().await.pulled, 1);
    assert_eq!(reader.text("audit/main.rs").await, "fn main() {}");
    assert!(!reader.has("src/main.rs"));
    reader.rename("audit/main.rs", "lib/x.rs");
    assert!(reader.push().await.settled);
    peer.pull().await;
    assert_eq!(peer.text("lib/x.rs").await, "fn main() {}");
    assert!(!peer.has("audit/main.rs"));
}

async fn a_shard_goes_with_its_last_entry(world: World) {
    world.put_fixture("bucket-v2").await;
    let (peer, reader) = (world.peer().await, world.peer().await);
    let of_shard = world.json("_index/audit.json").await;
    for key in of_shard["entries"].as_object().unwrap().keys() {
        peer.remove(key);
    }
    assert!(peer.push().await.settled);
    assert!(world.object("_index/audit.json").await.is_none());
    let meta = world.json("_index/_meta.json").await;
    assert!(!meta["partitions"].as_array().unwrap().contains(&"audit".into()));
    assert!(reader.pull().await.vanished > 0);
    assert_eq!(reader.files(), peer.files());
    peer.write("audit/again", "x");
    assert!(peer.push().await.settled);
    assert_eq!(world.peer().await.text("audit/again").await, "x");
}

async fn a_pull_reads_the_shards_that_changed(world: World) {
    world.put_fixture("bucket-v2").await;
    let (writer, reader) = (world.peer().await, world.peer().await);
    assert!(reader.push().await.settled);
    reader.forget_requests();
    for _ in 0..2 {
        reader.pull().await;
        assert!(reader.push().await.settled);
        let mut asked = reader.requests();
        asked.sort_unstable();
        let look = ["head _control/bayou/index.json", "head _index/_meta.json"];
        assert_eq!(asked, [look[0], look[0], look[1], look[1]], "nothing to do is a look each");
    }
    writer.write("audit/new", "x");
    assert!(writer.push().await.settled);
    reader.pull().await;
    let asked = reader.requests();
    let read: Vec<_> = asked.iter().filter(|one| one.starts_with("get")).collect();
    assert_eq!(read, ["get _index/_meta.json", "get _index/audit.json"], "{asked:?}");
    assert_eq!(reader.text("audit/new").await, "x");

    let (folder, _home) = reader.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.text("audit/new").await, "x");
    again.write("audit/more", "y");
    again.forget_requests();
    assert!(again.push().await.settled);
    let asked = again.requests();
    let shards = asked.iter().filter(|one| one.starts_with("get _index/") && !one.contains("_meta"));
    assert_eq!(shards.collect::<Vec<_>>(), ["get _index/audit.json"], "{asked:?}");
}

async fn a_shard_that_a_meta_forgot_is_taken_in(world: World) {
    world.put_fixture("bucket-v2").await;
    let mut shard = world.json("_index/audit.json").await;
    shard["entries"]["audit/gone"] = serde_json::json!({"key": "audit/gone", "size": 1});
    world.put("_index/audit.json", serde_json::to_vec(&shard).unwrap()).await;
    let mut meta = world.json("_index/_meta.json").await;
    meta["partitions"].as_array_mut().unwrap().retain(|name| name != "audit");
    world.put("_index/_meta.json", serde_json::to_vec(&meta).unwrap()).await;
    let peer = world.peer().await;
    assert!(!peer.has("audit/2026-08-01.jsonl"));
    peer.write("audit/new", "x");
    peer.push().await;
    let entries = world.json("_index/audit.json").await["entries"].clone();
    let mut names: Vec<_> = entries.as_object().unwrap().keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["audit/2026-08-01.jsonl", "audit/new"], "as far as their objects are there");
    assert!(
        world.json("_index/_meta.json").await["partitions"].as_array().unwrap().contains(&"audit".into())
    );
    assert!(world.peer().await.has("audit/2026-08-01.jsonl"));
}

async fn w_12_a_shard_that_was_written_without_its_meta_is_found(world: World) {
    world.put_fixture("bucket-v2").await;
    let reader = world.peer().await;
    world.put("audit/left", "x").await;
    let mut shard = world.json("_index/audit.json").await;
    shard["entries"]["audit/left"] = serde_json::json!({"key": "audit/left", "size": 1});
    world.put("_index/audit.json", serde_json::to_vec(&shard).unwrap()).await;
    reader.pull().await;
    assert!(!reader.has("audit/left"), "the counter did not grow");
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(reader.pull().await.pulled, 1);
    assert!(world.peer().await.has("audit/left"), "who comes later sees it at once");
}

async fn a_migration_under_a_running_machine_is_noticed(world: World) {
    let (peer, other) = (world.peer().await, world.peer().await);
    peer.write("audit/a", "1");
    peer.push().await;
    other.pull().await;
    let entries = world.index().await["entries"].clone();
    let shard = serde_json::json!({"version": 1, "entries": entries});
    world.put("_index/audit.json", serde_json::to_vec(&shard).unwrap()).await;
    world.put("_index/_meta.json", r#"{"version":2,"partitions":["audit"],"commitSeq":1}"#).await;
    peer.write("audit/b", "2");
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, ["audit/a"], "the monolith is not the index any more");
    assert!(world.json("_index/audit.json").await["entries"]["audit/b"].is_object());
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(other.pull().await.pulled, 1);
    assert_eq!(other.text("audit/b").await, "2");
}

async fn w_17_shards_that_lost_their_meta_are_the_index_still(world: World) {
    for unusable in [None, Some("index/meta-v3-unknown.json"), Some("index/v1-corrupt.json")] {
        for key in world.keys().await {
            world.delete(&key).await;
        }
        world.put_fixture("bucket-v2").await;
        world.delete("_index/_meta.json").await;
        if let Some(unusable) = unusable {
            world.put("_index/_meta.json", std::fs::read(fixture(unusable)).unwrap()).await;
        }
        // The monolith is old: it names an object that is gone, and one that no shard names.
        world.put("audit/kept", "x").await;
        world
            .edit_index(|entries| {
                entries.insert("audit/kept".to_owned(), serde_json::json!({"size": 1}));
                entries.insert("audit/gone".to_owned(), serde_json::json!({"size": 1}));
            })
            .await;
        let peer = world.peer().await;
        assert!(peer.has("data/probe/m-0002/result/3/raw") && peer.has("audit/kept"));
        assert!(!peer.has("audit/gone"));
        assert!(peer.push().await.settled, "{unusable:?}");
        let meta = world.json("_index/_meta.json").await;
        assert_eq!(meta["version"], 2, "{unusable:?}");
        assert!(meta["commitSeq"].as_u64().unwrap() > 1_000_000, "nobody remembers such a counter");
        assert_eq!(world.peer().await.files(), peer.files());
    }
}

async fn shards_that_lost_their_meta_are_seen_by_a_process_that_knew_the_monolith(world: World) {
    let peer = world.peer().await;
    peer.write("audit/a", "one");
    assert!(peer.push().await.settled);
    let (folder, _home) = peer.stop();
    let entry = json!({"key": "audit/b", "size": 3, "lastModified": "2026-08-01T09:30:01.250Z"});
    world.put_foreign("audit/b", "two").await;
    let shard = json!({"version": 1, "entries": {"audit/b": entry}}).to_string();
    world.put_foreign("_index/audit.json", shard).await;
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.files(), ["audit/a", "audit/b"]);
}

async fn a_sharded_bucket_that_misses_a_shard_is_not_shown_in_part(world: World) {
    world.put_fixture("bucket-v2").await;
    world.delete("_index/audit.json").await;
    let peer = world.stranger(PeerOptions::default()).await;
    let failed = peer.sync.start().await.unwrap_err();
    assert!(describe(&failed).contains("_index/audit.json"), "{}", describe(&failed));
    assert_eq!(peer.files(), [""; 0]);
}

async fn a_bucket_that_another_has_locked_is_written_when_it_is_free(world: World) {
    world.peer().await.push().await;
    let lock = std::fs::read(fixture("locks/global-solo__.datastore.lock")).unwrap();
    let holder: Value = serde_json::from_slice(&lock).unwrap();
    world.put(LOCK, lock).await;
    let timeout = Duration::from_millis(300);
    let peer = world.peer_with(PeerOptions { timeout, ..PeerOptions::default() }).await;
    peer.write("a", "x");
    let text = describe(&peer.fsync("a").await.unwrap_err());
    assert!(text.contains(holder["holder"].as_str().unwrap()), "{text}");
    assert_eq!(peer.pending(), ["a"]);
    world.delete(LOCK).await;
    peer.fsync("a").await.unwrap();
    assert_eq!(world.index_keys().await, ["a"]);
    peer.sync.lock().idle().await;
    assert!(world.object(LOCK).await.is_none(), "it is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_not_written_is_written_by_the_next_push() {
    let world = World::s3().await;
    world.put_fixture("bucket-v1").await;
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    peer.remove("audit/2026-08-01.jsonl");
    peer.write("files/new", "x");
    let refused = || Action::Refuse(Refusal::internal_error());
    let faults = ["_index/audit.json", "_index/files.json"]
        .map(|copy| world.server().fault(Fault::on(Op::PutObject, refused()).key(copy)));
    peer.push_fails().await;
    assert!(world.index_keys().await.contains(&"files/new".to_owned()), "the monolith is written first");
    for fault in faults {
        fault.remove();
    }
    assert!(peer.push().await.settled);
    assert_eq!(world.json("_index/audit.json").await["entries"], serde_json::json!({}));
    assert!(world.json("_index/files.json").await["entries"]["files/new"].is_object());
}
