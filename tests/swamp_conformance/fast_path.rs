//! What is known to be equal is not asked for again, and nothing else is taken for equal (C-36 to
//! C-46).

use serde_json::json;

use super::clean_peer;
use super::peer::PeerOptions;
use super::world::{INDEX, World, fixture};

on_both_stores!(
    c_38_and_c_46_a_sidecar_of_any_kind_is_no_error,
    c_39_a_changed_index_is_read,
    c_42_and_c_47_what_is_written_is_pushed_and_settles,
    c_44_the_fingerprint_is_that_of_the_bytes_compared,
    c_45_what_is_dirty_is_known_to_the_next_process,
);

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
    let upload = world.bucket.begin_upload(&key, body.len() as u64, &options).await.unwrap();
    let part = world.bucket.upload_part(&key, &upload, 1, body).await.unwrap();
    let version = world.bucket.complete_upload(&key, &upload, &[part], &options).await.unwrap();
    assert!(version.as_str().ends_with("-1"), "{version:?}");
    for _ in 0..2 {
        peer.forget_requests();
        peer.pull().await;
        assert_eq!(
            peer.requests(),
            [format!("head {INDEX}"), "get _index/_meta.json".to_owned(), format!("get {INDEX}")]
        );
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
