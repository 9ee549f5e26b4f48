//! What everything costs, in requests. The number is the promise.

use std::sync::Arc;
use std::time::Duration;

use bayou::sync::SyncOptions;
use bayou_test_server::{Action, Fault, Gate, Op};

use super::peer::{LOCK, Peer, PeerOptions};
use super::world::{INDEX, World};

on_both_stores!(
    c_36_and_c_37_a_pull_and_a_push_with_nothing_to_do_are_one_head_each,
    a_machine_that_starts_again_asks_no_more_than_one_head_for_a_pull_and_a_push,
    what_cannot_be_shown_is_known_to_a_machine_that_starts_again_and_reads_no_index,
    the_first_read_is_one_get_and_the_second_is_none,
    fsync_of_a_small_file_is_its_object_and_the_index,
    many_files_are_committed_together,
    many_fsyncs_at_once_share_commits,
    an_unchanged_file_is_not_sent_again,
    a_touched_file_is_not_sent_again,
    a_renamed_large_file_is_copied_on_the_server,
    a_renamed_folder_is_one_commit,
    what_was_committed_and_noted_is_not_read_again_by_the_next_process,
    a_failed_push_makes_one_attempt_to_commit,
    a_pull_that_finds_one_new_file_reads_the_index_once,
);

/// Brings one file into the bucket and returns the machine that did, which is clean.
async fn with_one_file(world: &World) -> Peer {
    let peer = world.peer().await;
    peer.write("a/file", "content");
    assert!(peer.push().await.settled);
    peer.forget_requests();
    peer
}

async fn c_36_and_c_37_a_pull_and_a_push_with_nothing_to_do_are_one_head_each(world: World) {
    let writer = with_one_file(&world).await;
    let reader = world.peer().await;
    assert!(reader.push().await.settled);
    reader.forget_requests();
    for peer in [&writer, &reader] {
        for _ in 0..2 {
            let report = peer.pull().await;
            assert_eq!(peer.requests(), [format!("head {INDEX}")]);
            assert_eq!((report.pulled, report.vanished), (0, 0));
            let report = peer.push().await;
            assert_eq!(peer.requests(), [format!("head {INDEX}")]);
            assert!(report.settled);
            assert_eq!((report.pushed, report.deleted), (0, 0));
        }
    }
}

async fn a_machine_that_starts_again_asks_no_more_than_one_head_for_a_pull_and_a_push(world: World) {
    let (folder, _home) = with_one_file(&world).await.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.pull().await;
    assert_eq!(again.requests(), [format!("head {INDEX}")]);
    assert!(again.push().await.settled);
    assert_eq!(again.requests(), [format!("head {INDEX}")]);
    assert_eq!(again.text("a/file").await, "content");
    assert_eq!(again.requests(), [""; 0], "what is here is not fetched again");
}

async fn what_cannot_be_shown_is_known_to_a_machine_that_starts_again_and_reads_no_index(world: World) {
    let body = serde_json::json!({"version": 1, "entries": {"../x": {"size": 1}, "a//b": {"size": 1}}});
    world.put_index(&body).await;
    let (folder, _home) = world.peer().await.stop();
    let options = || PeerOptions { folder: Some(folder.clone()), ..PeerOptions::default() };
    let again = world.stranger(options()).await;
    again.sync.start().await.unwrap();
    assert_eq!(again.count("get"), 0);
    let mut refused = again.sync.health().refused;
    refused.sort_unstable();
    assert_eq!(refused, ["../x", "a//b"]);
    world.edit_index(|entries| drop(entries.remove("a//b"))).await;
    again.pull().await;
    assert_eq!(again.sync.health().refused, ["../x"]);
    again.stop();
    assert_eq!(world.stranger(options()).await.sync.health().refused, ["../x"]);
}

async fn the_first_read_is_one_get_and_the_second_is_none(world: World) {
    with_one_file(&world).await;
    let reader = world.peer().await;
    assert_eq!(reader.text("a/file").await, "content");
    assert_eq!(reader.requests(), ["get a/file"]);
    assert_eq!(reader.text("a/file").await, "content");
    assert_eq!(reader.requests(), [""; 0]);
}

async fn fsync_of_a_small_file_is_its_object_and_the_index(world: World) {
    let peer = world.peer().await;
    peer.write("first", "1");
    peer.fsync("first").await.unwrap();
    // The index of others is looked at once: their partitions would go stale.
    let asked = peer.requests();
    assert_eq!(asked.last().unwrap(), &format!("put {INDEX}"), "{asked:?}");
    assert_eq!(asked.iter().filter(|one| one.starts_with("put")).count(), 2, "{asked:?}");

    peer.write("second", "2");
    peer.fsync("second").await.unwrap();
    let commit = ["put second", "head _index/_meta.json", &format!("put {INDEX}")];
    assert_eq!(peer.requests(), commit);
    peer.write("second", "two");
    peer.fsync("second").await.unwrap();
    assert_eq!(peer.requests(), commit);
    peer.fsync("second").await.unwrap();
    assert_eq!(peer.requests(), [""; 0], "what is durable needs no request");
    peer.lock_requests().await;
    peer.write("second", "three");
    peer.fsync("second").await.unwrap();
    assert_eq!(peer.lock_requests().await, ["put", "get", "delete"], "taken, looked at, given back");
}

async fn many_files_are_committed_together(world: World) {
    let peer = with_one_file(&world).await;
    (0..40).for_each(|n| peer.write(&format!("many/{n}"), n.to_string()));
    let report = peer.push().await;
    assert_eq!(report.pushed, 40);
    let asked = peer.requests();
    assert_eq!(asked.iter().filter(|one| **one == format!("put {INDEX}")).count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|one| one.starts_with("put many/")).count(), 40);
    assert_eq!(asked.iter().filter(|one| one.starts_with("get")).count(), 0, "{asked:?}");
}

async fn many_fsyncs_at_once_share_commits(world: World) {
    let peer = Arc::new(with_one_file(&world).await);
    (0..32).for_each(|n| peer.write(&format!("f{n}"), n.to_string()));
    let syncing: Vec<_> = (0..32)
        .map(|n| {
            let peer = Arc::clone(&peer);
            tokio::spawn(async move { peer.fsync(&format!("f{n}")).await })
        })
        .collect();
    for one in syncing {
        one.await.unwrap().unwrap();
    }
    let asked = peer.requests();
    assert_eq!(asked.iter().filter(|one| one.starts_with("put f")).count(), 32, "{asked:?}");
    let commits = asked.iter().filter(|one| **one == format!("put {INDEX}")).count();
    assert!(commits < 32, "{commits} commits for 32 calls of fsync");
    assert_eq!(world.index_keys().await.len(), 33);
}

async fn an_unchanged_file_is_not_sent_again(world: World) {
    let peer = with_one_file(&world).await;
    peer.write("a/file", "content");
    let report = peer.push().await;
    assert_eq!(report.pushed_bytes, 0);
    let asked = peer.requests();
    assert!(!asked.contains(&"put a/file".to_owned()), "{asked:?}");
    assert!(report.settled);
}

async fn a_touched_file_is_not_sent_again(world: World) {
    let peer = with_one_file(&world).await;
    peer.chmod("a/file", 0o755);
    assert_eq!(peer.push().await.pushed_bytes, 0);
    assert_eq!(peer.requests().iter().filter(|one| one.starts_with("put")).count(), 1, "only the index");
    let reader = world.peer().await;
    assert_eq!(reader.cache.attr(reader.ino("a/file")).unwrap().mode, 0o755);
}

async fn a_renamed_large_file_is_copied_on_the_server(world: World) {
    let peer = world.peer().await;
    let large = vec![7; 2 << 20];
    peer.write("old", &large);
    peer.push().await;
    let reader = world.peer().await;
    reader.rename("old", "new");
    let report = reader.push().await;
    assert_eq!((report.pushed, report.pushed_bytes, report.deleted), (1, 0, 1));
    let asked = reader.requests();
    let about = |word: &str| asked.iter().filter(|one| one.starts_with(word)).count();
    assert_eq!(
        (about("copy new"), about("put old"), about("put new"), about("get new")),
        (1, 0, 0, 0),
        "{asked:?}"
    );
    assert_eq!(about("delete old"), 1, "{asked:?}");
    assert_eq!(world.data_keys().await, ["new"]);
    assert_eq!(world.index_keys().await, ["new"]);
    assert!(world.peer().await.read("new").await == large);
}

async fn what_was_committed_and_noted_is_not_read_again_by_the_next_process(world: World) {
    let peer = with_one_file(&world).await;
    // Nothing is settled: whoever fsyncs does not compare all there is.
    peer.write("another", "2");
    peer.fsync("another").await.unwrap();
    assert!(!peer.is_clean());
    let known = peer.cache.applied_fingerprint();
    assert!(known.is_some());
    let (folder, _home) = peer.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.cache.applied_fingerprint(), known);
    again.sync.start().await.unwrap();
    assert!(!again.requests().contains(&format!("get {INDEX}")), "{:?}", again.requests());
}

async fn a_renamed_folder_is_one_commit(world: World) {
    let peer = world.peer().await;
    (0..20).for_each(|n| peer.write(&format!("old/{n}"), n.to_string()));
    peer.push().await;
    peer.forget_requests();
    peer.rename("old", "new");
    peer.push().await;
    let asked = peer.requests();
    assert_eq!(asked.iter().filter(|one| **one == format!("put {INDEX}")).count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|one| one.starts_with("delete old/")).count(), 20);
    let reader = world.peer().await;
    assert_eq!(reader.files().len(), 20);
    assert_eq!(reader.text("new/13").await, "13");
    assert!(!reader.has("old"));
}

async fn a_failed_push_makes_one_attempt_to_commit(world: World) {
    let options = SyncOptions { read_only: true, ..SyncOptions::default() };
    with_one_file(&world).await;
    let peer = world.peer_syncing(options).await;
    peer.write("b", "x");
    peer.push_fails().await;
    assert_eq!(peer.requests(), [""; 0], "nothing is sent that may not be");
}

async fn a_pull_that_finds_one_new_file_reads_the_index_once(world: World) {
    let writer = with_one_file(&world).await;
    let reader = world.peer().await;
    writer.write("b", "new");
    writer.push().await;
    assert_eq!(reader.pull().await.pulled, 1);
    let asked = [format!("head {INDEX}"), "get _index/_meta.json".to_owned(), format!("get {INDEX}")];
    assert_eq!(reader.requests(), asked);
    assert_eq!(reader.text("b").await, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_readers_of_one_range_are_one_get() {
    let world = World::s3().await;
    with_one_file(&world).await;
    let reader = Arc::new(world.peer().await);
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::GetObject, Action::Hold(gate.clone())).key("a/file"));
    let reading: Vec<_> = (0..8)
        .map(|_| {
            let reader = Arc::clone(&reader);
            tokio::spawn(async move { reader.text("a/file").await })
        })
        .collect();
    gate.wait_for(1).await;
    gate.open();
    for one in reading {
        assert_eq!(one.await.unwrap(), "content");
    }
    assert_eq!(reader.requests(), ["get a/file"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_is_sent_in_parts_and_read_by_range() {
    let world = World::s3().await;
    let options = SyncOptions { part_bytes: 5 << 20, ..SyncOptions::default() };
    let peer = world.peer_syncing(options).await;
    let large: Vec<u8> = (0..12u32 << 20).map(|n| (n >> 10) as u8).collect();
    peer.write("large", &large);
    assert_eq!(peer.push().await.pushed_bytes, 12 << 20);
    let asked = peer.requests();
    assert_eq!(asked.iter().filter(|one| **one == "upload_part large").count(), 3, "{asked:?}");
    let reader = world.peer().await;
    let ino = reader.ino("large");
    let part = reader.hydrator.read(ino, 6 << 20, 4096).await.unwrap();
    assert_eq!(part, large[6 << 20..(6 << 20) + 4096]);
    assert_eq!(reader.requests().len(), 1);
    assert!(reader.read("large").await == large);
    let sha = world.index().await["entries"]["large"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(sha, bayou::model::content_hash::ContentHash::of(&large).to_string());
}

/// The service takes one write of an object in this time.
const INTERVAL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_object_is_written_once_in_a_while_commits_are_grouped_and_the_lock_is_kept() {
    let world = World::paced(INTERVAL).await;
    let server = world.gcs_server().unwrap();
    let puts_of = |key: &str| {
        let requests = server.requests();
        requests.iter().filter(|one| one.op == Op::PutObject && one.key == key).count()
    };
    let peer = Arc::new(world.peer().await);
    peer.write("first", "1");
    peer.fsync("first").await.unwrap();
    server.reset_counts();
    // The clock stands still, so the next commit waits.
    let mut waiting = Vec::new();
    for name in (0..10).map(|n| format!("file {n}")) {
        peer.write(&name, "x");
        let peer = Arc::clone(&peer);
        waiting.push(tokio::spawn(async move { peer.fsync(&name).await }));
    }
    while world.data_keys().await.len() < 11 {}
    assert_eq!(puts_of(INDEX), 0);
    for fsync in waiting {
        while !fsync.is_finished() {
            world.clock.advance(INTERVAL / 10);
            tokio::task::yield_now().await;
        }
        fsync.await.unwrap().unwrap();
    }
    assert!(puts_of(INDEX) <= 2, "{:?}", server.requests());
    assert_eq!(puts_of(LOCK), 0, "it is held from before");
}
