//! What a refusal is called, and what a person is told.

use super::*;
use bayou::store::StoreError;
use bayou_test_server::{Access, Options, S3Server};

const TIMEOUT: Duration = Duration::from_secs(30);

async fn get_error(store: &GcsStore) -> StoreError {
    store.get(&key("a"), None, None).await.unwrap_err()
}

/// Returns the failures of a request over HTTP and of one over gRPC.
async fn both_errors(store: &GcsStore) -> [StoreError; 2] {
    [get_error(store).await, store.head(&key("a")).await.unwrap_err()]
}

fn hint(error: &StoreError) -> &str {
    error.hint.as_deref().unwrap_or_default()
}

fn start() -> GcsServer {
    GcsServer::start(bayou_test_server::GcsOptions::default())
}

#[tokio::test]
async fn c_30_an_account_that_may_not_is_told_what_it_needs() {
    let server = start();
    server.set_access(Access::Denied);
    for refused in both_errors(&connect(&server, TIMEOUT).await).await {
        assert_eq!((refused.kind, refused.key.as_str()), (ErrorKind::Denied, "a"));
        assert!(hint(&refused).starts_with("Datastore credentials rejected by GCS"), "{refused:?}");
        assert!(refused.detail.contains("HTTP 403"), "{refused}");
    }
}

#[tokio::test]
async fn c_30_credentials_that_the_service_does_not_know_are_named() {
    let server = start();
    server.set_access(Access::Bearer("another".to_owned()));
    for refused in both_errors(&connect(&server, TIMEOUT).await).await {
        assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused}");
        assert!(hint(&refused).contains("gcloud auth application-default login"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let server = GcsServer::start(bayou_test_server::GcsOptions { buckets: vec![], ..Default::default() });
    let store = connect(&server, TIMEOUT).await;
    for refused in both_errors(&store).await {
        assert_eq!(refused.kind, ErrorKind::NoBucket, "{refused}");
        assert!(hint(&refused).contains("bucket's name"), "{refused:?}");
    }
    let refused = store.put(&key("a"), Bytes::new(), &when(Condition::IfAbsent)).await;
    assert_eq!(kind(refused), Some(ErrorKind::NoBucket));
}

#[tokio::test]
async fn anonymous_requests_carry_no_token() {
    let server = start();
    server.put_object("bucket", "a", "x");
    let options = GcsOptions { no_sign_request: true, ..options(&server, TIMEOUT) };
    let store = connect_by(&options).await;
    assert_eq!(store.get(&key("a"), None, None).await.unwrap().body, "x");
    store.head(&key("a")).await.unwrap().unwrap();
    assert!(server.requests().iter().all(|request| request.bearer.is_none()));
}

/// Writes a file of credentials.
fn file(folder: &std::path::Path, text: &str) -> Option<std::path::PathBuf> {
    let file = folder.join("application_default_credentials.json");
    bayou::os::durable_file::replace(&file, text.as_bytes()).unwrap();
    Some(file)
}

#[tokio::test]
async fn a_key_file_gives_the_tokens_that_requests_carry() {
    let (server, home) = (start(), tempfile::tempdir().unwrap());
    server.set_access(Access::Issued);
    server.put_object("bucket", "a", "x");
    for text in [server.authorized_user(), server.service_account()] {
        let key_file = file(home.path(), &text);
        let store = connect_by(&GcsOptions { key_file, ..options(&server, TIMEOUT) }).await;
        assert_eq!(store.get(&key("a"), None, None).await.unwrap().body, "x");
        assert!(store.head(&key("a")).await.unwrap().is_some());
    }
    let asked = server.requests();
    assert!(asked.iter().filter(|one| one.key == "a").all(|one| one.bearer.is_some()), "{asked:?}");
}

#[tokio::test]
async fn credentials_that_nobody_named_for_it_are_not_sent_without_encryption() {
    let server = start();
    server.set_access(Access::Issued);
    let store = connect(&server, TIMEOUT).await;
    assert_eq!(get_error(&store).await.kind, ErrorKind::Unauthenticated);
    assert!(server.requests().iter().all(|request| request.bearer.is_none()));
}

#[tokio::test]
async fn h_10_a_session_that_is_over_says_how_to_sign_in_again() {
    let (server, home) = (start(), tempfile::tempdir().unwrap());
    server.refuse_tokens(Some("invalid_grant"));
    let key_file = file(home.path(), &server.authorized_user());
    let store = connect_by(&GcsOptions { key_file, ..options(&server, TIMEOUT) }).await;
    for refused in both_errors(&store).await {
        assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused}");
        assert!(hint(&refused).starts_with("Datastore session expired"), "{refused:?}");
        assert!(hint(&refused).contains("`gcloud auth application-default login`"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_kind_is_named_as_such() {
    let server = S3Server::start(Options::default());
    let wrong = GcsOptions { endpoint_url: Some(server.url()), timeout: TIMEOUT, ..GcsOptions::default() };
    let store = connect_by(&wrong).await;
    for refused in both_errors(&store).await {
        assert!(hint(&refused).contains("--endpoint-url"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_as_such() {
    let server = start();
    let store = connect(&server, TIMEOUT).await;
    let name = key(&"k".repeat(1025));
    let refused = store.put(&name, Bytes::new(), &when(Condition::Always)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Unsupported));
}
