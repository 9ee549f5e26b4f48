//! The lock of the bucket: taking turns with others, living and dead, on a folder, on a strict
//! S3 server, and on one that ignores conditions.

mod rig;

/// Makes each function a test of every kind of bucket.
macro_rules! on_all_stores {
    ($($name:ident),+ $(,)?) => {
        on_both_stores! { $($name),+ }
        on_careless_s3! { $($name),+ }
    };
}

/// Makes each function a test of a server that ignores conditions on writes.
macro_rules! on_careless_s3 {
    ($($name:ident),+ $(,)?) => {
        mod on_careless_s3 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::locks::rig::careless().await).await;
                }
            )+
        }
    };
}

/// Makes each function a test of both kinds of S3 server.
macro_rules! on_servers {
    ($($name:ident),+ $(,)?) => {
        mod on_s3 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::world::World::s3().await).await;
                }
            )+
        }
        on_careless_s3! { $($name),+ }
    };
}

mod breaking;
mod commits;
mod fencing;
mod holding;
mod lost_answers;
mod neighbour;
