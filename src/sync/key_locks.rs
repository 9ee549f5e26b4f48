//! One operation at a time on each key, in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::cache::rows::Path;

/// Locks by key.
#[derive(Debug, Default)]
pub struct KeyLocks {
    locks: Mutex<HashMap<Path, Arc<tokio::sync::Mutex<()>>>>,
}

/// The right to work on a key, until all clones of this are dropped.
#[derive(Debug, Clone)]
pub struct KeyGuard {
    _guard: Arc<OwnedMutexGuard<()>>,
}

impl KeyLocks {
    /// Waits until nobody works on a key.
    pub async fn lock(&self, key: &Path) -> KeyGuard {
        let lock = {
            let mut locks = self.locks.lock();
            if locks.len() > 1024 {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(locks.entry(Path::clone(key)).or_default())
        };
        KeyGuard { _guard: Arc::new(lock.lock_owned().await) }
    }

    /// Takes a key if nobody works on it.
    pub fn try_lock(&self, key: &Path) -> Option<KeyGuard> {
        let lock = Arc::clone(self.locks.lock().entry(Path::clone(key)).or_default());
        lock.try_lock_owned().ok().map(|guard| KeyGuard { _guard: Arc::new(guard) })
    }
}
