//! A holding that somebody took is noticed, and nothing of the taker's is touched.

use std::sync::Arc;
use std::time::Duration;

use bayou::sync::SyncError;

use super::rig::{self, foreign, nonce, patient, turning};
use crate::world::World;

on_all_stores! {
    l_7_who_was_robbed_leaves_the_thief_s_lock_alone,
    w_23_a_holding_that_was_taken_is_noticed_before_the_next_write,
    w_23_a_lock_that_was_removed_is_lost,
    w_23_a_renewal_never_writes_over_a_thief,
    a_holding_that_was_nearly_forgotten_is_renewed_when_it_is_checked,
    after_a_loss_the_lock_is_waited_for_again,
}

async fn l_7_who_was_robbed_leaves_the_thief_s_lock_alone(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    rig::put_foreign(&world, &foreign(Some("thief"))).await;
    drop(held);
    turning(&world, client.lock.idle()).await;
    assert_eq!(nonce(&world).await, "thief");
}

async fn w_23_a_holding_that_was_taken_is_noticed_before_the_next_write(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    let other = turning(&world, client.lock.hold()).await.unwrap();
    held.check().await.unwrap();
    let before = client.store.count("get");
    rig::put_foreign(&world, &foreign(Some("thief"))).await;
    let lost = held.check().await.unwrap_err();
    let SyncError::LockLost { ref by, .. } = lost else { panic!("{lost}") };
    assert_eq!(by, "alice@build-3 (pid 4711)");
    assert_eq!(client.store.count("get") - before, 1);
    assert!(other.is_lost(), "everybody who has it learns of it");
    assert!(matches!(other.check().await, Err(SyncError::LockLost { .. })));
    assert_eq!(client.store.count("get") - before, 1, "what is lost is not asked about again");
}

async fn w_23_a_lock_that_was_removed_is_lost(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    world.delete(rig::LOCK).await;
    let lost = held.check().await.unwrap_err();
    assert!(lost.to_string().contains("somebody who removed it"), "{lost}");
}

async fn w_23_a_renewal_never_writes_over_a_thief(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    rig::put_foreign(&world, &foreign(Some("thief"))).await;
    rig::until(&world, "left to the thief", |_| held.is_lost()).await;
    assert_eq!(nonce(&world).await, "thief");
    drop(held);
    turning(&world, client.lock.idle()).await;
    assert_eq!(nonce(&world).await, "thief");
}

/// Its process was stopped, or its machine slept, for most of the time that the lock counts.
async fn a_holding_that_was_nearly_forgotten_is_renewed_when_it_is_checked(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    // The clock stands still: nothing is renewed but by the check. On a folder this looks as if
    // another had written it.
    rig::age(&world, Duration::from_secs(25));
    if world.gcs_server().is_some() {
        // Nobody there tells the time of what is read: this machine's own clocks count.
        world.clock.advance(Duration::from_secs(25));
    }
    held.check().await.unwrap();
    let age = rig::age_of(&world).await;
    assert!(age < Duration::from_secs(20), "{age:?}");
    held.check().await.unwrap();
}

async fn after_a_loss_the_lock_is_waited_for_again(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    rig::put_foreign(&world, &foreign(Some("thief"))).await;
    held.check().await.unwrap_err();
    let waiting = tokio::spawn({
        let lock = Arc::clone(&client.lock);
        async move { lock.hold().await }
    });
    world.delete(rig::LOCK).await;
    let again = turning(&world, waiting).await.unwrap().unwrap();
    assert_ne!(again.nonce(), held.nonce());
    drop(held);
    turning(&world, async {
        for _ in 0..20 {
            again.check().await.unwrap();
        }
    })
    .await;
}
