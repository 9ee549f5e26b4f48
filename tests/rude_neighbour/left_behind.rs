//! What swamp leaves behind untrue, each under its name: entries without objects, shards that it
//! forgot, copies and an old monolith that nobody brings up.

use std::sync::Arc;
use std::time::Duration;

use bayou::sync::upkeep::Problem;
use serde_json::{Value, json};

use crate::named::{KEY, swamp_with};
use crate::peer::{Peer, PeerOptions};
use crate::swamp::{Process, Pull};
use crate::verdict::upkeep;
use crate::world::{INDEX, World};

on_both_stores!(
    c_127_an_entry_goes_whose_object_swamp_deleted,
    an_entry_stays_whose_object_comes_late,
    an_entry_stays_whose_object_is_put_while_the_lock_is_waited_for,
    what_is_changed_here_is_pushed_although_its_object_was_deleted,
    attributes_of_what_was_replaced_and_deleted_go_with_the_entry,
    a_repair_removes_entries_whose_objects_are_gone,
    a_shard_of_an_older_rule_settles_after_a_restart,
    what_two_shards_name_is_what_todays_shard_says,
    a_shard_of_an_older_rule_that_swamp_forgot_goes_and_its_entries_stay,
    copies_that_swamp_left_behind_are_made_true_once,
    an_old_monolith_that_swamp_wrote_over_misleads_nobody,
);

const META: &str = "_index/_meta.json";
const OLD: &str = "workflows-evaluated/old/1.yaml";
const OLD_SHARD: &str = "_index/workflows-evaluated--old.json";

/// Longer than anybody waits before concluding anything.
const LONG: Duration = Duration::from_secs(61);

/// Returns a machine that has found out that the file's object was deleted.
async fn who_misses_it(world: &Arc<World>) -> Peer {
    drop(swamp_with(world, "one").await);
    let peer = world.peer().await;
    world.delete(KEY).await;
    assert!(peer.try_read(KEY).await.is_err());
    peer
}

async fn c_127_an_entry_goes_whose_object_swamp_deleted(world: Arc<World>) {
    let peer = who_misses_it(&world).await;
    let other = world.peer().await;
    peer.push().await;
    assert_eq!(world.index_keys().await, [KEY], "whoever deleted it may be about to say so");
    world.clock.advance(LONG);
    assert!(peer.push().await.settled);
    assert!(peer.files().is_empty() && world.index_keys().await.is_empty());
    other.pull().await;
    assert!(other.files().is_empty());
    assert!(other.push().await.settled);
}

async fn an_entry_stays_whose_object_comes_late(world: Arc<World>) {
    let peer = who_misses_it(&world).await;
    world.clock.advance(LONG);
    world.put_foreign(KEY, "one").await;
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, [KEY]);
    assert_eq!(peer.text(KEY).await, "one");
}

async fn an_entry_stays_whose_object_is_put_while_the_lock_is_waited_for(world: Arc<World>) {
    let peer = Arc::new(who_misses_it(&world).await);
    world.clock.advance(LONG);
    let other = world.peer().await;
    let held = other.sync.lock().hold().await.unwrap();
    peer.forget_requests();
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.sync.push().await }
    });
    let asks_for_lock = || peer.store.requests().iter().filter(|one| one.key == crate::peer::LOCK).count();
    while asks_for_lock() < 2 {
        tokio::task::yield_now().await;
    }
    world.put_foreign(KEY, "one").await;
    drop(held);
    pushing.await.unwrap().unwrap();
    assert_eq!(world.index_keys().await, [KEY]);
    assert_eq!(peer.text(KEY).await, "one");
}

async fn what_is_changed_here_is_pushed_although_its_object_was_deleted(world: Arc<World>) {
    let peer = who_misses_it(&world).await;
    peer.write(KEY, "ours");
    world.clock.advance(LONG);
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, [KEY]);
    assert_eq!(world.object(KEY).await.unwrap(), "ours");
}

async fn attributes_of_what_was_replaced_and_deleted_go_with_the_entry(world: Arc<World>) {
    drop(swamp_with(&world, "one").await);
    let peer = world.peer().await;
    peer.chmod(KEY, 0o600);
    world.edit_index(|entries| entries[KEY]["size"] = json!(9)).await;
    world.delete(KEY).await;
    peer.pull().await;
    peer.push().await;
    assert_eq!((peer.files(), world.index_keys().await), (vec![KEY.to_owned()], vec![KEY.to_owned()]));
    world.clock.advance(LONG);
    peer.pull().await;
    assert!(peer.push().await.settled);
    assert!(peer.files().is_empty() && world.index_keys().await.is_empty());
}

async fn a_repair_removes_entries_whose_objects_are_gone(world: Arc<World>) {
    drop(swamp_with(&world, "one").await);
    world.delete(KEY).await;
    assert!(
        upkeep(&world).repair().await.unwrap().findings.iter().any(|one| one.problem == Problem::Dangling)
    );
    assert!(world.index_keys().await.is_empty());
    assert_eq!(upkeep(&world).verify().await.unwrap().findings, []);
}

/// Returns a bucket whose shards swamp made, and one of an older rule that is listed with these.
async fn with_old_shard(world: &Arc<World>, listed: &[&str]) {
    let (bucket, machine) = swamp_with(world, "one").await;
    Process::start(&bucket, &machine).migrate_index().await.unwrap();
    world.put_foreign(OLD, "old").await;
    let shard = json!({"version": 1, "entries": {OLD: entry(OLD)}}).to_string();
    world.put_foreign(OLD_SHARD, shard).await;
    let meta = json!({"version": 2, "partitions": listed, "commitSeq": 2});
    world.put_foreign(META, meta.to_string()).await;
    upkeep(world).repair().await.unwrap();
}

fn entry(key: &str) -> Value {
    json!({"key": key, "size": 3, "lastModified": "2026-07-01T09:30:01.250Z"})
}

async fn a_shard_of_an_older_rule_settles_after_a_restart(world: Arc<World>) {
    with_old_shard(&world, &["audit", "workflows-evaluated--old"]).await;
    let peer = world.peer().await;
    assert_eq!(peer.text(OLD).await, "old");
    assert!(peer.push().await.settled);
    let (folder, _home) = peer.stop();
    // It knows the index by its fingerprint and reads no shard but the one that it changes.
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.write(KEY, "two");
    assert!(again.push().await.settled);
    let (folder, _) = again.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.write("audit/b", "x");
    again.remove("audit/b");
    assert!(again.push().await.settled);
    assert_eq!(again.files(), [KEY, OLD]);
}

async fn what_two_shards_name_is_what_todays_shard_says(world: Arc<World>) {
    let names = ["audit", "workflows-evaluated", "workflows-evaluated--old"];
    let newer = json!({"key": OLD, "size": 3, "lastModified": "2026-09-01T09:30:01.250Z"});
    let shard = json!({"version": 1, "entries": {OLD: newer}}).to_string();
    world.put_foreign("_index/workflows-evaluated.json", shard).await;
    with_old_shard(&world, &names).await;
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    let (folder, _home) = peer.stop();
    // It reads the shard that it changes, and the one of the older rule, and not today's.
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.write(KEY, "two");
    assert!(again.push().await.settled);
}

async fn a_shard_of_an_older_rule_that_swamp_forgot_goes_and_its_entries_stay(world: Arc<World>) {
    with_old_shard(&world, &["audit", "workflows-evaluated--old"]).await;
    let peer = world.peer().await;
    // Swamp lists the shard of today's rule, with another of its files, and not the old one.
    let new = "workflows-evaluated/new.yaml";
    world.put_foreign(new, "new").await;
    let shard = json!({"version": 1, "entries": {new: entry(new)}}).to_string();
    world.put_foreign("_index/workflows-evaluated.json", shard).await;
    let seq = world.json(META).await["commitSeq"].as_u64().unwrap() + 1;
    let meta = json!({"version": 2, "partitions": ["audit", "workflows-evaluated"], "commitSeq": seq});
    world.put_foreign(META, meta.to_string()).await;
    peer.pull().await;
    assert!(peer.push().await.settled);
    assert_eq!(peer.files(), [KEY, new, OLD]);
    assert_eq!(world.object(OLD_SHARD).await, None);
    assert!(world.json("_index/workflows-evaluated.json").await["entries"][OLD].is_object());
    peer.sync.rest().await.unwrap();
    assert_eq!(upkeep(&world).verify().await.unwrap().findings, []);
}

async fn copies_that_swamp_left_behind_are_made_true_once(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    machine.write("logs/l", "log").unwrap();
    let mut process = Process::start(&bucket, &machine);
    process.mark_dirty(Some("logs/l"));
    process.push().await.unwrap();
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    // What a pull of swamp's does to an entry whose object it did not find.
    world.delete("logs/l").await;
    world.edit_index(|entries| drop(entries.remove("logs/l"))).await;
    peer.pull().await;
    peer.forget_requests();
    assert!(peer.push().await.settled);
    let asked = peer.requests();
    assert!(asked.contains(&"put _index/logs.json".to_owned()), "{asked:?}");
    assert!(!asked.iter().any(|one| one.ends_with("_index/audit.json")), "it is another part: {asked:?}");
    assert_eq!(upkeep(&world).verify().await.unwrap().findings, []);
    peer.write(KEY, "two");
    peer.forget_requests();
    assert!(peer.push().await.settled);
    let asked = peer.requests();
    assert!(!asked.iter().any(|one| one.starts_with("get _index/")), "its own are true: {asked:?}");
}

async fn an_old_monolith_that_swamp_wrote_over_misleads_nobody(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    Process::start(&bucket, &machine).migrate_index().await.unwrap();
    upkeep(&world).repair().await.unwrap();
    if world.s3_server().is_some() {
        let version = world.version(INDEX).await.unwrap();
        assert!(version.as_str().ends_with("-1"), "it says what the shards say only as yet");
    }
    let peer = world.peer().await;
    peer.write("audit/b", "x");
    assert!(peer.push().await.settled);
    peer.sync.rest().await.unwrap();
    // What swamp writes that looks for a model without a shard.
    let empty = json!({"version": 1, "lastPulled": "2026-08-01T09:31:12.500Z", "entries": {}});
    world.put_foreign(INDEX, empty.to_string()).await;
    let found = upkeep(&world).verify().await.unwrap().findings;
    assert!(found.iter().any(|one| one.problem == Problem::MisleadingMonolith), "{found:?}");
    peer.write("audit/c", "x");
    assert!(peer.push().await.settled);
    peer.sync.rest().await.unwrap();
    assert_eq!(upkeep(&world).verify().await.unwrap().findings, []);
    assert_eq!(Process::start(&bucket, &machine).pull(&Pull::default()).await.unwrap(), 2);
}
