//! Buckets as swamp left them, and a machine of swamp's beside ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use bayou::model::shard::partition_key;
use serde_json::{Map, Value};

use super::pace::Pace;
use super::peer::Peer;
use super::swamp::{Bucket, Machine, Process, Pull};
use super::world::{INDEX, World};

/// The meta document.
pub(crate) const META: &str = "_index/_meta.json";

/// A machine of swamp's.
pub(crate) struct Neighbour {
    pub(crate) bucket: Bucket,
    pub(crate) machine: Arc<Machine>,
}

impl Neighbour {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let machine = Machine::new(Arc::new(Arc::clone(&world.clock)));
        Self { bucket: Bucket::new(world, Pace::new()), machine }
    }

    /// Starts a process.
    pub(crate) fn process(&self) -> Process {
        Process::start(&self.bucket, &self.machine)
    }

    /// Pushes everything that is there, with these files besides.
    pub(crate) async fn push_all(&self, files: &[(&str, &str)]) -> u64 {
        files.iter().for_each(|(path, text)| self.machine.write(path, (*text).to_owned()).unwrap());
        let mut process = self.process();
        process.mark_dirty(None);
        process.push().await.unwrap()
    }

    /// Writes a file, says so, and pushes.
    pub(crate) async fn push(&self, path: &str, text: &str) -> u64 {
        self.machine.write(path, text.to_owned()).unwrap();
        let mut process = self.process();
        process.mark_dirty(Some(path));
        process.push().await.unwrap()
    }

    pub(crate) async fn pull(&self) -> u64 {
        self.process().pull(&Pull::default()).await.unwrap()
    }

    /// Pulls one model and returns the documents of the index that were read for it.
    pub(crate) async fn pull_model(&self, model: &str) -> Vec<String> {
        self.bucket.take_requests();
        let scoped = Pull { models: vec![model.to_owned()], metadata_only: false };
        self.process().pull(&scoped).await.unwrap();
        let asked = self.bucket.take_requests();
        asked.into_iter().filter(|one| one.contains("_index/") || one.contains(INDEX)).collect()
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.machine.read(path).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }
}

/// Returns a bucket with two models, an audit log and a root file, in shards that swamp made, the
/// neighbour that did, and a machine of ours that is up to it.
pub(crate) async fn sharded(world: World) -> (Arc<World>, Neighbour, Peer) {
    let world = Arc::new(world);
    let neighbour = Neighbour::new(&world);
    let files = [
        ("data/t/one/d/1/raw", "one-1"),
        ("data/t/two/d/1/raw", "two-1"),
        ("audit/a.jsonl", "a"),
        ("README.md", "r"),
    ];
    assert_eq!(neighbour.push_all(&files).await, 4);
    neighbour.process().migrate_index().await.unwrap();
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    peer.forget_requests();
    (world, neighbour, peer)
}

/// Returns the entries of all shards that the meta document lists; fails if one is missing or
/// holds what swamp's rule puts elsewhere.
pub(crate) async fn sharded_entries(world: &World) -> Map<String, Value> {
    let meta = world.json(META).await;
    assert_eq!(meta["version"], 2, "{meta}");
    let names = partitions(&meta);
    assert!(names.is_sorted(), "{names:?}");
    let mut all = Map::new();
    for name in names {
        let shard = world.json(&format!("_index/{name}.json")).await;
        for (key, entry) in shard["entries"].as_object().unwrap() {
            assert_eq!(partition_key(key).as_deref(), Some(&*name), "{key}");
            assert!(all.insert(key.to_owned(), entry.clone()).is_none(), "{key} is in two shards");
        }
    }
    all
}

/// Returns the names of the shards that a meta document lists.
pub(crate) fn partitions(meta: &Value) -> Vec<String> {
    meta["partitions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Returns the counter of the commits.
pub(crate) async fn commit_seq(world: &World) -> u64 {
    world.json(META).await["commitSeq"].as_u64().unwrap()
}

/// Checks that the copies of a monolith say what it says.
pub(crate) async fn check_copies(world: &World) {
    let index = world.index().await;
    let mut expected: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (key, entry) in index["entries"].as_object().unwrap() {
        if let Some(name) = partition_key(key) {
            expected.entry(name).or_default().insert(key.clone(), entry.clone());
        }
    }
    let meta = world.json(META).await;
    assert_eq!(meta["version"], 1);
    let mut listed = partitions(&meta);
    listed.sort_unstable();
    assert_eq!(listed, expected.keys().cloned().collect::<Vec<_>>());
    for key in world.keys().await.into_iter().filter(|key| key.starts_with("_index/") && key != META) {
        let name = key.strip_prefix("_index/").unwrap().strip_suffix(".json").unwrap().to_owned();
        let copy = world.json(&key).await;
        assert_eq!(copy["entries"], Value::from(expected.remove(&name).unwrap_or_default()), "{name}");
    }
    assert!(expected.is_empty(), "{expected:?}");
}
