//! Buckets with an index of each kind.

use bayou::model::shard::{META_KEY, Meta, ShardRole};
use bayou::os::durable_file;

use crate::daemon::{Place, text};

/// How the index of the bucket is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    /// One document.
    Alone,
    /// One document, with swamp's copies of its parts beside it.
    Copied,
    /// Swamp's shards, with an index of ours beside them.
    Sharded,
}

impl Index {
    /// Returns where a program works: below a name that swamp has shards for, where there are any.
    pub(crate) fn folder(self, number: usize) -> String {
        match self {
            Self::Alone => format!("p{number}"),
            Self::Copied | Self::Sharded => format!("data/type/p{number}"),
        }
    }

    /// Makes the index of a bucket that has one document so.
    pub(crate) fn lay_out(self, place: &Place) {
        match self {
            Self::Alone => {}
            Self::Copied => {
                let meta = Meta { role: ShardRole::Copies, partitions: Vec::new() };
                let path = place.bucket().join(META_KEY);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                durable_file::replace(&path, &meta.to_bytes()).unwrap();
            }
            Self::Sharded => {
                let said = place.run(&["index", "migrate", "--keep-beside", text(&place.bucket())]);
                assert!(said.status.success(), "{said:?}");
            }
        }
    }
}
