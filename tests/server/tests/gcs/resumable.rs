//! Resumable uploads: offsets, conditions, checksums, the end of sessions.

use std::time::Duration;

use bayou_test_server::{Action, Fault, GcsOptions, GcsServer, Op};
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::retry_policy::{AlwaysRetry, RetryPolicyExt as _};

use crate::raw::{Answer, send};
use crate::support::{BUCKET, Client, status};

const START: &str = "POST /upload/storage/v1/b/bucket/o?uploadType=resumable&name=k";
const QUANTUM: usize = 262_144;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at ^ (at >> 8)) & 0xff).unwrap()).collect()
}

/// Returns a policy that tries again at once.
fn soon() -> ExponentialBackoff {
    let millisecond = Duration::from_millis(1);
    let builder = ExponentialBackoffBuilder::new().with_initial_delay(millisecond);
    builder.with_maximum_delay(millisecond).build().unwrap()
}

/// A session of a server.
struct Session<'s> {
    server: &'s GcsServer,
    url: String,
}

impl<'s> Session<'s> {
    fn start(server: &'s GcsServer, line: &str, metadata: &str) -> Self {
        let answer = send(server, line, &[("content-type", "application/json")], metadata.as_bytes());
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let url = answer.header("location").unwrap().to_owned();
        assert!(url.starts_with(&server.url()), "{url}");
        Self { server, url }
    }

    fn put(&self, range: &str, body: &[u8]) -> Answer {
        self.put_with(range, body, &[])
    }

    fn put_with(&self, range: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        let headers = [&[("content-range", range)], headers].concat();
        send(self.server, &format!("PUT {}", self.url), &headers, body)
    }

    /// Returns how many bytes are kept, as the session says it.
    fn kept(&self) -> usize {
        kept(&self.put("bytes */*", b""))
    }
}

/// Returns how many bytes an answer says are kept.
fn kept(answer: &Answer) -> usize {
    assert_eq!((answer.status, answer.body.len()), (308, 0));
    answer
        .header("range")
        .map_or(0, |range| range.strip_prefix("bytes=0-").unwrap().parse::<usize>().unwrap() + 1)
}

#[test]
fn an_upload_goes_on_where_it_is() {
    let server = GcsServer::start(GcsOptions::default());
    let body = pattern(3 * QUANTUM + 10);
    let session = Session::start(&server, START, r#"{"contentType": "text/x", "metadata": {"a": "1"}}"#);
    assert_eq!(session.kept(), 0);
    assert_eq!(kept(&session.put(&format!("bytes 0-{}/*", QUANTUM - 1), &body[..QUANTUM])), QUANTUM);
    assert_eq!(session.kept(), QUANTUM);
    // What was sent before is not taken twice.
    let again = session.put(&format!("bytes 0-{}/*", 2 * QUANTUM - 1), &body[..2 * QUANTUM]);
    assert_eq!(kept(&again), 2 * QUANTUM);
    // What does not follow is refused.
    let gap = session.put(&format!("bytes {}-{}/*", 3 * QUANTUM, 4 * QUANTUM - 1), &body[..QUANTUM]);
    assert_eq!((gap.status, gap.header("content-type")), (503, Some("text/plain; charset=utf-8")));
    // A piece before the end has at least a quantum, and whole quanta are kept of it.
    assert_eq!(
        session.put(&format!("bytes {}-{}/*", 2 * QUANTUM, 2 * QUANTUM + 99), &body[..100]).error().0,
        400
    );
    let odd = session
        .put(&format!("bytes {}-{}/*", 2 * QUANTUM, 3 * QUANTUM + 4), &body[2 * QUANTUM..3 * QUANTUM + 5]);
    assert_eq!(kept(&odd), 3 * QUANTUM);
    assert_eq!((server.uploads("bucket"), server.keys("bucket").len()), (vec!["k".to_owned()], 0));
    let total = body.len();
    let done = session.put(&format!("bytes {}-{}/{total}", 3 * QUANTUM, total - 1), &body[3 * QUANTUM..]);
    assert_eq!(
        (done.status, &done.json()["size"], &done.json()["contentType"]),
        (200, &total.to_string().into(), &"text/x".into())
    );
    assert!(server.object("bucket", "k").unwrap().body == body && server.uploads("bucket").is_empty());
    // A session that is done says so, whatever it is asked.
    for again in
        [session.put("bytes */*", b""), session.put(&format!("bytes 0-{}/{total}", total - 1), &body)]
    {
        assert_eq!((again.status, &again.json()["generation"]), (200, &done.json()["generation"]));
    }
}

#[test]
fn the_size_may_become_known_at_the_end() {
    let server = GcsServer::start(GcsOptions::default());
    let body = pattern(QUANTUM);
    let session = Session::start(&server, START, "");
    assert_eq!(kept(&session.put(&format!("bytes 0-{}/*", QUANTUM - 1), &body)), QUANTUM);
    assert_eq!(kept(&session.put(&format!("bytes */{}", QUANTUM + 1), b"")), QUANTUM);
    assert_eq!(session.put(&format!("bytes */{QUANTUM}"), b"").status, 200);
    assert!(server.object("bucket", "k").unwrap().body == body);
    let open = Session::start(&server, START, "");
    assert_eq!(kept(&open.put(&format!("bytes 0-{}/*", QUANTUM - 1), &body)), QUANTUM);
    assert_eq!(open.put(&format!("bytes {QUANTUM}-*/*"), b"end").json()["size"], (QUANTUM + 3).to_string());
    let empty = Session::start(&server, START, "");
    assert_eq!(empty.put("bytes */0", b"").json()["size"], "0");
    let whole = Session::start(&server, START, "");
    assert_eq!(send(&server, &format!("PUT {}", whole.url), &[], b"hello").json()["size"], "5");
    for odd in ["bytes 0-4", "bytes 0-9/10", "bytes 5-0/9", "0-4/5", "bytes x-4/5", "bytes 0-4/3"] {
        let session = Session::start(&server, START, "");
        assert_eq!(session.put(odd, b"hello").status, 400, "{odd}");
    }
}

#[test]
fn conditions_are_judged_at_the_start_and_at_the_end() {
    let server = GcsServer::start(GcsOptions::default());
    let old = server.put_object("bucket", "k", "old");
    assert_eq!(
        send(&server, &format!("{START}&ifGenerationMatch=0"), &[], b"").error(),
        (412, "conditionNotMet".to_owned())
    );
    let session = Session::start(&server, &format!("{START}&ifGenerationMatch={old}"), "");
    server.put_object("bucket", "k", "another's");
    assert_eq!(session.put("bytes 0-4/5", b"hello").error(), (412, "conditionNotMet".to_owned()));
    assert_eq!(server.object("bucket", "k").unwrap().body, "another's");
    assert_eq!(session.put("bytes */*", b"").status, 410);
    assert!(server.uploads("bucket").is_empty());
}

#[test]
fn checksums_are_verified_at_the_end() {
    let server = GcsServer::start(GcsOptions::default());
    let announced = Session::start(&server, START, r#"{"crc32c": "AAAAAA=="}"#);
    assert_eq!(announced.put("bytes 0-4/5", b"hello").error(), (400, "invalid".to_owned()));
    for sums in [
        "crc32c=AAAAAA==",
        "md5=AAAAAAAAAAAAAAAAAAAAAA==",
        "crc32c=mnG7TA==,md5=AAAAAAAAAAAAAAAAAAAAAA==",
        "odd",
    ] {
        let session = Session::start(&server, START, "");
        assert_eq!(session.put_with("bytes 0-4/5", b"hello", &[("x-goog-hash", sums)]).status, 400, "{sums}");
    }
    assert!(server.keys("bucket").is_empty());
    let right = Session::start(&server, START, r#"{"crc32c": "mnG7TA=="}"#);
    let sums = ("x-goog-hash", "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg==");
    assert_eq!(right.put_with("bytes 0-4/5", b"hello", &[sums]).status, 200);
}

#[test]
fn a_cancelled_or_unknown_session_is_dead() {
    let server = GcsServer::start(GcsOptions::default());
    let session = Session::start(&server, START, "");
    let cancelled = send(&server, &format!("DELETE {}", session.url), &[], b"");
    assert_eq!((cancelled.status, cancelled.body.len()), (499, 0));
    assert_eq!(session.put("bytes */*", b"").status, 499);
    assert_eq!(session.put("bytes 0-4/5", b"hello").status, 499);
    assert!(server.keys("bucket").is_empty() && server.uploads("bucket").is_empty());
    let unknown = "PUT /upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=unknown";
    assert_eq!(send(&server, unknown, &[("content-range", "bytes */*")], b"").status, 404);
    assert_eq!(server.count(Op::CancelResumable), 1);
}

#[tokio::test]
async fn the_client_resumes_an_upload_that_broke_off() {
    let server = GcsServer::start(GcsOptions::default());
    let client = Client::of(&server).await;
    let body = pattern(4 * QUANTUM + 1);
    server.fault(Fault::on(Op::UploadChunk, Action::CutUpload(700_000)).first(1));
    let write = client.bytes.write_object(BUCKET, "k", bytes::Bytes::from(body.clone()));
    let write = write
        .with_resumable_upload_threshold(0_usize)
        .with_retry_policy(AlwaysRetry.with_attempt_limit(3))
        .with_backoff_policy(soon());
    write.send_unbuffered().await.unwrap();
    assert!(server.object("bucket", "k").unwrap().body == body);
    let chunks: Vec<_> = server.requests().into_iter().filter(|one| one.op == Op::UploadChunk).collect();
    assert_eq!((chunks.len(), server.count(Op::StartResumable), server.count(Op::QueryResumable)), (2, 1, 1));
    assert_eq!(
        (chunks[1].bytes_in, chunks[1].status),
        (u64::try_from(body.len() - 2 * QUANTUM).unwrap(), Some(200))
    );
}

#[tokio::test]
async fn the_client_learns_that_an_upload_was_done_although_the_answer_was_lost() {
    let server = GcsServer::start(GcsOptions::default());
    let client = Client::of(&server).await;
    server.fault(Fault::on(Op::UploadChunk, Action::ApplyThenCut).first(1));
    let write = client.bytes.write_object(BUCKET, "k", "hello").set_if_generation_match(0);
    let write = write
        .with_resumable_upload_threshold(0_usize)
        .with_retry_policy(AlwaysRetry.with_attempt_limit(3))
        .with_backoff_policy(soon());
    let written = write.send_unbuffered().await.unwrap();
    assert_eq!(written.generation, server.object("bucket", "k").unwrap().generation);
    let second = client.bytes.write_object(BUCKET, "k", "other").set_if_generation_match(0);
    assert_eq!(status(second.with_resumable_upload_threshold(0_usize).send_unbuffered().await), 412);
}
