//! Swamp and we exclude each other, and tell each other who we are.

use std::sync::Arc;

use bayou::model::lock_body::LockBody;
use bayou::sync::SyncError;

use super::rig::{self, LOCK, impatient, patient, seen, turning};
use crate::pace::Pace;
use crate::swamp::{Bucket, Lock};
use crate::world::World;

on_both_stores! {
    l_8_who_of_both_comes_second_waits,
    l_8_swamp_is_told_who_holds_it,
    w_23_swamp_that_breaks_our_lock_is_noticed,
}

async fn l_8_who_of_both_comes_second_waits(world: World) {
    let world = Arc::new(world);
    let theirs = Lock::new(&Bucket::new(&world, Pace::new()), LOCK);
    let ours = impatient(&world);
    assert!(theirs.try_acquire().await.unwrap());
    let waited = turning(&world, ours.lock.hold()).await.unwrap_err();
    assert!(matches!(waited, SyncError::LockHeld { .. }), "{waited}");
    assert!(theirs.heartbeat().await.unwrap());
    theirs.release().await.unwrap();

    let held = turning(&world, ours.lock.hold()).await.unwrap();
    let theirs = Lock::new(&Bucket::new(&world, Pace::new()), LOCK);
    assert!(!theirs.try_acquire().await.unwrap());
    assert!(!theirs.heartbeat().await.unwrap());
    held.check().await.unwrap();
    drop(held);
    turning(&world, ours.lock.idle()).await;
    assert!(theirs.try_acquire().await.unwrap());
    theirs.release().await.unwrap();
    assert!(seen(&world).await.is_none());
}

async fn l_8_swamp_is_told_who_holds_it(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    let text = world.object(LOCK).await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let members: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(members, ["holder", "hostname", "pid", "acquiredAt", "ttlMs", "nonce"]);
    let host = bayou::os::host::host_name();
    assert_eq!(value["holder"], format!("{}@{host}", bayou::os::host::user_name()));
    assert_eq!((&value["hostname"], &value["pid"]), (&host.into(), &std::process::id().into()));
    assert_eq!((&value["ttlMs"], &value["nonce"]), (&30_000.into(), &held.nonce().into()));
    assert_eq!(LockBody::parse(&text).unwrap().to_bytes(), text);
}

/// Swamp takes a lock for dead by its own clock and deletes it whatever it is by then.
async fn w_23_swamp_that_breaks_our_lock_is_noticed(world: World) {
    let world = Arc::new(world);
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    rig::age(&world, std::time::Duration::from_secs(31));
    let thief = Lock::new(&Bucket::new(&world, Pace::new()), LOCK);
    assert!(!thief.try_acquire().await.unwrap());
    assert!(thief.try_acquire().await.unwrap());
    let lost = held.check().await.unwrap_err();
    assert!(lost.to_string().contains("was lost to neighbour@swamp (pid 4711)"), "{lost}");
    drop(held);
    turning(&world, client.lock.idle()).await;
    assert!(thief.heartbeat().await.unwrap(), "its lock is left alone");
}
