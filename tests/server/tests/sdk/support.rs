//! The SDK's client for the server under test, without retries, and what its errors say.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bayou_test_server::S3Server;

/// Returns a configuration for the server, without credentials.
pub(crate) fn config(server: &S3Server) -> Builder {
    Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(server.url())
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
}

/// Returns a client that signs with these keys.
pub(crate) fn client_as(server: &S3Server, access_key: &str, secret_key: &str) -> Client {
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    Client::from_conf(config(server).credentials_provider(credentials).build())
}

/// Returns a client that may do everything.
pub(crate) fn client(server: &S3Server) -> Client {
    client_as(server, server.access_key(), server.secret_key())
}

/// Returns a put of a small object, not sent yet.
pub(crate) fn put(s3: &Client, key: &str, body: &str) -> PutObjectFluentBuilder {
    s3.put_object().bucket("bucket").key(key).body(ByteStream::from(body.as_bytes().to_vec()))
}

/// Returns the HTTP status of an error, or 0 if there was no answer.
pub(crate) fn status<E>(error: &SdkError<E>) -> u16 {
    error.raw_response().map_or(0, |answer| answer.status().as_u16())
}

/// Returns the S3 code of an error.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    error.as_service_error().and_then(|e| e.code()).unwrap_or_default().to_owned()
}
