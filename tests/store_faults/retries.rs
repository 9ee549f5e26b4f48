//! What is tried again, how often, and after how long.

use std::time::Duration;

use super::*;
use bayou_test_server::{Action, Fault, Op, Refusal};
use futures::TryStreamExt;

#[tokio::test]
async fn c_24_and_c_29_and_c_33_a_server_that_is_overloaded_is_asked_again_until_it_answers() {
    let refusals = [
        Refusal::slow_down(0),
        Refusal::new(429, "TooManyRequests"),
        Refusal::internal_error(),
        Refusal::new(503, "ServiceUnavailable"),
        Refusal::new(400, "RequestTimeout"),
        Refusal::conflict(),
    ];
    for refusal in refusals {
        let stage = Stage::set().await;
        let why = format!("{refusal:?}");
        stage.server.fault(Fault::on(Op::PutObject, Action::Refuse(refusal)).first(3));
        let body = Bytes::from_static(b"body");
        stage.store.put(&key("a"), body.clone(), &when(Condition::IfAbsent)).await.expect(&why);
        assert_eq!(stage.server.count_all(), 4, "{why}");
        assert_eq!(stage.server.object("bucket", "a").unwrap().body, body, "{why}");
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
    assert_eq!(stage.server.count_all(), 8);
    let sleeps = stage.clock.sleeps();
    let full = [100, 200, 400, 800, 1_600, 3_200, 5_000].map(Duration::from_millis);
    assert_eq!(sleeps.len(), full.len());
    for (slept, full) in sleeps.iter().zip(full) {
        assert!((full / 2..=full).contains(slept), "{sleeps:?}");
    }
    assert!(sleeps.iter().zip(full).any(|(slept, full)| *slept != full), "{sleeps:?}");
}

#[tokio::test]
async fn the_wait_that_the_server_asks_for_is_kept() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::slow_down(7))).first(2));
    assert_eq!(stage.store.head(&key("a")).await.unwrap(), None);
    let sleeps = stage.clock.sleeps();
    assert_eq!(sleeps, [Duration::from_secs(7), Duration::from_secs(7)]);
}

#[tokio::test]
async fn no_attempt_begins_after_the_time_is_over() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::slow_down(25))));
    let refused = stage.store.head(&key("a")).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Throttled);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(25)));
    assert_eq!(stage.server.count_all(), 3, "at 0, 25 and 50 s of 60");
}

#[tokio::test]
async fn c_25_a_refusal_is_asked_only_once() {
    for refusal in
        [Refusal::access_denied(), Refusal::new(403, "Unheard"), Refusal::new(405, "MethodNotAllowed")]
    {
        let stage = Stage::set().await;
        stage.server.fault(Fault::on_any(Action::Refuse(refusal.clone())));
        let outcomes = every_request(stage.store.as_ref()).await;
        assert!(outcomes.iter().all(|(_, kind)| kind.is_some()), "{refusal:?}: {outcomes:?}");
        assert_eq!(stage.server.count_all(), outcomes.len(), "{refusal:?}");
        assert!(stage.clock.sleeps().is_empty(), "{refusal:?}");
    }
}

#[tokio::test]
async fn c_26_a_server_that_is_not_there_is_given_up_after_eight_attempts() {
    let stage = Stage::set().await;
    let nobody =
        S3Options { endpoint_url: Some(closed_port()), ..options(&stage.server, Duration::from_secs(3)) };
    let inner = Arc::new(connect_by(&nobody).await);
    let clock = HurriedClock::new(|| {});
    let store = RetryingStore::new(inner, Arc::new(clock.clone()), RetryPolicy::default());
    let failed = store.head(&key("a")).await.unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Unreachable);
    assert!(failed.detail.contains("refused"), "{failed}");
    assert_eq!(clock.sleeps().len(), 7);
}

/// Returns the address of a port that nobody listens on.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_listing_goes_on_behind_the_last_page_that_it_has_seen() {
    let stage = Stage::set().await;
    let keys: Vec<String> = (0..2_500).map(|n| format!("k/{n:05}")).collect();
    for name in &keys {
        stage.server.put_object("bucket", name, "x");
    }
    stage.server.fault(Fault::on(Op::ListObjectsV2, Action::Refuse(Refusal::slow_down(0))).nth(2..=3));
    stage.server.fault(Fault::on(Op::ListObjectsV2, Action::CutBody(1_000)).nth(5..=5));
    let pages: Vec<_> = stage.store.list("k/", None).try_collect().await.unwrap();
    let listed: Vec<String> = pages.into_iter().flatten().map(|one| one.key.to_string()).collect();
    assert!(listed == keys, "{} keys listed", listed.len());
    assert_eq!(stage.server.count(Op::ListObjectsV2), 6);
}
