//! Answers that never come, come late, or say no.

use std::sync::Arc;

use bayou::store::ErrorKind;
use bayou::store::SharedStore;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::sync::SyncError;
use bayou::sync::lock::LockOptions;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use super::rig::{self, LOCK, client_over, nonce, patient, seen, turning};
use crate::world::World;

on_servers! {
    w_28_a_lock_whose_answer_was_lost_is_recognised,
    w_28_a_lock_whose_answer_was_lost_twice_is_recognised_by_the_repetition,
    w_28_a_lock_that_nobody_knows_of_does_not_keep_its_own_process_out,
    l_9_a_late_renewal_is_removed,
    l_9_a_renewal_whose_answer_was_lost_is_removed_too,
    who_gives_up_waiting_leaves_no_lock,
    a_release_that_fails_does_not_keep_its_own_process_out,
    a_refused_lock_says_that_it_is_denied,
    a_check_that_gets_no_answer_is_no_loss,
}

async fn w_28_a_lock_whose_answer_was_lost_is_recognised(world: World) {
    let lost = world.server().fault(Fault::on(Op::PutObject, Action::ApplyThenCut).key(LOCK).first(1));
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    assert_eq!((lost.fired(), client.store.count("put")), (1, 1));
    held.check().await.unwrap();
    assert_eq!(nonce(&world).await, held.nonce());
}

async fn w_28_a_lock_whose_answer_was_lost_twice_is_recognised_by_the_repetition(world: World) {
    let lost = world.server().fault(Fault::on(Op::PutObject, Action::ApplyThenCut).key(LOCK).first(2));
    let clock = Arc::new(Arc::clone(&world.clock));
    let retrying: SharedStore =
        Arc::new(RetryingStore::new(Arc::clone(&world.bucket), clock, RetryPolicy::default()));
    let client = client_over(&world, retrying, LockOptions::default());
    let held = turning(&world, client.lock.hold()).await.unwrap();
    assert_eq!(lost.fired(), 2);
    held.check().await.unwrap();
}

async fn w_28_a_lock_that_nobody_knows_of_does_not_keep_its_own_process_out(world: World) {
    let client = patient(&world);
    world.server().fault(Fault::on(Op::PutObject, Action::ApplyThenCut).key(LOCK).first(1));
    // Neither can it be looked at; where conditions are ignored it is looked at before, too.
    let looks = if world.conditions.put { 1..=1 } else { 2..=2 };
    world.server().fault(Fault::on(Op::GetObject, Action::Cut).key(LOCK).nth(looks));
    let failed = turning(&world, client.lock.hold()).await.unwrap_err();
    assert_eq!(failed.store_kind(), Some(ErrorKind::Unreachable));
    let orphan = nonce(&world).await;
    let held = turning(&world, client.lock.hold()).await.unwrap();
    assert_ne!(held.nonce(), orphan);
    held.check().await.unwrap();
}

async fn l_9_a_late_renewal_is_removed(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(LOCK).first(1));
    turning(&world, gate.wait_for(1)).await;
    drop(held);
    gate.open();
    turning(&world, client.lock.idle()).await;
    assert!(seen(&world).await.is_none());
}

async fn l_9_a_renewal_whose_answer_was_lost_is_removed_too(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    let before = seen(&world).await.unwrap().version;
    world.server().fault(Fault::on(Op::PutObject, Action::ApplyThenCut).key(LOCK).first(1));
    rig::until(&world, "renewed", |now| now.is_some_and(|now| now.version != before)).await;
    drop(held);
    turning(&world, client.lock.idle()).await;
    assert!(seen(&world).await.is_none());
}

async fn who_gives_up_waiting_leaves_no_lock(world: World) {
    let client = patient(&world);
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key(LOCK).first(1));
    let giving_up = tokio::spawn({
        let lock = Arc::clone(&client.lock);
        async move { lock.hold().await }
    });
    turning(&world, gate.wait_for(1)).await;
    giving_up.abort();
    gate.open();
    turning(&world, client.lock.idle()).await;
    assert!(seen(&world).await.is_none());
    drop(turning(&world, client.lock.hold()).await.unwrap());
}

async fn a_release_that_fails_does_not_keep_its_own_process_out(world: World) {
    let client = patient(&world);
    let refused = Action::Refuse(Refusal::internal_error());
    let held = turning(&world, client.lock.hold()).await.unwrap();
    let fault = world.server().fault(Fault::on(Op::DeleteObject, refused).key(LOCK));
    drop(held);
    turning(&world, client.lock.idle()).await;
    assert!(fault.fired() > 1, "it is tried again");
    assert!(seen(&world).await.is_some());
    fault.remove();
    let again = turning(&world, client.lock.hold()).await.unwrap();
    again.check().await.unwrap();
}

async fn a_refused_lock_says_that_it_is_denied(world: World) {
    let refused = Action::Refuse(Refusal::access_denied());
    world.server().fault(Fault::on(Op::PutObject, refused).key(LOCK));
    let failed = turning(&world, patient(&world).lock.hold()).await.unwrap_err();
    assert_eq!(failed.store_kind(), Some(ErrorKind::Denied));
    assert!(matches!(failed, SyncError::Store { .. }));
    assert!(failed.to_string().contains("Taking the lock \".datastore.lock\" of s3://bucket"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_knows_no_conditions_is_asked_without_them() {
    let world = rig::careless().await;
    let unknown = Action::Refuse(Refusal::new(501, "NotImplemented"));
    world.server().fault(Fault::on(Op::PutObject, unknown).key(LOCK).first(1));
    let held = turning(&world, patient(&world).lock.hold()).await.unwrap();
    held.check().await.unwrap();
}

async fn a_check_that_gets_no_answer_is_no_loss(world: World) {
    let client = patient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    world.server().fault(Fault::on(Op::GetObject, Action::Cut).key(LOCK).first(1));
    let failed = held.check().await.unwrap_err();
    assert_eq!(failed.store_kind(), Some(ErrorKind::Unreachable));
    assert!(!held.is_lost());
    held.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_delete_takes_its_own_lock_again() {
    let world = World::s3().await;
    let refused = Action::Refuse(Refusal::access_denied());
    world.server().fault(Fault::on(Op::DeleteObject, refused).key(LOCK));
    let client = patient(&world);
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let held = turning(&world, client.lock.hold()).await.unwrap();
        held.check().await.unwrap();
        nonces.insert(held.nonce().to_owned());
        drop(held);
        turning(&world, client.lock.idle()).await;
    }
    assert_eq!(nonces.len(), 3);
}
