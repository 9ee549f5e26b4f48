//! Two processes at once, stopped in the middle where the recorded ones were.

use std::pin::pin;
use std::sync::Arc;

use crate::pace::Pace;
use crate::swamp::{Bucket, Machine, Process, Pull};
use crate::world::{INDEX, World};

on_both_stores!(
    the_last_monolith_wins_without_the_lock,
    a_scoped_push_does_not_heal_a_lost_entry,
    a_partition_that_was_added_meanwhile_is_dropped,
    a_two_phase_push_without_the_lock_loses_a_partition,
    a_pull_that_drops_an_entry_loses_a_push,
);

/// A machine of the race: it waits at its gate.
struct Racer {
    pace: Arc<Pace>,
    bucket: Bucket,
    machine: Arc<Machine>,
}

impl Racer {
    fn of(world: &Arc<World>) -> Self {
        let pace = Pace::new();
        let machine = Machine::new(Arc::new(Arc::clone(&world.clock)));
        Self { bucket: Bucket::new(world, Arc::clone(&pace)), pace, machine }
    }

    async fn holding(world: &Arc<World>, path: &str) -> Self {
        let racer = Self::of(world);
        racer.process().pull(&Pull::default()).await.unwrap();
        racer.write(path);
        racer
    }

    fn write(&self, path: &str) {
        self.machine.write(path, path.to_owned()).unwrap();
    }

    fn process(&self) -> Process {
        Process::start(&self.bucket, &self.machine)
    }

    async fn push(&self) -> u64 {
        self.process().push().await.unwrap()
    }

    async fn push_marked(&self, path: &str) -> u64 {
        let mut process = self.process();
        process.mark_dirty(Some(path));
        process.push().await.unwrap()
    }

    async fn seen(world: &Arc<World>) -> Vec<String> {
        let reader = Self::of(world);
        reader.process().pull(&Pull::default()).await.unwrap();
        reader.machine.files()
    }
}

async fn with_base(world: World) -> Arc<World> {
    let world = Arc::new(world);
    let racer = Racer::of(&world);
    racer.write("audit/base");
    assert_eq!(racer.push().await, 1);
    world
}

async fn race(slow: &Racer, requests: usize, fast: &Racer) {
    slow.process().mark_dirty(None);
    fast.process().mark_dirty(None);
    let mut process = slow.process();
    let mut pushing = pin!(process.push());
    assert!(slow.pace.advance(requests, pushing.as_mut()).await.is_none());
    assert_eq!(fast.push().await, 1);
    slow.pace.open();
    assert_eq!(pushing.await.unwrap(), 1);
}

async fn the_last_monolith_wins_without_the_lock(world: World) {
    let world = with_base(world).await;
    let (a, b) = (Racer::holding(&world, "audit/from-a").await, Racer::holding(&world, "logs/from-b").await);
    // Meta, index, the object: the next would be the index.
    race(&a, 3, &b).await;
    assert_eq!(world.index_keys().await, ["audit/base", "audit/from-a"]);
    assert_eq!(world.data_keys().await, ["audit/base", "audit/from-a", "logs/from-b"]);
    assert_eq!(b.push().await, 1, "a walk of everything heals what was lost");
    assert_eq!(world.index_keys().await, ["audit/base", "audit/from-a", "logs/from-b"]);
}

async fn a_scoped_push_does_not_heal_a_lost_entry(world: World) {
    let world = with_base(world).await;
    let (a, b) = (Racer::holding(&world, "audit/from-a").await, Racer::holding(&world, "logs/from-b").await);
    race(&a, 3, &b).await;
    b.write("logs/second");
    assert_eq!(b.push_marked("logs/second").await, 1);
    assert_eq!(world.index_keys().await, ["audit/base", "audit/from-a", "logs/second"]);
}

async fn a_partition_that_was_added_meanwhile_is_dropped(world: World) {
    let world = with_base(world).await;
    Racer::of(&world).process().migrate_index().await.unwrap();
    let (a, b) =
        (Racer::holding(&world, "telemetry/from-a").await, Racer::holding(&world, "logs/from-b").await);
    // Meta, the shard, the object, the new shard: the next would be meta.
    race(&a, 4, &b).await;
    let meta = world.object("_index/_meta.json").await.unwrap();
    assert_eq!(meta, r#"{"version":2,"partitions":["audit","telemetry"],"commitSeq":2}"#);
    assert_eq!(Racer::seen(&world).await, ["audit/base", "telemetry/from-a"]);
    assert_eq!(b.push().await, 0, "both call the same number theirs: it never heals");
    assert_eq!(b.process().pull(&Pull::default()).await.unwrap(), 0);
}

async fn a_two_phase_push_without_the_lock_loses_a_partition(world: World) {
    let world = with_base(world).await;
    Racer::of(&world).process().migrate_index().await.unwrap();
    let (a, b) =
        (Racer::holding(&world, "telemetry/from-a").await, Racer::holding(&world, "logs/from-b").await);
    for racer in [&a, &b] {
        racer.process().mark_dirty(None);
    }
    let (mut process_a, mut process_b) = (a.process(), b.process());
    let manifest_a = process_a.prepare_push().await.unwrap();
    let manifest_b = process_b.prepare_push().await.unwrap();
    {
        let mut committing = pin!(process_a.commit_push(&manifest_a));
        // Meta, the shard that is not there, the shard.
        assert!(a.pace.advance(3, committing.as_mut()).await.is_none());
        assert_eq!(process_b.commit_push(&manifest_b).await.unwrap(), 1);
        a.pace.open();
        assert_eq!(committing.await.unwrap(), 1);
    }
    let meta = world.object("_index/_meta.json").await.unwrap();
    assert_eq!(meta, r#"{"version":2,"partitions":["audit","telemetry"],"commitSeq":2}"#);
}

async fn a_pull_that_drops_an_entry_loses_a_push(world: World) {
    let world = with_base(world).await;
    world
        .edit_index(|entries| drop(entries.insert("audit/gone".into(), serde_json::json!({"size": 1}))))
        .await;
    let (reader, writer) = (Racer::of(&world), Racer::holding(&world, "logs/from-a").await);
    // The writer has pruned it; the entry is there again before the reader looks.
    world
        .edit_index(|entries| drop(entries.insert("audit/gone".into(), serde_json::json!({"size": 1}))))
        .await;
    let mut process = reader.process();
    let whole = Pull::default();
    let mut pulling = pin!(process.pull(&whole));
    assert!(reader.pace.advance(4, pulling.as_mut()).await.is_none(), "it is about to write the index");
    assert_eq!(writer.push_marked("logs/from-a").await, 1);
    reader.pace.open();
    assert_eq!(pulling.await.unwrap(), 1);
    assert_eq!(world.index_keys().await, ["audit/base"]);
    assert!(world.version(INDEX).await.is_some());
}
