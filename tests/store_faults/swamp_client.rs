//! What swamp promises of its client of the store: which failures are tried again, how they are
//! told, and what people are advised to do (C-22, C-23, C-27, C-30, C-31, H-1, H-2, H-7, H-8).

use std::time::Duration;

use super::*;
use bayou::session::failures::of_store;
use bayou::store::s3_error::hint;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns a server that fails as a case of `retryable.json` says; `None` if it is not about
/// answers of servers.
fn failing_as(case: &str) -> Option<Action> {
    let status = case.strip_prefix("op http ")?.split(' ').next()?.parse().ok()?;
    let code = match status {
        404 => "NoSuchKey",
        412 => "PreconditionFailed",
        _ => "Whatever",
    };
    Some(Action::Refuse(Refusal::new(status, code)))
}

#[tokio::test]
async fn c_22_and_c_23_the_same_failures_are_tried_again_as_by_swamp() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/swamp/vectors/retryable.json");
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut judged = 0;
    for case in cases {
        let name = case["error"].as_str().unwrap();
        let action = match name {
            "TimeoutError" => Action::Stall,
            "op no status (transport)" => Action::Cut,
            // HTTP has no status of this number; and 408 we try again: nothing was done.
            "op http 600" | "op http 408" => continue,
            _ => match failing_as(name) {
                Some(action) => action,
                None => continue,
            },
        };
        let stage = Stage::set().await;
        let inner = Arc::new(connect(&stage.server, Duration::from_millis(400)).await);
        let store = RetryingStore::new(inner, Arc::new(stage.clock.clone()), RetryPolicy::default());
        stage.server.put_object("bucket", "a", "x");
        stage.server.fault(Fault::on(Op::GetObject, action).first(1));
        let outcome = store.get(&key("a"), None, None).await;
        assert_eq!(serde_json::Value::from(outcome.is_ok()), case["retry"], "{name}: {outcome:?}");
        let expected = if case["retry"] == true { 2 } else { 1 };
        assert_eq!(stage.server.count(Op::GetObject), expected, "{name}");
        judged += 1;
    }
    assert_eq!(judged, 11);
}

#[tokio::test]
async fn c_27_a_request_that_waits_for_its_next_attempt_can_be_given_up() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::slow_down(30))));
    let inner = Arc::new(connect(&stage.server, TIMEOUT).await);
    let store = RetryingStore::new(inner, SystemClock::shared(), RetryPolicy::default());
    let key = key("a");
    let mut asking = Box::pin(store.head(&key));
    while stage.server.count_all() == 0 || stage.server.requests()[0].status.is_none() {
        tokio::select! {
            biased;
            ended = &mut asking => panic!("{ended:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(asking);
    assert_eq!(stage.server.count_all(), 1);
}

#[tokio::test]
async fn c_30_credentials_that_are_refused_are_tried_once_and_the_way_out_is_said() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Refuse(Refusal::access_denied())));
    let refused = stage.store.head(&key("a")).await.unwrap_err();
    assert_eq!(stage.server.count_all(), 1);
    let got = stage.store.get(&key("a"), None, None).await.unwrap_err();
    assert_eq!(stage.server.count_all(), 2);
    assert!(hint(&got).unwrap().starts_with("Datastore credentials rejected by AWS"), "{:?}", got.hint);
    assert!(hint(&refused).unwrap().contains("credentials"), "a HEAD has no code: {:?}", refused.hint);
}

#[tokio::test]
async fn c_31_a_server_that_is_silent_is_asked_as_often_as_may_be_and_then_named() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on_any(Action::Stall));
    let inner = Arc::new(connect(&stage.server, Duration::from_millis(100)).await);
    let policy = RetryPolicy { attempts: 3, ..RetryPolicy::default() };
    let store = RetryingStore::new(inner, Arc::new(stage.clock.clone()), policy);
    let failed = store.head(&key("a")).await.unwrap_err();
    assert_eq!((failed.kind, stage.server.count_all()), (ErrorKind::Unreachable, 3));
    assert!(failed.detail.contains("no answer"), "{failed}");
}

#[tokio::test]
async fn h_1_the_version_is_that_of_the_bytes() {
    let stage = Stage::set().await;
    let old = stage.server.put_object("bucket", "a", pattern(100_000));
    let gate = Gate::new();
    stage.server.fault(Fault::on(Op::GetObject, Action::HoldBody(10, gate.clone())).first(1));
    let store = Arc::clone(&stage.store);
    let reading = tokio::spawn(async move { store.get(&key("a"), None, None).await });
    gate.wait_for(1).await;
    let new = stage.server.put_object("bucket", "a", "new");
    gate.open();
    let fetched = reading.await.unwrap().unwrap();
    assert_ne!(old, new);
    let expected = if fetched.body == "new" { new } else { old };
    assert_eq!(fetched.meta.version.as_str(), expected);
}

#[tokio::test]
async fn h_2_what_is_missing_is_missing() {
    let stage = Stage::set().await;
    assert_eq!(kind(stage.store.get(&key("a"), None, None).await), Some(ErrorKind::NotFound));
    assert_eq!(stage.store.head(&key("a")).await.unwrap(), None);
    stage.store.delete(&key("a"), &Condition::Always).await.unwrap();
}

#[tokio::test]
async fn h_7_and_h_8_advice_goes_to_whom_it_helps_and_comes_with_the_message() {
    let (expired, rejected) = ("Datastore session expired", "Datastore credentials rejected by AWS");
    let (other, none) = ("Check the AWS credentials", "");
    let table = [
        (400, "ExpiredToken", expired),
        (400, "ExpiredTokenException", expired),
        (403, "ExpiredTokenException", expired),
        (403, "InvalidAccessKeyId", rejected),
        (403, "SignatureDoesNotMatch", rejected),
        (403, "AccessDenied", rejected),
        (401, "AccessDenied", other),
        (403, "BucketRegionMismatch", other),
        (403, "", other),
        (401, "", other),
        (404, "NoSuchKey", none),
        (412, "PreconditionFailed", none),
        (400, "InvalidArgument", none),
        (500, "AccessDenied", none),
        (503, "SlowDown", none),
    ];
    let server = S3Server::start(Options::default());
    let options = S3Options { profile: Some("work".to_owned()), ..options(&server, TIMEOUT) };
    let store = connect_by(&options).await;
    for (status, code, advice) in table {
        server.clear_faults();
        server.fault(Fault::on_any(Action::Refuse(Refusal::new(status, code))));
        let refused = store.get(&key("a"), None, None).await.unwrap_err();
        assert_eq!(hint(&refused).is_some(), !advice.is_empty(), "{status} {code}: {:?}", refused.hint);
        let said = of_store("s3://bucket", &refused).message;
        assert!(said.contains(advice), "{status} {code}: {said}");
        assert_eq!(said.contains("work"), !advice.is_empty(), "{status} {code}: {said}");
        if advice == expired {
            assert!(said.contains("run `aws sso login --profile \"work\"`"), "{said}");
        }
    }
}
