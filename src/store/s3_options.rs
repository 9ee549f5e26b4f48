//! How a bucket on S3 is reached, and the client that this makes.
//!
//! Credentials, region and endpoint come from the SDK's own default chain unless they are
//! given. The SDK's retries are off: [`crate::store::retry`] is the only loop.

use std::time::Duration;

use aws_config::meta::region::RegionProviderChain;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, Builder, Credentials, RequestChecksumCalculation, StalledStreamProtectionConfig,
};
use aws_types::service_config::ServiceConfigKey;

use super::access::Access;
use super::s3_blank_key::UnmarkBlankKeys;

/// The region of requests when nothing names one: stores other than AWS rarely care, and AWS
/// answers with the right one.
const FALLBACK_REGION: &str = "us-east-1";

/// How to reach a bucket. The default is what the environment and the configuration files of
/// AWS say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The profile in the configuration files.
    pub profile: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The server, if it is not AWS.
    pub endpoint_url: Option<String>,
    /// Whether the bucket's name stands in the path, not in the host name. Always so with an
    /// endpoint of one's own.
    pub force_path_style: bool,
    /// Whether requests are anonymous.
    pub no_sign_request: bool,
    /// Keys to be used instead of those that the default chain finds.
    pub keys: Option<StaticKeys>,
    /// How long the server may be silent before a request, its repetitions included, fails.
    pub timeout: Duration,
    /// Whether the bytes of a part are signed.
    pub signed_parts: SignedParts,
}

/// Whether the bytes of a part are signed, which takes a hash of all of them beside the checksum
/// that the server compares. What is small is always signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignedParts {
    /// Where nothing else keeps others from changing them on their way: without TLS.
    #[default]
    WithoutTls,
    /// Not at all.
    Never,
}

impl SignedParts {
    /// Returns whether they are signed on their way to this server; `None`: AWS.
    fn at(self, endpoint: Option<&str>) -> bool {
        let in_the_open = |url: &str| !url.trim_start().to_ascii_lowercase().starts_with("https:");
        self == Self::WithoutTls && endpoint.is_some_and(in_the_open)
    }
}

/// A pair of keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

/// Never shows the secret.
impl std::fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKeys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            profile: None,
            region: None,
            endpoint_url: None,
            force_path_style: false,
            no_sign_request: false,
            keys: None,
            timeout: Duration::from_secs(60),
            signed_parts: SignedParts::default(),
        }
    }
}

impl From<&Access> for S3Options {
    fn from(access: &Access) -> Self {
        Self {
            profile: access.profile.clone(),
            region: access.region.clone(),
            endpoint_url: access.endpoint_url.clone(),
            force_path_style: access.force_path_style,
            no_sign_request: access.no_sign_request,
            keys: None,
            timeout: access.timeout,
            signed_parts: SignedParts::default(),
        }
    }
}

impl S3Options {
    /// Returns how long one attempt may go without a byte in either direction: a quarter of the
    /// timeout, so that a silent connection is replaced before it is over.
    pub fn silence(&self) -> Duration {
        self.timeout / 4
    }

    /// Returns the profile that is in use, as far as it has a name.
    pub(super) fn profile_in_use(&self) -> Option<String> {
        self.profile.clone().or_else(|| std::env::var("AWS_PROFILE").ok()).filter(|name| !name.is_empty())
    }

    /// Returns a client, ready to send; sends nothing to the bucket.
    pub(super) async fn client(&self) -> Client {
        let shared = self.loader().load().await;
        let path_style = self.force_path_style || endpoint_of(&shared).is_some();
        let mut config = Builder::from(&shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts())
            .stalled_stream_protection(self.stall_protection())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .force_path_style(path_style)
            .interceptor(UnmarkBlankKeys);
        if self.no_sign_request {
            config = config.allow_no_auth();
        }
        Client::from_conf(config.build())
    }

    /// Returns whether the bytes of parts are signed. Sends no request.
    pub(super) async fn signs_parts(&self) -> bool {
        self.signed_parts.at(self.endpoint().await.as_deref())
    }

    /// Returns the server that requests go to, if it is not AWS: as given, or as the
    /// environment or the profile says. Sends no request.
    pub async fn endpoint(&self) -> Option<String> {
        let of_s3 = || std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|url| !url.is_empty());
        if let Some(known) = self.endpoint_url.clone().or_else(of_s3) {
            return Some(known);
        }
        let offline = self.loader().region(Region::new(FALLBACK_REGION)).no_credentials();
        endpoint_of(&offline.load().await)
    }

    fn loader(&self) -> ConfigLoader {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(self.region_chain());
        if let Ok(name) = AppName::new("bayou") {
            loader = loader.app_name(name);
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        if self.no_sign_request {
            loader = loader.no_credentials();
        } else if let Some(keys) = &self.keys {
            let keys = Credentials::new(&keys.access_key, &keys.secret_key, None, None, "given");
            loader = loader.credentials_provider(keys);
        }
        loader
    }

    /// Returns where the region comes from. A server of one's own is not asked after in the
    /// metadata of a cloud machine.
    fn region_chain(&self) -> RegionProviderChain {
        let given = RegionProviderChain::first_try(self.region.clone().map(Region::new));
        let mut profile = aws_config::profile::ProfileFileRegionProvider::builder();
        if let Some(name) = &self.profile {
            profile = profile.profile_name(name);
        }
        let configured = given
            .or_else(aws_config::environment::EnvironmentVariableRegionProvider::new())
            .or_else(profile.build());
        let known = if self.endpoint_url.is_some() { configured } else { configured.or_default_provider() };
        known.or_else(Region::new(FALLBACK_REGION))
    }

    /// Only connecting is left to the SDK's timeouts; the rest is in `patience`, which
    /// knows whether bytes are moving.
    fn timeouts(&self) -> TimeoutConfig {
        let connect = Duration::from_secs(3).min(self.silence());
        TimeoutConfig::builder().connect_timeout(connect).build()
    }

    fn stall_protection(&self) -> StalledStreamProtectionConfig {
        StalledStreamProtectionConfig::enabled().upload_enabled(false).grace_period(self.silence()).build()
    }
}

/// Returns the endpoint that was given on the command line, in the environment or in the profile,
/// for S3 alone or for all services.
fn endpoint_of(shared: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let of_s3 = key.build().ok().and_then(|key| shared.service_config()?.load_config(key));
    of_s3.filter(|url| !url.is_empty()).or_else(|| shared.endpoint_url().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_key_is_never_shown() {
        let keys = StaticKeys { access_key: "AKID".to_owned(), secret_key: "hush".to_owned() };
        let options = S3Options { keys: Some(keys), ..S3Options::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("AKID") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn parts_are_signed_where_others_could_change_them_on_their_way() {
        let is_signed = |endpoint| SignedParts::WithoutTls.at(endpoint);
        assert!(!is_signed(None), "AWS is reached by TLS");
        assert!(!is_signed(Some("https://minio.example:9000")));
        assert!(!is_signed(Some("HTTPS://minio.example")));
        assert!(is_signed(Some("http://minio.example:9000")));
        assert!(!SignedParts::Never.at(Some("http://minio.example:9000")));
    }
}
