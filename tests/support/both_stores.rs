//! Runs each test over every kind of bucket.

/// Makes each function a test of the buckets that copy parts.
macro_rules! where_parts_are_copied {
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

/// Makes each function a test of every kind of bucket.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        where_parts_are_copied!($($name),+);
        mod on_gcs {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::world::World::gcs().await).await;
                }
            )+
        }
    };
}
