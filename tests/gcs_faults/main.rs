//! What becomes of requests to Google Cloud Storage when the network or the service fails:
//! `RetryingStore` over the official crate over a server that misbehaves on purpose. The number
//! of requests is part of every promise.

#![expect(clippy::unwrap_used, reason = "a fault that cannot be staged has failed")]

mod bodies;
#[path = "../support/hurried_clock.rs"]
mod hurried_clock;
mod lost_answers;
mod patience;
mod refusals;
mod requests;
mod retries;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use bayou::model::key::ObjectKey;
use bayou::os::clock::SystemClock;
use bayou::store::gcs::GcsStore;
use bayou::store::gcs_options::GcsOptions;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::store::{Condition, ErrorKind, ObjectStore, PutOptions, Result, SharedStore, Version};
use bayou_test_server::GcsServer;
use bytes::Bytes;
use hurried_clock::HurriedClock;

const MIB: usize = 1024 * 1024;

/// A server, and a store that retries without really waiting.
struct Stage {
    server: Arc<GcsServer>,
    store: SharedStore,
    clock: HurriedClock,
}

impl Stage {
    async fn set() -> Self {
        Self::set_with(|_| {}).await
    }

    /// Sets a stage on which `meanwhile` happens whenever the store waits.
    async fn set_with(meanwhile: impl Fn(&GcsServer) + Send + Sync + 'static) -> Self {
        let server = Arc::new(GcsServer::start(bayou_test_server::GcsOptions::default()));
        let seen = Arc::clone(&server);
        let clock = HurriedClock::new(move || meanwhile(&seen));
        let inner = Arc::new(connect(&server, Duration::from_secs(30)).await);
        let store = RetryingStore::new(inner, Arc::new(clock.clone()), RetryPolicy::default());
        Self { server, store: Arc::new(store), clock }
    }

    /// Returns the version of an object of the server's bucket.
    fn version(&self, name: &str) -> Version {
        let generation = self.server.object("bucket", name).unwrap().generation;
        Version::new(&generation.to_string()).unwrap()
    }

    fn body(&self, name: &str) -> Bytes {
        self.server.object("bucket", name).unwrap().body
    }
}

/// Returns the way to the server's bucket.
fn options(server: &GcsServer, timeout: Duration) -> GcsOptions {
    GcsOptions { endpoint_url: Some(server.url()), timeout, ..GcsOptions::default() }
}

async fn connect(server: &GcsServer, timeout: Duration) -> GcsStore {
    connect_by(&options(server, timeout)).await
}

async fn connect_by(options: &GcsOptions) -> GcsStore {
    GcsStore::connect("bucket", options, SystemClock::shared()).await.unwrap()
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text)
}

fn when(condition: Condition) -> PutOptions {
    PutOptions::when(condition)
}

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind)
}

/// Returns a body of this length whose bytes differ from place to place.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()).collect()
}

/// Calls every method once that sends a request, as one more witness that a promise holds for
/// all of them.
async fn every_request(store: &dyn ObjectStore) -> Vec<(&'static str, Option<ErrorKind>)> {
    use futures::TryStreamExt;
    let there = key("there");
    let version = Version::new("1754040672500123").unwrap();
    let options = when(Condition::Always);
    let body = Bytes::from_static(b"body");
    let listed: Result<Vec<_>> = store.list("", None).try_collect().await;
    vec![
        ("get", kind(store.get(&there, Some(0..1), None).await)),
        ("put", kind(store.put(&there, body, &options).await)),
        ("begin_upload", kind(store.begin_upload(&there, 4, &options).await)),
        ("head", kind(store.head(&there).await)),
        ("delete", kind(store.delete(&there, &Condition::Always).await)),
        ("copy", kind(store.copy(&there, &version, &key("target"), &options).await)),
        ("list", kind(listed)),
    ]
}
