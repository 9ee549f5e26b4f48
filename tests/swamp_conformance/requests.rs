//! What each operation asks for in a bucket of 10,000 entries, in either layout.

use serde_json::{Map, json};

use super::neighbour::{META, partitions};
use super::peer::{Peer, PeerOptions};
use super::world::{INDEX, World};

const MODELS: usize = 500;
const FILES: usize = 20;

/// Returns the entries of a model; there are no objects, nobody reads them here.
fn entries(model: usize) -> Map<String, serde_json::Value> {
    let key = |file: usize| format!("data/t/m{model:03}/d/{file}/raw");
    (0..FILES)
        .map(|file| {
            (key(file), json!({"key": key(file), "size": 1, "lastModified": "2026-08-01T09:30:01.250Z"}))
        })
        .collect()
}

fn put(world: &World, key: &str, document: &serde_json::Value) {
    world.server().put_object("bucket", key, serde_json::to_vec(document).unwrap());
}

async fn with_shards(version: u64) -> World {
    let world = World::s3().await;
    let names: Vec<String> = (0..MODELS).map(|model| format!("data--t--m{model:03}")).collect();
    for (model, name) in names.iter().enumerate() {
        put(&world, &format!("_index/{name}.json"), &json!({"version": 1, "entries": entries(model)}));
    }
    put(&world, META, &json!({"version": version, "partitions": names, "commitSeq": 41}));
    world
}

async fn with_monolith() -> World {
    let world = with_shards(1).await;
    let all: Map<_, _> = (0..MODELS).flat_map(entries).collect();
    put(&world, INDEX, &json!({"version": 1, "lastPulled": "2026-08-01T09:31:12.500Z", "entries": all}));
    world
}

/// Returns the requests that an operation made, those about the lock left out, sorted.
fn asked(peer: &Peer) -> Vec<String> {
    let mut asked = peer.requests();
    asked.sort_unstable();
    asked
}

async fn write_and_fsync(peer: &Peer, path: &str) -> Vec<String> {
    peer.sync.lock().idle().await;
    peer.forget_requests();
    peer.write(path, "x");
    peer.fsync(path).await.unwrap();
    asked(peer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shards_a_commit_is_the_touched_shard_and_the_meta_document() {
    let world = with_shards(2).await;
    let peer = world.peer().await;
    assert_eq!(peer.files().len(), MODELS * FILES);
    assert!(peer.push().await.settled);
    let shard = "_index/data--t--m007.json";
    let commit = write_and_fsync(&peer, "data/t/m007/d/new/raw").await;
    let puts = [format!("put {META}"), format!("put {shard}"), "put data/t/m007/d/new/raw".to_owned()];
    assert_eq!(commit, puts);
    assert_eq!(world.json(META).await["commitSeq"], 42);
    assert_eq!(partitions(&world.json(META).await).len(), MODELS);
    peer.pull().await;
    assert_eq!(asked(&peer), ["head _control/bayou/index.json".to_owned(), format!("head {META}")]);
    let reader = world.peer().await;
    let commit = write_and_fsync(&reader, "data/t/m008/d/new/raw").await;
    assert_eq!(commit.len(), 3, "{commit:?}");
    peer.pull().await;
    let seen = asked(&peer);
    let shards: Vec<_> = seen.iter().filter(|one| one.starts_with("get _index/data")).collect();
    assert_eq!(shards, ["get _index/data--t--m008.json"], "{seen:?}");
    assert!(seen.len() <= 7, "{seen:?}");
    // A process that begins anew on what is here reads what it must change, and no more.
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    let commit = write_and_fsync(&again, "data/t/m009/d/new/raw").await;
    let shards: Vec<_> = commit.iter().filter(|one| one.starts_with("get _index/data")).collect();
    assert_eq!(shards, ["get _index/data--t--m009.json"], "{commit:?}");
    assert!(commit.len() <= 8, "{commit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_document_a_commit_is_that_and_the_touched_copy() {
    let world = with_monolith().await;
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    let commit = write_and_fsync(&peer, "data/t/m007/d/new/raw").await;
    let about = [format!("head {META}"), format!("put {INDEX}"), "put _index/data--t--m007.json".to_owned()];
    assert_eq!(commit[..3], about, "{commit:?}");
    assert_eq!(commit[3..], ["put data/t/m007/d/new/raw"]);
    peer.pull().await;
    assert_eq!(asked(&peer), [format!("head {INDEX}")]);
}
