//! A bucket for tests of the sync floor: a folder, or a strict server of S3 or of Google Cloud
//! Storage over the real wire.
//!
//! The test may play another client and touch the objects directly; what [`Peer`]s ask for is
//! counted. Time stands still unless the test turns the clock; retries do not really wait.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bayou::model::key::ObjectKey;
use bayou::os::clock::{Clock, ManualClock, SharedClock, Sleep, SystemClock};
use bayou::store::folder::FolderStore;
use bayou::store::gcs::GcsStore;
use bayou::store::gcs_options::GcsOptions;
use bayou::store::probe::{self, Conditions};
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::store::s3::S3Store;
use bayou::store::s3_options::{S3Options, StaticKeys};
use bayou::store::{Condition, PutOptions, SharedStore, Version};
use bayou::sync::SyncOptions;
use bayou_test_server::{GcsServer, KeyPair, Options, S3Server};
use bytes::Bytes;
use futures::TryStreamExt;

use super::peer::{LOCK, Peer, PeerOptions};

/// The key of the index.
pub(crate) const INDEX: &str = ".datastore-index.json";

/// A bucket and whoever works on it.
pub(crate) struct World {
    home: Home,
    /// The bucket, without anything between it and the test.
    pub(crate) bucket: SharedStore,
    /// What the bucket does with conditions.
    pub(crate) conditions: Conditions,
    /// The clock of all peers.
    pub(crate) clock: Arc<ManualClock>,
}

enum Home {
    Folder(tempfile::TempDir),
    S3(Box<S3Server>),
    /// With the least time between two writes of one object.
    Gcs(Box<GcsServer>, Duration),
}

impl World {
    /// Returns an empty folder used as a bucket.
    pub(crate) async fn folder() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self::new(Home::Folder(home)).await
    }

    /// Returns an empty bucket of a strict S3 server.
    pub(crate) async fn s3() -> Self {
        Self::s3_with(Options::default()).await
    }

    /// Returns an empty bucket of an S3 server that was started like this.
    pub(crate) async fn s3_with(options: Options) -> Self {
        Self::new(Home::S3(Box::new(S3Server::start(options)))).await
    }

    /// Returns an empty bucket of a strict server of Google Cloud Storage.
    pub(crate) async fn gcs() -> Self {
        Self::paced(Duration::ZERO).await
    }

    /// Returns such a bucket, of which each object is written once in this time.
    pub(crate) async fn paced(interval: Duration) -> Self {
        let options = bayou_test_server::GcsOptions::default();
        Self::new(Home::Gcs(Box::new(GcsServer::start(options)), interval)).await
    }

    async fn new(home: Home) -> Self {
        let raw = home.connect(None, Duration::from_secs(30)).await;
        // A connection that many share may break once; what we do with the bucket is no test of that.
        let bucket: SharedStore = match home {
            Home::Gcs(..) => Arc::new(RetryingStore::new(raw, Arc::new(Hurried), RetryPolicy::default())),
            Home::S3(_) | Home::Folder(_) => raw,
        };
        let conditions = probe::probe(&*bucket).await.unwrap();
        // Whole seconds, as servers keep them, and a little ahead of them.
        let now = SystemClock.now() + Duration::from_secs(1);
        let world = Self { home, bucket, conditions, clock: ManualClock::at(now) };
        match &world.home {
            Home::S3(server) => server.reset_counts(),
            Home::Gcs(server, _) => server.reset_counts(),
            Home::Folder(_) => {}
        }
        world
    }

    /// Returns the S3 server.
    pub(crate) fn server(&self) -> &S3Server {
        self.s3_server().unwrap_or_else(|| panic!("This bucket is not on S3"))
    }

    /// Returns the S3 server, if the bucket is on one.
    pub(crate) fn s3_server(&self) -> Option<&S3Server> {
        match &self.home {
            Home::S3(server) => Some(server),
            Home::Folder(_) | Home::Gcs(..) => None,
        }
    }

    /// Returns the server of Google Cloud Storage, if the bucket is on one.
    pub(crate) fn gcs_server(&self) -> Option<&GcsServer> {
        match &self.home {
            Home::Gcs(server, _) => Some(server),
            Home::Folder(_) | Home::S3(_) => None,
        }
    }

    /// Returns a new machine that has pulled.
    pub(crate) async fn peer(&self) -> Peer {
        self.peer_with(PeerOptions::default()).await
    }

    /// Returns a new machine that works like this and has pulled.
    pub(crate) async fn peer_with(&self, options: PeerOptions) -> Peer {
        let peer = self.stranger(options).await;
        peer.sync.start().await.unwrap();
        peer.forget_requests();
        peer
    }

    /// Returns a new machine with these options of its sync that has pulled.
    pub(crate) async fn peer_syncing(&self, sync: SyncOptions) -> Peer {
        self.peer_with(PeerOptions { sync, ..PeerOptions::default() }).await
    }

    /// Returns a new machine that has asked for nothing yet.
    pub(crate) async fn stranger(&self, options: PeerOptions) -> Peer {
        let raw = self.home.connect(options.keys.clone(), options.timeout).await;
        let retrying = RetryingStore::new(raw, Arc::new(Hurried), RetryPolicy::default());
        let clock: SharedClock = Arc::new(Arc::clone(&self.clock));
        Peer::open(Arc::new(retrying), self.conditions, clock, options)
    }

    /// Writes an object, as another client would.
    pub(crate) async fn put(&self, key: &str, body: impl Into<Bytes>) -> Version {
        let options = PutOptions::when(Condition::Always);
        self.bucket.put(&ObjectKey::new(key), body.into(), &options).await.unwrap()
    }

    /// Writes an object as a client does that knows nothing of bayou and its marks.
    pub(crate) async fn put_foreign(&self, key: &str, body: impl Into<Bytes>) -> Version {
        match &self.home {
            Home::S3(server) => {
                let etag = server.put_object("bucket", key, body);
                Version::new(&etag).unwrap()
            }
            Home::Gcs(server, _) => {
                let generation = server.put_object("bucket", key, body);
                Version::new(&generation.to_string()).unwrap()
            }
            Home::Folder(folder) => {
                let version = self.put(key, body).await;
                rustix::fs::removexattr(folder.path().join(key), "user.bayou.meta").unwrap();
                version
            }
        }
    }

    /// Returns an object's bytes, if there is one.
    pub(crate) async fn object(&self, key: &str) -> Option<Bytes> {
        match self.bucket.get(&ObjectKey::new(key), None, None).await {
            Ok(fetched) => Some(fetched.body),
            Err(absent) if absent.is_not_found() => None,
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Returns an object's version, if there is one.
    pub(crate) async fn version(&self, key: &str) -> Option<Version> {
        self.bucket.head(&ObjectKey::new(key)).await.unwrap().map(|meta| meta.version)
    }

    /// Has an object look as if it was written two minutes ago.
    pub(crate) fn rest(&self, key: &str) {
        let then = SystemClock.now() - Duration::from_secs(120);
        match &self.home {
            Home::S3(server) => server.set_modified("bucket", key, then),
            Home::Gcs(server, _) => server.set_modified("bucket", key, then),
            Home::Folder(folder) => {
                let file = std::fs::File::options().write(true).open(folder.path().join(key)).unwrap();
                file.set_modified(then).unwrap();
            }
        }
    }

    /// Deletes an object, as another client would.
    pub(crate) async fn delete(&self, key: &str) {
        self.bucket.delete(&ObjectKey::new(key), &Condition::Always).await.unwrap();
    }

    /// Returns all keys, in order.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let pages: Vec<_> = self.bucket.list("", None).try_collect().await.unwrap();
        pages.into_iter().flatten().map(|listed| listed.key.to_string()).collect()
    }

    /// Returns the keys that are not machinery, in order.
    pub(crate) async fn data_keys(&self) -> Vec<String> {
        let machinery = |key: &String| key == INDEX || key == LOCK || key.starts_with("_index/");
        self.keys().await.into_iter().filter(|key| !machinery(key)).collect()
    }

    /// Returns the index; fails if there is none.
    pub(crate) async fn index(&self) -> serde_json::Value {
        self.json(INDEX).await
    }

    /// Returns a JSON document of the bucket; fails if there is none.
    pub(crate) async fn json(&self, key: &str) -> serde_json::Value {
        let body = self.object(key).await.unwrap_or_else(|| panic!("The bucket has no {key}"));
        serde_json::from_slice(&body).unwrap()
    }

    /// Returns the keys that the index names, in order.
    pub(crate) async fn index_keys(&self) -> Vec<String> {
        let index = self.index().await;
        let mut keys: Vec<_> = index["entries"].as_object().unwrap().keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// Writes the index as another client would: without any condition or lock.
    pub(crate) async fn put_index(&self, index: &serde_json::Value) {
        self.put(INDEX, serde_json::to_vec(index).unwrap()).await;
    }

    /// Changes the index as another client would: without any condition or lock.
    pub(crate) async fn edit_index(
        &self,
        edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
    ) {
        let mut index = self.index().await;
        edit(index["entries"].as_object_mut().unwrap());
        self.put_index(&index).await;
    }

    /// Puts every file of a folder of `tests/data/swamp` into the bucket.
    pub(crate) async fn put_fixture(&self, name: &str) {
        let root = fixture(name);
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                self.put(&key, std::fs::read(&path).unwrap()).await;
            }
        }
    }
}

/// Returns the path of something in `tests/data/swamp`.
pub(crate) fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/swamp").join(name)
}

impl Home {
    async fn connect(&self, keys: Option<KeyPair>, timeout: Duration) -> SharedStore {
        match self {
            Self::Folder(folder) => Arc::new(FolderStore::open(folder.path()).unwrap()),
            Self::S3(server) => {
                let ours = || KeyPair::new(server.access_key(), server.secret_key());
                let pair = keys.unwrap_or_else(ours);
                let keys = StaticKeys { access_key: pair.access_key, secret_key: pair.secret_key };
                let url = Some(server.url());
                let options =
                    S3Options { endpoint_url: url, keys: Some(keys), timeout, ..S3Options::default() };
                Arc::new(S3Store::connect("bucket", &options, SystemClock::shared()).await.unwrap())
            }
            Self::Gcs(server, interval) => {
                let (endpoint_url, write_interval) = (Some(server.url()), Some(*interval));
                let options = GcsOptions { endpoint_url, timeout, write_interval, ..GcsOptions::default() };
                Arc::new(GcsStore::connect("bucket", &options, SystemClock::shared()).await.unwrap())
            }
        }
    }
}

/// A clock on which every wait is over at once.
struct Hurried;

impl Clock for Hurried {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}
