//! Looking after the index itself: what verify finds, repair makes so and migrate turns into shards.

use std::sync::Arc;

use bayou::cache::ROOT;
use bayou::cache::attributes::{SetAttr, XattrMode};
use bayou::cache::listing::EntryKind;
use bayou::model::lock_name::LockName;
use bayou::model::special::{Device, Special};
use bayou::os::clock::SystemClock;
use bayou::sync::SyncError;
use bayou::sync::lock::{BucketLock, LockOptions};
use bayou::sync::upkeep::{Problem, Survey, Upkeep};
use serde_json::json;

use super::peer::{FILE, Peer};
use super::world::{INDEX, World, fixture};

on_both_stores!(
    an_index_that_a_machine_wrote_is_true,
    what_swamps_writers_left_behind_is_no_file_that_the_index_misses,
    every_untruth_of_a_monolith_is_found_and_repaired,
    every_untruth_of_shards_is_found_and_repaired,
    a_key_that_no_file_may_have_is_told_and_kept,
    a_damaged_index_is_built_anew_from_the_objects,
    a_damaged_index_of_a_bucket_without_objects_is_built_anew,
    a_symlink_with_the_longest_target_is_one_everywhere_and_after_a_rebuild,
    what_has_no_shard_is_found_again_when_our_index_of_it_is_damaged,
    shards_that_lost_their_meta_stay_shards_beside_a_damaged_monolith,
    a_lost_index_is_built_anew_with_what_the_objects_say_of_themselves,
    a_damaged_shard_is_built_anew_from_the_objects,
    a_monolith_is_migrated_once_and_misleads_nobody_after,
    what_has_no_shard_is_migrated_only_if_it_is_asked_for,
    entries_are_shown_by_file_and_by_folder,
);

pub(crate) fn upkeep(world: &World) -> Upkeep {
    let key = LockName::of_bucket(None).key();
    let store = Arc::clone(&world.bucket);
    let clock = SystemClock::shared();
    let lock = BucketLock::new(
        Arc::clone(&store),
        key,
        Arc::clone(&clock),
        world.conditions,
        LockOptions::default(),
    );
    Upkeep::new(store, lock, clock)
}

pub(crate) fn found(survey: &Survey) -> Vec<(Problem, Vec<&str>)> {
    survey.findings.iter().map(|one| (one.problem, one.names.iter().map(String::as_str).collect())).collect()
}

async fn an_index_that_a_machine_wrote_is_true(world: World) {
    let peer = world.peer().await;
    peer.write("a/b", "1");
    peer.mkdir("empty");
    peer.push().await;
    let survey = upkeep(&world).verify().await.unwrap();
    assert_eq!(found(&survey), []);
    assert_eq!((survey.layout.as_str(), survey.entries, survey.bytes), ("monolith", 1, 1));
    let before = world.version(INDEX).await;
    assert_eq!(found(&upkeep(&world).repair().await.unwrap()), []);
    assert_eq!(world.version(INDEX).await, before, "what is true is not written again");
}

async fn what_swamps_writers_left_behind_is_no_file_that_the_index_misses(world: World) {
    let peer = world.peer().await;
    peer.write("a", "1");
    peer.push().await;
    let left = "b/.3f0e8c1e-4e6f-4f2e-8a0b-0c0d0e0f0001.tmp";
    world.put(".locks/infra.lock", "{}").await;
    world.put(left, "half").await;
    world.put("b/new", "x").await;
    world.rest("b/new");
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), [(Problem::Unindexed, vec!["b/new"])]);
    upkeep(&world).repair().await.unwrap();
    assert_eq!(world.index_keys().await, ["a", "b/new"]);
    // What somebody named is a file, and its object is there.
    world.edit_index(|entries| drop(entries.insert(left.to_owned(), json!({"size": 4})))).await;
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
}

async fn every_untruth_of_a_monolith_is_found_and_repaired(world: World) {
    world.put_fixture("bucket-v1").await;
    let peer = world.peer().await;
    peer.push().await;
    world.delete("workflow-runs/wf-77/run-9.yaml").await;
    world.put("audit/2026-08-01.jsonl", "somebody wrote more").await;
    world.put("audit/left", "x").await;
    world.rest("audit/left");
    world.edit_index(|entries| drop(entries.insert("a/.lock".to_owned(), json!({"size": 1})))).await;
    world.put("_index/audit.json", r#"{"version":1,"entries":{}}"#).await;
    let survey = upkeep(&world).verify().await.unwrap();
    let expected = [
        (Problem::Dangling, vec!["workflow-runs/wf-77/run-9.yaml"]),
        (Problem::Behind, vec!["audit/2026-08-01.jsonl"]),
        (Problem::Internal, vec!["a/.lock"]),
        (Problem::UntrueCopies, vec!["_index/audit.json"]),
        (Problem::Unindexed, vec!["audit/left"]),
    ];
    assert_eq!(found(&survey), expected);
    assert_eq!(found(&upkeep(&world).repair().await.unwrap()), expected);
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    let reader = world.peer().await;
    assert_eq!(reader.text("audit/2026-08-01.jsonl").await, "somebody wrote more");
    assert_eq!(reader.text("audit/left").await, "x");
    assert!(!reader.has("workflow-runs/wf-77/run-9.yaml"));
}

async fn every_untruth_of_shards_is_found_and_repaired(world: World) {
    world.put_fixture("bucket-v2").await;
    world.delete("workflow-runs/wf-77/run-9.yaml").await;
    world.put("src/main.rs", "fn main() {}").await;
    world.rest("src/main.rs");
    world.put("_index/files.json", r#"{"version":1,"entries":{}}"#).await;
    world.delete("_index/audit.json").await;
    let survey = upkeep(&world).verify().await.unwrap();
    let problems: Vec<_> = survey.findings.iter().map(|one| one.problem).collect();
    for problem in [
        Problem::Dangling,
        Problem::Unindexed,
        Problem::UnlistedShards,
        Problem::LostShards,
        Problem::MisleadingMonolith,
    ] {
        assert!(problems.contains(&problem), "{problem:?}: {survey:?}");
    }
    assert!(matches!(upkeep(&world).repair().await, Err(SyncError::MissingShard { .. })));
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    let is_s3 = world.s3_server().is_some();
    let reader = world.peer().await;
    assert_eq!(reader.text("src/main.rs").await, "fn main() {}");
    assert!(reader.has("audit/2026-08-01.jsonl"), "its object is there");
    assert!(!reader.has("workflow-runs/wf-77/run-9.yaml"));
    let whole = world.index_keys().await;
    assert_eq!(whole, if is_s3 { vec![] } else { reader.files() }, "nobody is misled by the monolith");
}

async fn a_key_that_no_file_may_have_is_told_and_kept(world: World) {
    world.put(INDEX, std::fs::read(fixture("index/v1-path-traversal.json")).unwrap()).await;
    let survey = upkeep(&world).verify().await.unwrap();
    assert!(found(&survey).contains(&(Problem::Refused, vec!["../evil"])), "{survey:?}");
    upkeep(&world).repair().await.unwrap();
    assert!(world.index_keys().await.contains(&"../evil".to_owned()));
}

async fn a_damaged_index_is_built_anew_from_the_objects(world: World) {
    let peer = world.peer().await;
    peer.write("run", "#!/bin/sh");
    peer.chmod("run", 0o755);
    peer.symlink("link", "run");
    peer.push().await;
    world.put(INDEX, "{\"version\":1,\"entries\":{").await;
    let expected = [(Problem::Damaged, vec![INDEX]), (Problem::Unindexed, vec!["link", "run"])];
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), expected);
    let failed = upkeep(&world).repair().await.unwrap_err();
    assert!(matches!(failed, SyncError::DamagedIndex { .. }));
    assert!(failed.to_string().contains("`bayou index rebuild`"), "{failed}");
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    let reader = world.peer().await;
    assert_eq!(reader.files(), ["link", "run"]);
    assert_eq!(reader.cache.attr(reader.ino("run")).unwrap().mode, 0o755, "the object remembers it");
    assert_eq!(reader.cache.read_link(reader.ino("link")).unwrap(), "run");
}

async fn a_symlink_with_the_longest_target_is_one_everywhere_and_after_a_rebuild(world: World) {
    // 4,095 bytes, the most that the kernel takes; escaped for a header it is three times as long.
    let target = format!("{}x", "ü".repeat(2_047));
    let peer = world.peer().await;
    peer.symlink("link", &target);
    assert!(peer.push().await.settled);
    assert_eq!(world.object("link").await.unwrap(), target);
    let points_there = |reader: &Peer| reader.cache.read_link(reader.ino("link")).unwrap() == target;
    assert!(points_there(&world.peer().await));
    world.delete(INDEX).await;
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    assert!(points_there(&world.peer().await), "its object says that it is one");
}

async fn a_damaged_index_of_a_bucket_without_objects_is_built_anew(world: World) {
    world.put(INDEX, "{").await;
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), [(Problem::Damaged, vec![INDEX])]);
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(world.index_keys().await, [""; 0]);
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
}

async fn what_has_no_shard_is_found_again_when_our_index_of_it_is_damaged(world: World) {
    let peer = world.peer().await;
    peer.write("audit/a", "1");
    peer.write("src/main.rs", "fn main() {}");
    peer.chmod("src/main.rs", 0o600);
    peer.push().await;
    upkeep(&world).migrate(true).await.unwrap();
    world.put("_control/bayou/index.json", "{").await;
    let verified = upkeep(&world).verify().await.unwrap();
    for expected in
        [(Problem::Damaged, vec!["_control/bayou/index.json"]), (Problem::Unindexed, vec!["src/main.rs"])]
    {
        assert!(found(&verified).contains(&expected), "{verified:?}");
    }
    assert_eq!(verified.layout, "shards");
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
    let meta = world.json("_index/_meta.json").await;
    assert_eq!((&meta["version"], &meta["commitSeq"]), (&2.into(), &2.into()), "shards stay shards");
    let reader = world.peer().await;
    assert_eq!(reader.files(), ["audit/a", "src/main.rs"]);
    assert_eq!(reader.cache.attr(reader.ino("src/main.rs")).unwrap().mode, 0o600);
}

async fn shards_that_lost_their_meta_stay_shards_beside_a_damaged_monolith(world: World) {
    world.put_fixture("bucket-v2").await;
    let whole = world.peer().await.files();
    world.delete("_index/_meta.json").await;
    world.put(INDEX, "{").await;
    let survey = upkeep(&world).verify().await.unwrap();
    assert_eq!(survey.layout, "shards");
    assert!(found(&survey).contains(&(Problem::LostMeta, vec!["_index/_meta.json"])), "{survey:?}");
    upkeep(&world).rebuild().await.unwrap();
    assert_eq!(world.json("_index/_meta.json").await["version"], 2);
    assert_eq!(world.peer().await.files(), whole);
}

async fn a_lost_index_is_built_anew_with_what_the_objects_say_of_themselves(world: World) {
    let peer = world.peer().await;
    peer.write("run", "#!/bin/sh");
    peer.chmod("run", 0o4750);
    let ino = peer.ino("run");
    let owner = SetAttr { uid: Some(7), gid: Some(8), mtime: Some(1_234_567_890), ..SetAttr::default() };
    peer.cache.set_attr(ino, owner).unwrap();
    peer.cache.set_xattr(ino, "user.ü", &[0, 255], XattrMode::Any).unwrap();
    let device = Special::Block(Device { major: 259, minor: 70_000 });
    peer.cache.make_special(ROOT, "disk", FILE, device).unwrap();
    peer.cache.make_special(ROOT, "pipe", FILE, Special::Fifo).unwrap();
    peer.push().await;
    world.delete(INDEX).await;
    upkeep(&world).rebuild().await.unwrap();
    let reader = world.peer().await;
    let attr = reader.cache.attr(reader.ino("run")).unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.mtime), (0o4750, Some(7), Some(8), 1_234_567_890));
    assert_eq!(reader.cache.xattr(reader.ino("run"), "user.ü").unwrap(), [0, 255]);
    let kind = |name: &str| reader.cache.attr(reader.ino(name)).unwrap().kind;
    assert_eq!(kind("disk"), EntryKind::Special(device));
    assert_eq!(kind("pipe"), EntryKind::Special(Special::Fifo));
    assert_eq!(found(&upkeep(&world).verify().await.unwrap()), []);
}

async fn a_damaged_shard_is_built_anew_from_the_objects(world: World) {
    world.put_fixture("bucket-v2").await;
    let whole = world.peer().await.files();
    for damage in ["{", r#"{"version":7,"entries":{}}"#] {
        world.put("_index/audit.json", damage).await;
        upkeep(&world).rebuild().await.unwrap();
        assert_eq!(world.peer().await.files(), whole, "{damage}");
    }
}

async fn a_monolith_is_migrated_once_and_misleads_nobody_after(world: World) {
    world.put_fixture("bucket-v1").await;
    // An odd member of an entry goes along, and a copy that nothing is in any more goes.
    let odd = json!([1.5]);
    world.edit_index(|entries| entries["audit/2026-08-01.jsonl"]["odd"] = odd.clone()).await;
    world.put("_index/files.json", r#"{"version":1,"entries":{}}"#).await;
    let running = world.peer().await;
    running.push().await;
    let before = running.files();
    let migrated = upkeep(&world).migrate(true).await.unwrap();
    assert_eq!((migrated.commit_seq, migrated.beside), (1, 1), "definitions-evaluated/probe/m-0002.yaml");
    let meta = world.json("_index/_meta.json").await;
    assert_eq!((&meta["version"], &meta["commitSeq"]), (&2.into(), &1.into()));
    assert_eq!(meta["partitions"].as_array().unwrap().len() as u64, migrated.shards);
    assert!(world.object("_index/files.json").await.is_none());
    assert_eq!(
        world.json("_index/audit.json").await["entries"]["audit/2026-08-01.jsonl"]["odd"],
        json!([1.5])
    );
    assert!(matches!(upkeep(&world).migrate(false).await, Err(SyncError::NothingToMigrate { .. })));
    assert_eq!(migrated.monolith_is_empty, world.s3_server().is_some());
    if migrated.monolith_is_empty {
        assert!(world.version(INDEX).await.unwrap().as_str().ends_with("-1"));
        assert_eq!(world.index_keys().await, [""; 0]);
    }
    assert_eq!(world.peer().await.files(), before);
    running.write("audit/new", "x");
    assert!(running.push().await.settled, "who ran before sees the shards");
    assert!(world.json("_index/audit.json").await["entries"]["audit/new"].is_object());
}

async fn what_has_no_shard_is_migrated_only_if_it_is_asked_for(world: World) {
    let peer = world.peer().await;
    peer.write("src/main.rs", "fn main() {}");
    peer.write("audit/a", "1");
    peer.push().await;
    let before = world.index_keys().await;
    let Err(SyncError::NoShard { keys, .. }) = upkeep(&world).migrate(false).await else {
        panic!("it was migrated");
    };
    assert_eq!(keys, ["src/main.rs"]);
    assert_eq!(world.index_keys().await, before, "nothing was changed");
    assert!(world.object("_index/_meta.json").await.is_none());
    assert_eq!(upkeep(&world).migrate(true).await.unwrap().beside, 1);
    assert_eq!(world.peer().await.files(), ["audit/a", "src/main.rs"]);
}

async fn entries_are_shown_by_file_and_by_folder(world: World) {
    let peer = world.peer().await;
    for path in ["a/1", "a/2", "ab", "b"] {
        peer.write(path, path);
    }
    peer.push().await;
    let upkeep = upkeep(&world);
    let shown = |paths: &'static [&'static str]| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let upkeep = &upkeep;
        async move {
            let entries = upkeep.entries(&paths).await.unwrap();
            entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        }
    };
    assert_eq!(shown(&["a"]).await, ["a/1", "a/2"]);
    assert_eq!(shown(&["b", "a/1"]).await, ["a/1", "b"]);
    assert_eq!(shown(&[]).await.len(), 4);
    assert_eq!(upkeep.show().await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_monolith_that_cannot_be_emptied_is_brought_up_when_a_machine_rests() {
    for (world, is_brought_up) in [(World::folder().await, true), (World::s3().await, false)] {
        world.put_fixture("bucket-v2").await;
        let frozen = world.object(INDEX).await;
        let peer = world.peer().await;
        peer.sync.bring_up_monolith().await.unwrap();
        peer.write("audit/new", "x");
        peer.write("src/main.rs", "y");
        assert!(peer.push().await.settled);
        assert_eq!(world.object(INDEX).await, frozen, "a push leaves it alone");
        peer.sync.bring_up_monolith().await.unwrap();
        assert_eq!(world.object(INDEX).await != frozen, is_brought_up);
        if is_brought_up {
            assert_eq!(world.index_keys().await, peer.files());
            assert_eq!(
                found(&upkeep(&world).verify().await.unwrap()),
                [(Problem::UnlistedShards, vec!["data--orphan--m-0404"])]
            );
        }
        peer.forget_requests();
        peer.sync.bring_up_monolith().await.unwrap();
        assert_eq!(peer.requests(), [""; 0], "nothing was committed since");
        assert!(peer.push().await.settled);
    }
}
