//! The neighbour that the other tests play against, checked against what swamp's real service did:
//! recorded scenarios are replayed, and requests, counts, buckets, caches and sidecars compared.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/pace.rs"]
#[expect(dead_code, reason = "no machine of ours is stopped here")]
mod pace;
#[path = "../support/peer.rs"]
#[expect(dead_code, reason = "no peer of ours takes part here")]
mod peer;
#[path = "../support/swamp/mod.rs"]
#[expect(dead_code, reason = "the rude neighbour does more elsewhere")]
mod swamp;
#[path = "../support/world.rs"]
#[expect(dead_code, reason = "the tests of sync do more with it")]
mod world;

/// Makes each function a test of both kinds of bucket.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod on_a_folder {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::world::World::folder().await).await;
                }
            )+
        }
        mod on_s3 {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::world::World::s3().await).await;
                }
            )+
        }
    };
}

mod golden;
mod locks;
mod races;
mod replay;
mod weaknesses;
