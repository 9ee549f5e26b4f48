//! Real programs in a real mount: each on a folder bucket, over HTTP on the strict S3 server,
//! over HTTP and gRPC on the strict server of Google Cloud Storage, and some on an S3 server that we did not write.
//!
//! After each, a machine that knows nothing sees a byte-identical tree, and another client
//! reads every file under its own key.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/bucket.rs"]
mod bucket;
#[path = "../support/moto.rs"]
mod moto;
#[path = "../support/mounted.rs"]
mod mounted;
#[path = "../support/person.rs"]
#[expect(dead_code, reason = "people do more elsewhere")]
mod person;
#[path = "../support/tree.rs"]
mod tree;

mod building;
mod copying;
mod databases;
mod editors;
mod files;
mod logs;
mod searching;
mod text_tools;
mod versions;

/// Runs each of these functions on a new bucket of each kind, as a test of its own.
macro_rules! on_each_bucket {
    ($($test:ident,)*) => {
        mod on_a_folder {
            $(#[test] fn $test() { super::$test(&crate::bucket::Bucket::folder()) })*
        }
        mod over_s3 {
            $(#[test] fn $test() { super::$test(&crate::bucket::Bucket::strict()) })*
        }
        mod over_gcs {
            $(#[test] fn $test() { super::$test(&crate::bucket::Bucket::gcs()) })*
        }
    };
}
pub(crate) use on_each_bucket;

/// Runs each of these functions on a new bucket that is a folder, as a test of its own: what
/// programs do to files is the same whatever the bucket is.
macro_rules! on_one_bucket {
    ($($test:ident,)*) => {
        mod on_one_bucket {
            $(#[test] fn $test() { super::$test(&crate::bucket::Bucket::folder()) })*
        }
    };
}
pub(crate) use on_one_bucket;

/// Runs each of these functions on a new bucket of the server that we did not write.
macro_rules! on_moto {
    ($($test:ident,)*) => {
        mod over_moto {
            $(#[test] fn $test() { super::$test(&crate::bucket::Bucket::moto()) })*
        }
    };
}
pub(crate) use on_moto;
