//! Uploads in one request: their forms, their checksums, their limits.

use bayou_test_server::{Action, Fault, GcsOptions, GcsServer, Op};

use crate::raw::{Answer, send};
use crate::support::{BUCKET, Client, status};

const MULTIPART: &str = "POST /upload/storage/v1/b/bucket/o?uploadType=multipart&name=k";
/// The CRC32C and MD5 of `hello`.
const CRC32C: &str = "mnG7TA==";
const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";

fn start() -> GcsServer {
    GcsServer::start(GcsOptions::default())
}

/// Sends parts, each with its content type (or none) and its body.
fn multipart(server: &GcsServer, line: &str, parts: &[(&str, &str)]) -> Answer {
    let mut body = String::new();
    for (kind, part) in parts {
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        body += &format!("--b1\r\n{kind}\r\n{part}\r\n");
    }
    body += "--b1--\r\n";
    send(server, line, &[("content-type", "multipart/related; boundary=\"b1\"")], body.as_bytes())
}

#[test]
fn two_or_three_parts_are_one_object() {
    let server = start();
    let metadata = r#"{"metadata": {"a": "1"}, "cacheControl": "no-cache"}"#;
    let answer = multipart(&server, MULTIPART, &[("application/json", metadata), ("text/plain", "hello")]);
    assert_eq!(answer.status, 200);
    let shown = answer.json();
    assert_eq!(
        (&shown["kind"], &shown["name"], &shown["size"]),
        (&"storage#object".into(), &"k".into(), &"5".into())
    );
    assert_eq!((&shown["crc32c"], &shown["md5Hash"]), (&CRC32C.into(), &MD5.into()));
    assert_eq!((&shown["contentType"], &shown["cacheControl"]), (&"text/plain".into(), &"no-cache".into()));
    assert_eq!((&shown["metadata"]["a"], &shown["metageneration"]), (&"1".into(), &"1".into()));
    let trailer = format!(r#"{{"crc32c": "{CRC32C}"}}"#);
    let parts = [("application/json", "{}"), ("", "hello"), ("application/json", trailer.as_str())];
    let again = multipart(&server, MULTIPART, &parts);
    assert_eq!((again.status, &again.json()["contentType"]), (200, &"application/octet-stream".into()));
    let generation = |answer: &Answer| answer.json()["generation"].as_str().unwrap().parse::<i64>().unwrap();
    assert!(generation(&again) > generation(&answer));
    assert_eq!(server.object("bucket", "k").unwrap().body, "hello");
}

#[test]
fn bytes_that_look_like_a_boundary_are_bytes() {
    let server = start();
    let body = "x--b1--\r\n-b1\r\n--b\r\n\r\n";
    assert_eq!(multipart(&server, MULTIPART, &[("", "{}"), ("", body)]).status, 200);
    assert_eq!(server.object("bucket", "k").unwrap().body, body);
}

#[test]
fn wrong_checksums_are_refused_wherever_they_stand() {
    let server = start();
    for sums in
        [r#"{"crc32c": "AAAAAA=="}"#, r#"{"md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}"#, r#"{"crc32c": "A"}"#]
    {
        let first = multipart(&server, MULTIPART, &[("", sums), ("", "hello")]);
        assert_eq!(first.error(), (400, "invalid".to_owned()), "{sums}");
        let last = multipart(&server, MULTIPART, &[("", "{}"), ("", "hello"), ("", sums)]);
        assert_eq!(last.error(), (400, "invalid".to_owned()), "{sums}");
    }
    assert!(server.keys("bucket").is_empty());
}

#[test]
fn malformed_bodies_are_refused() {
    let server = start();
    let kind = ("content-type", "multipart/related; boundary=b1");
    for body in [
        "",
        "--b1--",
        "--b1\r\n\r\n{}\r\n--b1--",
        "--b1\r\n\r\n{}\r\n--b1\r\n\r\nhello",
        "--b1\r\n\r\n{\r\n--b1\r\n\r\nx\r\n--b1--",
    ] {
        assert_eq!(send(&server, MULTIPART, &[kind], body.as_bytes()).error().0, 400, "{body:?}");
    }
    let whole = b"--b1\r\n\r\n{}\r\n--b1\r\n\r\nx\r\n--b1--";
    assert_eq!(send(&server, MULTIPART, &[("content-type", "text/plain")], whole).error().0, 400);
    assert_eq!(send(&server, MULTIPART, &[kind], whole).status, 200);
}

#[test]
fn the_name_stands_in_the_query_or_in_the_body() {
    let server = start();
    let unnamed = "POST /upload/storage/v1/b/bucket/o?uploadType=multipart";
    assert_eq!(multipart(&server, unnamed, &[("", r#"{"name": "a/b"}"#), ("", "1")]).status, 200);
    assert_eq!(multipart(&server, unnamed, &[("", "{}"), ("", "1")]).error(), (400, "required".to_owned()));
    assert_eq!(multipart(&server, MULTIPART, &[("", r#"{"name": "other"}"#), ("", "1")]).error().0, 400);
    let media = "POST /upload/storage/v1/b/bucket/o?uploadType=media&name=c%2Fd+e%2B";
    assert_eq!(send(&server, media, &[("content-type", "text/x")], b"hello").json()["contentType"], "text/x");
    assert_eq!(server.keys("bucket"), ["a/b", "c/d e+"]);
}

#[test]
fn names_and_metadata_have_limits() {
    let server = start();
    let media = |name: &str| {
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        send(&server, &format!("POST /upload/storage/v1/b/bucket/o?uploadType=media&name={name}"), &[], b"x")
            .status
    };
    let (longest, long) = ("x".repeat(1024), "é".repeat(513));
    for (name, expected) in [
        ("", 400),
        (".", 400),
        ("..", 400),
        ("a\nb", 400),
        ("a\rb", 400),
        (long.as_str(), 400),
        (".well-known/acme-challenge/x", 400),
        (longest.as_str(), 200),
        ("./a", 200),
        ("a/../b", 200),
        ("/", 200),
        ("\u{1}\u{7f}", 200),
    ] {
        assert_eq!(media(name), expected, "{name:?}");
    }
    let with = |name: usize, value: usize, count: usize| {
        let pairs: Vec<_> = (0..count).map(|n| format!(r#""{n:0name$}": "{}""#, "v".repeat(value))).collect();
        multipart(
            &server,
            MULTIPART,
            &[("", &format!(r#"{{"metadata": {{{}}}}}"#, pairs.join(","))), ("", "x")],
        )
        .status
    };
    assert_eq!((with(4, 4092, 2), with(4, 4093, 2)), (200, 400));
    assert_eq!((with(1, 4096, 1), with(1, 4097, 1)), (200, 400));
    assert_eq!((with(1024, 1, 1), with(1025, 1, 1)), (200, 400));
    assert_eq!((with(1, 0, 1), with(2, 126, 64), with(2, 126, 65)), (200, 200, 400));
}

#[tokio::test]
async fn a_body_that_was_damaged_on_its_way_is_refused() {
    let server = start();
    let client = Client::of(&server).await;
    server.fault(Fault::on(Op::PutObject, Action::CorruptUpload(1_000)).first(2));
    let body = "x".repeat(100_000);
    assert_eq!(status(client.write("k", &body).await), 400);
    let buffered = client.bytes.write_object(BUCKET, "k", body.clone()).send_buffered().await;
    assert_eq!(status(buffered), 400);
    assert!(server.keys("bucket").is_empty());
    client.write("k", &body).await.unwrap();
}

#[tokio::test]
async fn of_sixteen_racers_to_create_exactly_one_wins() {
    let server = start();
    let client = std::sync::Arc::new(Client::of(&server).await);
    let race = |n: u8| {
        let client = std::sync::Arc::clone(&client);
        tokio::spawn(async move {
            let write = client.bytes.write_object(BUCKET, "k", n.to_string()).set_if_generation_match(0);
            write.send_unbuffered().await
        })
    };
    let racers: Vec<_> = (0..16).map(race).collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.http_status_code(), Some(412)),
        }
    }
    assert_eq!(won, 1);
}
