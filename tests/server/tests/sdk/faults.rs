//! Every fault, as a client sees it, and what it leaves behind.

use std::time::Duration;

use crate::support::{client, code, put, status};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bayou_test_server::{Action, Fault, Gate, Op, Options, Refusal, S3Server};

const SHORT: Duration = Duration::from_millis(300);

fn start() -> (S3Server, Client) {
    let server = S3Server::start(Options::default());
    let s3 = client(&server);
    (server, s3)
}

/// Gets the object `k` and returns as much of its body as arrived, and whether it ended well.
async fn read(s3: &Client) -> (Vec<u8>, bool) {
    let mut body = s3.get_object().bucket("bucket").key("k").send().await.unwrap().body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => return (bytes, false),
        }
    }
    (bytes, true)
}

#[tokio::test]
async fn a_refusal_is_answered_and_nothing_is_applied() {
    let (server, s3) = start();
    for (refusal, expected) in [
        (Refusal::slow_down(2), 503),
        (Refusal::internal_error(), 500),
        (Refusal::new(429, "TooManyRequests"), 429),
        (Refusal::access_denied(), 403),
        (Refusal::expired_token(), 400),
        (Refusal::conflict(), 409),
    ] {
        let fault = server.fault(Fault::on(Op::PutObject, Action::Refuse(refusal.clone())));
        let error = put(&s3, "k", &"x".repeat(1_000_000)).send().await.unwrap_err();
        assert_eq!((status(&error), code(&error)), (expected, refusal.code));
        let retry_after = error.raw_response().unwrap().headers().get("retry-after").map(str::to_owned);
        assert_eq!(retry_after, refusal.retry_after.map(|seconds| seconds.to_string()));
        fault.remove();
    }
    assert!(server.keys("bucket").is_empty());
    put(&s3, "k", "x").send().await.unwrap();
}

#[tokio::test]
async fn only_the_second_put_of_a_key_fails() {
    let (server, s3) = start();
    let fault = Fault::on(Op::PutObject, Action::Refuse(Refusal::internal_error())).key("index").nth(2..=2);
    let fault = server.fault(fault);
    for (key, expected) in [("index", true), ("other", true), ("an/index", false), ("index", true)] {
        assert_eq!(put(&s3, key, "x").send().await.is_ok(), expected, "{key}");
    }
    assert_eq!((fault.matched(), fault.fired()), (3, 1));
}

#[tokio::test]
async fn a_request_cut_before_it_is_applied_leaves_nothing() {
    let (server, s3) = start();
    for action in [Action::Cut, Action::CutUpload(100)] {
        let fault = server.fault(Fault::on_writes(action));
        let error = put(&s3, "k", &"x".repeat(100_000)).send().await.unwrap_err();
        assert_eq!(status(&error), 0);
        assert_eq!(server.object("bucket", "k"), None);
        fault.remove();
    }
    assert_eq!(server.requests()[1].status, None);
    assert!(server.requests()[1].bytes_in >= 100);
}

#[tokio::test]
async fn a_lost_acknowledgement_leaves_the_write() {
    let (server, s3) = start();
    server.fault(Fault::on(Op::PutObject, Action::ApplyThenCut).first(1));
    assert_eq!(status(&put(&s3, "k", "1").if_none_match("*").send().await.unwrap_err()), 0);
    assert_eq!(server.object("bucket", "k").unwrap().body, "1");
    assert_eq!(status(&put(&s3, "k", "1").if_none_match("*").send().await.unwrap_err()), 412);

    server.fault(Fault::on(Op::DeleteObject, Action::ApplyThenRefuse(Refusal::internal_error())));
    assert_eq!(status(&s3.delete_object().bucket("bucket").key("k").send().await.unwrap_err()), 500);
    assert_eq!(server.object("bucket", "k"), None);
}

#[tokio::test]
async fn a_stalled_request_is_not_answered() {
    let (server, s3) = start();
    server.put_object("bucket", "k", "x");
    server.fault(Fault::on(Op::HeadObject, Action::Stall));
    server.fault(Fault::on(Op::PutObject, Action::ApplyThenStall));
    let head = s3.head_object().bucket("bucket").key("k").send();
    assert!(tokio::time::timeout(SHORT, head).await.is_err());
    assert!(tokio::time::timeout(SHORT, put(&s3, "new", "x").send()).await.is_err());
    assert!(server.object("bucket", "new").is_some());
    assert_eq!(server.requests()[0].status, None);
}

#[tokio::test]
async fn a_delay_only_delays() {
    let (server, s3) = start();
    server.fault(Fault::on_any(Action::Delay(SHORT)));
    assert!(tokio::time::timeout(SHORT / 2, put(&s3, "early", "x").send()).await.is_err());
    put(&s3, "k", "x").send().await.unwrap();
    assert!(server.object("bucket", "k").is_some());
}

#[tokio::test]
async fn a_body_is_cut_shortened_or_corrupted() {
    let (server, s3) = start();
    let whole: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    server.put_object("bucket", "k", whole.clone());
    let fault = server.fault(Fault::on(Op::GetObject, Action::CutBody(150_000)));
    assert_eq!(read(&s3).await, (whole[..150_000].to_vec(), false));
    fault.remove();
    let fault = server.fault(Fault::on(Op::GetObject, Action::CutBody(0)));
    assert_eq!(read(&s3).await, (Vec::new(), false));
    fault.remove();
    let fault = server.fault(Fault::on(Op::GetObject, Action::CorruptBody(1_000)));
    let (bytes, ended) = read_unverified(&server).await;
    assert!(ended && bytes.len() == whole.len() && bytes[1_000] != whole[1_000]);
    fault.remove();
    server.fault(Fault::on(Op::GetObject, Action::ShortBody(10)));
    let (bytes, ended) = read_unverified(&server).await;
    assert_eq!((bytes, ended), (whole[..10].to_vec(), true));
}

#[tokio::test]
async fn a_stalled_body_stops_and_does_not_end() {
    let (server, s3) = start();
    server.put_object("bucket", "k", vec![1; 200_000]);
    server.fault(Fault::on(Op::GetObject, Action::StallBody(150_000)));
    let mut body = s3.get_object().bucket("bucket").key("k").send().await.unwrap().body;
    let mut came = 0;
    while came < 150_000 {
        came += body.try_next().await.unwrap().unwrap().len();
    }
    assert_eq!(came, 150_000);
    assert!(tokio::time::timeout(SHORT, body.next()).await.is_err());
}

/// Reads as [`read`] does, with a client that asks for no checksums.
async fn read_unverified(server: &S3Server) -> (Vec<u8>, bool) {
    let credentials =
        aws_sdk_s3::config::Credentials::new(server.access_key(), server.secret_key(), None, None, "t");
    let config = crate::support::config(server).credentials_provider(credentials);
    let relaxed = aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired;
    read(&Client::from_conf(config.response_checksum_validation(relaxed).build())).await
}

#[tokio::test]
async fn a_cut_body_is_sent_up_to_the_cut() {
    let (server, s3) = start();
    server.put_object("bucket", "k", vec![1; 8 * 1024 * 1024]);
    server.fault(Fault::on(Op::GetObject, Action::CutBody(5_000_000)));
    let (bytes, ended) = read(&s3).await;
    assert_eq!((bytes.len(), ended), (5_000_000, false));
}

#[tokio::test]
async fn a_gate_holds_requests_until_the_test_opens_it() {
    let (server, s3) = start();
    let gate = Gate::new();
    server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())));
    let puts: Vec<_> = (0..3).map(|n| tokio::spawn(put(&s3, &format!("k{n}"), "x").send())).collect();
    gate.wait_for(3).await;
    assert!(server.keys("bucket").is_empty());
    gate.open();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert_eq!(server.keys("bucket"), ["k0", "k1", "k2"]);
}

#[tokio::test]
async fn a_gate_can_hold_the_answer_of_an_applied_request() {
    let (server, s3) = start();
    let gate = Gate::new();
    server.fault(Fault::on(Op::PutObject, Action::HoldAnswer(gate.clone())));
    let held = tokio::spawn(put(&s3, "k", "x").send());
    gate.wait_for(1).await;
    assert!(server.object("bucket", "k").is_some() && !held.is_finished());
    gate.open();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gate_can_hold_the_rest_of_a_body() {
    let (server, s3) = start();
    server.put_object("bucket", "k", vec![1; 100_000]);
    let gate = Gate::new();
    server.fault(Fault::on(Op::GetObject, Action::HoldBody(40_000, gate.clone())));
    let mut body = s3.get_object().bucket("bucket").key("k").send().await.unwrap().body;
    let mut first = 0;
    while first < 40_000 {
        first += body.try_next().await.unwrap().unwrap().len();
    }
    gate.wait_for(1).await;
    assert_eq!((first, server.requests()[0].bytes_out), (40_000, 40_000));
    gate.open();
    assert_eq!(body.collect().await.unwrap().into_bytes().len(), 60_000);
}

#[test]
fn the_server_answers_while_the_test_s_own_runtime_is_blocked() {
    let (server, s3) = start();
    let gate = Gate::new();
    server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let held = runtime.spawn(put(&s3, "k", "x").send());
    gate.wait_for_blocking(1);
    gate.open();
    runtime.block_on(held).unwrap().unwrap();
}

#[tokio::test]
async fn a_stopped_server_closes_its_connections() {
    let (server, s3) = start();
    server.fault(Fault::on(Op::GetObject, Action::Stall));
    server.put_object("bucket", "k", "x");
    let gate = Gate::new();
    server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())));
    let held = tokio::spawn(put(&s3, "k", "x").send());
    gate.wait_for(1).await;
    drop(server);
    assert_eq!(status(&held.await.unwrap().unwrap_err()), 0);
    let body = ByteStream::from_static(b"x");
    assert!(s3.put_object().bucket("bucket").key("k").body(body).send().await.is_err());
}
