//! Taking the lock, sharing it, waiting for it, giving it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bayou::model::lock_body::LockBody;
use bayou::sync::SyncError;
use bayou::sync::lock::{Held, LockOptions};

use super::rig::{self, Client, LOCK, client_of, foreign, impatient, nonce, patient, seen, turning};
use crate::world::World;

on_all_stores! {
    l_1_who_is_done_leaves_nothing_behind_and_may_begin_again,
    l_2_who_waits_in_vain_learns_who_holds_it,
    l_3_the_lock_of_a_dead_holder_is_taken_over,
    l_3_the_lock_of_a_living_holder_is_not,
    several_callers_share_one_holding,
    who_waits_gets_it_when_the_other_is_done,
    a_holding_is_renewed_while_it_lasts,
    l_5_the_key_is_used_as_it_is_given,
    who_always_needs_it_lets_others_have_a_turn,
    who_has_it_for_long_and_needs_it_again_shares_it_still,
    w_31_a_process_that_is_not_here_is_no_reason_to_take_its_lock,
}

async fn l_1_who_is_done_leaves_nothing_behind_and_may_begin_again(world: World) {
    let client = impatient(&world);
    for _ in 0..2 {
        let held = turning(&world, client.lock.hold()).await.unwrap();
        held.check().await.unwrap();
        assert_eq!(nonce(&world).await, held.nonce());
        drop(held);
        turning(&world, client.lock.idle()).await;
        assert!(seen(&world).await.is_none());
    }
    if world.conditions.put && world.conditions.delete {
        let asked: Vec<String> = client.store.take().iter().map(ToString::to_string).collect();
        let [put, get, delete, ..] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((put.as_str(), get.as_str()), ("put .datastore.lock (IfAbsent)", "get .datastore.lock"));
        assert!(delete.starts_with("delete .datastore.lock (IfVersion("), "{delete}");
        assert_eq!(asked.len(), 6);
    }
}

async fn l_2_who_waits_in_vain_learns_who_holds_it(world: World) {
    rig::put_foreign(&world, &foreign(Some("theirs"))).await;
    let failed = turning(&world, rig::patient_for(&world, 60).lock.hold()).await.unwrap_err();
    let SyncError::LockHeld { ref key, ref holder, waited, .. } = failed else { panic!("{failed}") };
    assert_eq!((key.as_str(), holder.as_str()), (LOCK, "alice@build-3 (pid 4711)"));
    assert!(waited >= Duration::from_secs(60), "{waited:?}");
    let (address, said) = (world.bucket.address(), failed.to_string());
    assert!(said.contains(&format!("`bayou lock release {address} --force`")), "{said}");
    assert_eq!(nonce(&world).await, "theirs");
}

async fn l_3_the_lock_of_a_dead_holder_is_taken_over(world: World) {
    for mark in [Some("theirs"), None] {
        rig::put_foreign(&world, &foreign(mark)).await;
        rig::age(&world, Duration::from_secs(37));
        let client = patient(&world);
        let held = turning(&world, client.lock.hold()).await.unwrap();
        held.check().await.unwrap();
        drop(held);
        turning(&world, client.lock.idle()).await;
    }
}

async fn l_3_the_lock_of_a_living_holder_is_not(world: World) {
    // Older than it says, but not by more than clocks may differ.
    rig::put_foreign(&world, &foreign(Some("theirs"))).await;
    rig::age(&world, Duration::from_secs(32));
    turning(&world, impatient(&world).lock.hold()).await.unwrap_err();
    // Ancient, but unreadable: nobody knows when it ends.
    world.put(LOCK, "{").await;
    rig::age(&world, Duration::from_secs(100_000));
    let failed = turning(&world, impatient(&world).lock.hold()).await.unwrap_err();
    assert!(failed.to_string().contains("somebody who left no name"), "{failed}");
    assert_eq!(world.object(LOCK).await.unwrap(), "{");
}

async fn several_callers_share_one_holding(world: World) {
    let client = patient(&world);
    let many = (0..5).map(|_| client.lock.hold());
    let mut held = turning(&world, futures::future::try_join_all(many)).await.unwrap();
    assert!(held.iter().all(|one| one.nonce() == held[0].nonce()));
    assert_eq!(client.store.count("put"), 1);
    let last = held.pop().unwrap();
    drop(held);
    last.check().await.unwrap();
    drop(last);
    turning(&world, client.lock.idle()).await;
    assert_eq!(client.store.count("delete"), 1);
}

async fn who_waits_gets_it_when_the_other_is_done(world: World) {
    let (first, second) = (patient(&world), patient(&world));
    let held = turning(&world, first.lock.hold()).await.unwrap();
    let waiting = waits(&second);
    turning(&world, async {
        while second.store.requests().len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(held);
    let theirs = turning(&world, waiting).await.unwrap().unwrap();
    theirs.check().await.unwrap();
    assert_eq!(nonce(&world).await, theirs.nonce());
}

async fn a_holding_is_renewed_while_it_lasts(world: World) {
    let client = impatient(&world);
    let held = turning(&world, client.lock.hold()).await.unwrap();
    for _ in 0..3 {
        let before = seen(&world).await.unwrap();
        rig::until(&world, "renewed", |now| now.is_some_and(|now| now.version != before.version)).await;
        let after = seen(&world).await.unwrap().body.unwrap();
        let passed = |body: &LockBody| body.acquired_at.time().unwrap().as_unix_ms();
        assert!(passed(&after) - passed(&before.body.unwrap()) >= 10_000, "it is renewed three times a ttl");
        assert_eq!(after.nonce.as_deref(), Some(held.nonce()));
        held.check().await.unwrap();
    }
}

async fn l_5_the_key_is_used_as_it_is_given(world: World) {
    for key in [".locks/infra.lock", "data/aws/ec2/vpc/m-1/.lock", "infra/data/probe/m-2/.lock"] {
        let client = client_of(&world, world.bucket.clone(), key, LockOptions::default());
        let held = turning(&world, client.lock.hold()).await.unwrap();
        assert_eq!(world.keys().await, [key]);
        drop(held);
        turning(&world, client.lock.idle()).await;
        assert_eq!(world.keys().await, [""; 0]);
    }
}

async fn w_31_a_process_that_is_not_here_is_no_reason_to_take_its_lock(world: World) {
    // On this machine, to go by its name, and surely not running.
    let hostname = bayou::os::host::host_name();
    let dead =
        LockBody { holder: format!("alice@{hostname}"), hostname, pid: Some(1 << 40), ..foreign(Some("n")) };
    rig::put_foreign(&world, &dead).await;
    turning(&world, rig::patient_for(&world, 1).lock.hold()).await.unwrap_err();
    assert_eq!(nonce(&world).await, "n");
}

async fn who_always_needs_it_lets_others_have_a_turn(world: World) {
    let (busy, other) = (patient(&world), patient(&world));
    let first = turning(&world, busy.lock.hold()).await.unwrap();
    world.clock.advance(Duration::from_secs(20));
    let mut again = Box::pin(busy.lock.hold());
    assert!(futures::poll!(again.as_mut()).is_pending(), "the holding is not shared any more");
    let waiting = waits(&other);
    drop(first);
    let theirs = turning(&world, waiting).await.unwrap().unwrap();
    theirs.check().await.unwrap();
    drop(theirs);
    turning(&world, again).await.unwrap().check().await.unwrap();
}

/// As when something is written under the lock while it is held.
async fn who_has_it_for_long_and_needs_it_again_shares_it_still(world: World) {
    let client = patient(&world);
    let first = turning(&world, client.lock.hold()).await.unwrap();
    world.clock.advance(Duration::from_secs(20));
    let again = turning(&world, client.lock.hold()).await.unwrap();
    assert_eq!(again.nonce(), first.nonce());
}

fn waits(client: &Client) -> tokio::task::JoinHandle<bayou::sync::Result<Held>> {
    let lock = client.lock.clone();
    tokio::spawn(async move { lock.hold().await })
}

mod together {
    on_both_stores!(l_8_many_never_hold_it_together);

    use super::l_8_many_never_hold_it_together;
}

async fn l_8_many_never_hold_it_together(world: World) {
    let (inside, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let working = (0..4).map(|_| {
        let client = patient(&world);
        let (inside, rounds) = (Arc::clone(&inside), Arc::clone(&rounds));
        tokio::spawn(async move {
            for _ in 0..3 {
                let held = client.lock.hold().await.unwrap();
                assert!(!inside.swap(true, Ordering::SeqCst), "somebody else is inside");
                held.check().await.unwrap();
                rounds.fetch_add(1, Ordering::SeqCst);
                assert!(inside.swap(false, Ordering::SeqCst));
                drop(held);
                client.lock.idle().await;
            }
        })
    });
    let working: Vec<_> = working.collect();
    for work in turning(&world, futures::future::join_all(working)).await {
        work.unwrap();
    }
    assert_eq!(rounds.load(Ordering::SeqCst), 12);
    assert!(seen(&world).await.is_none());
}

/// On one thread, which is the one that listens.
#[tokio::test]
async fn l_2_who_is_waited_for_is_named_in_the_log() {
    let world = World::folder().await;
    rig::put_foreign(&world, &foreign(Some("theirs"))).await;
    let log = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let writer = {
        let log = Arc::clone(&log);
        move || Log(Arc::clone(&log))
    };
    let listener = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let listening = tracing::subscriber::set_default(listener);
    let client = patient(&world);
    let mut holding = std::pin::pin!(client.lock.hold());
    let text = || String::from_utf8(log.lock().clone()).unwrap();
    turning(&world, async {
        while !text().contains("Waiting for the lock") {
            assert!(futures::poll!(holding.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(listening);
    let said = text();
    let told: Vec<&str> = said.lines().filter(|line| line.contains("Waiting for the lock")).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].contains("WARN") && told[0].contains("alice@build-3 (pid 4711)"), "{said}");
}

/// Keeps what is logged.
struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
