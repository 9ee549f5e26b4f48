//! The flags that `mount` and `sync` share, and how they become options.
//!
//! A flag with an environment variable is also a key of the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};

use super::units;
use crate::control::place::MountRecord;
use crate::control::{Failure, FailureKind};
use crate::model::namespace::Namespace;
use crate::session::options::{MinFree, SessionOptions};
use crate::store::access::Access;
use crate::store::url::Source;
use crate::sync::OnConflict;

/// How to reach the bucket.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Bucket")]
pub(super) struct BucketArgs {
    /// Part of the bucket with an index of its own: only keys below NAME/ are read and written
    #[arg(long, env = "BAYOU_NAMESPACE", value_name = "NAME")]
    namespace: Option<Namespace>,
    /// Profile in the shared AWS configuration
    #[arg(long, env = "BAYOU_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// Region of the bucket
    #[arg(long, env = "BAYOU_REGION", value_name = "NAME")]
    region: Option<String>,
    /// Address of a server other than those of AWS or Google
    #[arg(long, env = "BAYOU_ENDPOINT_URL", value_name = "URL")]
    endpoint_url: Option<String>,
    /// Put the bucket's name into the path, not into the host name
    #[arg(long, env = "BAYOU_FORCE_PATH_STYLE", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    force_path_style: bool,
    /// File with the credentials of a Google service account or user
    #[arg(long, env = "BAYOU_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Send requests without a signature: public buckets
    #[arg(long, alias = "anonymous", env = "BAYOU_NO_SIGN_REQUEST", value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_value = "false", default_missing_value = "true",
          hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    no_sign_request: bool,
    /// Longest wait for an answer, or for an upload that makes no progress
    #[arg(long, env = "BAYOU_TIMEOUT", value_name = "TIME", default_value = "60s",
          value_parser = units::positive_duration)]
    timeout: Duration,
}

impl BucketArgs {
    /// Returns the part of the bucket that is meant.
    pub(super) fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// Returns how to reach the source.
    pub(super) fn access(&self, source: &Source) -> Result<Access, Failure> {
        let mut access = Access {
            profile: self.profile.clone(),
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            force_path_style: self.force_path_style,
            key_file: self.key_file.clone().map(absolute).transpose()?,
            no_sign_request: self.no_sign_request,
            timeout: self.timeout,
        };
        if !matches!(source, Source::Folder { .. }) {
            access.endpoint_url = endpoint(&access, source)?;
        }
        Ok(access)
    }

    /// Fails if people name another namespace than the one that a mount shows.
    pub(super) fn check_namespace(&self, mount: &MountRecord) -> Result<(), Failure> {
        let Some(wanted) = &self.namespace else { return Ok(()) };
        let shown = match &mount.namespace {
            Some(shown) if shown == wanted.as_str() => return Ok(()),
            Some(shown) => format!("shows the namespace {shown:?}"),
            None => "shows a whole bucket".to_owned(),
        };
        let message = format!(
            "The mount on {} {shown}, not the namespace {:?}; name the mount of that, or leave out --namespace",
            mount.mountpoint.display(),
            wanted.as_str()
        );
        Err(Failure::new(FailureKind::Usage, message))
    }
}

/// Where and how much this machine keeps.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache")]
pub(super) struct CacheArgs {
    /// Folder for the caches [default: the user's state folder, /var/lib/bayou for root]
    #[arg(long, env = "BAYOU_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Most space for content that is in the bucket too [default: the smaller of 10GiB and
    /// 80% of what is free]
    #[arg(long, env = "BAYOU_CACHE_SIZE", value_name = "SIZE", value_parser = units::size)]
    cache_size: Option<u64>,
    /// What stays free on the cache's disk
    #[arg(long, env = "BAYOU_CACHE_MIN_FREE", value_name = "SHARE|SIZE", default_value = "5%",
          value_parser = units::min_free)]
    cache_min_free: MinFree,
    /// What happens to a file that was changed here and elsewhere
    #[arg(long, env = "BAYOU_ON_CONFLICT", value_name = "RULE", default_value = "copy",
          value_parser = on_conflict())]
    on_conflict: OnConflict,
}

fn on_conflict() -> impl TypedValueParser<Value = OnConflict> {
    PossibleValuesParser::new(["copy", "fail", "ours", "theirs"]).map(|word| match word.as_str() {
        "fail" => OnConflict::Fail,
        "ours" => OnConflict::Ours,
        "theirs" => OnConflict::Theirs,
        _ => OnConflict::Copy,
    })
}

impl CacheArgs {
    /// Returns the chosen folder for the caches, absolute.
    pub(super) fn cache_dir(&self) -> Result<Option<PathBuf>, Failure> {
        self.cache_dir.clone().map(absolute).transpose()
    }
}

/// Returns what a session is opened with.
pub(super) fn session_options(
    source: &Source,
    bucket: &BucketArgs,
    cache: &CacheArgs,
    read_only: bool,
) -> Result<SessionOptions, Failure> {
    Ok(SessionOptions {
        source: source.to_string(),
        namespace: bucket.namespace.clone(),
        under: None,
        cache_dir: cache.cache_dir()?,
        cache_size: cache.cache_size,
        cache_min_free: cache.cache_min_free,
        on_conflict: cache.on_conflict,
        read_only,
        access: bucket.access(source)?,
    })
}

/// Returns the endpoint, wherever it is set: it tells two buckets of one name apart.
fn endpoint(access: &Access, source: &Source) -> Result<Option<String>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let cannot = |error: std::io::Error| {
        Failure::new(FailureKind::System, "The runtime cannot be started").caused_by(&error)
    };
    Ok(runtime.map_err(cannot)?.block_on(access.endpoint(source)))
}

/// Returns the source that a word on the command line names.
pub(super) fn source(text: &str) -> Result<Source, Failure> {
    Source::parse(text).map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))
}

/// Returns the path without reference to the working directory, which a daemon leaves.
pub(super) fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path).map_err(|error| {
        let message = format!("The path {} cannot be used", path.display());
        Failure::new(FailureKind::Usage, message).caused_by(&error)
    })
}
