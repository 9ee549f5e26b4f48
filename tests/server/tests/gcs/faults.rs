//! Every fault over both protocols, as a client sees it, and what it leaves behind.

use std::time::Duration;

use bayou_test_server::{Action, Fault, Gate, GcsOptions, GcsServer, Op, Refusal};
use google_cloud_gax::error::rpc::Code;
use google_cloud_storage::model::Object;
use google_cloud_storage::read_resume_policy::NeverResume;

use crate::raw::{Connection, ROUTED, get_object};
use crate::support::{BUCKET, Client, code, status};

const SHORT: Duration = Duration::from_millis(300);
/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> (GcsServer, Client) {
    let server = GcsServer::start(GcsOptions::default());
    let client = Client::of(&server).await;
    (server, client)
}

impl Client {
    async fn head(&self, name: &str) -> Result<Object, google_cloud_gax::error::Error> {
        self.control.get_object().set_bucket(BUCKET).set_object(name).send().await
    }

    async fn delete(&self, name: &str) -> Result<(), google_cloud_gax::error::Error> {
        self.control.delete_object().set_bucket(BUCKET).set_object(name).send().await
    }

    /// Returns as much of an object's bytes as arrives, and whether they end well.
    async fn read_partly(&self, name: &str) -> (Vec<u8>, bool) {
        let read = self.bytes.read_object(BUCKET, name).with_read_resume_policy(NeverResume);
        let mut answer = read.send().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.next().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(_) => return (bytes, false),
            }
        }
        (bytes, true)
    }
}

#[tokio::test]
async fn a_refusal_is_answered_and_nothing_is_applied() {
    let (server, client) = start().await;
    server.put_object("bucket", "k", "old");
    for (refusal, over_http, over_grpc) in [
        (Refusal::slow_down(2), 503, Code::Unavailable),
        (Refusal::internal_error(), 500, Code::Internal),
        (Refusal::new(429, "rateLimitExceeded"), 429, Code::ResourceExhausted),
        (Refusal::new(401, "authError"), 401, Code::Unauthenticated),
        (Refusal::access_denied(), 403, Code::PermissionDenied),
        (Refusal::conflict(), 409, Code::Aborted),
    ] {
        let fault = server.fault(Fault::on_any(Action::Refuse(refusal)));
        assert_eq!(status(client.write("k", "new").await), over_http);
        assert_eq!(status(client.read("k").await), over_http);
        assert_eq!(code(client.delete("k").await), Some(over_grpc));
        assert_eq!(code(client.head("k").await), Some(over_grpc));
        assert_eq!(fault.fired(), 4);
        assert!(server.requests().iter().all(|one| one.status == Some(over_http)));
        server.reset_counts();
        fault.remove();
    }
    assert_eq!(server.object("bucket", "k").unwrap().body, "old");
}

#[tokio::test]
async fn refusals_speak_of_reasons_and_of_time() {
    let (server, _client) = start().await;
    server.fault(Fault::on_any(Action::Refuse(Refusal::slow_down(7))));
    let refused = crate::raw::send(&server, "DELETE /storage/v1/b/bucket/o/k", &[], b"");
    assert_eq!(
        (refused.error(), refused.header("retry-after")),
        ((503, "backendError".to_owned()), Some("7"))
    );
}

#[tokio::test]
async fn only_the_second_request_on_a_key_fails() {
    let (server, client) = start().await;
    server.put_object("bucket", "index", "x");
    server.put_object("bucket", "other", "x");
    let refuse = Action::Refuse(Refusal::internal_error());
    let fault = server.fault(Fault::on(Op::HeadObject, refuse).key("index").nth(2..=2));
    for (name, expected) in [("index", true), ("other", true), ("index", false), ("index", true)] {
        assert_eq!(client.head(name).await.is_ok(), expected, "{name}");
    }
    assert_eq!((fault.matched(), fault.fired()), (3, 1));
    assert_eq!(server.requests()[1].key, "other");
}

#[tokio::test]
async fn a_request_cut_before_it_is_applied_leaves_all_as_it_was() {
    let (server, _) = start().await;
    server.put_object("bucket", "k", "old");
    for action in [Action::Cut, Action::CutUpload(100)] {
        // A client may find out late that its connection is gone: each step has its own.
        let client = Client::of(&server).await;
        let fault = server.fault(Fault::on_writes(action));
        let error = client.write("k", &"x".repeat(100_000)).await.unwrap_err();
        assert_eq!(error.http_status_code(), None);
        lost(client.delete("k").await);
        assert_eq!(fault.fired(), 2);
        fault.remove();
    }
    assert_eq!(server.object("bucket", "k").unwrap().body, "old");
    assert!(server.requests().iter().all(|one| one.status.is_none()));
}

/// Checks that a call failed, and not with an answer of the server.
fn lost<T: std::fmt::Debug>(outcome: Result<T, google_cloud_gax::error::Error>) {
    let code = code(outcome);
    assert!(matches!(code, None | Some(Code::Unavailable | Code::Unknown)), "{code:?}");
}

#[tokio::test]
async fn a_lost_answer_leaves_what_was_done() {
    let (server, client) = start().await;
    server.fault(Fault::on(Op::PutObject, Action::ApplyThenCut).first(1));
    let write = || client.bytes.write_object(BUCKET, "k", "1").set_if_generation_match(0).send_unbuffered();
    assert_eq!(write().await.unwrap_err().http_status_code(), None);
    assert_eq!(server.object("bucket", "k").unwrap().body, "1");
    assert_eq!(status(write().await), 412);

    server.fault(Fault::on(Op::DeleteObject, Action::ApplyThenCut).first(1));
    lost(client.delete("k").await);
    assert_eq!(server.object("bucket", "k"), None);
    let client = Client::of(&server).await;
    assert_eq!(code(client.delete("k").await), Some(Code::NotFound));

    server.put_object("bucket", "k", "2");
    server.fault(Fault::on(Op::DeleteObject, Action::ApplyThenRefuse(Refusal::internal_error())));
    assert_eq!(code(client.delete("k").await), Some(Code::Internal));
    assert_eq!(server.object("bucket", "k"), None);
}

#[tokio::test]
async fn a_cut_takes_all_that_shares_the_connection() {
    let (server, _) = start().await;
    server.put_object("bucket", "k", "x");
    let (held, cut) = (Gate::new(), Gate::new());
    server.fault(Fault::on(Op::HeadObject, Action::Hold(held.clone())).first(1));
    let both = [Action::Hold(cut.clone()), Action::Cut];
    for action in both {
        server.fault(Fault::on(Op::HeadObject, action).nth(2..=2));
    }
    let connection = Connection::to(&server).await;
    let message = get_object();
    let call = || connection.call("GetObject", &ROUTED, &message);
    let cutting = async {
        held.wait_for(1).await;
        cut.wait_for(1).await;
        cut.open();
    };
    let ended = tokio::time::timeout(PATIENCE, async { tokio::join!(call(), call(), cutting) }).await;
    let (one, two, ()) = ended.unwrap();
    assert!(one.is_err() && two.is_err(), "{one:?} {two:?}");
}

#[tokio::test]
async fn a_stalled_request_is_not_answered() {
    let (server, client) = start().await;
    server.put_object("bucket", "k", "x");
    server.fault(Fault::on_these(&[Op::HeadObject, Op::GetObject], Action::Stall));
    server.fault(Fault::on_writes(Action::ApplyThenStall));
    assert!(tokio::time::timeout(SHORT, client.head("k")).await.is_err());
    assert!(tokio::time::timeout(SHORT, client.read("k")).await.is_err());
    assert!(tokio::time::timeout(SHORT, client.write("new", "x")).await.is_err());
    assert!(tokio::time::timeout(SHORT, client.delete("k")).await.is_err());
    assert_eq!(server.keys("bucket"), ["new"]);
    assert!(server.requests().iter().all(|one| one.status.is_none()));
}

#[tokio::test]
async fn a_body_is_cut_stalled_shortened_or_corrupted() {
    let (server, client) = start().await;
    let whole: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    server.put_object("bucket", "k", whole.clone());
    for at in [0, 150_000] {
        let fault = server.fault(Fault::on(Op::GetObject, Action::CutBody(at)));
        assert_eq!(client.read_partly("k").await, (whole[..usize::try_from(at).unwrap()].to_vec(), false));
        fault.remove();
    }
    let fault = server.fault(Fault::on(Op::GetObject, Action::CorruptBody(1_000)));
    assert!(!client.read_partly("k").await.1, "the client compares checksums");
    fault.remove();
    let fault = server.fault(Fault::on(Op::GetObject, Action::ShortBody(10)));
    assert!(!client.read_partly("k").await.1, "the client knows the size");
    fault.remove();
    server.fault(Fault::on(Op::GetObject, Action::StallBody(150_000)));
    assert!(tokio::time::timeout(SHORT, client.read("k")).await.is_err());
    assert_eq!(server.requests().last().unwrap().bytes_out, 150_000);
}

#[tokio::test]
async fn an_answer_of_a_call_is_cut_or_held_too() {
    let (server, client) = start().await;
    server.put_object("bucket", "k", "x");
    let fault = server.fault(Fault::on(Op::HeadObject, Action::CutBody(20)));
    client.head("k").await.unwrap_err();
    assert_eq!(server.requests()[0].bytes_out, 20);
    fault.remove();
    let gate = Gate::new();
    let fault = server.fault(Fault::on(Op::HeadObject, Action::HoldBody(20, gate.clone())));
    let held = client.head("k");
    let (found, ()) = tokio::join!(held, async {
        gate.wait_for(1).await;
        gate.open();
    });
    assert_eq!((found.unwrap().size, fault.fired()), (1, 1));
}

#[tokio::test]
async fn a_read_that_breaks_off_is_resumed_by_the_client() {
    let (server, client) = start().await;
    server.put_object("bucket", "k", vec![7; 500_000]);
    server.fault(Fault::on(Op::GetObject, Action::CutBody(200_000)).first(2));
    assert_eq!(client.read("k").await.unwrap().len(), 500_000);
    let ranges: Vec<_> = server.requests().into_iter().map(|one| one.range).collect();
    assert_eq!(
        ranges,
        [None, Some("bytes=200000-499999".to_owned()), Some("bytes=400000-499999".to_owned())]
    );
}

#[tokio::test]
async fn gates_hold_requests_and_answers_until_the_test_opens_them() {
    let (server, client) = start().await;
    let client = std::sync::Arc::new(client);
    server.put_object("bucket", "k", "x");
    let (before, after) = (Gate::new(), Gate::new());
    server.fault(Fault::on(Op::DeleteObject, Action::Hold(before.clone())));
    server.fault(Fault::on(Op::DeleteObject, Action::HoldAnswer(after.clone())));
    let deleting = std::sync::Arc::clone(&client);
    let held = tokio::spawn(async move { deleting.delete("k").await });
    before.wait_for(1).await;
    // Another call goes through on the same connection.
    assert_eq!(client.head("k").await.unwrap().size, 1);
    before.open();
    after.wait_for(1).await;
    assert!(server.object("bucket", "k").is_none() && !held.is_finished());
    after.open();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stopped_server_closes_its_connections() {
    let (server, client) = start().await;
    let client = std::sync::Arc::new(client);
    let gate = Gate::new();
    server.fault(Fault::on_any(Action::Hold(gate.clone())));
    let (one, two) = (std::sync::Arc::clone(&client), std::sync::Arc::clone(&client));
    let write = tokio::spawn(async move { one.write("k", "x").await });
    let head = tokio::spawn(async move { two.head("k").await });
    gate.wait_for(2).await;
    drop(server);
    write.await.unwrap().unwrap_err();
    head.await.unwrap().unwrap_err();
}
