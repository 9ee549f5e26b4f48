//! Who may do what: keys, signatures, anonymous access, regions, buckets.

use crate::support::{client, client_as, code, config, put, status};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use bayou_test_server::{Anonymous, KeyPair, Options, S3Server};

fn nobody(server: &S3Server) -> Client {
    Client::from_conf(config(server).allow_no_auth().build())
}

#[tokio::test]
async fn wrong_keys_are_told_apart() {
    let server = S3Server::start(Options::default());
    let error = put(&client_as(&server, "unknown", "x"), "k", "1").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (403, "InvalidAccessKeyId".to_owned()));
    let error = put(&client_as(&server, server.access_key(), "wrong"), "k", "1").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (403, "SignatureDoesNotMatch".to_owned()));
    assert!(server.keys("bucket").is_empty());
}

#[tokio::test]
async fn read_only_keys_read_and_do_not_write() {
    let pair = KeyPair::new("reader", "secret");
    let server = S3Server::start(Options { read_only_keys: Some(pair), ..Options::default() });
    server.put_object("bucket", "k", "1");
    let s3 = client_as(&server, "reader", "secret");
    s3.get_object().bucket("bucket").key("k").send().await.unwrap();
    s3.list_objects_v2().bucket("bucket").send().await.unwrap();
    let error = put(&s3, "k", "2").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (403, "AccessDenied".to_owned()));
    assert_eq!(status(&s3.delete_object().bucket("bucket").key("k").send().await.unwrap_err()), 403);
    assert_eq!(
        status(&s3.create_multipart_upload().bucket("bucket").key("k").send().await.unwrap_err()),
        403
    );
    assert_eq!(server.object("bucket", "k").unwrap().body, "1");
}

#[tokio::test]
async fn nobody_may_do_only_what_the_options_say() {
    for (anonymous, read, write) in
        [(Anonymous::Denied, 403, 403), (Anonymous::MayRead, 200, 403), (Anonymous::MayWrite, 200, 200)]
    {
        let server = S3Server::start(Options { anonymous, ..Options::default() });
        server.put_object("bucket", "k", "1");
        let s3 = nobody(&server);
        let got = s3.get_object().bucket("bucket").key("k").send().await;
        assert_eq!(got.map_or_else(|e| status(&e), |_| 200), read, "{anonymous:?}");
        let sent = put(&s3, "k", "2").send().await;
        assert_eq!(sent.map_or_else(|e| status(&e), |_| 200), write, "{anonymous:?}");
    }
}

#[tokio::test]
async fn a_signature_for_another_region_is_refused_with_the_right_one() {
    let server = S3Server::start(Options { region: Some("eu-west-1".to_owned()), ..Options::default() });
    let error = put(&client(&server), "k", "1").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (400, "AuthorizationHeaderMalformed".to_owned()));
    assert_eq!(error.raw_response().unwrap().headers().get("x-amz-bucket-region"), Some("eu-west-1"));
    let credentials =
        aws_sdk_s3::config::Credentials::new(server.access_key(), server.secret_key(), None, None, "t");
    let right = config(&server).region(Region::new("eu-west-1")).credentials_provider(credentials);
    put(&Client::from_conf(right.build()), "k", "1").send().await.unwrap();
}

#[tokio::test]
async fn buckets_are_made_found_and_listed() {
    let server = S3Server::start(Options { buckets: vec!["one".to_owned()], ..Options::default() });
    let s3 = client(&server);
    s3.create_bucket().bucket("two").send().await.unwrap();
    let error = s3.create_bucket().bucket("two").send().await.unwrap_err();
    assert_eq!((status(&error), code(&error)), (409, "BucketAlreadyOwnedByYou".to_owned()));
    s3.head_bucket().bucket("two").send().await.unwrap();
    let names = s3.list_buckets().send().await.unwrap();
    let names: Vec<_> = names.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["one", "two"]);
    put(&s3, "k", "1").send().await.unwrap_err();
    assert!(server.keys("one").is_empty() && server.keys("two").is_empty());
}
