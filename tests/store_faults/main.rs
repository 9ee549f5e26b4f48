//! What becomes of requests when the network or the server fails: `RetryingStore` over S3 over
//! a server that misbehaves on purpose. The number of requests is part of every promise.

#![expect(clippy::unwrap_used, reason = "a fault that cannot be staged has failed")]

mod bodies;
#[path = "../support/hurried_clock.rs"]
mod hurried_clock;
mod lost_answers;
mod odd_servers;
mod patience;
mod refusals;
mod retries;
mod swamp_client;

use std::sync::Arc;
use std::time::Duration;

use bayou::model::key::ObjectKey;
use bayou::os::clock::SystemClock;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::store::s3::S3Store;
use bayou::store::s3_options::{S3Options, SignedParts, StaticKeys};
use bayou::store::{Condition, ErrorKind, ObjectStore, PutOptions, Result, SharedStore};
use bayou_test_server::{Options, S3Server};
use bytes::Bytes;
use hurried_clock::HurriedClock;
use parking_lot::Mutex;

/// A server, and a store that retries without really waiting.
struct Stage {
    server: Arc<S3Server>,
    store: SharedStore,
    clock: HurriedClock,
}

impl Stage {
    async fn set() -> Self {
        Self::set_with(Options::default(), |_| {}).await
    }

    /// Sets a stage on which `meanwhile` happens whenever the store waits.
    async fn set_with(options: Options, meanwhile: impl Fn(&S3Server) + Send + Sync + 'static) -> Self {
        let server = Arc::new(S3Server::start(options));
        let seen = Arc::clone(&server);
        let clock = HurriedClock::new(move || meanwhile(&seen));
        let inner = Arc::new(connect(&server, Duration::from_secs(30)).await);
        let store = RetryingStore::new(inner, Arc::new(clock.clone()), RetryPolicy::default());
        Self { server, store: Arc::new(store), clock }
    }
}

/// Returns the way to the server's bucket, with the server's keys.
fn options(server: &S3Server, timeout: Duration) -> S3Options {
    let keys =
        StaticKeys { access_key: server.access_key().to_owned(), secret_key: server.secret_key().to_owned() };
    S3Options { endpoint_url: Some(server.url()), keys: Some(keys), timeout, ..S3Options::default() }
}

async fn connect(server: &S3Server, timeout: Duration) -> S3Store {
    connect_by(&options(server, timeout)).await
}

async fn connect_by(options: &S3Options) -> S3Store {
    S3Store::connect("bucket", options, SystemClock::shared()).await.unwrap()
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

/// Calls every method once, as one more witness that a promise holds for all of them.
async fn every_request(store: &dyn ObjectStore) -> Vec<(&'static str, Option<ErrorKind>)> {
    use futures::TryStreamExt;
    let there = key("there");
    let version = bayou::store::Version::new("0123456789abcdef0123456789abcdef").unwrap();
    let upload = bayou::store::UploadId("upload".to_owned());
    let options = when(Condition::Always);
    let body = Bytes::from_static(b"body");
    let part = bayou::store::UploadedPart { number: 1, tag: "\"tag\"".to_owned() };
    let listed: Result<Vec<_>> = store.list("", None).try_collect().await;
    vec![
        ("get", kind(store.get(&there, Some(0..1), None).await)),
        ("put", kind(store.put(&there, body.clone(), &options).await)),
        ("begin_upload", kind(store.begin_upload(&there, 4, &options).await)),
        ("upload_part", kind(store.upload_part(&there, &upload, 1, body).await)),
        ("complete_upload", kind(store.complete_upload(&there, &upload, &[part], &options).await)),
        ("abort_upload", kind(store.abort_upload(&there, &upload).await)),
        ("head", kind(store.head(&there).await)),
        ("delete", kind(store.delete(&there, &Condition::Always).await)),
        ("copy", kind(store.copy(&there, &version, &key("target"), &options).await)),
        ("list", kind(listed)),
    ]
}
