//! Listings and odd keys: every key comes back byte by byte, in byte order, page by page.

use std::time::{Duration, SystemTime};

use crate::support::{client, code, put, status};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::EncodingType;
use bayou_test_server::{Listing, Options, S3Server};

fn start() -> S3Server {
    S3Server::start(Options::default())
}

/// Keys that stores built on folders, paths or careless decoding lose or change.
fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        "..",
        ".",
        "dir/",
        "/x",
        "//x",
        "a b",
        "a+b",
        "a%2Fb",
        "%",
        "%zz",
        "ü/ñ/日本",
        "e\u{301}",
        "é",
        "q?x=1&y#z",
        "\"quoted\"",
        "<tag>&amp;",
        "back\\slash",
        "tab\there",
        "a:b",
        "*",
        "~",
        "a b/",
        "😀",
        "/",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(1024));
    keys.push("ü".repeat(512));
    keys
}

/// Returns all keys below `prefix`, asked for in pages of `page`.
async fn list(s3: &Client, prefix: &str, page: i32) -> Vec<String> {
    let mut pages = s3
        .list_objects_v2()
        .bucket("bucket")
        .prefix(prefix)
        .encoding_type(EncodingType::Url)
        .into_paginator()
        .page_size(page)
        .send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.extend(page.unwrap().contents().iter().map(|object| decode(object.key().unwrap())));
    }
    keys
}

/// Undoes `encoding-type=url`, in which a space is a plus.
fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn odd_keys_come_back_as_they_were_sent() {
    let server = start();
    let s3 = client(&server);
    let mut keys = odd_keys();
    for key in &keys {
        put(&s3, key, key).send().await.unwrap();
    }
    keys.sort();
    assert_eq!(server.keys("bucket"), keys);
    assert_eq!(list(&s3, "", 1000).await, keys);
    for key in &keys {
        let got = s3.get_object().bucket("bucket").key(key).send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), key.as_bytes());
        s3.delete_object().bucket("bucket").key(key).send().await.unwrap();
        assert_eq!(server.object("bucket", key), None, "{key}");
    }
}

#[tokio::test]
async fn a_key_of_more_than_1024_bytes_is_refused() {
    let server = start();
    let error = put(&client(&server), &"k".repeat(1025), "x").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "KeyTooLongError".to_owned()));
}

#[tokio::test]
async fn every_page_size_gives_the_same_keys() {
    let server = start();
    for n in 0..25 {
        server.put_object("bucket", &format!("p/{}/{n}", n % 4), "x");
    }
    server.put_object("bucket", "q", "x");
    let s3 = client(&server);
    let all = list(&s3, "p/", 1000).await;
    assert_eq!(all.len(), 25);
    for page in [1, 2, 3, 24, 25, 26] {
        assert_eq!(list(&s3, "p/", page).await, all, "pages of {page}");
    }
}

#[tokio::test]
async fn folded_prefixes_count_as_entries_and_appear_once() {
    let server = start();
    for key in ["a/1", "a/2", "b", "c/1", "c/d/2", "e"] {
        server.put_object("bucket", key, "x");
    }
    let s3 = client(&server);
    for page in 1..=5 {
        let request = s3.list_objects_v2().bucket("bucket").delimiter("/");
        let mut pages = request.into_paginator().page_size(page).send();
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        while let Some(answer) = pages.next().await {
            let answer = answer.unwrap();
            let entries = answer.contents().len() + answer.common_prefixes().len();
            assert!(entries <= usize::try_from(page).unwrap());
            assert_eq!(usize::try_from(answer.key_count().unwrap()).unwrap(), entries);
            keys.extend(answer.contents().iter().map(|object| object.key().unwrap().to_owned()));
            prefixes
                .extend(answer.common_prefixes().iter().map(|folded| folded.prefix().unwrap().to_owned()));
        }
        assert_eq!(
            (keys, prefixes),
            (vec!["b".into(), "e".into()], vec!["a/".into(), "c/".into()]),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_listing_starts_after_a_key_that_need_not_exist() {
    let server = start();
    for key in ["a", "b", "c"] {
        server.put_object("bucket", key, "x");
    }
    let s3 = client(&server);
    let answer = s3.list_objects_v2().bucket("bucket").start_after("ab").max_keys(1).send().await.unwrap();
    assert_eq!(answer.contents()[0].key(), Some("b"));
    assert_eq!(answer.is_truncated(), Some(true));
    let error = s3.list_objects_v2().bucket("bucket").continuation_token("made up").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "InvalidArgument".to_owned()));
}

#[tokio::test]
async fn entries_carry_size_etag_and_time_in_whole_seconds() {
    let server = start();
    let etag = server.put_object("bucket", "k", "12345");
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_750);
    server.set_modified("bucket", "k", then);
    let s3 = client(&server);
    let answer = s3.list_objects_v2().bucket("bucket").send().await.unwrap();
    let entry = &answer.contents()[0];
    assert_eq!((entry.size(), entry.e_tag()), (Some(5), Some(format!("\"{etag}\"").as_str())));
    assert_eq!(entry.last_modified().unwrap().to_millis().unwrap(), 1_700_000_000_000);
    let head = s3.head_object().bucket("bucket").key("k").send().await.unwrap();
    assert_eq!(head.last_modified().unwrap().to_millis().unwrap(), 1_700_000_000_000);
}

#[tokio::test]
async fn who_may_not_list_does_not_learn_what_is_missing() {
    let server = S3Server::start(Options { listing: Listing::Denied, ..Options::default() });
    server.put_object("bucket", "k", "x");
    let s3 = client(&server);
    s3.get_object().bucket("bucket").key("k").send().await.unwrap();
    let error = s3.get_object().bucket("bucket").key("none").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (403, "AccessDenied".to_owned()));
    assert_eq!(status(&s3.head_object().bucket("bucket").key("none").send().await.unwrap_err()), 403);
    assert_eq!(status(&s3.list_objects_v2().bucket("bucket").send().await.unwrap_err()), 403);
    assert_eq!(status(&s3.head_bucket().bucket("bucket").send().await.unwrap_err()), 403);
}
