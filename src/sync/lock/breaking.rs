//! Breaking a lock whose holder is gone, because a person says so.

use crate::model::key::ObjectKey;
use crate::store::{Condition, ErrorKind, ObjectStore, Result};

use super::seen::{SeenLock, inspect};

/// How often a lock is read again because its holder renewed it at that moment.
const MOST_ATTEMPTS: usize = 5;

/// What became of the lock that was to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It is gone.
    Yes,
    /// It was gone already.
    WasGone,
    /// Somebody else holds it now; it was left alone.
    Changed,
}

/// Breaks the lock that was `seen`, and no other: neither its successor nor, where locks have
/// no mark, a renewed one.
pub async fn force_release(store: &dyn ObjectStore, key: &ObjectKey, seen: &SeenLock) -> Result<Broken> {
    for _ in 0..MOST_ATTEMPTS {
        let Some(now) = inspect(store, key).await? else { return Ok(Broken::WasGone) };
        if !is_same(seen, &now) {
            return Ok(Broken::Changed);
        }
        match remove(store, key, &now).await {
            Ok(()) => return Ok(Broken::Yes),
            Err(changed) if changed.is_condition_failed() => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(Broken::Changed)
}

fn is_same(seen: &SeenLock, now: &SeenLock) -> bool {
    match seen.nonce() {
        Some(nonce) => now.carries(nonce),
        None => now.version == seen.version,
    }
}

/// Deletes the version that was just read, as nearly as the store can.
async fn remove(store: &dyn ObjectStore, key: &ObjectKey, now: &SeenLock) -> Result<()> {
    match store.delete(key, &Condition::IfVersion(now.version.clone())).await {
        Err(refused) if matches!(refused.kind, ErrorKind::Unsupported | ErrorKind::Invalid) => {
            store.delete(key, &Condition::Always).await
        }
        outcome => outcome,
    }
}
