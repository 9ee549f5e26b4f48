//! Turning one document into shards, once and completely (C-138 to C-142), so that nobody is
//! misled by what is left of it (W-0, W-0b, W-15). What swamp does with it is tried on S3 only: a
//! folder is no store that its service knows.

use std::sync::Arc;

use bayou::model::lock_name::LockName;
use bayou::os::clock::SystemClock;
use bayou::store::SharedStore;
use bayou::store::prefix::Prefixed;
use bayou::sync::SyncError;
use bayou::sync::lock::{BucketLock, LockOptions};
use bayou::sync::upkeep::Upkeep;

use super::neighbour::{META, Neighbour, commit_seq, partitions, sharded, sharded_entries};
use super::peer::PeerOptions;
use super::world::{INDEX, World};

on_both_stores!(
    c_138_a_migration_yields_shards_and_their_meta_document,
    c_139_no_entry_is_lost_in_a_migration,
    c_140_a_migration_that_broke_off_can_be_made_again,
    c_141_a_migration_of_a_namespace_stays_in_it,
    c_142_a_lost_meta_document_is_made_anew_from_the_shards,
);

/// Returns the keeper of the index of the bucket, or of a namespace.
fn upkeep(world: &World, namespace: Option<&str>) -> Upkeep {
    let root = Arc::clone(&world.bucket);
    let name = namespace.map(|name| name.parse().unwrap());
    let key = LockName::of_bucket(name.as_ref()).key();
    let clock = SystemClock::shared();
    let lock =
        BucketLock::new(Arc::clone(&root), key, Arc::clone(&clock), world.conditions, LockOptions::default());
    let store: SharedStore = match namespace {
        Some(namespace) => Arc::new(Prefixed::new(root, namespace)),
        None => root,
    };
    Upkeep::new(store, lock, clock)
}

async fn migrate(world: &World) {
    upkeep(world, None).migrate(false).await.unwrap();
}

async fn filled(world: World, files: &[(&str, &str)]) -> (Arc<World>, Neighbour) {
    let world = Arc::new(world);
    let swamp = Neighbour::new(&world);
    assert_eq!(swamp.push_all(files).await as usize, files.len());
    (world, swamp)
}

async fn c_138_a_migration_yields_shards_and_their_meta_document(world: World) {
    let (world, _) = filled(world, &[("data/t/one/d/1/raw", "x"), ("audit/a", "y")]).await;
    let before = world.index().await["entries"].clone();
    migrate(&world).await;
    assert_eq!(partitions(&world.json(META).await), ["audit", "data--t--one"]);
    assert_eq!(commit_seq(&world).await, 1);
    assert_eq!(serde_json::Value::from(sharded_entries(&world).await), before);
    assert_eq!(Neighbour::new(&world).pull().await, 2);
}

async fn c_139_no_entry_is_lost_in_a_migration(world: World) {
    let files = [
        ("workflows-evaluated/a.yaml", "1"),
        ("workflows-evaluated/b.yaml", "2"),
        (".catalog-export.json", "[]"),
        ("data/t/one/d/1/raw", "3"),
    ];
    let (world, _) = filled(world, &files).await;
    migrate(&world).await;
    assert_eq!(sharded_entries(&world).await.len(), 4);
    assert_eq!(partitions(&world.json(META).await), ["_root", "data--t--one", "workflows-evaluated"]);
    // What swamp has no shard for keeps a migration from being made, and nothing is changed.
    let (other, swamp) = filled(World::folder().await, &[("audit/a", "x")]).await;
    swamp.push_all(&[("definitions-evaluated/t/id.yaml", "y")]).await;
    let before = other.keys().await;
    let keeper = upkeep(&other, None);
    assert!(matches!(keeper.migrate(false).await, Err(SyncError::NoShard { .. })));
    keeper.finish().await;
    assert_eq!(other.keys().await, before);
    keeper.migrate(true).await.unwrap();
    let reader = other.peer().await;
    assert_eq!(reader.text("definitions-evaluated/t/id.yaml").await, "y");
}

async fn c_140_a_migration_that_broke_off_can_be_made_again(world: World) {
    let (world, _) = filled(world, &[("data/t/one/d/1/raw", "x"), ("audit/a", "y")]).await;
    // One shard is written, and one of a name that nothing is in any more.
    world.put("_index/audit.json", r#"{"version":1,"entries":{}}"#).await;
    world.put("_index/logs.json", r#"{"version":1,"entries":{}}"#).await;
    migrate(&world).await;
    assert_eq!(sharded_entries(&world).await.len(), 2);
    assert_eq!(partitions(&world.json(META).await), ["audit", "data--t--one"]);
    assert_eq!(world.peer().await.text("audit/a").await, "y");
}

async fn c_141_a_migration_of_a_namespace_stays_in_it(world: World) {
    let options = PeerOptions { namespace: Some("infra"), ..PeerOptions::default() };
    let peer = world.peer_with(options.clone()).await;
    peer.write("data/t/one/d/1/raw", "x");
    peer.push().await;
    upkeep(&world, Some("infra")).migrate(false).await.unwrap();
    let keys = world.keys().await;
    assert!(!keys.iter().any(|key| key.starts_with("_index/") || key == INDEX), "{keys:?}");
    let meta = world.json("infra/_index/_meta.json").await;
    assert_eq!((&meta["version"], partitions(&meta)), (&2.into(), vec!["data--t--one".to_owned()]));
    assert_eq!(world.peer_with(options).await.text("data/t/one/d/1/raw").await, "x");
}

async fn c_142_a_lost_meta_document_is_made_anew_from_the_shards(world: World) {
    let (world, swamp, _) = sharded(world).await;
    swamp.push("audit/later", "x").await;
    for monolith in [true, false] {
        world.delete(META).await;
        if !monolith {
            world.put(INDEX, r#"{"version":1,"lastPulled":"2026-08-01T09:31:12.500Z","entries":{}}"#).await;
        }
        let refused = upkeep(&world, None).migrate(false).await;
        assert!(matches!(refused, Err(SyncError::NothingToMigrate { .. })), "{refused:?}");
        upkeep(&world, None).repair().await.unwrap();
        assert_eq!(sharded_entries(&world).await.len(), 5, "what the old monolith lacks is there as well");
        assert_eq!(Neighbour::new(&world).pull().await, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_0_and_w_0b_swamp_sees_what_comes_after_our_migration() {
    let (world, writer) = filled(World::s3().await, &[("audit/a", "x")]).await;
    let reader = Neighbour::new(&world);
    assert_eq!(reader.pull().await, 1);
    assert_eq!(reader.pull().await, 0, "it is in step with the monolith");
    migrate(&world).await;
    let peer = world.peer().await;
    peer.write("audit/b", "after");
    assert!(peer.push().await.settled);
    assert_eq!(reader.pull().await, 1);
    assert_eq!(reader.text("audit/b").unwrap(), "after");
    // A model without a shard sends swamp to the monolith: it must not stay there.
    let scoped = Neighbour::new(&world);
    scoped.pull_model("t/new").await;
    peer.write("audit/c", "later");
    assert!(peer.push().await.settled);
    scoped.pull().await;
    assert_eq!(scoped.text("audit/c").unwrap(), "later");
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_15_shards_are_not_migrated_again() {
    let (world, swamp) = filled(World::s3().await, &[("audit/a", "x"), ("data/t/one/d/1/raw", "y")]).await;
    migrate(&world).await;
    let peer = world.peer().await;
    peer.write("audit/b", "after");
    peer.write("logs/new", "after");
    assert!(peer.push().await.settled);
    let again = upkeep(&world, None).migrate(false).await;
    assert!(matches!(again, Err(SyncError::NothingToMigrate { .. })), "{again:?}");
    // Swamp's own command does not refuse; it finds nothing that it could roll back to.
    swamp.process().migrate_index().await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(301));
    let names = ["audit/a", "audit/b", "data/t/one/d/1/raw", "logs/new"];
    assert_eq!(world.peer().await.files(), names);
    peer.pull().await;
    assert_eq!(peer.files(), names);
}
