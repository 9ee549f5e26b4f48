//! The JSON API on the wire: the forms of answers and errors, and what has no call in the client.

use std::time::Duration;

use bayou_test_server::{Conditions, GcsOptions, GcsServer, Listing, Op, WriteRate};
use serde_json::json;

use crate::raw::send;

fn start() -> GcsServer {
    GcsServer::start(GcsOptions::default())
}

fn reason(text: &str) -> String {
    text.to_owned()
}

#[test]
fn errors_are_json_and_those_of_reads_are_text() {
    let server = start();
    let generation = server.put_object("bucket", "k", "x");
    let object = "/storage/v1/b/bucket/o/k";
    let missing = send(&server, "GET /storage/v1/b/bucket/o/a%2Fb", &[], b"");
    assert_eq!(missing.error(), (404, reason("notFound")));
    assert!(missing.header("date").is_some() && missing.text().contains("No such object: bucket/a/b"));
    let missing = send(&server, "GET /storage/v1/b/bucket/o/a%2Fb?alt=media", &[], b"");
    assert_eq!((missing.status, missing.text()), (404, "No such object: bucket/a/b".to_owned()));
    assert_eq!(send(&server, "GET /storage/v1/b/none/o", &[], b"").error(), (404, reason("notFound")));
    assert_eq!(send(&server, "GET /storage/v1/nothing", &[], b"").error(), (404, reason("notFound")));
    for (query, expected) in [
        (format!("ifGenerationMatch={generation}"), 200),
        ("ifGenerationMatch=1".to_owned(), 412),
        (format!("ifGenerationNotMatch={generation}"), 304),
        ("ifGenerationNotMatch=1".to_owned(), 200),
        ("ifGenerationNotMatch=0".to_owned(), 200),
        ("ifMetagenerationMatch=1".to_owned(), 200),
        ("ifMetagenerationMatch=2".to_owned(), 412),
        ("ifMetagenerationNotMatch=1".to_owned(), 304),
        (format!("generation={generation}"), 200),
        ("generation=1".to_owned(), 404),
        ("ifGenerationMatch=x".to_owned(), 400),
    ] {
        for alt in ["", "&alt=media"] {
            let answer = send(&server, &format!("GET {object}?{query}{alt}"), &[], b"");
            assert_eq!(answer.status, expected, "{query}{alt}");
            assert!(expected != 304 || answer.body.is_empty());
        }
    }
}

#[test]
fn writes_and_deletes_judge_every_condition() {
    let server = start();
    let write = |query: &str| {
        send(
            &server,
            &format!("POST /upload/storage/v1/b/bucket/o?uploadType=media&name=k&{query}"),
            &[],
            b"x",
        )
        .status
    };
    for (query, expected) in [
        ("ifGenerationMatch=1", 412),
        ("ifGenerationNotMatch=0", 412),
        ("ifGenerationNotMatch=1", 412),
        ("ifMetagenerationMatch=1", 412),
        ("ifMetagenerationNotMatch=2", 412),
        ("ifGenerationMatch=0", 200),
        ("ifGenerationMatch=0", 412),
        ("ifGenerationNotMatch=0", 200),
        ("ifGenerationNotMatch=1", 200),
        ("ifMetagenerationMatch=1", 200),
        ("ifMetagenerationMatch=2", 412),
        ("ifMetagenerationNotMatch=1", 412),
    ] {
        assert_eq!(write(query), expected, "{query}");
    }
    let delete =
        |query: &str| send(&server, &format!("DELETE /storage/v1/b/bucket/o/k?{query}"), &[], b"").status;
    assert_eq!(
        (delete("ifGenerationMatch=1"), delete("ifGenerationMatch=0"), delete("generation=1")),
        (412, 412, 404)
    );
    assert_eq!(
        (delete("ifMetagenerationMatch=1"), delete(""), delete("ifGenerationMatch=1")),
        (204, 404, 404)
    );
    assert!(server.keys("bucket").is_empty());
}

#[test]
fn generations_grow_and_are_never_used_again() {
    let server = start();
    let mut last = 0;
    for n in 0..50 {
        let generation = server.put_object("bucket", if n % 2 == 0 { "a" } else { "b" }, "x");
        assert!(generation > last);
        last = generation;
        server.delete_object("bucket", "a");
    }
}

#[test]
fn a_read_says_what_it_is() {
    let server = start();
    let generation = server.put_object_with("bucket", "a/b", "0123456789", &[("nonce", "n-1")]);
    let read = send(&server, "GET /storage/v1/b/bucket/o/a%2Fb?alt=media", &[("range", "bytes=2-4")], b"");
    assert_eq!((read.status, read.text()), (206, "234".to_owned()));
    for (name, value) in [
        ("content-range", "bytes 2-4/10"),
        ("content-length", "3"),
        ("x-goog-generation", &generation.to_string()),
        ("x-goog-metageneration", "1"),
        ("x-goog-stored-content-length", "10"),
        ("x-goog-storage-class", "STANDARD"),
        ("x-goog-meta-nonce", "n-1"),
        ("x-goog-hash", "crc32c=KAwGng==,md5=eB5eJF1ptWaXm4bijSPyxw=="),
        ("content-type", "application/octet-stream"),
    ] {
        assert_eq!(read.header(name), Some(value), "{name}");
    }
    assert!(read.header("etag").is_some() && read.header("last-modified").unwrap().ends_with("GMT"));
    let download = send(&server, "GET /download/storage/v1/b/bucket/o/a%2Fb", &[], b"");
    assert_eq!((download.status, download.body.len(), server.requests()[1].op), (200, 10, Op::GetObject));
    assert_eq!(
        send(&server, "GET /storage/v1/b/bucket/o/a%2Fb?alt=media", &[("range", "bytes=10-")], b"").status,
        416
    );
}

#[test]
fn listings_rewrites_compositions_and_patches_speak_json_too() {
    let server = start();
    for name in ["a/1", "a/2", "b"] {
        server.put_object("bucket", name, name);
    }
    let page = send(&server, "GET /storage/v1/b/bucket/o?maxResults=1&delimiter=%2F", &[], b"").json();
    assert_eq!((&page["prefixes"], &page["items"]), (&json!(["a/"]), &json!(null)));
    let next = format!(
        "GET /storage/v1/b/bucket/o?delimiter=%2F&pageToken={}",
        page["nextPageToken"].as_str().unwrap()
    );
    let page = send(&server, &next, &[], b"").json();
    assert_eq!((&page["items"][0]["name"], &page["nextPageToken"]), (&json!("b"), &json!(null)));
    assert_eq!(send(&server, "GET /storage/v1/b/bucket/o?maxResults=-1", &[], b"").status, 400);
    assert_eq!(send(&server, "GET /storage/v1/b/bucket/o?pageToken=x", &[], b"").status, 400);

    let copy = "POST /storage/v1/b/bucket/o/b/rewriteTo/b/bucket/o/c%2Fd";
    let copied = send(&server, copy, &[], b"").json();
    assert_eq!((&copied["done"], &copied["resource"]["name"]), (&json!(true), &json!("c/d")));
    assert_eq!(send(&server, &format!("{copy}?ifSourceGenerationMatch=1"), &[], b"").status, 412);
    assert_eq!(send(&server, &format!("{copy}?rewriteToken=x"), &[], b"").status, 400);

    let body = json!({"sourceObjects": [{"name": "a/1"}, {"name": "a/2"}], "destination": {"contentType": "text/x"}});
    let made =
        send(&server, "POST /storage/v1/b/bucket/o/e/compose", &[], body.to_string().as_bytes()).json();
    assert_eq!(
        (&made["componentCount"], &made["md5Hash"], &made["size"]),
        (&json!(2), &json!(null), &json!("6"))
    );

    let patch = |body: &str| send(&server, "PATCH /storage/v1/b/bucket/o/e", &[], body.as_bytes()).json();
    assert_eq!(patch(r#"{"metadata": {"a": "1", "b": "2"}}"#)["metadata"], json!({"a": "1", "b": "2"}));
    let patched = patch(r#"{"metadata": {"a": null}, "contentType": null}"#);
    assert_eq!((&patched["metadata"], &patched["metageneration"]), (&json!({"b": "2"}), &json!("3")));
    assert_eq!(
        (&patched["contentType"], &patched["generation"]),
        (&json!("application/octet-stream"), &made["generation"])
    );
}

#[test]
fn buckets_are_made_and_found() {
    let server = start();
    let make =
        |query: &str, body: &str| send(&server, &format!("POST /storage/v1/b{query}"), &[], body.as_bytes());
    assert_eq!(make("?project=p", r#"{"name": "two"}"#).json()["id"], "two");
    assert_eq!(make("?project=p", r#"{"name": "two"}"#).error(), (409, reason("conflict")));
    assert_eq!(make("?project=p", r#"{"name": "UP"}"#).error(), (400, reason("invalid")));
    assert_eq!(make("", r#"{"name": "three"}"#).error(), (400, reason("required")));
    assert_eq!(send(&server, "GET /storage/v1/b/two", &[], b"").json()["kind"], "storage#bucket");
    assert_eq!(send(&server, "GET /storage/v1/b/three", &[], b"").status, 404);
}

#[test]
fn an_object_may_be_written_only_so_often() {
    let hour = WriteRate::OncePer(Duration::from_secs(3600));
    let server = GcsServer::start(GcsOptions { write_rate: hour, ..GcsOptions::default() });
    let write = |name: &str, query: &str| {
        let line = format!("POST /upload/storage/v1/b/bucket/o?uploadType=media&name={name}&{query}");
        send(&server, &line, &[], b"x")
    };
    assert_eq!(write("a", "").status, 200);
    assert_eq!(write("a", "").error(), (429, reason("rateLimitExceeded")));
    assert_eq!(write("a", "ifGenerationMatch=0").status, 412);
    assert_eq!(send(&server, "DELETE /storage/v1/b/bucket/o/a", &[], b"").status, 429);
    assert_eq!((write("b", "").status, server.keys("bucket").len()), (200, 2));
    // What a test does directly is not counted.
    server.put_object("bucket", "a", "y");
}

#[test]
fn who_may_not_list_learns_of_no_absence() {
    let server = GcsServer::start(GcsOptions { listing: Listing::Denied, ..GcsOptions::default() });
    server.put_object("bucket", "k", "x");
    let status = |line: &str| send(&server, line, &[], b"").status;
    assert_eq!(status("GET /storage/v1/b/bucket/o"), 403);
    assert_eq!(
        (status("GET /storage/v1/b/bucket/o/k"), status("GET /storage/v1/b/bucket/o/none")),
        (200, 403)
    );
    assert_eq!(
        (status("DELETE /storage/v1/b/bucket/o/none"), status("DELETE /storage/v1/b/bucket/o/k")),
        (403, 204)
    );
}

#[test]
fn conditions_on_writes_may_be_ignored_as_imitations_do() {
    let conditions = Conditions::IgnoredOnWrites;
    let server = GcsServer::start(GcsOptions { conditions, ..GcsOptions::default() });
    server.put_object("bucket", "k", "x");
    let line = "POST /upload/storage/v1/b/bucket/o?uploadType=media&name=k&ifGenerationMatch=0";
    assert_eq!(send(&server, line, &[], b"y").status, 200);
    assert_eq!(send(&server, "GET /storage/v1/b/bucket/o/k?ifGenerationMatch=1", &[], b"").status, 412);
    assert_eq!(send(&server, "DELETE /storage/v1/b/bucket/o/k?ifGenerationMatch=1", &[], b"").status, 204);
}
