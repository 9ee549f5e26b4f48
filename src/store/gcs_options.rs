//! How a bucket on Google Cloud Storage is reached, and the clients that this makes.
//!
//! Credentials come from where all of Google's tools look (application default credentials)
//! unless they are given. The crate's retries are off: [`crate::store::retry`] is the only loop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use google_cloud_auth::credentials::{
    Builder as DefaultCredentials, Credentials, anonymous, external_account, impersonated, service_account,
    user_account,
};
use google_cloud_gax::error::Error;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_storage::read_resume_policy::NeverResume;
use serde_json::Value;

use super::access::Access;
use super::gcs_answer::SIGN_IN;
use super::{ErrorKind, Result, StoreError};

/// The variable by which emulators are known to all of Google's tools but this crate.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// The service takes one write of an object a second.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// How to reach a bucket. The default is what the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsOptions {
    /// The server, if it is not Google's.
    pub endpoint_url: Option<String>,
    /// Whether requests are anonymous.
    pub no_sign_request: bool,
    /// The file with the credentials, instead of those that are found.
    pub key_file: Option<PathBuf>,
    /// How long the server may be silent before a request, its repetitions included, fails.
    pub timeout: Duration,
    /// The least time between two writes of one object; `None`: what the service documents, and
    /// nothing for a server of one's own.
    pub write_interval: Option<Duration>,
}

impl Default for GcsOptions {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            no_sign_request: false,
            key_file: None,
            timeout: Duration::from_secs(60),
            write_interval: None,
        }
    }
}

/// The two clients of the crate: bytes go over HTTP, everything else over gRPC.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) storage: Storage,
    pub(super) control: StorageControl,
}

impl From<&Access> for GcsOptions {
    fn from(access: &Access) -> Self {
        Self {
            endpoint_url: access.endpoint_url.clone(),
            no_sign_request: access.no_sign_request,
            key_file: access.key_file.clone(),
            timeout: access.timeout,
            write_interval: None,
        }
    }
}

impl GcsOptions {
    /// Returns how long one attempt may go without a byte in either direction: a quarter of the
    /// timeout, so that a silent connection is replaced before it is over.
    pub fn silence(&self) -> Duration {
        self.timeout / 4
    }

    /// Returns the server that requests go to, if it is not Google's: as given, or as the
    /// environment says.
    pub fn endpoint(&self) -> Option<String> {
        self.endpoint_url.clone().or_else(emulator)
    }

    /// Returns the least time between two writes of one object.
    pub(super) fn interval(&self) -> Duration {
        let by_server = || self.endpoint().map_or(WRITE_INTERVAL, |_| Duration::ZERO);
        self.write_interval.unwrap_or_else(by_server)
    }

    /// Returns clients, ready to send; sends nothing to the bucket.
    ///
    /// Fails with `Invalid` if the endpoint is not a URL, with `Unauthenticated` if the
    /// credentials cannot be used.
    pub(super) async fn clients(&self, bucket: &str) -> Result<Clients> {
        let endpoint = self.checked_endpoint(bucket)?;
        let credentials = self.credentials(bucket)?;
        let failed = |wrong| unusable(bucket).detail(super::causes::causes(&wrong)).caused_by(wrong);
        let mut storage = Storage::builder()
            .with_credentials(credentials.clone())
            .with_retry_policy(NeverRetry)
            .with_read_resume_policy(NeverResume);
        let mut control =
            StorageControl::builder().with_credentials(credentials).with_retry_policy(NeverRetry);
        if let Some(url) = endpoint {
            storage = storage.with_endpoint(&url);
            control = control.with_endpoint(url);
        }
        let control = control.build().await.map_err(failed)?;
        Ok(Clients { storage: storage.build().await.map_err(failed)?, control })
    }

    fn checked_endpoint(&self, bucket: &str) -> Result<Option<String>> {
        let endpoint = self.endpoint();
        match &endpoint {
            Some(url) if !(url.starts_with("http://") || url.starts_with("https://")) => {
                let detail =
                    format!("the endpoint {url:?} is not a URL: it must begin with http:// or https://");
                Err(StoreError::at(ErrorKind::Invalid, "connect", bucket).detail(detail))
            }
            _ => Ok(endpoint.map(|url| url.trim_end_matches('/').to_owned())),
        }
    }

    /// Without encryption nothing is sent that somebody could use: credentials that were not
    /// named for it are for Google alone.
    fn credentials(&self, bucket: &str) -> Result<Credentials> {
        let is_plain = || self.endpoint().is_some_and(|url| url.starts_with("http://"));
        match &self.key_file {
            _ if self.no_sign_request => Ok(anonymous::Builder::new().build()),
            Some(file) => credentials_in(file, bucket),
            None if is_plain() => Ok(anonymous::Builder::new().build()),
            None => DefaultCredentials::default()
                .build()
                .map_err(|wrong| unusable(bucket).detail(super::causes::causes(&wrong)).caused_by(wrong)),
        }
    }
}

/// Returns the emulator that the environment names, as a URL.
fn emulator() -> Option<String> {
    let host = std::env::var(EMULATOR).ok().filter(|host| !host.is_empty())?;
    Some(if host.contains("://") { host } else { format!("http://{host}") })
}

fn credentials_in(file: &Path, bucket: &str) -> Result<Credentials> {
    let named = |what: String| unusable(bucket).detail(format!("the key file {} {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| named(format!("cannot be read: {error}")))?;
    let json: Value = serde_json::from_str(&text).map_err(|wrong| named(format!("is not JSON: {wrong}")))?;
    let kind = json.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let built = match kind.as_str() {
        "service_account" => service_account::Builder::new(json).build(),
        "authorized_user" => user_account::Builder::new(json).build(),
        "external_account" => external_account::Builder::new(json).build(),
        "impersonated_service_account" => impersonated::Builder::new(json).build(),
        _ => return Err(named(format!("has credentials of the unknown type {kind:?}"))),
    };
    built
        .map_err(|wrong| named(format!("cannot be used: {}", super::causes::causes(&wrong))).caused_by(wrong))
}

fn unusable(bucket: &str) -> StoreError {
    StoreError::at(ErrorKind::Unauthenticated, "connect", bucket).hint(SIGN_IN)
}

/// Returns whether an error names a server that cannot be connected to.
pub(super) fn is_away(error: &Error) -> bool {
    error.is_connect() || error.is_io() || error.is_timeout()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_endpoint(url: &str) -> GcsOptions {
        GcsOptions { endpoint_url: Some(url.to_owned()), ..GcsOptions::default() }
    }

    #[tokio::test]
    async fn an_endpoint_that_is_no_url_is_refused_at_once() {
        let refused = with_endpoint("localhost:9000").clients("bucket").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
        assert!(refused.detail.contains("must begin with http"), "{refused}");
    }

    #[tokio::test]
    async fn a_key_file_that_cannot_be_used_is_named_with_the_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("key.json");
        let table = [
            (None, "cannot be read"),
            (Some("no"), "is not JSON"),
            (Some("{\"type\":\"odd\"}"), "unknown type \"odd\""),
            (Some("{\"type\":\"service_account\"}"), "cannot be used"),
        ];
        for (content, expected) in table {
            if let Some(content) = content {
                crate::os::durable_file::replace(&file, content.as_bytes()).unwrap();
            }
            let options = GcsOptions { key_file: Some(file.clone()), ..GcsOptions::default() };
            let refused = options.clients("bucket").await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused}");
            assert!(refused.detail.contains(expected) && refused.detail.contains("key.json"), "{refused}");
            assert!(refused.hint.unwrap().contains("gcloud auth application-default login"));
        }
    }

    #[test]
    fn only_the_service_itself_is_written_to_once_a_second() {
        assert_eq!(GcsOptions::default().write_interval, None);
        assert_eq!(with_endpoint("http://127.0.0.1:1").interval(), Duration::ZERO);
        let given =
            GcsOptions { write_interval: Some(WRITE_INTERVAL), ..with_endpoint("http://127.0.0.1:1") };
        assert_eq!(given.interval(), WRITE_INTERVAL);
    }
}
