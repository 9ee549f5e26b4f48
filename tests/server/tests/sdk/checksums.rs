//! Digests that come with a body are verified, wherever they travel; a wrong one stores nothing.

use std::io::Write as _;

use crate::support::{client, code, config, put, status};
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};
use bayou_test_server::{Action, Etags, Fault, Op, Options, S3Server, Trailers};

fn start() -> S3Server {
    S3Server::start(Options::default())
}

/// Returns a body that the SDK streams, with its checksum behind it.
async fn streamed(bytes: &[u8]) -> (tempfile::NamedTempFile, ByteStream) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let body = ByteStream::from_path(file.path()).await.unwrap();
    (file, body)
}

#[tokio::test]
async fn right_checksums_are_kept_and_given_back() {
    let server = start();
    let s3 = client(&server);
    for algorithm in ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"] {
        let sent = put(&s3, "k", "hello").checksum_algorithm(algorithm.into()).send().await.unwrap();
        assert_eq!(sent.checksum_type(), Some(&ChecksumType::FullObject), "{algorithm}");
        let got = s3.get_object().bucket("bucket").key("k").checksum_mode(ChecksumMode::Enabled);
        let got = got.send().await.unwrap();
        assert_eq!(got.checksum_sha256(), sent.checksum_sha256());
        assert_eq!(got.checksum_crc32(), sent.checksum_crc32());
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), "hello");
    }
}

#[tokio::test]
async fn an_object_without_a_checksum_gets_one() {
    let server = start();
    server.put_object("bucket", "k", "hello");
    let s3 = client(&server);
    let head =
        s3.head_object().bucket("bucket").key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert!(head.checksum_crc64_nvme().is_some());
    let head = s3.head_object().bucket("bucket").key("k").send().await.unwrap();
    assert!(head.checksum_crc64_nvme().is_none());
}

#[tokio::test]
async fn a_wrong_checksum_in_a_header_stores_nothing() {
    let server = start();
    let s3 = client(&server);
    let error = put(&s3, "k", "hello").checksum_crc32("AAAAAA==").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "BadDigest".to_owned()));
    let error = put(&s3, "k", "hello").checksum_sha256("AAAA").send().await.unwrap_err();
    assert_eq!(status(&error), 400);
    assert_eq!(server.object("bucket", "k"), None);
}

#[tokio::test]
async fn content_md5_is_verified() {
    let server = start();
    let s3 = client(&server);
    put(&s3, "k", "hello").content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap();
    let error = put(&s3, "k", "jello").content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "BadDigest".to_owned()));
    let error = put(&s3, "k", "jello").content_md5("nonsense").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "InvalidDigest".to_owned()));
    assert_eq!(server.object("bucket", "k").unwrap().body, "hello");
}

#[tokio::test]
async fn a_checksum_behind_a_streamed_body_is_verified() {
    let server = start();
    let s3 = client(&server);
    let bytes = vec![7; 300_000];
    let (_file, body) = streamed(&bytes).await;
    let sent = s3.put_object().bucket("bucket").key("k").body(body).send().await.unwrap();
    assert!(sent.checksum_crc32().is_some());
    assert_eq!(server.object("bucket", "k").unwrap().body, bytes);
    // More arrives than the bytes themselves: their framing, and the checksum behind them.
    assert!(server.requests()[0].bytes_in > 300_000);
}

#[tokio::test]
async fn a_body_that_was_damaged_on_its_way_is_refused() {
    let server = start();
    let s3 = client(&server);
    server.fault(Fault::on(Op::PutObject, Action::CorruptUpload(100)));
    let (_file, body) = streamed(&[7; 5_000]).await;
    let error = s3.put_object().bucket("bucket").key("k").body(body).send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (403, "SignatureDoesNotMatch".to_owned()));
    let error = put(&s3, "k", &"x".repeat(200)).send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "XAmzContentSHA256Mismatch".to_owned()));
    assert_eq!(server.object("bucket", "k"), None);
}

#[tokio::test]
async fn an_unsigned_body_is_held_to_its_checksum() {
    let server = start();
    let s3 = client(&server);
    let send = || put(&s3, "k", &"x".repeat(200)).customize().disable_payload_signing().send();
    let fault = server.fault(Fault::on(Op::PutObject, Action::CorruptUpload(100)));
    let error = send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "BadDigest".to_owned()));
    assert_eq!(server.object("bucket", "k"), None);
    fault.remove();
    send().await.unwrap();
}

#[tokio::test]
async fn a_store_can_refuse_checksums_behind_the_body() {
    let server = S3Server::start(Options { trailers: Trailers::Refused, ..Options::default() });
    let s3 = client(&server);
    let (_file, body) = streamed(b"hello").await;
    let error = s3.put_object().bucket("bucket").key("k").body(body).send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "InvalidRequest".to_owned()));

    let credentials =
        aws_sdk_s3::config::Credentials::new(server.access_key(), server.secret_key(), None, None, "t");
    let plain = config(&server).request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let s3 = aws_sdk_s3::Client::from_conf(plain.credentials_provider(credentials).build());
    let (_file, body) = streamed(b"hello").await;
    s3.put_object().bucket("bucket").key("k").body(body).send().await.unwrap();
    assert_eq!(server.object("bucket", "k").unwrap().body, "hello");
}

#[tokio::test]
async fn a_damaged_answer_is_noticed_by_its_checksum() {
    let server = start();
    let s3 = client(&server);
    put(&s3, "k", "hello").checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await.unwrap();
    server.fault(Fault::on(Op::GetObject, Action::CorruptBody(2)));
    let got = s3.get_object().bucket("bucket").key("k").checksum_mode(ChecksumMode::Enabled);
    assert!(got.send().await.unwrap().body.collect().await.is_err());
}

#[tokio::test]
async fn etags_can_be_unlike_md5() {
    let server = S3Server::start(Options { etags: Etags::Unique, ..Options::default() });
    let s3 = client(&server);
    let first = put(&s3, "k", "same").send().await.unwrap();
    let second = put(&s3, "k", "same").send().await.unwrap();
    assert_ne!(first.e_tag(), second.e_tag());
}
