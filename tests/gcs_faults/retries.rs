//! What is tried again, how often, and after how long.

use super::*;
use bayou_test_server::{Action, Fault, Op, Refusal};
use futures::TryStreamExt;

#[tokio::test]
async fn c_29_a_server_that_is_overloaded_is_asked_again_until_it_answers() {
    for (status, code) in [(429, "rateLimitExceeded"), (500, "internalError"), (503, "backendError")] {
        let stage = Stage::set().await;
        let refused = Action::Refuse(Refusal::new(status, code));
        stage.server.fault(Fault::on(Op::PutObject, refused.clone()).first(3));
        let body = Bytes::from_static(b"body");
        stage.store.put(&key("a"), body.clone(), &when(Condition::IfAbsent)).await.expect(code);
        assert_eq!((stage.server.count_all(), stage.body("a")), (4, body), "{status}");
        // The same over gRPC.
        stage.server.fault(Fault::on(Op::HeadObject, refused).first(3));
        assert!(stage.store.head(&key("a")).await.expect(code).is_some());
        assert_eq!(stage.server.count(Op::HeadObject), 4, "{status}");
    }
}

#[tokio::test]
async fn c_32_a_connection_that_breaks_is_replaced_for_every_request() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "there", "x");
    for op in [Op::GetObject, Op::PutObject, Op::HeadObject, Op::DeleteObject, Op::ListObjectsV2] {
        stage.server.fault(Fault::on(op, Action::Cut).first(2));
    }
    let outcomes = every_request(stage.store.as_ref()).await;
    for name in ["get", "put", "head", "delete", "list"] {
        assert!(outcomes.contains(&(name, None)), "{name}: {outcomes:?}");
    }
}

#[tokio::test]
async fn waits_grow_and_are_jittered_and_bounded() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::internal_error())));
    assert_eq!(kind(stage.store.head(&key("a")).await), Some(ErrorKind::Unreachable));
    assert_eq!(stage.server.count_all(), 8, "the crate repeats nothing by itself");
    let sleeps = stage.clock.sleeps();
    let full = [100, 200, 400, 800, 1_600, 3_200, 5_000].map(Duration::from_millis);
    assert_eq!(sleeps.len(), full.len());
    for (slept, full) in sleeps.iter().zip(full) {
        assert!((full / 2..=full).contains(slept), "{sleeps:?}");
    }
}

#[tokio::test]
async fn the_wait_that_the_server_asks_for_is_kept() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::slow_down(7))).first(2));
    assert_eq!(kind(stage.store.get(&key("a"), None, None).await), Some(ErrorKind::NotFound));
    assert_eq!(stage.clock.sleeps(), [Duration::from_secs(7), Duration::from_secs(7)]);
}

#[tokio::test]
async fn c_25_a_refusal_is_asked_only_once() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::access_denied())));
    let outcomes = every_request(stage.store.as_ref()).await;
    assert!(outcomes.iter().all(|(_, kind)| *kind == Some(ErrorKind::Denied)), "{outcomes:?}");
    assert_eq!(stage.server.count_all(), outcomes.len());
    assert!(stage.clock.sleeps().is_empty());
}

#[tokio::test]
async fn c_26_a_server_that_is_not_there_is_given_up_after_eight_attempts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nobody =
        GcsOptions { endpoint_url: Some(closed), timeout: Duration::from_secs(3), ..GcsOptions::default() };
    let inner = Arc::new(connect_by(&nobody).await);
    for is_rpc in [true, false] {
        let clock = HurriedClock::new(|| {});
        let store = RetryingStore::new(inner.clone(), Arc::new(clock.clone()), RetryPolicy::default());
        let failed = match is_rpc {
            true => store.head(&key("a")).await.unwrap_err(),
            false => store.get(&key("a"), None, None).await.unwrap_err(),
        };
        assert_eq!(failed.kind, ErrorKind::Unreachable);
        assert!(failed.detail.contains("refused"), "{failed}");
        assert_eq!(clock.sleeps().len(), 7);
    }
}

#[tokio::test]
async fn a_listing_goes_on_behind_the_last_page_that_it_has_seen() {
    let stage = Stage::set().await;
    let keys: Vec<String> = (0..2_500).map(|n| format!("k/{n:05}")).collect();
    for name in &keys {
        stage.server.put_object("bucket", name, "x");
    }
    stage.server.fault(Fault::on(Op::ListObjectsV2, Action::Refuse(Refusal::slow_down(0))).nth(2..=3));
    stage.server.fault(Fault::on(Op::ListObjectsV2, Action::Cut).nth(5..=5));
    let pages: Vec<_> = stage.store.list("k/", None).try_collect().await.unwrap();
    let listed: Vec<String> = pages.into_iter().flatten().map(|one| one.key.to_string()).collect();
    assert!(listed == keys, "{} keys listed", listed.len());
    assert_eq!(stage.server.count(Op::ListObjectsV2), 6);
}
