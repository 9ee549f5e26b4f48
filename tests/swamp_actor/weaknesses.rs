//! The ways in which swamp is known to lose data: a neighbour that is not as rude proves nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::pace::Pace;
use crate::swamp::{Bucket, Machine, Process, Pull};
use crate::world::{INDEX, World};

/// A bucket, and swamp machines on it.
struct Swamps {
    world: Arc<World>,
    bucket: Bucket,
}

impl Swamps {
    async fn new() -> Self {
        let world = Arc::new(World::folder().await);
        Self { bucket: Bucket::new(&world, Pace::new()), world }
    }

    fn machine(&self) -> Arc<Machine> {
        Machine::new(Arc::new(Arc::clone(&self.world.clock)))
    }

    /// Returns a machine that has pushed these files.
    async fn pushed(&self, files: &[&str]) -> Arc<Machine> {
        let machine = self.machine();
        files.iter().for_each(|path| machine.write(path, (*path).to_owned()).unwrap());
        self.run(&machine).push().await.unwrap();
        machine
    }

    fn run(&self, machine: &Arc<Machine>) -> Process {
        Process::start(&self.bucket, machine)
    }

    async fn pull(&self, machine: &Arc<Machine>) -> u64 {
        self.run(machine).pull(&Pull::default()).await.unwrap()
    }

    async fn write(&self, machine: &Arc<Machine>, path: &str, mark: &str) -> Process {
        machine.write(path, path.to_owned()).unwrap();
        let mut process = self.run(machine);
        process.mark_dirty(Some(mark));
        process
    }
}

async fn two_phase(process: &mut Process) -> u64 {
    let manifest = process.prepare_push().await.unwrap();
    process.commit_push(&manifest).await.unwrap()
}

const RAW: &str = "data/t/m/n/1/raw";

#[tokio::test]
async fn w_0_a_reader_in_sync_with_the_monolith_never_sees_shards() {
    let swamps = Swamps::new().await;
    let writer = swamps.pushed(&["audit/a"]).await;
    let reader = swamps.machine();
    assert_eq!(swamps.pull(&reader).await, 1);
    swamps.run(&writer).migrate_index().await.unwrap();
    assert_eq!(swamps.write(&writer, "audit/b", "audit/b").await.push().await.unwrap(), 1);
    assert_eq!(swamps.pull(&reader).await, 0);
}

#[tokio::test]
async fn w_0b_a_pull_of_a_new_model_marks_clean_at_the_frozen_monolith() {
    let swamps = Swamps::new().await;
    let writer = swamps.pushed(&["audit/a"]).await;
    swamps.run(&writer).migrate_index().await.unwrap();
    swamps.write(&writer, "audit/b", "audit/b").await.push().await.unwrap();
    let reader = swamps.machine();
    let scoped = Pull { models: vec!["t/new".to_owned()], metadata_only: false };
    assert_eq!(swamps.run(&reader).pull(&scoped).await.unwrap(), 1);
    assert_eq!(swamps.pull(&reader).await, 0);
    assert_eq!(reader.files(), ["audit/a"]);
}

#[tokio::test]
async fn w_1_the_second_push_of_a_name_is_none() {
    let swamps = Swamps::new().await;
    let machine = swamps.pushed(&[RAW]).await;
    swamps.run(&machine).migrate_index().await.unwrap();
    let mut first = swamps.write(&machine, "data/t/m/n/2/raw", "data/t/m/n").await;
    assert_eq!(two_phase(&mut first).await, 1);
    let mut second = swamps.write(&machine, "data/t/m/n/3/raw", "data/t/m/n").await;
    assert_eq!(two_phase(&mut second).await, 0);
}

#[tokio::test]
async fn w_1b_the_later_of_two_commits_hides_the_earlier() {
    let swamps = Swamps::new().await;
    let a = swamps.pushed(&["audit/a"]).await;
    let b = swamps.machine();
    swamps.pull(&b).await;
    swamps.run(&a).migrate_index().await.unwrap();
    let mut later = swamps.write(&b, "logs/b", "logs/b").await;
    let manifest = later.prepare_push().await.unwrap();
    assert_eq!(two_phase(&mut swamps.write(&a, "telemetry/a", "telemetry/a").await).await, 1);
    assert_eq!(later.commit_push(&manifest).await.unwrap(), 1);
    assert_eq!(swamps.pull(&b).await, 0);
    assert!(b.read("telemetry/a").is_none());
}

#[tokio::test]
async fn w_2_an_overflow_and_a_dangling_link_delete_everything() {
    let swamps = Swamps::new().await;
    let machine = swamps.pushed(&["audit/a", "audit/b"]).await;
    machine.dangle("a-link");
    let mut process = swamps.run(&machine);
    (0..=200).for_each(|n| process.mark_dirty(Some(&format!("audit/many/{n}"))));
    assert_eq!(process.push().await.unwrap(), 2);
    assert!(swamps.world.data_keys().await.is_empty());
    assert_eq!(machine.files(), ["audit/a", "audit/b"]);
}

#[tokio::test]
async fn w_2b_one_dangling_link_deletes_its_folder() {
    let swamps = Swamps::new().await;
    let machine = swamps.pushed(&["audit/a", RAW]).await;
    machine.dangle("data/t/m/n/1/link");
    let mut process = swamps.run(&machine);
    process.mark_dirty(Some("data/t/m/n"));
    assert_eq!(process.push().await.unwrap(), 1);
    assert_eq!(swamps.world.data_keys().await, ["audit/a"]);
}

#[tokio::test]
async fn w_3_a_new_process_does_not_know_that_its_cache_is_lazy() {
    let swamps = Swamps::new().await;
    swamps.pushed(&["audit/a", RAW]).await;
    let machine = swamps.machine();
    let lazy = Pull { models: Vec::new(), metadata_only: true };
    assert_eq!(swamps.run(&machine).pull(&lazy).await.unwrap(), 1);
    assert_eq!(swamps.pull(&machine).await, 0);
    assert_eq!(machine.files(), ["audit/a"]);
}

#[tokio::test]
async fn w_4_what_another_process_marks_meanwhile_is_forgotten() {
    let swamps = Swamps::new().await;
    let machine = swamps.pushed(&["audit/a"]).await;
    let mut slow = swamps.write(&machine, "audit/b", "audit/b").await;
    drop(swamps.write(&machine, "audit/c", "audit/c").await);
    assert_eq!(slow.push().await.unwrap(), 1);
    // What the other marked was overwritten: the cache is clean, and stays so.
    assert_eq!(swamps.run(&machine).push().await.unwrap(), 0);
    assert_eq!(swamps.world.object("audit/c").await, None);
}

#[tokio::test]
async fn w_5_a_stale_cache_reverts_what_has_the_same_size() {
    let swamps = Swamps::new().await;
    let writer = swamps.pushed(&["audit/a"]).await;
    let stale = swamps.machine();
    swamps.pull(&stale).await;
    writer.write("audit/a", "AUDIT/A").unwrap();
    let mut process = swamps.run(&writer);
    process.mark_dirty(None);
    process.push().await.unwrap();
    assert_eq!(swamps.pull(&stale).await, 0);
    let mut process = swamps.run(&stale);
    process.mark_dirty(None);
    assert_eq!(process.push().await.unwrap(), 1);
    assert_eq!(swamps.world.object("audit/a").await, Some(Bytes::from("audit/a")));
}

#[tokio::test]
async fn w_16_a_shard_of_an_older_rule_corrupts_the_index() {
    let swamps = Swamps::new().await;
    let entry = serde_json::json!({"key": "workflows-evaluated/w/a.yaml", "size": 1});
    let shard = serde_json::json!({"version": 1, "entries": {"workflows-evaluated/w/a.yaml": entry}});
    let meta = r#"{"version":2,"partitions":["workflows-evaluated--w"],"commitSeq":1}"#;
    swamps.world.put("_index/workflows-evaluated--w.json", shard.to_string()).await;
    swamps.world.put("_index/_meta.json", meta).await;
    swamps.world.put("workflows-evaluated/w/a.yaml", "a").await;
    let machine = swamps.machine();
    assert_eq!(swamps.write(&machine, "audit/a", "audit/a").await.push().await.unwrap(), 1);
    let failed = swamps.run(&swamps.machine()).pull(&Pull::default()).await.unwrap_err();
    assert!(failed.to_string().contains("workflows-evaluated is missing"), "{failed}");
}

#[tokio::test]
async fn w_17_without_meta_the_stale_monolith_is_the_truth_again() {
    let swamps = Swamps::new().await;
    let machine = swamps.pushed(&["audit/a"]).await;
    swamps.run(&machine).migrate_index().await.unwrap();
    swamps.write(&machine, "audit/b", "audit/b").await.push().await.unwrap();
    swamps.world.delete("_index/_meta.json").await;
    assert_eq!(swamps.pull(&swamps.machine()).await, 1);
    assert_eq!(swamps.world.index_keys().await, ["audit/a"]);
    assert!(swamps.world.object(INDEX).await.is_some());
}
