//! Multipart uploads: every rule that S3 holds them to.

use crate::support::{client, code, status};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use bayou_test_server::{Op, Options, PartChecksums, S3Server};

fn start() -> S3Server {
    S3Server::start(Options { min_part_bytes: 10, ..Options::default() })
}

async fn begin(s3: &Client) -> String {
    let begun = s3.create_multipart_upload().bucket("bucket").key("k").metadata("nonce", "7");
    begun.send().await.unwrap().upload_id().unwrap().to_owned()
}

async fn part(s3: &Client, upload: &str, number: i32, body: &str) -> CompletedPart {
    let request = s3.upload_part().bucket("bucket").key("k").upload_id(upload).part_number(number);
    let sent = request.body(ByteStream::from(body.as_bytes().to_vec())).send().await.unwrap();
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag().map(str::to_owned))
        .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
        .build()
}

fn listed(parts: &[CompletedPart]) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build()
}

/// Completes and returns the status and code, `(200, "")` if it succeeded.
async fn complete(s3: &Client, upload: &str, parts: &[CompletedPart]) -> (u16, String) {
    let request = s3.complete_multipart_upload().bucket("bucket").key("k").upload_id(upload);
    match request.multipart_upload(listed(parts)).send().await {
        Ok(_) => (200, String::new()),
        Err(error) => (status(&error), code(&error)),
    }
}

#[tokio::test]
async fn parts_become_one_object_with_the_upload_s_metadata() {
    let server = start();
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let second = part(&s3, &upload, 20, "world").await;
    part(&s3, &upload, 3, "overwritten").await;
    let first = part(&s3, &upload, 3, "hello big ").await;
    assert_eq!(server.uploads("bucket"), ["k"]);
    assert_eq!(server.object("bucket", "k"), None);
    assert_eq!(complete(&s3, &upload, &[first, second]).await.0, 200);
    let object = server.object("bucket", "k").unwrap();
    assert_eq!(object.body, "hello big world");
    assert_eq!(object.meta["nonce"], "7");
    assert!(object.etag.ends_with("-2"), "{}", object.etag);
    assert!(server.uploads("bucket").is_empty());
    assert_eq!(server.requests().iter().find(|r| r.op == Op::UploadPart).unwrap().part, Some(20));
}

#[tokio::test]
async fn the_etag_of_two_parts_is_the_md5_of_their_md5s() {
    let server = start();
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let parts = [part(&s3, &upload, 1, "0123456789").await, part(&s3, &upload, 2, "hello").await];
    assert_eq!(complete(&s3, &upload, &parts).await.0, 200);
    // printf '781e5e245d69b566979b86e28d23f2c75d41402abc4b2a76b9719d911017c592' | xxd -r -p | md5sum
    assert_eq!(server.object("bucket", "k").unwrap().etag, "a23aca8936fe3c86ccfa3e015183542a-2");
}

#[tokio::test]
async fn what_is_wrong_with_the_list_of_parts_is_told_apart() {
    let server = start();
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let a = part(&s3, &upload, 1, "0123456789").await;
    let b = part(&s3, &upload, 2, "short").await;
    let c = part(&s3, &upload, 3, "0123456789").await;
    let wrong = CompletedPart::builder().part_number(1).e_tag("\"wrong\"").checksum_crc32("AAAAAA==").build();
    let absent = CompletedPart::builder().part_number(9).e_tag(a.e_tag().unwrap()).build();
    for (parts, expected) in [
        (vec![], "MalformedXML"),
        (vec![c.clone(), a.clone()], "InvalidPartOrder"),
        (vec![a.clone(), a.clone()], "InvalidPartOrder"),
        (vec![wrong], "InvalidPart"),
        (vec![a.clone(), absent], "InvalidPart"),
        (vec![a.clone(), b.clone(), c.clone()], "EntityTooSmall"),
    ] {
        assert_eq!(complete(&s3, &upload, &parts).await, (400, expected.to_owned()));
    }
    assert_eq!(server.object("bucket", "k"), None);
    assert_eq!(complete(&s3, &upload, &[a, c]).await.0, 200);
    assert_eq!(complete(&s3, &upload, &[b]).await, (404, "NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn the_smallest_part_is_five_mebibytes_unless_said_otherwise() {
    let server = S3Server::start(Options::default());
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let whole = "x".repeat(5 * 1024 * 1024);
    let less = part(&s3, &upload, 1, &whole[1..]).await;
    let enough = part(&s3, &upload, 2, &whole).await;
    let last = part(&s3, &upload, 3, "x").await;
    let refused = complete(&s3, &upload, &[less, last.clone()]).await;
    assert_eq!(refused, (400, "EntityTooSmall".to_owned()));
    assert_eq!(complete(&s3, &upload, &[enough, last]).await.0, 200);
}

#[tokio::test]
async fn completion_is_conditional() {
    let server = start();
    let tag = server.put_object("bucket", "k", "old");
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let parts = [part(&s3, &upload, 1, "new").await];
    let request = || {
        let request = s3.complete_multipart_upload().bucket("bucket").key("k").upload_id(&upload);
        request.multipart_upload(listed(&parts))
    };
    assert_eq!(status(&request().if_none_match("*").send().await.unwrap_err()), 412);
    assert_eq!(status(&request().if_match("\"other\"").send().await.unwrap_err()), 412);
    assert_eq!(server.object("bucket", "k").unwrap().body, "old");
    request().if_match(&tag).send().await.unwrap();
    assert_eq!(server.object("bucket", "k").unwrap().body, "new");
}

#[tokio::test]
async fn checksums_of_parts_are_agreed_on_at_the_start() {
    let server = start();
    let s3 = client(&server);
    let begun = s3.create_multipart_upload().bucket("bucket").key("k");
    let begun = begun.checksum_algorithm(ChecksumAlgorithm::Crc32).checksum_type(ChecksumType::FullObject);
    let upload = begun.send().await.unwrap().upload_id().unwrap().to_owned();
    let request = s3.upload_part().bucket("bucket").key("k").upload_id(&upload).part_number(1);
    let other = request.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from_static(b"x"));
    let error = other.send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "InvalidRequest".to_owned()));
    let parts = [part(&s3, &upload, 1, "0123456789").await, part(&s3, &upload, 2, "x").await];
    assert_eq!(complete(&s3, &upload, &parts).await.0, 200);
    let got =
        s3.get_object().bucket("bucket").key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(got.checksum_type(), Some(&ChecksumType::FullObject));
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "0123456789x");
}

#[tokio::test]
async fn a_composite_checksum_wants_every_part_s_when_it_completes() {
    let server = start();
    let s3 = client(&server);
    let begun =
        s3.create_multipart_upload().bucket("bucket").key("k").checksum_algorithm(ChecksumAlgorithm::Crc32);
    let upload = begun.send().await.unwrap().upload_id().unwrap().to_owned();
    let with = part(&s3, &upload, 1, "x").await;
    let without = CompletedPart::builder().part_number(1).e_tag(with.e_tag().unwrap()).build();
    assert_eq!(complete(&s3, &upload, &[without]).await, (400, "InvalidRequest".to_owned()));
    assert_eq!(complete(&s3, &upload, &[with]).await.0, 200);
    let head =
        s3.head_object().bucket("bucket").key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
    assert!(head.checksum_crc32().unwrap().ends_with("-1"));
}

#[tokio::test]
async fn a_store_can_refuse_checksums_that_were_not_agreed_on() {
    let server = S3Server::start(Options { part_checksums: PartChecksums::AsAgreed, ..Options::default() });
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let request = s3.upload_part().bucket("bucket").key("k").upload_id(&upload).part_number(1);
    let error = request.body(ByteStream::from_static(b"x")).send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "InvalidRequest".to_owned()));
}

#[tokio::test]
async fn a_wrong_part_is_not_kept() {
    let server = start();
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let request =
        || s3.upload_part().bucket("bucket").key("k").upload_id(&upload).body(ByteStream::from_static(b"x"));
    let error = request().part_number(1).checksum_crc32("AAAAAA==").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "BadDigest".to_owned()));
    assert_eq!(status(&request().part_number(0).send().await.unwrap_err()), 400);
    assert_eq!(status(&request().part_number(10_001).send().await.unwrap_err()), 400);
    let parts = s3.list_parts().bucket("bucket").key("k").upload_id(&upload).send().await.unwrap();
    assert!(parts.parts().is_empty());
}

#[tokio::test]
async fn parts_can_be_copied_from_an_object() {
    let server = start();
    let tag = server.put_object("bucket", "from", "0123456789abcdef");
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let copy = |number: i32, range: &str| {
        let request = s3.upload_part_copy().bucket("bucket").key("k").upload_id(&upload).part_number(number);
        request.copy_source("bucket/from").copy_source_range(range)
    };
    let mut parts = Vec::new();
    for (number, range) in [(1, "bytes=6-15"), (2, "bytes=0-5")] {
        let done = copy(number, range).copy_source_if_match(&tag).send().await.unwrap();
        let result = done.copy_part_result().unwrap();
        let part = CompletedPart::builder().part_number(number).e_tag(result.e_tag().unwrap());
        parts.push(part.set_checksum_crc32(result.checksum_crc32().map(str::to_owned)).build());
    }
    assert_eq!(status(&copy(3, "bytes=0-16").send().await.unwrap_err()), 416);
    assert_eq!(status(&copy(3, "bytes=0-1").copy_source_if_match("no").send().await.unwrap_err()), 412);
    assert_eq!(complete(&s3, &upload, &parts).await.0, 200);
    assert_eq!(server.object("bucket", "k").unwrap().body, "6789abcdef012345");
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let server = start();
    let s3 = client(&server);
    let upload = begin(&s3).await;
    let parts = [part(&s3, &upload, 1, "x").await];
    let abort = || s3.abort_multipart_upload().bucket("bucket").key("k").upload_id(&upload);
    abort().send().await.unwrap();
    assert!(server.uploads("bucket").is_empty());
    assert_eq!(complete(&s3, &upload, &parts).await, (404, "NoSuchUpload".to_owned()));
    assert_eq!(status(&abort().send().await.unwrap_err()), 404);
    let late = s3.upload_part().bucket("bucket").key("k").upload_id(&upload).part_number(1);
    assert_eq!(status(&late.body(ByteStream::from_static(b"x")).send().await.unwrap_err()), 404);
}

#[tokio::test]
async fn parts_and_uploads_are_listed_in_pages() {
    let server = start();
    let s3 = client(&server);
    let upload = begin(&s3).await;
    for number in [1, 2, 5] {
        part(&s3, &upload, number, &"x".repeat(10)).await;
    }
    let mut pages =
        s3.list_parts().bucket("bucket").key("k").upload_id(&upload).max_parts(2).into_paginator().send();
    let mut numbers = Vec::new();
    while let Some(page) = pages.next().await {
        numbers.extend(
            page.unwrap().parts().iter().map(|part| (part.part_number().unwrap(), part.size().unwrap())),
        );
    }
    assert_eq!(numbers, [(1, 10), (2, 10), (5, 10)]);

    for key in ["a", "b/1", "b/2"] {
        s3.create_multipart_upload().bucket("bucket").key(key).send().await.unwrap();
    }
    let list = || s3.list_multipart_uploads().bucket("bucket");
    let below = list().prefix("b/").send().await.unwrap();
    assert_eq!(below.uploads().iter().map(|u| u.key().unwrap()).collect::<Vec<_>>(), ["b/1", "b/2"]);
    let first = list().max_uploads(3).send().await.unwrap();
    assert_eq!((first.uploads().len(), first.is_truncated()), (3, Some(true)));
    let rest = list().key_marker(first.next_key_marker().unwrap());
    let rest = rest.upload_id_marker(first.next_upload_id_marker().unwrap()).send().await.unwrap();
    assert_eq!(rest.uploads()[0].upload_id(), Some(upload.as_str()));
}
