//! What the random steps found, each under its name.

use std::sync::Arc;
use std::time::Duration;

use bayou::model::content_hash::ContentHash;
use serde_json::json;

use crate::pace::Pace;
use crate::swamp::{Bucket, Machine, Process, Pull};
use crate::world::World;

/// Makes each function a test of both kinds of bucket.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod on_a_folder {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::world::World::folder().await.into()).await;
                }
            )+
        }
        mod on_s3 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::world::World::s3().await.into()).await;
                }
            )+
        }
    };
}

on_both_stores!(
    an_object_of_the_same_size_is_not_replaced_unseen,
    an_object_of_the_same_size_is_not_deleted_unseen,
    what_swamp_made_anew_is_not_dropped_from_the_index,
    an_entry_that_a_pull_without_the_lock_drops_is_published_again,
    a_name_whose_object_is_another_that_nobody_names_is_named_as_it_is,
    what_was_put_anew_while_it_was_removed_here_comes_back,
    what_swamp_puts_twice_before_it_is_named_is_what_it_is_then,
    what_swamp_sent_again_goes_with_the_name_that_is_removed,
    removed_here_and_made_anew_in_a_shard_it_is_shown_again,
    a_shard_of_an_older_rule_outlives_a_swamp_that_forgets_it,
);

pub(crate) const KEY: &str = "audit/a";

/// Returns a swamp machine that has pushed one file.
pub(crate) async fn swamp_with(world: &Arc<World>, text: &str) -> (Bucket, Arc<Machine>) {
    let bucket = Bucket::new(world, Pace::new());
    let machine = Machine::new(Arc::new(Arc::clone(&world.clock)));
    machine.write(KEY, text.to_owned()).unwrap();
    Process::start(&bucket, &machine).push().await.unwrap();
    (bucket, machine)
}

/// Has swamp put another version of the file and not name it yet.
pub(crate) async fn prepare(bucket: &Bucket, machine: &Arc<Machine>, text: &str) {
    machine.write(KEY, text.to_owned()).unwrap();
    let mut process = Process::start(bucket, machine);
    process.mark_dirty(Some(KEY));
    drop(process.prepare_push().await.unwrap());
}

async fn an_object_of_the_same_size_is_not_replaced_unseen(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    let peer = world.peer().await;
    prepare(&bucket, &machine, "two").await;
    peer.write(KEY, "our");
    peer.push().await;
    assert_eq!(world.object(KEY).await.unwrap(), "two");
    assert_eq!(world.object(&peer.conflict_copy()).await.unwrap(), "our");
}

async fn an_object_of_the_same_size_is_not_deleted_unseen(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    let peer = world.peer().await;
    prepare(&bucket, &machine, "two").await;
    peer.remove(KEY);
    peer.push().await;
    assert_eq!(world.object(KEY).await.unwrap(), "two");
}

async fn what_swamp_made_anew_is_not_dropped_from_the_index(world: Arc<World>) {
    drop(swamp_with(&world, "one").await);
    let peer = world.peer().await;
    assert_eq!(peer.text(KEY).await, "one");
    peer.remove(KEY);
    world.put_foreign(KEY, "one").await;
    world.edit_index(|entries| entries[KEY]["lastModified"] = json!("2026-12-01T09:30:01.250Z")).await;
    peer.push().await;
    peer.pull().await;
    assert_eq!(world.index_keys().await, [KEY]);
    assert_eq!(world.object(KEY).await.unwrap(), "one");
    assert_eq!(peer.text(KEY).await, "one");
    assert!(peer.push().await.settled);
}

async fn a_name_whose_object_is_another_that_nobody_names_is_named_as_it_is(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    let (reader, other) = (world.peer().await, world.peer().await);
    assert_eq!(reader.text(KEY).await, "one");
    prepare(&bucket, &machine, "two").await;
    world.edit_index(|entries| drop(entries.remove(KEY))).await;
    for peer in [&reader, &other] {
        peer.pull().await;
        assert_eq!(peer.files(), [KEY], "swamp may be about to name it");
        assert!(!peer.push().await.settled);
    }
    world.clock.advance(Duration::from_secs(61));
    for peer in [&reader, &other, &reader] {
        peer.pull().await;
        assert!(peer.push().await.settled);
        assert_eq!(peer.text(KEY).await, "two");
    }
    assert_eq!(world.index_keys().await, [KEY]);
}

async fn what_was_put_anew_while_it_was_removed_here_comes_back(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    let peer = world.peer().await;
    prepare(&bucket, &machine, "two").await;
    peer.remove(KEY);
    assert!(peer.push().await.settled);
    assert!(peer.files().is_empty() && world.index_keys().await.is_empty());
    world.clock.advance(Duration::from_secs(61));
    peer.pull().await;
    assert_eq!(peer.text(KEY).await, "two");
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, [KEY]);
}

async fn what_swamp_puts_twice_before_it_is_named_is_what_it_is_then(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    let peer = world.peer().await;
    prepare(&bucket, &machine, "three").await;
    // It is read ahead of its entry, and waits to be named as that.
    assert_eq!(peer.text(KEY).await, "three");
    prepare(&bucket, &machine, "fourth").await;
    for _ in 0..3 {
        drop(peer.sync.push().await);
        peer.pull().await;
    }
    assert_eq!(peer.text(KEY).await, "fourth");
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, [KEY]);
}

async fn removed_here_and_made_anew_in_a_shard_it_is_shown_again(world: Arc<World>) {
    let (bucket, machine) = swamp_with(&world, "one").await;
    Process::start(&bucket, &machine).migrate_index().await.unwrap();
    let peer = world.peer().await;
    assert_eq!(peer.text(KEY).await, "one");
    peer.remove(KEY);
    machine.write(KEY, "two").unwrap();
    let mut process = Process::start(&bucket, &machine);
    process.mark_dirty(Some(KEY));
    process.push().await.unwrap();
    peer.push().await;
    peer.pull().await;
    assert_eq!(peer.text(KEY).await, "two");
    assert!(peer.push().await.settled);
}

async fn a_shard_of_an_older_rule_outlives_a_swamp_that_forgets_it(world: Arc<World>) {
    const OLD: &str = "workflows-evaluated/old/1.yaml";
    let (bucket, machine) = swamp_with(&world, "one").await;
    Process::start(&bucket, &machine).migrate_index().await.unwrap();
    world.put_foreign(OLD, "old").await;
    let entry = json!({OLD: {"key": OLD, "size": 3, "lastModified": "2026-07-01T09:30:01.250Z"}});
    let shard = json!({"version": 1, "entries": entry}).to_string();
    world.put_foreign("_index/workflows-evaluated--old.json", shard).await;
    let meta = json!({"version": 2, "partitions": ["audit", "workflows-evaluated--old"], "commitSeq": 2});
    world.put_foreign("_index/_meta.json", meta.to_string()).await;
    let peer = world.peer().await;
    machine.write("audit/b", "b").unwrap();
    let mut process = Process::start(&bucket, &machine);
    process.mark_dirty(Some("audit/b"));
    process.push().await.unwrap();
    let reader = Machine::new(Arc::new(Arc::clone(&world.clock)));
    assert!(Process::start(&bucket, &reader).pull(&Pull::default()).await.is_err(), "swamp broke it");
    peer.pull().await;
    assert_eq!(peer.files(), [KEY, "audit/b", OLD]);
    assert!(peer.push().await.settled);
    assert_eq!(Process::start(&bucket, &reader).pull(&Pull::default()).await.unwrap(), 3);
}

async fn what_swamp_sent_again_goes_with_the_name_that_is_removed(world: Arc<World>) {
    let peer = world.peer().await;
    peer.write(KEY, "one");
    assert!(peer.push().await.settled);
    // A cache that is behind sends the same bytes again, and names them as it does.
    let (bucket, machine) = swamp_with(&world, "two").await;
    prepare(&bucket, &machine, "one").await;
    let hash = ContentHash::of(b"one").to_string();
    let entry = json!({"key": KEY, "size": 3, "lastModified": "2026-12-01T09:30:01.250Z", "sha256": hash});
    world.edit_index(|entries| entries[KEY] = entry).await;
    peer.pull().await;
    peer.remove(KEY);
    assert!(peer.push().await.settled);
    assert!(world.index_keys().await.is_empty());
    assert_eq!(world.object(KEY).await, None);
}

async fn an_entry_that_a_pull_without_the_lock_drops_is_published_again(world: Arc<World>) {
    drop(swamp_with(&world, "one").await);
    let peer = world.peer().await;
    let zombie = json!({"key": "_catalog.db", "size": 1});
    world.edit_index(|entries| drop(entries.insert("_catalog.db".to_owned(), zombie))).await;
    let pace = Pace::new();
    let bucket = Bucket::new(&world, Arc::clone(&pace));
    let reader = Machine::new(Arc::new(Arc::clone(&world.clock)));
    let mut process = Process::start(&bucket, &reader);
    let whole = Pull::default();
    {
        let mut pulling = std::pin::pin!(process.pull(&whole));
        // Meta, the index, the file: the next is the index as it was.
        assert!(pace.advance(3, pulling.as_mut()).await.is_none());
        peer.write("ours", "precious");
        assert!(peer.push().await.settled);
        pace.open();
        assert_eq!(pulling.await.unwrap(), 1);
    }
    assert_eq!(world.index_keys().await, [KEY], "swamp dropped it");
    peer.pull().await;
    assert_eq!(peer.text("ours").await, "precious");
    world.clock.advance(Duration::from_secs(61));
    peer.pull().await;
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, [KEY, "ours"]);
}
