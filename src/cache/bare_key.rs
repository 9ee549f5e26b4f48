//! Content of a namespace that an old client left at the root of the bucket.
//!
//! Swamp once wrote a namespace's index but put its objects at keys without the namespace. An
//! entry whose object is not in the namespace is read from there, but only if the whole object
//! has exactly the size and the hash that the entry names: what is at the root may be somebody
//! else's. Nothing is ever written there.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::rows::{Path, Source};
use crate::model::content_hash::ContentHash;
use crate::model::key::ObjectKey;
use crate::os::clock::SharedClock;
use crate::store::{ErrorKind, Fetched, SharedStore, StoreError, Version};

/// How many bytes are asked for at once while an object is read whole.
const PIECE: u64 = 8 << 20;

type Result<T> = std::result::Result<T, StoreError>;

/// The objects at the root of a bucket, for a namespace that may have its content there.
pub(super) struct BareKeys {
    root: SharedStore,
    clock: SharedClock,
    timeout: Duration,
    /// Objects that were read whole, and whether they are what the entry names.
    judged: Mutex<HashMap<(Path, ContentHash), Judged>>,
}

#[derive(Clone)]
struct Judged {
    version: Version,
    is_meant: bool,
}

impl BareKeys {
    pub(super) fn new(root: SharedStore, clock: SharedClock, timeout: Duration) -> Self {
        Self { root, clock, timeout, judged: Mutex::new(HashMap::new()) }
    }

    /// Returns a range of the object at the root that has exactly the bytes of an entry; `None`
    /// if there is none.
    pub(super) async fn get(&self, source: &Source, range: Range<u64>) -> Result<Option<Bytes>> {
        let Some(hash) = source.remote.sha256.as_deref().and_then(ContentHash::from_hex) else {
            return Ok(None);
        };
        let key = ObjectKey::new(Path::clone(&source.key));
        let Some(meta) = self.in_time(&key, self.root.head(&key)).await? else { return Ok(None) };
        if meta.size != source.remote.size {
            return Ok(None);
        }
        let place = (Path::clone(&source.key), hash);
        let known = self.judged.lock().get(&place).filter(|judged| judged.version == meta.version).cloned();
        let is_meant = match known {
            Some(judged) => judged.is_meant,
            None => {
                let is_meant = self.hash(&key, &meta.version, meta.size).await? == Some(hash);
                if !is_meant {
                    tracing::debug!(%key, "The object at the root has other bytes: it is not taken");
                }
                self.judged.lock().insert(place, Judged { version: meta.version.clone(), is_meant });
                is_meant
            }
        };
        if !is_meant {
            return Ok(None);
        }
        let fetched = self.piece(&key, &meta.version, range.start..range.end.min(meta.size)).await?;
        Ok(fetched.map(|fetched| fetched.body))
    }

    /// Returns the hash of a whole object; `None` if it is not this version any more.
    async fn hash(&self, key: &ObjectKey, version: &Version, size: u64) -> Result<Option<ContentHash>> {
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < size {
            let end = (at + PIECE).min(size);
            let Some(fetched) = self.piece(key, version, at..end).await? else { return Ok(None) };
            hash.update(&fetched.body);
            at = end;
        }
        Ok(Some(ContentHash::from_bytes(hash.finalize().into())))
    }

    async fn piece(&self, key: &ObjectKey, version: &Version, range: Range<u64>) -> Result<Option<Fetched>> {
        let wanted = range.end - range.start;
        match self.in_time(key, self.root.get(key, Some(range), Some(version))).await {
            Ok(fetched) if fetched.body.len() as u64 == wanted => Ok(Some(fetched)),
            Ok(fetched) => {
                let detail = format!("{} bytes instead of {wanted}", fetched.body.len());
                Err(StoreError::new(ErrorKind::Corrupt, "get", key).detail(detail))
            }
            Err(moved) if moved.kind == ErrorKind::Changed || moved.is_not_found() => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn in_time<T>(&self, key: &ObjectKey, request: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            answer = request => answer,
            () = self.clock.sleep(self.timeout) => {
                Err(StoreError::new(ErrorKind::Unreachable, "get", key).detail("no answer in time"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::rows::Remote;
    use crate::os::clock::SystemClock;
    use crate::store::folder::FolderStore;
    use crate::store::recording::RecordingStore;
    use crate::store::{Condition, ObjectStore, PutOptions};

    struct Root {
        _folder: tempfile::TempDir,
        store: Arc<RecordingStore>,
        keys: BareKeys,
    }

    impl Root {
        async fn with(key: &str, body: Vec<u8>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(RecordingStore::new(Arc::new(FolderStore::open(folder.path()).unwrap())));
            let options = PutOptions::when(Condition::Always);
            store.put(&ObjectKey::new(key), body.into(), &options).await.unwrap();
            store.take();
            let root: SharedStore = store.clone();
            let keys = BareKeys::new(root, SystemClock::shared(), Duration::from_secs(60));
            Self { _folder: folder, store, keys }
        }
    }

    fn source(key: &str, size: u64, sha256: Option<String>) -> Source {
        let remote = Remote { size, modified: String::new(), sha256, version: None };
        Source { key: key.into(), remote, at: 0 }
    }

    fn named(key: &str, body: &[u8]) -> Source {
        source(key, body.len() as u64, Some(ContentHash::of(body).to_string()))
    }

    #[tokio::test]
    async fn only_an_object_with_exactly_the_size_and_hash_of_the_entry_is_taken() {
        let root = Root::with("data/a", b"mine".to_vec()).await;
        let same = named("data/a", b"mine");
        assert_eq!(root.keys.get(&same, 1..3).await.unwrap().unwrap(), &b"in"[..]);
        for other in [
            named("data/a", b"ours"),
            named("data/a", b"longer"),
            source("data/a", 4, None),
            source("data/a", 4, Some("not a hash".to_owned())),
            named("data/b", b"mine"),
        ] {
            assert_eq!(root.keys.get(&other, 0..4).await.unwrap(), None, "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_large_object_is_read_whole_once_and_then_by_range() {
        let body: Vec<u8> = (0..PIECE + 100).map(|at| (at % 251) as u8).collect();
        let root = Root::with("big", body.clone()).await;
        let entry = named("big", &body);
        for round in 0..3_u64 {
            let at = PIECE - 10 + round;
            let got = root.keys.get(&entry, at..at + 20).await.unwrap().unwrap();
            assert_eq!(got, &body[at as usize..at as usize + 20]);
            let expected = if round == 0 { 3 } else { 1 };
            assert_eq!(root.store.take().iter().filter(|one| one.operation == "get").count(), expected);
        }
    }

    #[tokio::test]
    async fn an_object_of_others_is_not_read_again_and_again() {
        let root = Root::with("a", b"theirs".to_vec()).await;
        let entry = named("a", b"myself");
        for round in 0..3 {
            assert_eq!(root.keys.get(&entry, 0..6).await.unwrap(), None);
            let gets = root.store.take().iter().filter(|one| one.operation == "get").count();
            assert_eq!(gets, usize::from(round == 0));
        }
    }
}
