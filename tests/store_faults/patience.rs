//! Servers that say nothing: every request ends.

use std::time::Duration;

use super::*;
use bayou_test_server::{Action, Fault, Op};

/// So short that the longest patience, for copies, is under a second.
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn h_5_no_request_hangs_when_the_server_never_answers() {
    let server = S3Server::start(Options::default());
    server.fault(Fault::on_any(Action::Stall));
    let store = connect(&server, SHORT).await;
    for (request, kind) in every_request(&store).await {
        assert_eq!(kind, Some(ErrorKind::Unreachable), "{request}");
    }
    let failed = store.head(&key("a")).await.unwrap_err();
    assert!(failed.detail.contains("no answer"), "{failed}");
}

#[tokio::test]
async fn a_large_upload_that_nobody_reads_is_given_up() {
    let server = S3Server::start(Options::default());
    server.fault(Fault::on_any(Action::Stall));
    let store = connect(&server, SHORT).await;
    let body = pattern(32 * 1024 * 1024);
    assert_eq!(
        kind(store.put(&key("a"), body, &when(Condition::Always)).await),
        Some(ErrorKind::Unreachable)
    );
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_and_resumed() {
    let stage = Stage::set().await;
    let inner = Arc::new(connect(&stage.server, Duration::from_secs(4)).await);
    let store = RetryingStore::new(inner, Arc::new(HurriedClock::new(|| {})), RetryPolicy::default());
    stage.server.put_object("bucket", "a", pattern(1_000_000));
    stage.server.fault(Fault::on(Op::GetObject, Action::StallBody(400_000)).first(1));
    let fetched = store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == pattern(1_000_000));
    assert_eq!(stage.server.count(Op::GetObject), 2);
}

#[tokio::test]
async fn a_write_whose_answer_never_comes_is_recognised() {
    let stage = Stage::set().await;
    let inner = Arc::new(connect(&stage.server, Duration::from_secs(4)).await);
    let store = RetryingStore::new(inner, Arc::new(HurriedClock::new(|| {})), RetryPolicy::default());
    stage.server.fault(Fault::on(Op::PutObject, Action::ApplyThenStall).first(1));
    let version = store.put(&key("a"), pattern(1_000), &when(Condition::IfAbsent)).await.unwrap();
    assert_eq!(stage.server.object("bucket", "a").unwrap().etag, version.as_str());
}
