//! An index in shards: small commits, nobody else's entries touched, and no error taken for an
//! older layout (C-134 to C-152).

use std::sync::Arc;

use bayou::sync::describe;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use super::neighbour::{META, Neighbour, commit_seq, partitions, sharded, sharded_entries};
use super::peer::PeerOptions;
use super::world::{INDEX, World};

on_both_stores!(
    c_134_and_c_148_a_commit_writes_the_touched_shard_and_the_meta_document,
    c_135_writers_of_different_models_lose_nothing,
    c_136_and_w_0b_shards_are_read_and_the_old_monolith_never,
    c_137_copies_are_no_shards,
    c_143_and_c_147_and_w_26_nothing_to_do_reads_no_document,
    c_144_and_c_146_one_commit_touches_any_shards,
    c_145_a_shard_goes_with_its_last_entry_and_swamp_reads_on,
    c_149_a_machine_that_lacks_a_commit_is_not_clean,
    w_0_a_machine_that_was_in_sync_with_the_monolith_sees_shards,
    w_16_shards_of_an_older_rule_stay_readable,
);

/// The documents of one commit of `data/t/one`.
const SHARD: &str = "_index/data--t--one.json";

async fn c_134_and_c_148_a_commit_writes_the_touched_shard_and_the_meta_document(world: World) {
    let (world, _, peer) = sharded(world).await;
    let (other, frozen) = (world.version("_index/data--t--two.json").await, world.object(INDEX).await);
    peer.write("data/t/one/d/1/raw", "changed");
    assert!(peer.push().await.settled);
    let asked = peer.requests();
    let puts: Vec<_> = asked.iter().filter(|one| one.starts_with("put ")).collect();
    assert_eq!(puts, ["put data/t/one/d/1/raw", &format!("put {SHARD}"), &format!("put {META}")]);
    assert!(!asked.iter().any(|one| one.contains(INDEX)), "{asked:?}");
    assert_eq!(world.version("_index/data--t--two.json").await, other);
    assert_eq!(world.object(INDEX).await, frozen);
    assert_eq!(commit_seq(&world).await, 2);
    let (folder, _home) = peer.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.write("audit/b", "x");
    again.push().await;
    again.write("audit/c", "x");
    let manifest = again.sync.prepare_push().await.unwrap();
    again.sync.commit_push(manifest).await.unwrap();
    let about = |verb: &str| format!("{verb} {INDEX}");
    let asked = again.requests();
    assert!(!asked.contains(&about("get")) && !asked.contains(&about("put")), "{asked:?}");
    assert_eq!(commit_seq(&world).await, 4);
}

async fn c_135_writers_of_different_models_lose_nothing(world: World) {
    let (world, swamp, peer) = sharded(world).await;
    for round in 2..5 {
        assert_eq!(swamp.push(&format!("data/t/two/d/{round}/raw"), "theirs").await, 1);
        peer.write(&format!("data/t/one/d/{round}/raw"), "ours");
        peer.write("data/t/three/d/1/raw", round.to_string());
        peer.push().await;
    }
    assert_eq!(sharded_entries(&world).await.len(), 11);
    let (ours, theirs) = (world.peer().await, Neighbour::new(&world));
    assert_eq!(theirs.pull().await, 11);
    assert_eq!(ours.files(), theirs.machine.files());
    for path in ours.files() {
        assert_eq!(Some(ours.text(&path).await), theirs.text(&path), "{path}");
    }
}

async fn c_136_and_w_0b_shards_are_read_and_the_old_monolith_never(world: World) {
    let (world, swamp, peer) = sharded(world).await;
    swamp.push("audit/later", "x").await;
    // The frozen monolith says what was: it must not matter.
    world
        .edit_index(|entries| drop(entries.insert("ghost".to_owned(), serde_json::json!({"size": 1}))))
        .await;
    let reader = world.stranger(PeerOptions::default()).await;
    reader.sync.start().await.unwrap();
    assert!(!reader.requests().contains(&format!("get {INDEX}")));
    assert_eq!(
        reader.files(),
        ["README.md", "audit/a.jsonl", "audit/later", "data/t/one/d/1/raw", "data/t/two/d/1/raw"]
    );
    // A model that has no shard yet is a model without entries.
    peer.pull().await;
    peer.write("data/t/new/d/1/raw", "x");
    assert!(peer.push().await.settled);
    assert!(!peer.requests().contains(&format!("get {INDEX}")));
    world.delete(INDEX).await;
    assert_eq!(world.peer().await.files().len(), 6);
}

async fn c_137_copies_are_no_shards(world: World) {
    let world = Arc::new(world);
    let swamp = Neighbour::new(&world);
    swamp.push_all(&[("data/t/one/d/1/raw", "x"), ("audit/a", "y")]).await;
    world.delete(SHARD).await;
    world.put("_index/audit.json", r#"{"version":1,"entries":{}}"#).await;
    let reader = world.peer().await;
    assert_eq!(reader.files(), ["audit/a", "data/t/one/d/1/raw"]);
    assert_eq!(reader.text("audit/a").await, "y");
}

async fn c_143_and_c_147_and_w_26_nothing_to_do_reads_no_document(world: World) {
    let (world, _, peer) = sharded(world).await;
    let reader = world.peer().await;
    assert!(reader.push().await.settled);
    peer.write("audit/b", "x");
    let manifest = peer.sync.prepare_push().await.unwrap();
    peer.sync.commit_push(manifest).await.unwrap();
    for machine in [&peer, &reader] {
        machine.pull().await;
        assert!(machine.push().await.settled);
        machine.forget_requests();
        for _ in 0..2 {
            assert_eq!(machine.pull().await.pulled, 0);
            let manifest = machine.sync.prepare_push().await.unwrap();
            assert!(machine.sync.commit_push(manifest).await.unwrap().settled);
        }
        let asked = machine.requests();
        assert_eq!(asked.len(), 8, "{asked:?}");
        assert!(asked.iter().all(|one| one.starts_with("head ") && !one.contains(INDEX)), "{asked:?}");
    }
    assert_eq!(commit_seq(&world).await, 2);
}

async fn c_144_and_c_146_one_commit_touches_any_shards(world: World) {
    let (world, _, peer) = sharded(world).await;
    peer.write("data/t/one/d/2/raw", "new");
    peer.remove("data/t/one/d/1/raw");
    peer.write("audit/b", "x");
    peer.write("workflow-runs/w/r", "x");
    let report = peer.push().await;
    assert_eq!((report.deleted, report.settled), (1, true));
    let entries = sharded_entries(&world).await;
    assert!(entries.contains_key("data/t/one/d/2/raw") && !entries.contains_key("data/t/one/d/1/raw"));
    assert_eq!(entries.len(), 6);
    let names = ["_root", "audit", "data--t--one", "data--t--two", "workflow-runs--w"];
    assert_eq!(partitions(&world.json(META).await), names);
    assert_eq!(commit_seq(&world).await, 2, "one commit");
}

async fn c_145_a_shard_goes_with_its_last_entry_and_swamp_reads_on(world: World) {
    let (world, swamp, peer) = sharded(world).await;
    peer.remove("data/t/one/d/1/raw");
    assert!(peer.push().await.settled);
    assert!(world.object(SHARD).await.is_none());
    assert_eq!(partitions(&world.json(META).await), ["_root", "audit", "data--t--two"]);
    assert_eq!(sharded_entries(&world).await.len(), 3);
    assert_eq!(Neighbour::new(&world).pull().await, 3);
    assert_eq!(swamp.push("data/t/one/d/9/raw", "again").await, 1);
    peer.pull().await;
    assert_eq!(peer.text("data/t/one/d/9/raw").await, "again");
}

async fn c_149_a_machine_that_lacks_a_commit_is_not_clean(world: World) {
    let (world, swamp, peer) = sharded(world).await;
    swamp.push("data/t/two/d/2/raw", "theirs").await;
    peer.write("data/t/one/d/2/raw", "ours");
    let report = peer.push().await;
    assert!(!report.settled || peer.has("data/t/two/d/2/raw"));
    peer.pull().await;
    assert!(peer.has("data/t/two/d/2/raw"));
    assert!(peer.push().await.settled);
    assert_eq!(sharded_entries(&world).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_150_a_shard_that_cannot_be_read_once_is_read_again() {
    let (world, _, _) = sharded(World::s3().await).await;
    let slow = Action::Refuse(Refusal::new(503, "SlowDown"));
    let fault = world.server().fault(Fault::on(Op::GetObject, slow).key(SHARD).first(2));
    let peer = world.peer().await;
    assert_eq!((peer.files().len(), fault.matched()), (4, 3));
    peer.write("data/t/one/d/2/raw", "x");
    assert!(peer.push().await.settled);
    assert!(!peer.requests().contains(&format!("put {INDEX}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_151_and_c_152_what_cannot_be_read_is_never_taken_for_an_older_layout() {
    let (world, _, _) = sharded(World::s3().await).await;
    let documents = [SHARD, META];
    for (key, status) in documents.into_iter().flat_map(|key| [(key, 503), (key, 403)]) {
        let before = world.keys().await;
        let refused = Action::Refuse(Refusal::new(status, "Whatever"));
        let fault = world.server().fault(Fault::on_these(&[Op::GetObject, Op::HeadObject], refused).key(key));
        let peer = world.stranger(PeerOptions::default()).await;
        peer.write("data/t/one/d/9/raw", "mine");
        let failed = describe(&peer.sync.start().await.unwrap_err());
        assert!(failed.contains(key) || failed.contains("meta"), "{failed}");
        peer.push_fails().await;
        let asked = peer.requests();
        assert!(!asked.contains(&format!("put {INDEX}")), "{asked:?}");
        assert!(!asked.iter().any(|one| one.starts_with("put _index/")), "{asked:?}");
        assert_eq!(peer.files(), ["data/t/one/d/9/raw"], "{key} {status}");
        assert_eq!(peer.pending(), ["data/t/one/d/9/raw"]);
        fault.remove();
        world.delete("data/t/one/d/9/raw").await;
        assert_eq!(world.keys().await, before);
    }
    assert_eq!(commit_seq(&world).await, 1);
}

async fn w_0_a_machine_that_was_in_sync_with_the_monolith_sees_shards(world: World) {
    let world = Arc::new(world);
    let swamp = Neighbour::new(&world);
    swamp.push_all(&[("audit/a", "x")]).await;
    let peer = world.peer().await;
    assert!(peer.push().await.settled);
    swamp.process().migrate_index().await.unwrap();
    swamp.push("audit/b", "after").await;
    world.clock.advance(std::time::Duration::from_secs(31));
    peer.pull().await;
    assert_eq!(peer.text("audit/b").await, "after");
    // Nor does a write of ours go into the monolith, however early it comes.
    let late = world.peer().await;
    late.write("audit/c", "ours");
    assert!(late.push().await.settled);
    assert_eq!(Neighbour::new(&world).pull().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_12_a_commit_that_broke_off_is_seen_when_it_is_made_again() {
    let (world, _, peer) = sharded(World::s3().await).await;
    let reader = world.peer().await;
    let refused = Action::Refuse(Refusal::internal_error());
    let fault = world.server().fault(Fault::on(Op::PutObject, refused).key(META));
    peer.write("data/t/one/d/2/raw", "x");
    peer.push_fails().await;
    assert!(world.json(SHARD).await["entries"]["data/t/one/d/2/raw"].is_object(), "the shard is written");
    fault.remove();
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(again.push().await.settled);
    assert_eq!(commit_seq(&world).await, 2, "the counter tells everybody");
    reader.pull().await;
    assert_eq!(reader.text("data/t/one/d/2/raw").await, "x");
}

async fn w_16_shards_of_an_older_rule_stay_readable(world: World) {
    let (world, _, _) = sharded(world).await;
    world.put("workflows-evaluated/wf/e.yaml", "old").await;
    let entry =
        r#"{"key":"workflows-evaluated/wf/e.yaml","size":3,"lastModified":"2026-08-01T09:30:01.250Z"}"#;
    let shard = format!(r#"{{"version":1,"entries":{{"workflows-evaluated/wf/e.yaml":{entry}}}}}"#);
    world.put("_index/workflows-evaluated--wf.json", shard).await;
    let mut meta = world.json(META).await;
    meta["partitions"].as_array_mut().unwrap().push("workflows-evaluated--wf".into());
    world.put(META, serde_json::to_vec(&meta).unwrap()).await;
    let peer = world.peer().await;
    assert_eq!(peer.text("workflows-evaluated/wf/e.yaml").await, "old");
    peer.write("audit/b", "x");
    peer.write("workflows-evaluated/wf/new.yaml", "new");
    assert!(peer.push().await.settled);
    for name in partitions(&world.json(META).await) {
        assert!(world.object(&format!("_index/{name}.json")).await.is_some(), "{name} is listed");
    }
    let swamp = Neighbour::new(&world);
    assert_eq!(swamp.pull().await, 7);
    assert_eq!(swamp.text("workflows-evaluated/wf/e.yaml").unwrap(), "old");
    assert_eq!(world.peer().await.text("workflows-evaluated/wf/new.yaml").await, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_18_a_partition_that_is_added_meanwhile_stays() {
    let (world, swamp, peer) = sharded(World::s3().await).await;
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(META).first(1));
    peer.write("data/t/one/d/2/raw", "ours");
    let peer = Arc::new(peer);
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.push().await }
    });
    gate.wait_for(1).await;
    // Swamp's lock is lost, or was never taken.
    swamp.push("logs/theirs", "x").await;
    gate.open();
    pushing.await.unwrap();
    let names = ["_root", "audit", "data--t--one", "data--t--two", "logs"];
    assert_eq!(partitions(&world.json(META).await), names);
    let entries = sharded_entries(&world).await;
    assert!(entries.contains_key("logs/theirs") && entries.contains_key("data/t/one/d/2/raw"));
    peer.pull().await;
    assert_eq!(peer.text("logs/theirs").await, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_27_another_history_with_the_same_counter_is_seen() {
    let (world, swamp, peer) = sharded(World::s3().await).await;
    swamp.push("audit/b", "x").await;
    peer.pull().await;
    assert!(peer.push().await.settled);
    // Swamp's migration begins anew from the old monolith, and its counter with it.
    swamp.process().migrate_index().await.unwrap();
    Neighbour::new(&world).push("data/t/two/d/2/raw", "another").await;
    assert_eq!(commit_seq(&world).await, 2, "the counter that we know");
    world.clock.advance(std::time::Duration::from_secs(301));
    peer.pull().await;
    assert_eq!(peer.text("data/t/two/d/2/raw").await, "another");
}
