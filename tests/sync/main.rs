//! The sync floor without a kernel: machines that pull and push, over a folder used as a bucket
//! and over real HTTP against a strict S3 server with faults, gates and request counters.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/peer.rs"]
mod peer;
#[path = "../support/world.rs"]
mod world;

/// Makes each function a test of both kinds of bucket.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod on_a_folder {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::world::World::folder().await).await;
                }
            )+
        }
        mod on_s3 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::world::World::s3().await).await;
                }
            )+
        }
    };
}

mod conflicts;
mod discovery;
mod durability;
mod failures;
mod layouts;
mod model;
mod names;
mod races;
mod requests;
mod seeds;
mod swamp_rows;
