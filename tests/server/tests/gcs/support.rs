//! The official clients for the server under test, without retries, and what their errors say.

use bayou_test_server::GcsServer;
use google_cloud_auth::credentials::Credentials;
use google_cloud_auth::credentials::anonymous::Builder as Anonymous;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_storage::model::Object;

/// The bucket's name as the client wants it.
pub(crate) const BUCKET: &str = "projects/_/buckets/bucket";

/// Both clients of one server.
pub(crate) struct Client {
    pub(crate) bytes: Storage,
    pub(crate) control: StorageControl,
}

impl Client {
    /// Returns clients that are nobody.
    pub(crate) async fn of(server: &GcsServer) -> Self {
        Self::with(server, Anonymous::new().build()).await
    }

    pub(crate) async fn with(server: &GcsServer, credentials: Credentials) -> Self {
        let bytes = Storage::builder().with_endpoint(server.url()).with_credentials(credentials.clone());
        let control = StorageControl::builder().with_endpoint(server.url()).with_credentials(credentials);
        Self {
            bytes: bytes.with_retry_policy(NeverRetry).build().await.unwrap(),
            control: control.with_retry_policy(NeverRetry).build().await.unwrap(),
        }
    }

    /// Writes an object in one request.
    pub(crate) async fn write(&self, name: &str, body: &str) -> Result<Object, Error> {
        self.bytes.write_object(BUCKET, name, body.to_owned()).send_unbuffered().await
    }

    /// Reads all of an object.
    pub(crate) async fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut answer = self.bytes.read_object(BUCKET, name).send().await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }
}

/// Returns the HTTP status of a failure, or 0 if there was no answer.
pub(crate) fn status<T: std::fmt::Debug>(outcome: Result<T, Error>) -> u16 {
    outcome.unwrap_err().http_status_code().unwrap_or(0)
}

/// Returns the status code of a failed gRPC call.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Option<Code> {
    outcome.unwrap_err().status().map(|status| status.code)
}
