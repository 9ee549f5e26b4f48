//! What each request costs, and how often one object is written.

use super::*;
use bayou_test_server::{Op, WriteRate};
use futures::TryStreamExt;

#[tokio::test]
async fn each_method_is_one_request() {
    let stage = Stage::set().await;
    let (store, server) = (&stage.store, &stage.server);
    let options = when(Condition::Always);
    let version = store.put(&key("a"), pattern(100_000), &options).await.unwrap();
    assert_eq!((server.count_all(), server.count(Op::PutObject)), (1, 1));
    store.get(&key("a"), None, None).await.unwrap();
    store.get(&key("a"), Some(10..20), Some(&version)).await.unwrap();
    assert_eq!((server.count_all(), server.count(Op::GetObject)), (3, 2));
    store.head(&key("a")).await.unwrap().unwrap();
    assert_eq!(server.count_all(), 4);
    store.copy(&key("a"), &version, &key("b"), &options).await.unwrap();
    assert_eq!((server.count_all(), server.count(Op::CopyObject)), (5, 1));
    let _listed: Vec<_> = store.list("", None).try_collect().await.unwrap();
    assert_eq!(server.count_all(), 6);
    store.delete(&key("a"), &Condition::IfVersion(version)).await.unwrap();
    assert_eq!((server.count_all(), server.count(Op::DeleteObject)), (7, 1));
}

#[tokio::test]
async fn a_copy_that_takes_several_steps_is_finished() {
    let options = bayou_test_server::GcsOptions { rewrite_bytes_per_call: MIB as u64, ..Default::default() };
    let server = GcsServer::start(options);
    let store = connect(&server, Duration::from_secs(30)).await;
    let source = server.put_object("bucket", "from", pattern(5 * MIB));
    let source = Version::new(&source.to_string()).unwrap();
    let options = when(Condition::IfAbsent);
    let version = store.copy(&key("from"), &source, &key("to"), &options).await.unwrap();
    let copied = server.object("bucket", "to").unwrap();
    assert!(copied.body == pattern(5 * MIB));
    assert_eq!(copied.generation.to_string(), version.as_str());
    assert_eq!(copied.attributes.meta["bayou-nonce"], options.nonce.as_str());
    assert_eq!(server.count(Op::CopyObject), 5);
}

#[tokio::test]
async fn one_object_is_written_once_a_second_and_others_meanwhile() {
    let once = WriteRate::OncePer(Duration::from_secs(1));
    let server = GcsServer::start(bayou_test_server::GcsOptions { write_rate: once, ..Default::default() });
    let paced = GcsOptions {
        write_interval: Some(Duration::from_secs(1)),
        ..options(&server, Duration::from_secs(30))
    };
    let store = connect_by(&paced).await;
    let write = |name: &'static str| {
        let (store, options) = (&store, when(Condition::Always));
        async move { store.put(&key(name), pattern(10), &options).await }
    };
    // Three that take turns, and others that are not kept waiting by them.
    let (one, two, three, other) = tokio::join!(write("index"), write("index"), write("index"), write("a"));
    assert!([one, two, three, other].iter().all(std::result::Result::is_ok));
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.status == Some(200)), "none was refused: {requests:?}");
    assert_eq!(requests.iter().position(|request| request.key == "a").map(|at| at < 2), Some(true));
    assert_eq!(store.abilities().write_interval, Duration::from_secs(1));
}

#[tokio::test]
async fn a_write_that_came_too_early_is_made_again() {
    let once = WriteRate::OncePer(Duration::from_millis(300));
    let server = GcsServer::start(bayou_test_server::GcsOptions { write_rate: once, ..Default::default() });
    let inner = Arc::new(connect(&server, Duration::from_secs(30)).await);
    let store = RetryingStore::new(inner, SystemClock::shared(), RetryPolicy::default());
    for body in ["one", "two", "three"] {
        store.put(&key("index"), Bytes::from(body), &when(Condition::Always)).await.unwrap();
    }
    assert_eq!(server.object("bucket", "index").unwrap().body, "three");
    assert!(server.requests().iter().any(|request| request.status == Some(429)));
}
