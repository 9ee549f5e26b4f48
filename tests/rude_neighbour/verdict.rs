//! What must be true of the bucket and of every machine in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bayou::cache::rows::Remote;
use bayou::model::compare::{Comparison, compare};
use bayou::model::content_hash::ContentHash;
use bayou::model::entry::Entry;
use bayou::model::lock_name::LockName;
use bayou::os::clock::SystemClock;
use bayou::sync::lock::{BucketLock, LockOptions};
use bayou::sync::upkeep::{Finding, Problem, Upkeep};
use serde_json::Value;

use crate::ledger::Ledger;
use crate::peer::Peer;
use crate::world::World;

/// What swamp may have left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swamp {
    /// Objects that it put and never named: who has not seen the name cannot know of them.
    LeftUnnamed,
    /// Nothing any more.
    LeftNothing,
}

/// Returns all that is wrong.
pub(crate) async fn faults(world: &World, peers: &[&Peer], ledger: &Ledger, swamp: Swamp) -> Vec<String> {
    let objects = objects(world).await;
    let (entries, mut faults) = entries(world).await;
    faults.extend(lost(&objects, &entries, ledger));
    faults.extend(untrue(&objects, &entries));
    let named: Vec<_> = entries.keys().cloned().collect();
    for (at, peer) in peers.iter().enumerate() {
        let seen = peer.files();
        if seen != named {
            faults.push(differences(at, &seen, &named));
        }
        if !peer.pending().is_empty() {
            faults.push(format!("Machine {at} has not pushed {:?}", peer.pending()));
        }
        if !peer.is_clean() {
            faults.push(format!("Machine {at} is not settled: {:?}", comparison(world, peer).await));
        }
    }
    let survey = upkeep(world).verify().await.unwrap();
    let is_excused = |found: &Finding| {
        let is_swamps = |key: &String| ledger.is_as_swamp_left_it(key, objects.get(key));
        let is_unnamed = matches!(found.problem, Problem::Unindexed | Problem::New);
        swamp == Swamp::LeftUnnamed && is_unnamed && found.names.iter().all(is_swamps)
    };
    let wrong = survey.findings.iter().filter(|found| !is_excused(found));
    faults.extend(wrong.map(|found| format!("verify: {found:?}")));
    faults
}

/// Repairs the index, as a person does some time after swamp went home.
pub(crate) async fn repair(world: &World) {
    let found = upkeep(world).verify().await.unwrap().findings;
    for new in found.iter().filter(|found| found.problem == Problem::New).flat_map(|found| &found.names) {
        world.rest(new);
    }
    upkeep(world).repair().await.unwrap();
}

/// Returns what `bayou index` works with.
pub(crate) fn upkeep(world: &World) -> Upkeep {
    let (store, clock) = (&world.bucket, SystemClock::shared());
    let key = LockName::of_bucket(None).key();
    let options = LockOptions::default();
    let lock = BucketLock::new(Arc::clone(store), key, Arc::clone(&clock), world.conditions, options);
    Upkeep::new(Arc::clone(store), lock, clock)
}

/// Compares what a machine knows with what the index says; tells both of what differs.
async fn comparison(world: &World, peer: &Peer) -> (Comparison, Vec<String>) {
    let entries = upkeep(world).entries(&[]).await.unwrap();
    let identity =
        |entry: &Entry| Remote::of_entry(entry).map(|remote| remote.identity()).unwrap_or_default();
    let said = entries.iter().map(|(key, entry)| (key.as_str(), identity(entry)));
    let comparison = compare(peer.cache.known_identities(), said);
    let is_differing = |(key, _): &&(String, Entry)| comparison.differing().contains(key);
    let tell = |(key, entry): &(String, Entry)| {
        let name = peer.cache.file_state(key).map(|state| state.name);
        format!("{key}: {name:?} and {entry:?}")
    };
    let told = entries.iter().filter(is_differing).map(tell).collect();
    (comparison, told)
}

fn differences(machine: usize, seen: &[String], named: &[String]) -> String {
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|one| !those.contains(one)).cloned().collect::<Vec<_>>()
    };
    let (more, less) = (only(seen, named), only(named, seen));
    format!("Machine {machine} sees {more:?} that no entry names, and does not see {less:?}")
}

/// Contents that nobody gave up and that are not there.
fn lost(
    objects: &BTreeMap<String, String>,
    entries: &BTreeMap<String, Value>,
    ledger: &Ledger,
) -> Vec<String> {
    let named: Vec<_> =
        objects.iter().filter(|(key, _)| entries.contains_key(*key)).map(|(_, text)| text).collect();
    let there: Vec<_> = objects.values().collect();
    let gone = |(text, note): (&String, &String)| format!("{text} is lost: {note}");
    let ours = ledger.our_contents().iter().filter(|(text, _)| !named.contains(text)).map(gone);
    let theirs = ledger.their_contents().iter().filter(|(text, _)| !there.contains(text)).map(gone);
    ours.chain(theirs).collect()
}

/// Entries that do not say the truth of their objects.
fn untrue(objects: &BTreeMap<String, String>, entries: &BTreeMap<String, Value>) -> Vec<String> {
    let check = |(key, entry): (&String, &Value)| {
        let Some(text) = objects.get(key) else { return Some(format!("{key} is named and is not there")) };
        let hash = hash_of(text);
        let lies = entry["size"] != text.len() || entry["sha256"].as_str().is_some_and(|said| said != hash);
        lies.then(|| format!("{key} is {text} and not {entry}"))
    };
    entries.iter().filter_map(check).collect()
}

fn hash_of(text: &str) -> String {
    ContentHash::of(text.as_bytes()).to_string()
}

/// Returns the entries of the index, whichever way it is laid out, and what is wrong with that.
async fn entries(world: &World) -> (BTreeMap<String, Value>, Vec<String>) {
    match document(world, "_index/_meta.json").await {
        Some(meta) if meta["version"] == 2 => sharded_entries(world, &meta).await,
        Some(meta) => {
            let entries = entries_of(&world.index().await);
            let faults = untrue_copies(world, &meta, &entries).await;
            (entries, faults)
        }
        None => (entries_of(&world.index().await), Vec::new()),
    }
}

async fn sharded_entries(world: &World, meta: &Value) -> (BTreeMap<String, Value>, Vec<String>) {
    let (mut entries, mut faults) = (BTreeMap::new(), Vec::new());
    for name in names_of(meta) {
        match document(world, &format!("_index/{name}.json")).await {
            Some(shard) => entries.extend(entries_of(&shard)),
            None => faults.push(format!("Shard {name} is listed and is not there")),
        }
    }
    for (key, entry) in document(world, "_control/bayou/index.json").await.iter().flat_map(entries_of) {
        if entries.insert(key.clone(), entry).is_some() {
            faults.push(format!("{key} is in a shard and in our own index"));
        }
    }
    (entries, faults)
}

/// Copies that do not name what the monolith names: swamp's scoped pulls trust them.
async fn untrue_copies(world: &World, meta: &Value, entries: &BTreeMap<String, Value>) -> Vec<String> {
    let mut copied = BTreeMap::new();
    for name in names_of(meta) {
        let copy = document(world, &format!("_index/{name}.json")).await;
        copied.extend(copy.iter().flat_map(entries_of));
    }
    let is_sharded = |key: &&String| crate::swamp::names::shard_of(key).is_some();
    let missing = entries.keys().filter(is_sharded).filter(|key| !copied.contains_key(*key));
    missing.map(|key| format!("{key} is in no copy")).collect()
}

async fn document(world: &World, key: &str) -> Option<Value> {
    world.object(key).await.map(|body| serde_json::from_slice(&body).unwrap())
}

fn names_of(meta: &Value) -> Vec<String> {
    meta["partitions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn entries_of(document: &Value) -> BTreeMap<String, Value> {
    let entries = document["entries"].as_object().unwrap().iter();
    entries.map(|(key, entry)| (key.clone(), entry.clone())).collect()
}

/// Returns the texts of all objects that are not machinery.
async fn objects(world: &World) -> BTreeMap<String, String> {
    let mut objects = BTreeMap::new();
    for key in world.data_keys().await {
        if key.starts_with("_control/") || key == ".datastore.lock" {
            continue;
        }
        let body = world.object(&key).await.unwrap();
        objects.insert(key, String::from_utf8(body.to_vec()).unwrap());
    }
    objects
}
