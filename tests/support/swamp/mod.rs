//! Swamp's sync service as it really behaves, for tests of who shares a bucket with it.
//!
//! Written from what swamp is known to do, its mistakes included: everything but its lock is
//! put unconditionally, pulls rewrite the index without the lock, sizes alone are compared, and
//! what is absent here may be deleted there. Nothing of bayou's own sync is used.

mod bucket;
mod fast_path;
mod index;
mod lock;
mod machine;
mod migrate;
pub(crate) mod names;
mod pull;
mod push;
mod shards;
mod sidecar;
mod two_phase;
mod walk;
mod writeback;

use std::fmt;
use std::sync::Arc;

use bayou::store::StoreError;

pub(crate) use bucket::Bucket;
pub(crate) use lock::Lock;
pub(crate) use machine::Machine;
use names::is_internal;
pub(crate) use pull::Pull;

use index::Index;
use sidecar::State;

/// One process of swamp: what it remembers, over a machine's disk and a bucket.
pub(crate) struct Process {
    bucket: Bucket,
    machine: Arc<Machine>,
    state: State,
    /// The index in memory, whole or what scoped pulls brought of it.
    index: Option<Index>,
    /// Whether the index in memory lost entries that the bucket's still has.
    mutated: bool,
}

impl Process {
    /// Starts a process that has loaded nothing yet.
    pub(crate) fn start(bucket: &Bucket, machine: &Arc<Machine>) -> Self {
        let (bucket, machine) = (bucket.clone(), Arc::clone(machine));
        Self { bucket, state: State::of(&machine), machine, index: None, mutated: false }
    }

    /// Fetches one file by its key; returns whether there is one.
    pub(crate) async fn hydrate(&self, key: &str) -> Result<bool> {
        let Some((body, _)) = self.bucket.get(key).await? else { return Ok(false) };
        self.machine.write(key, body)?;
        Ok(true)
    }
}

/// The outcome of what swamp does.
pub(crate) type Result<T> = std::result::Result<T, Failed>;

/// Why swamp gave up.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl Failed {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StoreError> for Failed {
    fn from(failed: StoreError) -> Self {
        Self(failed.to_string())
    }
}

impl From<serde_json::Error> for Failed {
    fn from(damaged: serde_json::Error) -> Self {
        Self(damaged.to_string())
    }
}
