//! Scopes (seed #378): pulls and pushes of models and paths, which do less and prove nothing.

use bayou::sync::scope::{Scope, SyncContext};
use serde_json::json;

use super::peer::{Peer, PeerOptions};
use super::world::{INDEX, World};

on_both_stores!(
    c_67_and_c_79_and_c_112_and_c_128_the_service_says_what_it_can_do,
    c_83_a_scoped_run_is_no_proof_of_the_whole,
    w_0b_a_model_without_a_shard_has_nothing_and_the_old_monolith_is_not_asked,
    w_10_a_scoped_pull_brings_the_markers_that_are_in_other_shards,
    a_scoped_pull_brings_what_it_is_about_and_a_full_one_the_rest,
    a_scoped_pull_of_shards_reads_no_other_shards,
    a_machine_that_holds_a_part_reads_the_shards_of_that_part_and_becomes_clean,
    a_scoped_push_leaves_the_rest_for_later,
    a_scoped_push_follows_a_file_that_was_renamed_out_of_it,
    a_machine_that_never_saw_the_whole_can_begin_with_a_part,
    a_part_of_a_bucket_without_an_index_is_all_of_it,
);

fn scope(models: &[&str], prefixes: &[&str]) -> Scope {
    let models = models.iter().map(|text| text.parse().unwrap()).collect();
    let prefixes = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    SyncContext { models, prefixes }.scope()
}

async fn pull_within(peer: &Peer, scope: &Scope) -> u64 {
    let report = peer.sync.pull_within(scope).await.unwrap();
    assert!(!report.settled);
    report.pulled + report.vanished
}

async fn push_within(peer: &Peer, scope: &Scope) -> u64 {
    let report = peer.sync.push_within(scope).await.unwrap();
    assert!(!report.settled);
    report.pushed + report.deleted
}

fn is_shard_get(request: &str) -> bool {
    request.starts_with("get _index/") && !request.ends_with("_meta.json")
}

async fn c_67_and_c_79_and_c_112_and_c_128_the_service_says_what_it_can_do(world: World) {
    let said = world.peer().await.sync.capabilities();
    assert!(said.scoped_sync && said.lazy_hydration && said.namespaced_sync && said.two_phase_sync);
}

async fn c_83_a_scoped_run_is_no_proof_of_the_whole(world: World) {
    let peer = world.peer().await;
    peer.write("notes/a", "1");
    assert_eq!(push_within(&peer, &scope(&[], &["notes"])).await, 1);
    assert_eq!(pull_within(&peer, &scope(&[], &["notes"])).await, 0);
    assert!(!peer.is_clean(), "everything is pushed, but nobody has compared everything");
    assert!(peer.push().await.settled);
    assert!(peer.is_clean());
}

async fn w_0b_a_model_without_a_shard_has_nothing_and_the_old_monolith_is_not_asked(world: World) {
    world.put_fixture("bucket-v2").await;
    let monolith = world.object(INDEX).await;
    let peer = world.stranger(PeerOptions::default()).await;
    let scope = scope(&["probe/brand-new"], &[]);
    peer.sync.start_within(&scope).await.unwrap();
    assert!(!peer.requests().contains(&format!("get {INDEX}")));
    assert_eq!((peer.files(), peer.is_clean()), (Vec::new(), false));
    peer.write("data/probe/brand-new/name/1/raw", "x");
    assert_eq!(push_within(&peer, &scope).await, 1);
    assert_eq!(world.object(INDEX).await, monolith);
    let other = world.peer().await;
    assert_eq!(other.text("data/probe/brand-new/name/1/raw").await, "x");
}

async fn w_10_a_scoped_pull_brings_the_markers_that_are_in_other_shards(world: World) {
    world.put_fixture("bucket-v2").await;
    let peer = world.stranger(PeerOptions::default()).await;
    let scope = scope(&["probe/m-0002"], &[]);
    peer.sync.start_within(&scope).await.unwrap();
    let files = peer.files();
    assert!(files.contains(&"data/probe/m-0002/result/latest".to_owned()), "{files:?}");
    assert!(files.iter().all(|path| scope.contains(path)), "{files:?}");
    let whole = world.peer().await;
    let of_model: Vec<String> = whole.files().into_iter().filter(|path| scope.contains(path)).collect();
    assert_eq!(files, of_model);
    assert!(whole.files().len() > files.len());
    assert_eq!(peer.text("data/probe/m-0002/result/latest").await, "3");
}

async fn a_scoped_pull_brings_what_it_is_about_and_a_full_one_the_rest(world: World) {
    let peer = world.peer().await;
    peer.write("notes/old", "1");
    peer.push().await;
    let other = world.peer().await;
    other.write("notes/new", "2");
    other.write("else/new", "3");
    other.remove("notes/old");
    other.push().await;
    assert_eq!(pull_within(&peer, &scope(&[], &["notes"])).await, 2);
    assert_eq!(peer.files(), ["notes/new"]);
    assert_eq!(pull_within(&peer, &scope(&[], &["notes"])).await, 0);
    peer.pull().await;
    assert_eq!(peer.files(), ["else/new", "notes/new"]);
    assert!(peer.push().await.settled);
}

async fn a_scoped_pull_of_shards_reads_no_other_shards(world: World) {
    world.put_fixture("bucket-v2").await;
    let peer = world.stranger(PeerOptions::default()).await;
    let scope = scope(&[], &["audit"]);
    peer.sync.start_within(&scope).await.unwrap();
    let read: Vec<String> = peer.requests().into_iter().filter(|one| is_shard_get(one)).collect();
    assert!(read.iter().any(|one| one == "get _index/audit.json"), "{read:?}");
    assert!(!read.iter().any(|one| one.contains("data--") || one.contains("workflow-runs--")), "{read:?}");
    assert_eq!(peer.files(), ["audit/2026-08-01.jsonl"]);
    // Who is up to the whole is up to each part of it.
    let whole = world.peer().await;
    pull_within(&whole, &scope).await;
    assert!(!whole.requests().iter().any(|one| one.starts_with("get")));
}

async fn a_machine_that_holds_a_part_reads_the_shards_of_that_part_and_becomes_clean(world: World) {
    world.put_fixture("bucket-v2").await;
    let options = PeerOptions { under: Some("data/probe"), ..PeerOptions::default() };
    let peer = world.stranger(options).await;
    peer.sync.start().await.unwrap();
    let mut read: Vec<String> = peer.requests().into_iter().filter(|one| is_shard_get(one)).collect();
    read.sort_unstable();
    assert_eq!(read, ["get _index/data--probe--m-0002--result.json", "get _index/data--probe--m-0002.json"]);
    let files = peer.files();
    assert!(files.iter().all(|path| path.starts_with("data/probe/m-0002/result/")), "{files:?}");
    assert_eq!(files.len(), 5);
    peer.write("data/probe/new/name/1/raw", "x");
    assert!(peer.push().await.settled);
    assert!(peer.is_clean());
    let whole = world.peer().await;
    assert_eq!(whole.text("data/probe/new/name/1/raw").await, "x");
    assert_eq!(whole.files().len(), 14);
    whole.remove("audit/2026-08-01.jsonl");
    whole.write("data/probe/m-0002/result/latest", "4");
    whole.push().await;
    peer.pull().await;
    assert_eq!(peer.text("data/probe/m-0002/result/latest").await, "4");
    assert!(peer.push().await.settled);
}

async fn a_scoped_push_leaves_the_rest_for_later(world: World) {
    let peer = world.peer().await;
    for path in ["notes/kept", "notes/gone", "else/gone"] {
        peer.write(path, "old");
    }
    peer.push().await;
    peer.forget_requests();
    peer.write("notes/new", "1");
    peer.write("else/new", "2");
    peer.remove("notes/gone");
    peer.remove("else/gone");
    assert_eq!(push_within(&peer, &scope(&[], &["notes"])).await, 2);
    assert!(!peer.requests().iter().any(|one| one.ends_with("else/new") || one.ends_with("else/gone")));
    assert_eq!(world.index_keys().await, ["else/gone", "notes/kept", "notes/new"]);
    assert!(world.object("notes/gone").await.is_none() && world.object("else/gone").await.is_some());
    assert_eq!(peer.pending(), ["else/gone", "else/new"]);
    assert_eq!(push_within(&peer, &scope(&["t/m"], &["nowhere"])).await, 0);
    assert_eq!(peer.push().await.pushed, 1);
    assert_eq!(world.index_keys().await, ["else/new", "notes/kept", "notes/new"]);
}

async fn a_scoped_push_follows_a_file_that_was_renamed_out_of_it(world: World) {
    let peer = world.peer().await;
    peer.write("notes/a", "x");
    peer.push().await;
    peer.rename("notes/a", "else/b");
    push_within(&peer, &scope(&[], &["notes"])).await;
    assert_eq!(world.index_keys().await, ["else/b"]);
    assert_eq!(world.object("else/b").await.unwrap(), "x");
}

async fn a_machine_that_never_saw_the_whole_can_begin_with_a_part(world: World) {
    let first = world.peer().await;
    first.write("notes/a", "1");
    first.write("else/b", "2");
    first.push().await;
    let peer = world.stranger(PeerOptions::default()).await;
    peer.sync.start_within(&scope(&[], &["notes"])).await.unwrap();
    assert_eq!(peer.files(), ["notes/a"]);
    peer.write("notes/a", "changed");
    peer.write("notes/c", "3");
    assert_eq!(push_within(&peer, &scope(&[], &["notes"])).await, 2);
    assert_eq!(world.index_keys().await, ["else/b", "notes/a", "notes/c"]);
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.files(), ["else/b", "notes/a", "notes/c"]);
    assert!(again.push().await.settled);
    assert_eq!(again.count("put"), 0);
}

async fn a_part_of_a_bucket_without_an_index_is_all_of_it(world: World) {
    world.put("notes/a", "1").await;
    world.put("else/b", "2").await;
    let peer = world.stranger(PeerOptions::default()).await;
    peer.sync.start_within(&scope(&[], &["notes"])).await.unwrap();
    assert_eq!(world.index_keys().await, ["else/b", "notes/a"]);
    assert!(peer.has("notes/a"));
    let index = world.object(INDEX).await.unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["version"], json!(1));
}
