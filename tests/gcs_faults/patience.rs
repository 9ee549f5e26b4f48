//! Servers that say nothing: every request ends.

use super::*;
use bayou_test_server::{Action, Fault, Op};

/// So short that the longest patience, for copies, is under a second.
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn h_5_no_request_hangs_when_the_server_never_answers() {
    let server = GcsServer::start(bayou_test_server::GcsOptions::default());
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
    let server = GcsServer::start(bayou_test_server::GcsOptions::default());
    server.fault(Fault::on_any(Action::Stall));
    let store = connect(&server, SHORT).await;
    let put = store.put(&key("a"), pattern(32 * MIB), &when(Condition::Always)).await;
    assert_eq!(kind(put), Some(ErrorKind::Unreachable));
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_and_resumed() {
    let stage = Stage::set().await;
    let inner = Arc::new(connect(&stage.server, Duration::from_secs(4)).await);
    let store = RetryingStore::new(inner, Arc::new(HurriedClock::new(|| {})), RetryPolicy::default());
    stage.server.put_object("bucket", "a", pattern(MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::StallBody(400_000)).first(1));
    let fetched = store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == pattern(MIB));
    assert_eq!(stage.server.count(Op::GetObject), 2);
}

#[tokio::test]
async fn a_write_whose_answer_never_comes_is_recognised() {
    let stage = Stage::set().await;
    let inner = Arc::new(connect(&stage.server, Duration::from_secs(4)).await);
    let store = RetryingStore::new(inner, Arc::new(HurriedClock::new(|| {})), RetryPolicy::default());
    stage.server.fault(Fault::on(Op::PutObject, Action::ApplyThenStall).first(1));
    let version = store.put(&key("a"), pattern(1_000), &when(Condition::IfAbsent)).await.unwrap();
    assert_eq!(stage.version("a"), version);
}

#[tokio::test]
async fn a_session_that_is_never_answered_is_given_up() {
    let server = GcsServer::start(bayou_test_server::GcsOptions::default());
    let store = connect(&server, Duration::from_secs(1)).await;
    let (options, body) = (when(Condition::Always), pattern(MIB));
    // The first piece may be on its way as soon as the session has begun.
    server.fault(Fault::on(Op::UploadChunk, Action::Stall));
    let upload = store.begin_upload(&key("a"), body.len() as u64, &options).await.unwrap();
    let part = store.upload_part(&key("a"), &upload, 1, body).await.unwrap();
    let completed = store.complete_upload(&key("a"), &upload, &[part], &options).await;
    assert_eq!(kind(completed), Some(ErrorKind::Unreachable));
    assert!(server.object("bucket", "a").is_none());
}
