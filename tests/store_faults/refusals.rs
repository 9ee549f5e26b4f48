//! What a refusal is called, and what a person is told.

use std::time::Duration;

use super::*;
use bayou::store::probe::{Conditions, probe};
use bayou::store::s3_error::hint;
use bayou::store::{StoreError, Version};
use bayou_test_server::{Action, Anonymous, Fault, Gate, Listing, Op, Refusal, Trailers};

const TIMEOUT: Duration = Duration::from_secs(30);

async fn get_error(store: &S3Store) -> StoreError {
    store.get(&key("a"), None, None).await.unwrap_err()
}

#[tokio::test]
async fn wrong_keys_are_named_with_the_profile() {
    let server = S3Server::start(Options::default());
    for (access_key, secret_key) in [("nobody", "x"), (server.access_key(), "wrong")] {
        let keys = StaticKeys { access_key: access_key.to_owned(), secret_key: secret_key.to_owned() };
        let profile = Some("work".to_owned());
        let options = S3Options { keys: Some(keys), profile, ..options(&server, TIMEOUT) };
        let refused = get_error(&connect_by(&options).await).await;
        assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused}");
        assert!(hint(&refused).unwrap().contains("profile \"work\""), "{:?}", refused.hint);
    }
}

#[tokio::test]
async fn an_expired_session_is_recognised_even_by_a_head() {
    let server = S3Server::start(Options::default());
    server.fault(Fault::on_any(Action::Refuse(Refusal::expired_token())));
    let options = S3Options { profile: Some("work".to_owned()), ..options(&server, TIMEOUT) };
    let store = connect_by(&options).await;
    for refused in [get_error(&store).await, store.head(&key("a")).await.unwrap_err()] {
        assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused}");
        assert!(hint(&refused).unwrap().contains("aws sso login --profile \"work\""), "{:?}", refused.hint);
    }
}

#[tokio::test]
async fn what_the_server_said_is_kept() {
    let server = S3Server::start(Options::default());
    server.fault(Fault::on_any(Action::Refuse(Refusal::access_denied())));
    let refused = get_error(&connect(&server, TIMEOUT).await).await;
    assert_eq!((refused.kind, refused.operation, refused.key.as_str()), (ErrorKind::Denied, "get", "a"));
    assert!(refused.detail.contains("HTTP 403, AccessDenied"), "{refused}");
}

#[tokio::test]
async fn a_wrong_region_is_answered_with_the_flag() {
    let server = S3Server::start(Options { region: Some("eu-west-1".to_owned()), ..Options::default() });
    let wrong = S3Options { region: Some("us-east-2".to_owned()), ..options(&server, TIMEOUT) };
    let store = connect_by(&wrong).await;
    for refused in [get_error(&store).await, store.head(&key("a")).await.unwrap_err()] {
        assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
        assert!(refused.detail.contains("--region eu-west-1"), "{refused}");
    }
    let right = S3Options { region: Some("eu-west-1".to_owned()), ..wrong };
    assert_eq!(get_error(&connect_by(&right).await).await.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let server = S3Server::start(Options { buckets: vec![], ..Options::default() });
    let store = connect(&server, TIMEOUT).await;
    assert_eq!(get_error(&store).await.kind, ErrorKind::NoBucket);
    let refused = store.put(&key("a"), Bytes::new(), &when(Condition::IfAbsent)).await;
    assert_eq!(kind(refused), Some(ErrorKind::NoBucket));
}

#[tokio::test]
async fn without_the_right_to_list_a_missing_key_is_denied_and_never_absent() {
    let server = S3Server::start(Options { listing: Listing::Denied, ..Options::default() });
    let store = connect(&server, TIMEOUT).await;
    assert_eq!(kind(store.head(&key("a")).await), Some(ErrorKind::Denied));
    assert_eq!(get_error(&store).await.kind, ErrorKind::Denied);
}

#[tokio::test]
async fn a_public_bucket_is_read_without_credentials() {
    for (anonymous, expected) in [(Anonymous::MayRead, None), (Anonymous::Denied, Some(ErrorKind::Denied))] {
        let server = S3Server::start(Options { anonymous, ..Options::default() });
        server.put_object("bucket", "a", "x");
        let unsigned = S3Options { no_sign_request: true, keys: None, ..options(&server, TIMEOUT) };
        let store = connect_by(&unsigned).await;
        assert_eq!(kind(store.get(&key("a"), None, None).await), expected);
        assert!(server.requests().iter().all(|request| request.access_key.is_none()));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_refused_at_once() {
    let options = S3Options { endpoint_url: Some("localhost:9000".to_owned()), ..S3Options::default() };
    let refused = S3Store::connect("bucket", &options, SystemClock::shared()).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.detail.contains("must begin with http"), "{refused}");
}

#[tokio::test]
async fn stores_that_refuse_checksums_behind_the_body_are_served() {
    let server = S3Server::start(Options { trailers: Trailers::Refused, ..Options::default() });
    let store = connect(&server, TIMEOUT).await;
    let options = when(Condition::IfAbsent);
    store.put(&key("small"), pattern(100_000), &options).await.unwrap();
    let upload = store.begin_upload(&key("big"), 100_000, &options).await.unwrap();
    let part = store.upload_part(&key("big"), &upload, 1, pattern(100_000)).await.unwrap();
    store.complete_upload(&key("big"), &upload, &[part], &options).await.unwrap();
}

#[tokio::test]
async fn the_probe_unmasks_a_store_that_ignores_conditions() {
    let ignoring = bayou_test_server::Conditions::IgnoredOnWrites;
    let server = S3Server::start(Options { conditions: ignoring, ..Options::default() });
    let found = probe(&connect(&server, TIMEOUT).await).await.unwrap();
    assert_eq!((found.put, found.complete, found.delete, found.get), (false, false, false, true));
    assert!(!found.copy);
    assert_eq!(server.keys("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn the_probe_fails_where_writing_is_denied_and_when_the_server_does() {
    let server = S3Server::start(Options::default());
    let store = connect(&server, TIMEOUT).await;
    server.fault(Fault::on(Op::PutObject, Action::Refuse(Refusal::access_denied())).first(1));
    assert_eq!(kind(probe(&store).await), Some(ErrorKind::Denied));
    server.fault(Fault::on(Op::CopyObject, Action::Refuse(Refusal::internal_error())).first(1));
    assert_eq!(kind(probe(&store).await), Some(ErrorKind::Unreachable));
    server.fault(Fault::on(Op::CopyObject, Action::Refuse(Refusal::new(501, "NotImplemented"))));
    let all_but_copies = Conditions { put: true, complete: true, copy: false, delete: true, get: true };
    assert_eq!(probe(&store).await.unwrap(), all_but_copies);
    assert_eq!(server.keys("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn an_object_that_is_too_large_for_one_copy_is_copied_in_parts() {
    let server = S3Server::start(Options::default());
    let store = connect(&server, TIMEOUT).await;
    let source = Version::new(&server.put_object("bucket", "from +%", pattern(3_000_000))).unwrap();
    server.fault(Fault::on(Op::CopyObject, Action::Refuse(Refusal::new(400, "EntityTooLarge"))));
    let options = when(Condition::IfAbsent);
    let version = store.copy(&key("from +%"), &source, &key("to"), &options).await.unwrap();
    let copied = server.object("bucket", "to").unwrap();
    assert!(copied.body == pattern(3_000_000));
    assert_eq!(copied.etag, version.as_str());
    assert_eq!(copied.meta["bayou-nonce"], options.nonce.as_str());
    assert_eq!(server.count(Op::UploadPartCopy), 1);

    let refused = store.copy(&key("from +%"), &source, &key("to"), &options).await;
    assert_eq!(kind(refused), Some(ErrorKind::Exists));
    assert_eq!(server.uploads("bucket"), Vec::<String>::new(), "the second copy was given up");
    let stale = Version::new("00000000000000000000000000000000").unwrap();
    let refused = store.copy(&key("from +%"), &stale, &key("other"), &options).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));
}

#[tokio::test]
async fn a_source_that_changes_during_a_copy_in_parts_is_not_mixed() {
    let server = S3Server::start(Options::default());
    let store = Arc::new(connect(&server, TIMEOUT).await);
    let source = Version::new(&server.put_object("bucket", "from", pattern(1_000))).unwrap();
    server.fault(Fault::on(Op::CopyObject, Action::Refuse(Refusal::new(400, "EntityTooLarge"))));
    let begun = Gate::new();
    server.fault(Fault::on(Op::CreateMultipartUpload, Action::HoldAnswer(begun.clone())));
    let copying =
        tokio::spawn(
            async move { store.copy(&key("from"), &source, &key("to"), &when(Condition::Always)).await },
        );
    begun.wait_for(1).await;
    server.put_object("bucket", "from", pattern(2_000));
    begun.open();
    assert_eq!(kind(copying.await.unwrap()), Some(ErrorKind::Changed));
    assert_eq!(server.object("bucket", "to"), None);
    assert_eq!(server.uploads("bucket"), Vec::<String>::new());
}
