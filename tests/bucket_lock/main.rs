//! The lock of the bucket: taking turns with others, living and dead, on a folder, on a strict
//! S3 server, and on one that ignores conditions.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/peer.rs"]
#[expect(dead_code, reason = "no peer of ours takes part here")]
mod peer;
#[path = "../support/world.rs"]
#[expect(dead_code, reason = "the tests of sync do more with it")]
mod world;

mod rig;

/// Makes each function a test of every kind of bucket.
macro_rules! on_all_stores {
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
        mod on_s3_without_conditions {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::rig::careless().await).await;
                }
            )+
        }
    };
}

mod holding;
