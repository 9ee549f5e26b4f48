//! Swamp's lock: exclusive while everybody behaves, and broken without a condition.

use std::sync::Arc;

use crate::pace::Pace;
use crate::swamp::{Bucket, Lock};
use crate::world::World;

on_both_stores!(only_one_holds_the_lock, a_thief_is_overwritten_by_a_late_heartbeat);

const KEY: &str = ".datastore.lock";

async fn only_one_holds_the_lock(world: World) {
    let world = Arc::new(world);
    let bucket = Bucket::new(&world, Pace::new());
    let (mine, theirs) = (Lock::new(&bucket, KEY), Lock::new(&bucket, KEY));
    assert!(mine.try_acquire().await.unwrap());
    assert!(!theirs.try_acquire().await.unwrap());
    assert!(mine.heartbeat().await.unwrap());
    assert!(!theirs.heartbeat().await.unwrap());
    theirs.release().await.unwrap();
    assert!(world.version(KEY).await.is_some(), "what is not ours is not let go of");
    mine.release().await.unwrap();
    assert!(world.version(KEY).await.is_none());
}

async fn a_thief_is_overwritten_by_a_late_heartbeat(world: World) {
    let world = Arc::new(world);
    let pace = Pace::new();
    let slow = Lock::new(&Bucket::new(&world, Arc::clone(&pace)), KEY);
    assert!(slow.try_acquire().await.unwrap());
    let thief = Lock::new(&Bucket::new(&world, Pace::new()), KEY);
    {
        let mut beating = std::pin::pin!(slow.heartbeat());
        assert!(pace.advance(1, beating.as_mut()).await.is_none(), "it has looked and not written");
        world.delete(KEY).await;
        assert!(thief.try_acquire().await.unwrap());
        pace.open();
        assert!(beating.await.unwrap());
    }
    assert!(!thief.heartbeat().await.unwrap(), "the thief has lost it again");
    assert!(slow.heartbeat().await.unwrap());
}
