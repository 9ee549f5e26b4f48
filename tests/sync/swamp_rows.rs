//! The conformance rows of swamp (C-1 to C-63) as far as they are about sync, each under its
//! number. What is about single requests is tried in `tests/store_faults`, what is about
//! documents and names alone in `tests/swamp_documents.rs`.

use std::time::Duration;

use bayou::model::content_hash::ContentHash;
use bayou_test_server::{Action, Fault, Op, Refusal};
use serde_json::json;

use super::peer::{Peer, PeerOptions};
use super::world::{INDEX, World, fixture};

on_both_stores!(
    c_1_and_c_2_machinery_is_never_uploaded_or_indexed,
    c_3_and_c_4_zombies_of_the_index_are_never_shown_or_fetched,
    c_7_zombies_leave_the_bucket_with_one_push,
    c_17_and_c_19_a_push_adds_to_what_is_there,
    c_21_a_new_process_sees_what_changed_meanwhile,
    c_35_only_a_missing_object_is_missing,
    c_38_and_c_46_a_sidecar_of_any_kind_is_no_error,
    c_39_a_changed_index_is_read,
    c_42_and_c_47_what_is_written_is_pushed_and_settles,
    c_44_the_fingerprint_is_that_of_the_bytes_compared,
    c_45_what_is_dirty_is_known_to_the_next_process,
    c_53_and_c_54_a_push_sends_only_what_changed,
    c_55_and_c_57_a_push_of_nothing_is_no_proof_of_equality,
    c_56_a_lost_sidecar_comes_back_with_the_next_push,
    c_58_the_first_push_after_a_pull_sends_nothing,
    c_59_a_pushed_entry_carries_the_hash_of_its_bytes,
    c_60_and_c_63_the_same_bytes_written_again_are_not_sent,
    c_61_and_c_62_other_bytes_of_the_same_size_and_time_are_sent,
);

async fn clean_peer(world: &World) -> Peer {
    let peer = world.peer().await;
    peer.write("data/a", "one");
    assert!(peer.push().await.settled);
    peer.forget_requests();
    peer
}

async fn c_1_and_c_2_machinery_is_never_uploaded_or_indexed(world: World) {
    let peer = world.peer().await;
    for name in ["_catalog.db", "data/_catalog.db-wal", "data/.lock", "x/.namespace.json"] {
        peer.write(name, "local");
    }
    for name in [INDEX, ".push-queue.json", ".datastore.lock", "_control", "_index"] {
        let refused = peer.cache.create(bayou::cache::ROOT, name, super::peer::FILE);
        assert!(refused.is_err(), "{name}");
    }
    for name in ["data/f", "lock", "foo.lock", "a/.locked.yaml"] {
        peer.write(name, "data");
    }
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, ["a/.locked.yaml", "data/f", "foo.lock", "lock"]);
    assert_eq!(world.index_keys().await, world.data_keys().await);
    assert_eq!(peer.text("data/_catalog.db-wal").await, "local", "it works on this machine");
}

async fn with_zombies(world: &World) {
    world.put(INDEX, std::fs::read(fixture("index/v1-with-zombies.json")).unwrap()).await;
    world.put("data/probe/m-0002/result/2/raw", "hello\n").await;
    world.put("_catalog.db", "not mine").await;
}

async fn c_3_and_c_4_zombies_of_the_index_are_never_shown_or_fetched(world: World) {
    with_zombies(&world).await;
    let peer = world.peer().await;
    assert_eq!(peer.files(), ["data/probe/m-0002/result/2/raw"]);
    assert_eq!(peer.text("data/probe/m-0002/result/2/raw").await, "hello\n");
    assert_eq!(peer.requests(), ["get data/probe/m-0002/result/2/raw"]);
}

async fn c_7_zombies_leave_the_bucket_with_one_push(world: World) {
    with_zombies(&world).await;
    let peer = world.peer().await;
    peer.push().await;
    assert_eq!(world.index_keys().await, ["data/probe/m-0002/result/2/raw"]);
    assert_eq!(peer.store.count("put"), 1);
    peer.forget_requests();
    assert!(peer.push().await.settled);
    assert_eq!(peer.requests(), [format!("head {INDEX}")]);
    assert_eq!(world.object("_catalog.db").await.unwrap(), "not mine", "no object of others is removed");
}

async fn c_17_and_c_19_a_push_adds_to_what_is_there(world: World) {
    let other = clean_peer(&world).await;
    let peer = world.stranger(PeerOptions::default()).await;
    peer.write("c", "mine");
    other.write("data/b", "two");
    other.push().await;
    peer.push().await;
    assert_eq!(world.index_keys().await, ["c", "data/a", "data/b"]);
    assert_eq!(peer.files(), ["c", "data/a", "data/b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_20_an_error_is_not_an_empty_index() {
    let world = World::s3().await;
    clean_peer(&world).await;
    for (status, code) in [(500, "InternalError"), (403, "AccessDenied")] {
        let peer = world.stranger(PeerOptions::default()).await;
        peer.write("mine", "x");
        let refused = Action::Refuse(Refusal::new(status, code));
        let fault = world.server().fault(Fault::on(Op::GetObject, refused).key(INDEX));
        world.server().reset_counts();
        peer.push_fails().await;
        let index_puts = world.server().requests().into_iter();
        assert_eq!(index_puts.filter(|one| one.op == Op::PutObject && one.key == INDEX).count(), 0);
        assert_eq!(peer.pending(), ["mine"]);
        fault.remove();
        world.delete("mine").await;
    }
    assert_eq!(world.index_keys().await, ["data/a"]);
}

async fn c_21_a_new_process_sees_what_changed_meanwhile(world: World) {
    let (folder, _home) = clean_peer(&world).await.stop();
    let other = world.peer().await;
    other.write("data/b", "two");
    other.push().await;
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.text("data/b").await, "two");
}

async fn c_35_only_a_missing_object_is_missing(world: World) {
    clean_peer(&world).await;
    let reader = world.peer().await;
    world.delete("data/a").await;
    assert!(reader.try_read("data/a").await.is_err());
    reader.pull().await;
    assert_eq!(reader.files(), ["data/a"], "an entry is removed by who removes it, not by who reads");
    assert_eq!(world.index_keys().await, ["data/a"]);
}

async fn c_38_and_c_46_a_sidecar_of_any_kind_is_no_error(world: World) {
    let (folder, _home) = clean_peer(&world).await.stop();
    let sidecar = folder.join("state/.datastore-sync-state.json");
    let mut seen = 0;
    for entry in std::fs::read_dir(fixture("sidecar")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("expected.json") {
            continue;
        }
        std::fs::copy(&path, &sidecar).unwrap();
        let options = PeerOptions { folder: Some(folder.clone()), ..PeerOptions::default() };
        let peer = world.peer_with(options).await;
        assert!(peer.push().await.settled, "{}", path.display());
        assert_eq!(peer.text("data/a").await, "one");
        peer.forget_requests();
        peer.push().await;
        assert_eq!(peer.requests(), [format!("head {INDEX}")], "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 19);
    assert_eq!(world.index_keys().await, ["data/a"]);
}

async fn c_39_a_changed_index_is_read(world: World) {
    let peer = clean_peer(&world).await;
    world.put("data/b", "two").await;
    let entry = json!({"key": "data/b", "size": 3, "lastModified": "2026-08-01T09:30:01.250Z"});
    world.edit_index(|entries| drop(entries.insert("data/b".to_owned(), entry))).await;
    assert_eq!(peer.pull().await.pulled, 1);
    assert_eq!(peer.text("data/b").await, "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_40_a_multipart_etag_is_no_fingerprint() {
    let world = World::s3().await;
    let peer = clean_peer(&world).await;
    let key = bayou::model::key::ObjectKey::new(INDEX);
    let options = bayou::store::PutOptions::when(bayou::store::Condition::Always);
    let body = world.object(INDEX).await.unwrap();
    let upload = world.bucket.begin_upload(&key, &options).await.unwrap();
    let part = world.bucket.upload_part(&key, &upload, 1, body).await.unwrap();
    let version = world.bucket.complete_upload(&key, &upload, &[part], &options).await.unwrap();
    assert!(version.as_str().ends_with("-1"), "{version:?}");
    for _ in 0..2 {
        peer.forget_requests();
        peer.pull().await;
        assert_eq!(peer.requests(), [format!("head {INDEX}"), format!("get {INDEX}")]);
        assert!(!peer.push().await.settled);
    }
    peer.write("b", "x");
    assert!(peer.push().await.settled, "an index of our own has a fingerprint");
    assert_eq!(world.index_keys().await, ["b", "data/a"]);
}

async fn c_42_and_c_47_what_is_written_is_pushed_and_settles(world: World) {
    let peer = clean_peer(&world).await;
    assert!(peer.is_clean());
    peer.write("data/b", "two");
    assert!(!peer.is_clean());
    assert_eq!(peer.push().await.pushed, 1);
    assert!(peer.is_clean());
}

async fn c_44_the_fingerprint_is_that_of_the_bytes_compared(world: World) {
    let peer = world.peer().await;
    peer.write("data/a", "one");
    peer.sync.push_pending().await.unwrap();
    // Another writer publishes between what was compared and what is noted.
    let other = world.peer().await;
    other.write("data/b", "two");
    other.push().await;
    assert!(peer.sync.settle().await.unwrap(), "both sides were equal, at that version");
    assert_eq!(peer.pull().await.pulled, 1);
    assert_eq!(peer.text("data/b").await, "two");
}

async fn c_45_what_is_dirty_is_known_to_the_next_process(world: World) {
    let peer = clean_peer(&world).await;
    peer.write("data/b", "two");
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.pending(), ["data/b"]);
    assert_eq!(again.push().await.pushed, 1);
    assert!(!again.requests().contains(&"put data/a".to_owned()));
}

async fn c_53_and_c_54_a_push_sends_only_what_changed(world: World) {
    let peer = clean_peer(&world).await;
    (0..20).for_each(|n| peer.write(&format!("data/{n}"), "x"));
    peer.push().await;
    peer.forget_requests();
    peer.write("data/7", "changed");
    peer.push().await;
    let puts: Vec<_> = peer.requests().into_iter().filter(|one| one.starts_with("put")).collect();
    assert_eq!(puts, ["put data/7".to_owned(), format!("put {INDEX}")]);
}

async fn c_55_and_c_57_a_push_of_nothing_is_no_proof_of_equality(world: World) {
    let peer = clean_peer(&world).await;
    let other = world.peer().await;
    other.write("data/b", "two");
    other.push().await;
    // Nothing to push: it is no reason to believe that all is here.
    peer.sync.push_pending().await.unwrap();
    assert!(!peer.cache.watermark().is_clean_at(world.version(INDEX).await.unwrap().as_str()));
    assert_eq!(peer.pull().await.pulled, 1);
    // Nor is a push of something.
    other.write("data/c", "three");
    other.push().await;
    peer.write("data/d", "four");
    peer.push().await;
    peer.pull().await;
    assert_eq!(peer.files(), ["data/a", "data/b", "data/c", "data/d"]);
}

async fn c_56_a_lost_sidecar_comes_back_with_the_next_push(world: World) {
    let (folder, _home) = clean_peer(&world).await.stop();
    std::fs::remove_file(folder.join("state/.datastore-sync-state.json")).unwrap();
    let peer = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(!peer.is_clean());
    assert!(peer.push().await.settled);
    assert!(peer.is_clean());
    assert_eq!(peer.store.count("put"), 0);
}

async fn c_58_the_first_push_after_a_pull_sends_nothing(world: World) {
    clean_peer(&world).await;
    let reader = world.peer().await;
    reader.text("data/a").await;
    let (folder, _home) = reader.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.push().await;
    assert_eq!(again.store.count("put"), 0);
}

async fn c_59_a_pushed_entry_carries_the_hash_of_its_bytes(world: World) {
    clean_peer(&world).await;
    let entry = world.index().await["entries"]["data/a"].clone();
    assert_eq!(entry["sha256"].as_str().unwrap(), ContentHash::of(b"one").to_string());
    assert_eq!((&entry["key"], &entry["size"]), (&"data/a".into(), &3.into()));
    let names: Vec<_> = entry.as_object().unwrap().keys().take(5).cloned().collect();
    assert_eq!(names, ["key", "size", "lastModified", "localMtime", "sha256"]);
}

async fn c_60_and_c_63_the_same_bytes_written_again_are_not_sent(world: World) {
    let peer = clean_peer(&world).await;
    world.clock.advance(Duration::from_secs(100));
    peer.write("data/a", "one");
    assert_eq!(peer.push().await.pushed_bytes, 0);
    assert!(!peer.requests().contains(&"put data/a".to_owned()));
}

async fn c_61_and_c_62_other_bytes_of_the_same_size_and_time_are_sent(world: World) {
    let peer = clean_peer(&world).await;
    let ino = peer.ino("data/a");
    let mtime = Some(peer.cache.attr(ino).unwrap().mtime);
    peer.write("data/a", "two");
    let set = bayou::cache::attributes::SetAttr { mtime, ..Default::default() };
    peer.cache.set_attr(ino, set).unwrap();
    assert_eq!(peer.push().await.pushed_bytes, 3);
    assert_eq!(world.peer().await.text("data/a").await, "two");
}
