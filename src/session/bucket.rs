//! Reaching the bucket that people named, with retries and the prefix around it.

use std::path::Path;
use std::sync::Arc;

use super::failures;
use super::options::SessionOptions;
use crate::control::{Failure, FailureKind};
use crate::model::namespace::Namespace;
use crate::os::clock::SharedClock;
use crate::os::durable_file;
use crate::store::access::Access;
use crate::store::prefix::Prefixed;
use crate::store::probe::{Conditions, probe};
use crate::store::retry::{RetryPolicy, RetryingStore};
use crate::store::url::Source;
use crate::store::{ErrorKind, SharedStore};

/// The file, in the cache, that remembers what the store does with conditions.
const CONDITIONS_FILE: &str = "conditions.json";

/// A bucket that can be asked.
pub(super) struct Bucket {
    /// What everything asks: the namespace, or the whole.
    pub store: SharedStore,
    /// All that is below the prefix, where only locks and what was there before namespaces is
    /// asked for.
    pub root: SharedStore,
    /// The part of the bucket that is used.
    pub namespace: Option<Namespace>,
    /// Counts the requests.
    pub requests: Arc<RetryingStore>,
    /// What stands before each path in a key, in bytes.
    pub prefix_bytes: usize,
}

/// What is known of how the store treats writes.
pub(super) enum Writes {
    /// It does this with conditions.
    Allowed(Conditions),
    /// The credentials may only read.
    Denied,
    /// It could not be asked: nothing is assumed.
    Unknown,
}

/// Connects to the bucket; asks it nothing yet.
pub(super) async fn connect(options: &SessionOptions, clock: &SharedClock) -> Result<Bucket, Failure> {
    let (source, requests) = reach(&options.source, &options.access, clock).await?;
    let root: SharedStore = Arc::new(Prefixed::new(Arc::clone(&requests) as SharedStore, source.prefix()));
    let namespace = options.namespace.clone();
    let store = part_of(&root, namespace.as_ref());
    let prefixes = [source.prefix(), namespace.as_ref().map_or("", Namespace::as_str)];
    let prefix_bytes = prefixes.iter().filter(|one| !one.is_empty()).map(|one| one.len() + "/".len()).sum();
    Ok(Bucket { store, root, namespace, requests, prefix_bytes })
}

/// Returns a namespace of a bucket, or the whole.
pub(super) fn part_of(root: &SharedStore, namespace: Option<&Namespace>) -> SharedStore {
    match namespace {
        Some(namespace) => Arc::new(Prefixed::new(Arc::clone(root), namespace.as_str())),
        None => Arc::clone(root),
    }
}

/// Connects to all that is below the prefix; asks it nothing yet.
pub(super) async fn connect_root(
    source: &str,
    access: &Access,
    clock: &SharedClock,
) -> Result<SharedStore, Failure> {
    let (source, requests) = reach(source, access, clock).await?;
    Ok(Arc::new(Prefixed::new(requests, source.prefix())))
}

async fn reach(
    source: &str,
    access: &Access,
    clock: &SharedClock,
) -> Result<(Source, Arc<RetryingStore>), Failure> {
    let parsed =
        Source::parse(source).map_err(|wrong| Failure::new(FailureKind::Usage, wrong.to_string()))?;
    let backend = access.open(&parsed, clock).await.map_err(|e| failures::of_store(source, &e))?;
    let policy = RetryPolicy::within(access.timeout);
    Ok((parsed, Arc::new(RetryingStore::new(backend, Arc::clone(clock), policy))))
}

/// Returns what the store does with conditions: as remembered in the cache, else tried out.
pub(super) async fn learn_writes(bucket: &Bucket, cache: &Path) -> Result<Writes, Failure> {
    let file = cache.join("state").join(CONDITIONS_FILE);
    let remembered = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(conditions) = remembered {
        return Ok(Writes::Allowed(conditions));
    }
    match probe(&*bucket.store).await {
        Ok(conditions) => {
            let text = serde_json::to_vec(&conditions).unwrap_or_default();
            if let Err(error) = durable_file::replace(&file, &text) {
                tracing::warn!(%error, "What the store can do could not be remembered");
            }
            warn_of_missing(&conditions);
            Ok(Writes::Allowed(conditions))
        }
        Err(denied) if denied.kind == ErrorKind::Denied => Ok(Writes::Denied),
        Err(lost) if lost.kind.is_transient() => {
            tracing::warn!(error = %lost, "What the store can do could not be tried out");
            Ok(Writes::Unknown)
        }
        Err(failed) => Err(failures::of_store(&bucket.store.address(), &failed)),
    }
}

fn warn_of_missing(conditions: &Conditions) {
    if !conditions.put {
        tracing::warn!(
            "This store ignores conditions on writes: two writers at the same moment may overwrite each other's \
             entries; let one machine write at a time"
        );
    }
}
