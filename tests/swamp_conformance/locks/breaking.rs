//! Taking a lock from the dead, and breaking one because a person says so.

use std::time::Duration;

use bayou::model::key::ObjectKey;
use bayou::model::lock_body::LockBody;
use bayou::os::clock::{Clock, SystemClock};
use bayou::sync::SyncError;
use bayou::sync::lock::{Broken, force_release};

use super::rig::{self, LOCK, foreign, nonce, seen, turning};
use crate::world::World;

on_all_stores! {
    l_4_only_the_lock_that_was_seen_is_broken,
    l_4_a_lock_that_cannot_be_read_can_be_broken,
    l_6_a_lock_that_comes_back_dead_is_not_removed_for_ever,
    w_23_a_lock_is_not_dead_because_our_clock_says_so,
    w_23_of_two_who_find_it_dead_one_has_it,
}

async fn l_4_only_the_lock_that_was_seen_is_broken(world: World) {
    let (store, key) = (&*world.bucket, ObjectKey::new(LOCK));
    assert!(seen(&world).await.is_none());
    rig::put_foreign(&world, &foreign(Some("first"))).await;
    let first = seen(&world).await.unwrap();
    // Its holder renews it: it is the same one still.
    let renewed = LockBody {
        acquired_at: foreign(None).acquired_at,
        ttl: Duration::from_secs(31),
        ..foreign(Some("first"))
    };
    rig::put_foreign(&world, &renewed).await;
    assert_eq!(force_release(store, &key, &first).await.unwrap(), Broken::Yes);
    assert_eq!(force_release(store, &key, &first).await.unwrap(), Broken::WasGone);
    rig::put_foreign(&world, &foreign(Some("second"))).await;
    assert_eq!(force_release(store, &key, &first).await.unwrap(), Broken::Changed);
    assert_eq!(nonce(&world).await, "second");
}

async fn l_4_a_lock_that_cannot_be_read_can_be_broken(world: World) {
    let (store, key) = (&*world.bucket, ObjectKey::new(LOCK));
    world.put(LOCK, "garbage").await;
    let garbage = seen(&world).await.unwrap();
    assert!(garbage.body.is_none() && !garbage.is_dead());
    world.put(LOCK, "other garbage").await;
    assert_eq!(force_release(store, &key, &garbage).await.unwrap(), Broken::Changed);
    let garbage = seen(&world).await.unwrap();
    assert_eq!(force_release(store, &key, &garbage).await.unwrap(), Broken::Yes);
    assert!(seen(&world).await.is_none());
}

async fn l_6_a_lock_that_comes_back_dead_is_not_removed_for_ever(world: World) {
    let ours = rig::patient_for(&world, 10);
    let mut holding = std::pin::pin!(ours.lock.hold());
    let outcome = loop {
        if seen(&world).await.is_none() {
            rig::put_foreign(&world, &foreign(Some("theirs"))).await;
            rig::set_written(&world, SystemClock.now() - Duration::from_secs(3600));
        }
        tokio::select! {
            biased;
            outcome = &mut holding => break outcome,
            _ = seen(&world) => world.clock.advance(Duration::from_millis(50)),
        }
    };
    assert!(matches!(outcome, Err(SyncError::LockHeld { .. })), "{outcome:?}");
    assert!(ours.store.count("delete") <= 3, "{:?}", ours.store.requests());
}

async fn w_23_a_lock_is_not_dead_because_our_clock_says_so(world: World) {
    rig::put_foreign(&world, &foreign(Some("theirs"))).await;
    world.clock.advance(Duration::from_secs(24 * 3600));
    turning(&world, rig::patient_for(&world, 1).lock.hold()).await.unwrap_err();
    assert_eq!(nonce(&world).await, "theirs");
}

async fn w_23_of_two_who_find_it_dead_one_has_it(world: World) {
    for _ in 0..2 {
        rig::put_foreign(&world, &foreign(Some("theirs"))).await;
        rig::age(&world, Duration::from_secs(60));
        let both = [rig::patient_for(&world, 5), rig::patient_for(&world, 5)];
        let holding = futures::future::join_all(both.iter().map(|one| one.lock.hold()));
        let outcomes = turning(&world, holding).await;
        let mut sure = 0;
        for held in outcomes.iter().flatten() {
            sure += usize::from(held.check().await.is_ok());
        }
        assert_eq!(sure, 1, "{outcomes:?}");
        drop(outcomes);
        for one in &both {
            turning(&world, one.lock.idle()).await;
        }
        assert!(seen(&world).await.is_none());
    }
}
