//! What differs between backends, as each declares it.

use std::time::Duration;

#[cfg(doc)]
use super::ObjectStore;

/// What a backend can do, as it declares (what it really does is probed, see `probe`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Smallest size of a part but the last, in bytes.
    pub min_part_bytes: u64,
    /// Largest number of parts.
    pub max_parts: u32,
    /// Largest object that one `put` or `copy` may write, in bytes.
    pub max_put_bytes: u64,
    /// Whether the version of an object shows that it was uploaded in parts (S3: `…-1`).
    pub parts_show: bool,
    /// Whether parts must come in their order: each waits until the one before it was taken.
    pub parts_in_order: bool,
    /// Whether an upload may begin, and be worth its while, before it is known how long it gets.
    pub begins_early: bool,
    /// Whether a part can be made of an object's bytes ([`ObjectStore::copy_part`]).
    pub copies_parts: bool,
    /// How many objects can be put together into one ([`ObjectStore::compose`]); 0: none.
    pub most_components: usize,
    /// The least time between two writes of one object that the service allows.
    pub write_interval: Duration,
}
