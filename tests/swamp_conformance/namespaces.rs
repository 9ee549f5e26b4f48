//! Namespaces (7.11, C-153, W-7, W-14, W-24, W-29): a part of a bucket with an index of its own, and
//! never a request for a key outside of it but for content that old clients left at the root.

use bayou::model::content_hash::ContentHash;
use serde_json::{Value, json};

use super::peer::{Peer, PeerOptions};
use super::world::{World, fixture};

on_both_stores!(
    c_84_and_c_87_and_c_99_every_key_of_a_namespace_begins_with_its_name,
    c_85_and_c_92_a_namespace_shows_its_own_files_by_their_bare_names,
    c_86_what_was_pulled_is_not_pushed_by_the_next_process,
    c_88_and_c_97_what_is_outside_survives_and_stays_outside,
    c_89_and_c_98_without_a_namespace_the_keys_are_bare_and_nothing_is_skipped,
    c_91_only_the_first_part_of_a_key_decides_whose_it_is,
    c_93_a_namespace_without_an_index_is_discovered_whole,
    c_94_the_name_of_the_namespace_is_put_before_a_key_once,
    c_95_and_c_96_what_another_namespace_left_in_ours_is_not_ours,
    c_100_what_one_machine_pushes_another_pulls,
    c_101_content_at_the_root_is_read_if_it_is_exactly_the_entry_s,
    c_101_content_at_the_root_comes_into_the_namespace_only_by_a_change,
    c_102_and_c_103_nothing_at_the_root_is_copied_moved_or_deleted,
    c_153_and_w_7_a_namespace_becomes_clean_and_nothing_is_looked_for_again,
    w_14_content_is_fetched_under_the_name_of_the_namespace_once,
    w_24_a_push_of_a_namespace_that_fails_leaves_it_dirty,
    w_29_the_root_is_not_trusted_with_less_than_size_and_hash,
    two_namespaces_and_the_whole_know_nothing_of_each_other,
);

const INFRA_INDEX: &str = "infra/.datastore-index.json";
/// The lock of the namespace, which is not in it.
const LOCK: &str = ".locks/infra.lock";

fn infra() -> PeerOptions {
    in_namespace("infra")
}

/// Fills the bucket; nobody is at work in it.
async fn put_bucket_ns(world: &World) {
    world.put_fixture("bucket-ns").await;
    world.delete(LOCK).await;
}

fn in_namespace(name: &'static str) -> PeerOptions {
    PeerOptions { namespace: Some(name), ..PeerOptions::default() }
}

fn entry(body: &str) -> Value {
    let hash = ContentHash::of(body.as_bytes()).to_string();
    json!({"size": body.len(), "lastModified": "2026-08-01T09:30:01.250Z", "sha256": hash})
}

async fn put_infra_index(world: &World, entries: Value) {
    let index = json!({"version": 1, "lastPulled": "2026-08-01T09:31:12.500Z", "entries": entries});
    world.put(INFRA_INDEX, serde_json::to_vec(&index).unwrap()).await;
}

/// Returns the keys that the namespace's index names, in order.
async fn infra_index_keys(world: &World) -> Vec<String> {
    let index: Value = serde_json::from_slice(&world.object(INFRA_INDEX).await.unwrap()).unwrap();
    let mut keys: Vec<String> = index["entries"].as_object().unwrap().keys().cloned().collect();
    keys.sort_unstable();
    keys
}

/// Returns the requests for keys that are not the namespace's.
fn outside(peer: &Peer) -> Vec<String> {
    let keep = |one: &String| !one.split_once(' ').is_some_and(|(_, key)| key.starts_with("infra/"));
    peer.requests().into_iter().filter(keep).collect()
}

/// Returns every object that is not the namespace's, with its bytes.
async fn others(world: &World) -> Vec<(String, bytes::Bytes)> {
    let mut found = Vec::new();
    for key in world.keys().await.into_iter().filter(|key| !key.starts_with("infra/") && key != LOCK) {
        found.push((key.clone(), world.object(&key).await.unwrap()));
    }
    found
}

fn fixture_file(path: &str) -> String {
    std::fs::read_to_string(fixture("bucket-ns").join(path)).unwrap()
}

async fn c_84_and_c_87_and_c_99_every_key_of_a_namespace_begins_with_its_name(world: World) {
    put_bucket_ns(&world).await;
    let before = others(&world).await;
    let peer = world.stranger(infra()).await;
    peer.sync.start().await.unwrap();
    assert!(peer.store.requests().iter().any(|one| one.operation == "get" && one.key == INFRA_INDEX));
    peer.write("data/new", "x");
    peer.rename("data/new", "data/renamed");
    peer.write("top", "y");
    peer.remove("data/probe/m-0002/result/latest");
    assert_eq!(peer.push().await.pushed, 2);
    assert_eq!(outside(&peer), [""; 0]);
    peer.write("data/locked", "z");
    assert_eq!(peer.push().await.pushed, 1);
    let lock = peer.lock_requests().await;
    assert!(!lock.is_empty() && lock.iter().all(|asked| asked.ends_with(LOCK)), "{lock:?}");
    assert!(world.object(LOCK).await.is_none());
    assert_eq!(others(&world).await, before);
    let expected = [
        ".catalog-export.json",
        "data/locked",
        "data/probe/m-0002/result/1/metadata.yaml",
        "data/probe/m-0002/result/1/raw",
        "data/renamed",
        "top",
    ];
    assert_eq!(infra_index_keys(&world).await, expected);
    assert_eq!(world.object("infra/data/renamed").await.unwrap(), "x");
}

async fn c_85_and_c_92_a_namespace_shows_its_own_files_by_their_bare_names(world: World) {
    put_bucket_ns(&world).await;
    let peer = world.peer_with(infra()).await;
    let expected = [
        ".catalog-export.json",
        "data/probe/m-0002/result/1/metadata.yaml",
        "data/probe/m-0002/result/1/raw",
        "data/probe/m-0002/result/latest",
    ];
    assert_eq!(peer.files(), expected);
    for name in expected {
        assert_eq!(peer.text(name).await, fixture_file(&format!("infra/{name}")), "{name}");
    }
    assert!(!peer.has("team-b") && !peer.has("infra") && !peer.has(".locks"));
}

async fn c_86_what_was_pulled_is_not_pushed_by_the_next_process(world: World) {
    put_bucket_ns(&world).await;
    let before = world.keys().await;
    let peer = world.peer_with(infra()).await;
    peer.text("data/probe/m-0002/result/1/raw").await;
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..infra() }).await;
    again.push().await;
    assert_eq!(again.count("put"), 0);
    assert_eq!(world.keys().await, before);
}

async fn c_88_and_c_97_what_is_outside_survives_and_stays_outside(world: World) {
    put_bucket_ns(&world).await;
    for key in ["data/b", "infra-2/data/b", "infrastructure", "team-b/data/y"] {
        world.put(key, "not ours").await;
    }
    let before = others(&world).await;
    let peer = world.peer_with(infra()).await;
    peer.files().iter().for_each(|path| peer.remove(path));
    peer.write("data/a", "ours");
    peer.push().await;
    assert_eq!(others(&world).await, before);
    assert_eq!(infra_index_keys(&world).await, ["data/a"]);
    assert_eq!(peer.files(), ["data/a"]);
}

async fn c_89_and_c_98_without_a_namespace_the_keys_are_bare_and_nothing_is_skipped(world: World) {
    let peer = world.peer().await;
    for name in ["data/a", "infra/.namespace.json", "infra/data/b", "team-b/c", "team-b/.namespace.json"] {
        peer.write(name, "x");
    }
    peer.push().await;
    assert!(
        peer.store.requests().iter().any(|one| one.operation == "put" && one.key == ".datastore-index.json")
    );
    assert_eq!(world.data_keys().await, ["data/a", "infra/data/b", "team-b/c"]);
    assert_eq!(world.index_keys().await, world.data_keys().await);
}

async fn c_91_only_the_first_part_of_a_key_decides_whose_it_is(world: World) {
    let vectors = std::fs::read(fixture("vectors/inside_namespace_dir.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).unwrap();
    for (number, vector) in vectors.iter().enumerate() {
        let prefix = format!("case-{number}");
        let path = vector["path"].as_str().unwrap();
        for namespace in vector["dirs"].as_array().unwrap() {
            world.put(&format!("{prefix}/{}/.namespace.json", namespace.as_str().unwrap()), "{}").await;
        }
        world.put(&format!("{prefix}/{path}"), "x").await;
        let name: &'static str = prefix.leak();
        let peer = world.peer_with(in_namespace(name)).await;
        assert_eq!(!peer.has(path), vector["inside"].as_bool().unwrap(), "{vector}");
    }
    assert_eq!(vectors.len(), 6);
}

async fn c_93_a_namespace_without_an_index_is_discovered_whole(world: World) {
    for key in ["infra/.namespace.json", "infra/data/a", "infra/outputs/x", "team-b/data/y", "data/z"] {
        world.put(key, "x").await;
    }
    let peer = world.peer_with(infra()).await;
    assert_eq!(peer.files(), ["data/a", "outputs/x"]);
    assert_eq!(infra_index_keys(&world).await, ["data/a", "outputs/x"]);
    assert!(world.object(".datastore-index.json").await.is_none());
}

async fn c_94_the_name_of_the_namespace_is_put_before_a_key_once(world: World) {
    let peer = world.peer_with(infra()).await;
    peer.write("data/x", "1");
    peer.write("infra/data/x", "2");
    peer.push().await;
    assert_eq!(infra_index_keys(&world).await, ["data/x", "infra/data/x"]);
    assert_eq!(world.object("infra/data/x").await.unwrap(), "1");
    assert_eq!(world.object("infra/infra/data/x").await.unwrap(), "2", "a folder may bear any name");
}

async fn c_95_and_c_96_what_another_namespace_left_in_ours_is_not_ours(world: World) {
    for key in ["infra/other/.namespace.json", "infra/other/data/y", "infra/data/a", "other/data/y"] {
        world.put(key, "x").await;
    }
    let peer = world.peer_with(infra()).await;
    assert_eq!(peer.files(), ["data/a"]);
    peer.write("data/b", "x");
    peer.push().await;
    assert_eq!(infra_index_keys(&world).await, ["data/a", "data/b"]);
    // It is left where it is: to remove it is a repair that somebody asks for.
    assert!(world.object("infra/other/data/y").await.is_some());
}

async fn c_100_what_one_machine_pushes_another_pulls(world: World) {
    let first = world.peer_with(infra()).await;
    first.write("data/a", "one");
    first.write("data/deep/b", vec![7; 100_000]);
    first.push().await;
    let second = world.peer_with(infra()).await;
    assert_eq!(second.files(), first.files());
    assert_eq!(second.text("data/a").await, "one");
    assert_eq!(second.read("data/deep/b").await, vec![7; 100_000]);
    second.write("data/a", "two");
    second.push().await;
    first.pull().await;
    assert_eq!(first.text("data/a").await, "two");
}

async fn c_101_content_at_the_root_is_read_if_it_is_exactly_the_entry_s(world: World) {
    world.put("data/old", "at the root").await;
    put_infra_index(&world, json!({"data/old": entry("at the root")})).await;
    let peer = world.peer_with(infra()).await;
    assert_eq!(peer.text("data/old").await, "at the root");
    let expected = ["get infra/data/old", "head data/old", "get data/old", "get data/old"];
    assert_eq!(peer.requests(), expected);
    assert_eq!(peer.text("data/old").await, "at the root");
    assert_eq!(peer.requests(), [""; 0], "it is kept like any other content");
    assert!(peer.push().await.settled);
    assert_eq!(peer.count("put"), 0);
}

async fn c_101_content_at_the_root_comes_into_the_namespace_only_by_a_change(world: World) {
    let old = ["data/renamed", "data/changed", "data/replaced", "data/removed"];
    let mut entries = serde_json::Map::new();
    for key in old {
        world.put(key, "at the root").await;
        entries.insert(key.to_owned(), entry("at the root"));
    }
    put_infra_index(&world, Value::Object(entries)).await;
    let before = others(&world).await;
    let peer = world.peer_with(infra()).await;
    peer.rename("data/renamed", "data/new name");
    peer.write_at("data/changed", 7, "ROOT");
    peer.write("data/replaced", "all new");
    peer.remove("data/removed");
    peer.push().await;
    assert_eq!(infra_index_keys(&world).await, ["data/changed", "data/new name", "data/replaced"]);
    for (key, body) in
        [("data/new name", "at the root"), ("data/changed", "at the ROOT"), ("data/replaced", "all new")]
    {
        assert_eq!(world.object(&format!("infra/{key}")).await.unwrap(), body, "{key}");
        assert_eq!(world.peer_with(infra()).await.text(key).await, body);
    }
    assert_eq!(others(&world).await, before);
    assert_eq!(peer.conflict_copies(), [""; 0]);
}

async fn c_102_and_c_103_nothing_at_the_root_is_copied_moved_or_deleted(world: World) {
    for key in ["data/solo", "audit/.namespace.json", "audit/data/theirs", "outputs/solo"] {
        world.put(key, "x").await;
    }
    let solo = world.peer().await;
    assert_eq!(solo.files(), ["data/solo", "outputs/solo"]);
    let before = others(&world).await;
    let peer = world.peer_with(infra()).await;
    assert_eq!(peer.files(), [""; 0]);
    peer.write("data/own", "y");
    peer.push().await;
    assert_eq!(peer.count("copy"), 0);
    assert_eq!(infra_index_keys(&world).await, ["data/own"]);
    assert_eq!(others(&world).await, before);
}

async fn c_153_and_w_7_a_namespace_becomes_clean_and_nothing_is_looked_for_again(world: World) {
    put_bucket_ns(&world).await;
    let peer = world.peer_with(infra()).await;
    peer.write("data/a", "x");
    assert!(peer.push().await.settled);
    assert!(peer.is_clean());
    peer.forget_requests();
    assert!(peer.push().await.settled);
    assert_eq!(peer.requests(), [format!("head {INFRA_INDEX}")]);
}

async fn w_14_content_is_fetched_under_the_name_of_the_namespace_once(world: World) {
    put_bucket_ns(&world).await;
    let peer = world.peer_with(infra()).await;
    peer.pull().await;
    peer.forget_requests();
    let name = "data/probe/m-0002/result/1/raw";
    assert_eq!(peer.text(name).await, fixture_file("infra/data/probe/m-0002/result/1/raw"));
    assert_eq!(peer.requests(), [format!("get infra/{name}")]);
    assert!(!peer.has("infra"));
}

async fn w_24_a_push_of_a_namespace_that_fails_leaves_it_dirty(world: World) {
    world.put("data/at the root", "x").await;
    let peer = world.peer_with(infra()).await;
    peer.write("data/a", "x");
    assert!(peer.push().await.settled);
    world.put(INFRA_INDEX, "{").await;
    peer.write("data/a", "changed");
    peer.push_fails().await;
    assert!(!peer.is_clean());
    let (folder, _home) = peer.stop();
    world.delete(INFRA_INDEX).await;
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..infra() }).await;
    assert_eq!(again.pending(), ["data/a"]);
    assert!(again.push().await.settled);
    assert_eq!(world.object("infra/data/a").await.unwrap(), "changed");
}

async fn w_29_the_root_is_not_trusted_with_less_than_size_and_hash(world: World) {
    let mut hashless = entry("same");
    hashless.as_object_mut().unwrap().remove("sha256");
    let mut longer = entry("same");
    longer["size"] = json!(5);
    let cases = [("hash", entry("mine"), "ours"), ("no-hash", hashless, "same"), ("size", longer, "same")];
    for (name, said, at_root) in cases {
        let key = format!("data/{name}");
        world.put(&key, at_root).await;
        put_infra_index(&world, json!({ &key: said })).await;
        let peer = world.peer_with(infra()).await;
        let refused = peer.try_read(&key).await.unwrap_err();
        assert!(format!("{refused:?}").contains("NotFound"), "{name}: {refused:?}");
        assert_eq!(world.object(&key).await.unwrap(), at_root);
    }
    // Without a namespace there is no root to fall back to.
    world
        .put(
            ".datastore-index.json",
            serde_json::to_vec(&json!({"version": 1, "entries": {"gone": entry("x")}})).unwrap(),
        )
        .await;
    assert!(world.peer().await.try_read("gone").await.is_err());
}

async fn two_namespaces_and_the_whole_know_nothing_of_each_other(world: World) {
    let infra = world.peer_with(infra()).await;
    let team = world.peer_with(in_namespace("team-b")).await;
    infra.write("data/x", "of infra");
    team.write("data/x", "of team-b");
    infra.push().await;
    team.push().await;
    for peer in [&infra, &team] {
        peer.pull().await;
        assert_eq!(peer.files(), ["data/x"]);
        assert_eq!(peer.conflict_copies(), [""; 0]);
    }
    assert_eq!(infra.text("data/x").await, "of infra");
    assert_eq!(team.text("data/x").await, "of team-b");
    infra.remove("data/x");
    infra.push().await;
    team.pull().await;
    assert_eq!(team.text("data/x").await, "of team-b");
}
