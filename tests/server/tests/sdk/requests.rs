//! Requests on objects: what was put is got, conditions are judged, requests are counted.

use crate::support::{client, code, put, status};
use aws_sdk_s3::primitives::ByteStream;
use bayou_test_server::{Conditions, Op, Options, S3Server};

fn start() -> S3Server {
    S3Server::start(Options::default())
}

#[tokio::test]
async fn what_was_put_is_what_is_got() {
    let server = start();
    let s3 = client(&server);
    let sent = s3.put_object().bucket("bucket").key("a/b").body(ByteStream::from_static(b"hello"));
    let sent = sent.metadata("nonce", "n-1").content_type("text/plain").send().await.unwrap();
    assert_eq!(sent.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));

    let got = s3.get_object().bucket("bucket").key("a/b").send().await.unwrap();
    assert_eq!(got.e_tag(), sent.e_tag());
    assert_eq!(got.content_type(), Some("text/plain"));
    assert_eq!(got.metadata().unwrap()["nonce"], "n-1");
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "hello");

    let head = s3.head_object().bucket("bucket").key("a/b").send().await.unwrap();
    assert_eq!((head.content_length(), head.e_tag()), (Some(5), sent.e_tag()));
    assert_eq!(server.object("bucket", "a/b").unwrap().body, "hello");
}

#[tokio::test]
async fn ranges_are_cut_at_the_end_and_refused_beyond_it() {
    let server = start();
    server.put_object("bucket", "k", "0123456789");
    server.put_object("bucket", "empty", "");
    let s3 = client(&server);
    for (range, body, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-30", "0123456789", "bytes 0-9/10"),
    ] {
        let got = s3.get_object().bucket("bucket").key("k").range(range).send().await.unwrap();
        assert_eq!(got.content_range(), Some(content_range));
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), body, "{range}");
    }
    for (key, range) in [("k", "bytes=10-"), ("k", "bytes=-0"), ("empty", "bytes=0-"), ("empty", "bytes=-1")]
    {
        let error = s3.get_object().bucket("bucket").key(key).range(range).send().await.unwrap_err();
        assert_eq!((status(&error), code(&error)), (416, "InvalidRange".to_owned()), "{key} {range}");
    }
}

#[tokio::test]
async fn missing_things_are_404() {
    let server = start();
    let s3 = client(&server);
    let error = s3.get_object().bucket("bucket").key("no").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (404, "NoSuchKey".to_owned()));
    let error = s3.get_object().bucket("none").key("no").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (404, "NoSuchBucket".to_owned()));
    assert_eq!(status(&s3.head_object().bucket("bucket").key("no").send().await.unwrap_err()), 404);
    assert_eq!(status(&s3.head_bucket().bucket("none").send().await.unwrap_err()), 404);
    s3.delete_object().bucket("bucket").key("no").send().await.unwrap();
}

#[tokio::test]
async fn conditional_puts_are_judged() {
    let server = start();
    let s3 = client(&server);
    let first = put(&s3, "k", "1").if_none_match("*").send().await.unwrap();
    let error = put(&s3, "k", "2").if_none_match("*").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (412, "PreconditionFailed".to_owned()));

    let tag = first.e_tag().unwrap();
    let second = put(&s3, "k", "2").if_match(tag).send().await.unwrap();
    let error = put(&s3, "k", "3").if_match(tag).send().await.unwrap_err();
    assert_eq!(status(&error), 412);
    let error = put(&s3, "gone", "3").if_match(tag).send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (404, "NoSuchKey".to_owned()));
    let error = put(&s3, "k", "3").if_none_match(second.e_tag().unwrap()).send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (501, "NotImplemented".to_owned()));
    assert_eq!(server.object("bucket", "k").unwrap().body, "2");
}

#[tokio::test]
async fn conditional_reads_are_judged() {
    let server = start();
    let tag = server.put_object("bucket", "k", "1");
    let s3 = client(&server);
    let get = || s3.get_object().bucket("bucket").key("k");
    get().if_match(&tag).send().await.unwrap();
    get().if_none_match("other").send().await.unwrap();
    assert_eq!(status(&get().if_match("other").send().await.unwrap_err()), 412);
    assert_eq!(status(&get().if_none_match(&tag).send().await.unwrap_err()), 304);
    let head = s3.head_object().bucket("bucket").key("k").if_match("other");
    assert_eq!(status(&head.send().await.unwrap_err()), 412);
}

#[tokio::test]
async fn conditional_deletes_are_judged() {
    let server = start();
    let tag = server.put_object("bucket", "k", "1");
    let s3 = client(&server);
    let delete = |key: &str| s3.delete_object().bucket("bucket").key(key);
    let error = delete("k").if_match("\"0123\"").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (412, "PreconditionFailed".to_owned()));
    assert_eq!(status(&delete("none").if_match(&tag).send().await.unwrap_err()), 404);
    delete("k").if_match(&tag).send().await.unwrap();
    assert_eq!(server.object("bucket", "k"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_racers_one_wins() {
    let server = start();
    let s3 = client(&server);
    let racers: Vec<_> =
        (0..16).map(|n| tokio::spawn(put(&s3, "k", &n.to_string()).if_none_match("*").send())).collect();
    let mut winners = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => winners += 1,
            Err(error) => assert_eq!(status(&error), 412),
        }
    }
    assert_eq!(winners, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_racers_for_a_version_one_wins() {
    let server = start();
    let tag = server.put_object("bucket", "k", "old");
    server.put_object("bucket", "from", "new");
    let s3 = client(&server);
    let (s3, tag) = (&s3, &tag);
    let racers = (0..16).map(|n| async move {
        if n % 2 == 0 {
            let copy = s3.copy_object().bucket("bucket").key("k").copy_source("bucket/from");
            let done = copy.if_match(tag).send().await;
            done.map(drop).map_err(|error| status(&error))
        } else {
            let done = s3.delete_object().bucket("bucket").key("k").if_match(tag).send().await;
            done.map(drop).map_err(|error| status(&error))
        }
    });
    let results = futures::future::join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(412 | 404))));
}

#[tokio::test]
async fn a_store_can_ignore_conditions_on_writes_only() {
    let server = S3Server::start(Options { conditions: Conditions::IgnoredOnWrites, ..Options::default() });
    let s3 = client(&server);
    put(&s3, "k", "1").if_none_match("*").send().await.unwrap();
    put(&s3, "k", "2").if_none_match("*").send().await.unwrap();
    put(&s3, "k", "3").if_match("\"wrong\"").send().await.unwrap();
    let wrong = s3.get_object().bucket("bucket").key("k").if_match("\"wrong\"");
    assert_eq!(status(&wrong.send().await.unwrap_err()), 412);
    s3.delete_object().bucket("bucket").key("k").if_match("\"wrong\"").send().await.unwrap();
    assert_eq!(server.object("bucket", "k"), None);
}

#[tokio::test]
async fn copies_judge_both_ends() {
    let server = start();
    let tag = server.put_object_with("bucket", "from +x", "body", &[("nonce", "1")]);
    let s3 = client(&server);
    let copy = |to: &str| s3.copy_object().bucket("bucket").key(to).copy_source("bucket/from%20%2Bx");
    copy("kept").copy_source_if_match(&tag).send().await.unwrap();
    assert_eq!(server.object("bucket", "kept").unwrap().meta["nonce"], "1");
    let replaced = copy("new").metadata_directive("REPLACE".into()).metadata("nonce", "2").if_none_match("*");
    replaced.clone().send().await.unwrap();
    assert_eq!(server.object("bucket", "new").unwrap().meta["nonce"], "2");
    assert_eq!(status(&replaced.send().await.unwrap_err()), 412);
    assert_eq!(status(&copy("x").copy_source_if_match("other").send().await.unwrap_err()), 412);
    assert_eq!(status(&copy("from +x").send().await.unwrap_err()), 400);
    let missing = s3.copy_object().bucket("bucket").key("y").copy_source("bucket/none");
    assert_eq!(status(&missing.send().await.unwrap_err()), 404);
}

#[tokio::test]
async fn many_are_deleted_at_once_each_by_itself() {
    use aws_sdk_s3::types::{Delete, ObjectIdentifier};
    let server = start();
    server.put_object("bucket", "a", "1");
    server.put_object("bucket", "b", "2");
    let s3 = client(&server);
    let id = |key: &str| ObjectIdentifier::builder().key(key);
    let delete = Delete::builder()
        .objects(id("a").build().unwrap())
        .objects(id("b").e_tag("\"wrong\"").build().unwrap())
        .objects(id("none").build().unwrap());
    let done = s3.delete_objects().bucket("bucket").delete(delete.build().unwrap()).send().await.unwrap();
    assert_eq!(done.deleted().len(), 2);
    assert_eq!(done.errors()[0].code(), Some("PreconditionFailed"));
    assert_eq!(server.keys("bucket"), ["b"]);
}

#[tokio::test]
async fn requests_are_counted_and_described() {
    let server = start();
    let s3 = client(&server);
    put(&s3, "k", "12345").if_none_match("*").send().await.unwrap();
    let got = s3.get_object().bucket("bucket").key("k").range("bytes=1-2").send().await.unwrap();
    got.body.collect().await.unwrap();
    s3.list_objects_v2().bucket("bucket").prefix("k").send().await.unwrap();
    let log = server.requests();
    assert_eq!(
        log.iter().map(|r| r.op).collect::<Vec<_>>(),
        [Op::PutObject, Op::GetObject, Op::ListObjectsV2]
    );
    assert_eq!((log[0].status, log[0].bytes_in, log[0].if_none_match.as_deref()), (Some(200), 5, Some("*")));
    assert_eq!((log[1].status, log[1].bytes_out, log[1].range.as_deref()), (Some(206), 2, Some("bytes=1-2")));
    assert_eq!(log[2].prefix.as_deref(), Some("k"));
    assert_eq!(log[0].access_key.as_deref(), Some(server.access_key()));
    assert_eq!(server.count(Op::PutObject), 1);
    server.reset_counts();
    assert_eq!(server.count_all(), 0);
}
