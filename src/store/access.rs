//! How people say that a bucket is to be reached, and the store that this opens.
//!
//! What they say is the same whatever the bucket is on; each backend takes what it knows of.
//! A build may leave a backend out: then its buckets are refused by name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::folder::FolderStore;
use super::url::Source;
use super::{Result, SharedStore};
use crate::os::clock::SharedClock;

/// How to reach a bucket. The default is what the environment and the files of its service say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The server, if it is not the service's own.
    pub endpoint_url: Option<String>,
    /// Whether requests are anonymous.
    pub no_sign_request: bool,
    /// How long the server may be silent before a request, its repetitions included, fails.
    pub timeout: Duration,
    /// S3: the profile in the configuration files.
    pub profile: Option<String>,
    /// S3: the bucket's region.
    pub region: Option<String>,
    /// S3: whether the bucket's name stands in the path, not in the host name.
    pub force_path_style: bool,
    /// Google Cloud Storage: the file with the credentials.
    pub key_file: Option<PathBuf>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            no_sign_request: false,
            timeout: Duration::from_secs(60),
            profile: None,
            region: None,
            force_path_style: false,
            key_file: None,
        }
    }
}

impl Access {
    /// Returns the server that requests for `source` go to, if it is not the service's own: as
    /// given, or as the environment or a profile says. Sends no request.
    pub async fn endpoint(&self, source: &Source) -> Option<String> {
        match source {
            Source::Folder { .. } => None,
            #[cfg(feature = "s3")]
            Source::S3 { .. } => super::s3_options::S3Options::from(self).endpoint().await,
            #[cfg(feature = "gcs")]
            Source::Gcs { .. } => super::gcs_options::GcsOptions::from(self).endpoint(),
            #[cfg(not(feature = "s3"))]
            Source::S3 { .. } => self.endpoint_url.clone(),
            #[cfg(not(feature = "gcs"))]
            Source::Gcs { .. } => self.endpoint_url.clone(),
        }
    }

    /// Opens the whole bucket that `source` names; asks it nothing yet.
    ///
    /// Fails with `Unsupported` if this build leaves its service out.
    #[cfg_attr(
        not(any(feature = "s3", feature = "gcs")),
        expect(unused_variables, reason = "a folder is opened without a clock")
    )]
    pub async fn open(&self, source: &Source, clock: &SharedClock) -> Result<SharedStore> {
        match source {
            Source::Folder { path } => Ok(Arc::new(FolderStore::open(path)?)),
            #[cfg(feature = "s3")]
            Source::S3 { bucket, .. } => {
                Ok(Arc::new(super::s3::S3Store::connect(bucket, &self.into(), Arc::clone(clock)).await?))
            }
            #[cfg(feature = "gcs")]
            Source::Gcs { bucket, .. } => {
                Ok(Arc::new(super::gcs::GcsStore::connect(bucket, &self.into(), Arc::clone(clock)).await?))
            }
            #[cfg(not(feature = "s3"))]
            Source::S3 { bucket, .. } => Err(left_out(bucket, "S3", "s3")),
            #[cfg(not(feature = "gcs"))]
            Source::Gcs { bucket, .. } => Err(left_out(bucket, "Google Cloud Storage", "gcs")),
        }
    }
}

#[cfg(not(all(feature = "s3", feature = "gcs")))]
fn left_out(bucket: &str, service: &str, feature: &str) -> super::StoreError {
    super::StoreError::at(super::ErrorKind::Unsupported, "connect", bucket)
        .detail(format!("this build leaves {service} out"))
        .hint(format!("Use a build of bayou that has {service}: `cargo install bayou --features {feature}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_endpoint_that_was_given_is_the_one_of_every_service() {
        let url = Some("http://127.0.0.1:9".to_owned());
        let access = Access { endpoint_url: url.clone(), ..Access::default() };
        for source in ["s3://bucket/a", "gs://bucket/a"] {
            assert_eq!(access.endpoint(&Source::parse(source).unwrap()).await, url, "{source}");
        }
        assert_eq!(access.endpoint(&Source::Folder { path: "/".into() }).await, None);
    }

    #[cfg(not(all(feature = "s3", feature = "gcs")))]
    #[tokio::test]
    async fn a_bucket_on_a_service_that_was_left_out_is_refused_with_the_feature() {
        let (source, feature) = if cfg!(feature = "s3") {
            ("gs://bucket", "--features gcs")
        } else {
            ("s3://bucket", "--features s3")
        };
        let source = Source::parse(source).unwrap();
        let refused = Access::default().open(&source, &crate::os::clock::SystemClock::shared()).await;
        let hint = refused.unwrap_err().hint.unwrap();
        assert!(hint.contains(feature), "{hint}");
    }
}
