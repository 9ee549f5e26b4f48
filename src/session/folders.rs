//! Where a mount keeps its state on this machine, and where its control socket is.
//!
//! Dirty data has no place in a cache folder that anyone may delete, so it lives in the
//! user's state folder; root's is `/var/lib/bayou`. Sockets live in the runtime folder, which
//! the machine empties at boot.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::options::SessionOptions;

/// The folders of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Holds a folder for each bucket.
    pub state: PathBuf,
    /// May hold the control sockets, the preferred one first.
    pub runtime: Vec<PathBuf>,
}

/// What decides the folders.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The user is root.
    pub is_root: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub xdg_state: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, or what the system gives the user when it is not set.
    pub xdg_runtime: Option<PathBuf>,
}

/// There is no folder that could be the user's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Neither HOME nor XDG_STATE_HOME is set; set one of them or name a folder with --cache-dir")]
pub struct Homeless;

impl Surroundings {
    /// Returns what this process was started with.
    pub fn of_this_process() -> Self {
        let user = rustix::process::geteuid();
        let folder = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        let usual = PathBuf::from(format!("/run/user/{}", user.as_raw()));
        Self {
            is_root: user.is_root(),
            home: folder("HOME"),
            xdg_state: folder("XDG_STATE_HOME"),
            xdg_runtime: folder("XDG_RUNTIME_DIR").or_else(|| usual.is_dir().then_some(usual)),
        }
    }
}

impl Folders {
    /// Returns the folders of the user who runs this process.
    pub fn of_this_user() -> Result<Self, Homeless> {
        Self::in_surroundings(&Surroundings::of_this_process())
    }

    /// Returns the folders of a user in these surroundings.
    pub fn in_surroundings(surroundings: &Surroundings) -> Result<Self, Homeless> {
        let state = state_folder(surroundings)?;
        let own = if surroundings.is_root {
            Some(PathBuf::from("/run/bayou"))
        } else {
            surroundings.xdg_runtime.as_ref().map(|folder| folder.join("bayou"))
        };
        let runtime = own.into_iter().chain([state.join("run")]).collect();
        Ok(Self { state, runtime })
    }

    /// Returns the folder that caches what these options open: below the chosen folder if
    /// there is one, else below the user's state folder.
    pub fn cache_of(&self, options: &SessionOptions) -> PathBuf {
        options.cache_dir.as_ref().unwrap_or(&self.state).join(cache_id(options))
    }
}

/// Where a mount logs when nobody says otherwise.
pub fn log_file(cache: &Path) -> PathBuf {
    cache.join("state").join("bayou.log")
}

fn state_folder(surroundings: &Surroundings) -> Result<PathBuf, Homeless> {
    if surroundings.is_root && surroundings.xdg_state.is_none() {
        return Ok(PathBuf::from("/var/lib/bayou"));
    }
    let from_home = || surroundings.home.as_ref().map(|home| home.join(".local/state"));
    let base = surroundings.xdg_state.clone().or_else(from_home).ok_or(Homeless)?;
    Ok(base.join("bayou"))
}

/// Returns the name of a cache's folder: readable, and different for buckets of one name on
/// two servers and for different parts of one bucket.
fn cache_id(options: &SessionOptions) -> String {
    let mut hash = Sha256::new();
    hash.update(options.access.endpoint_url.as_deref().unwrap_or_default().as_bytes());
    hash.update([0]);
    hash.update(options.source.as_bytes());
    let source = options.source.as_str();
    let mut place = source.split_once("://").map_or(source, |(_, place)| place).trim_matches('/').to_owned();
    if let Some(namespace) = &options.namespace {
        hash.update(format!("\0namespace {namespace}"));
        place = format!("{place}/{namespace}");
    }
    if let Some(under) = &options.under {
        hash.update(format!("\0under {under}"));
        place = format!("{place}/{under}");
    }
    let tame = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let tail: String = place.chars().rev().take(32).map(tame).collect();
    let readable: String = tail.chars().rev().collect();
    format!("{readable}-{}", &hex::encode(hash.finalize())[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Surroundings {
        Surroundings { home: Some("/home/u".into()), ..Surroundings::default() }
    }

    #[test]
    fn a_users_state_is_in_the_state_folder_and_roots_in_var_lib() {
        let root = Surroundings { is_root: true, home: Some("/root".into()), ..Surroundings::default() };
        let xdg = Surroundings { xdg_state: Some("/s".into()), ..user() };
        assert_eq!(Folders::in_surroundings(&user()).unwrap().state, Path::new("/home/u/.local/state/bayou"));
        assert_eq!(Folders::in_surroundings(&xdg).unwrap().state, Path::new("/s/bayou"));
        assert_eq!(Folders::in_surroundings(&root).unwrap().state, Path::new("/var/lib/bayou"));
        assert_eq!(Folders::in_surroundings(&Surroundings::default()), Err(Homeless));
    }

    #[test]
    fn sockets_are_in_the_runtime_folder_with_the_state_folder_to_fall_back_on() {
        let with = Surroundings { xdg_runtime: Some("/run/user/7".into()), ..user() };
        let state: PathBuf = "/home/u/.local/state/bayou/run".into();
        assert_eq!(
            Folders::in_surroundings(&with).unwrap().runtime,
            [PathBuf::from("/run/user/7/bayou"), state.clone()]
        );
        assert_eq!(Folders::in_surroundings(&user()).unwrap().runtime, [state]);
    }

    #[test]
    fn buckets_of_one_name_on_two_servers_never_share_a_cache() {
        let folders = Folders::in_surroundings(&user()).unwrap();
        let chosen =
            |source: &str| SessionOptions { cache_dir: Some("/c".into()), ..SessionOptions::plain(source) };
        let mut elsewhere = chosen("s3://b/p");
        elsewhere.access.endpoint_url = Some("http://127.0.0.1:9000".to_owned());
        let options = [chosen("s3://b/p"), elsewhere, chosen("s3://b-p"), SessionOptions::plain("s3://b/p")];
        let caches = options.map(|options| folders.cache_of(&options));
        let different: std::collections::HashSet<_> = caches.iter().collect();
        assert_eq!(different.len(), caches.len());
        assert!(caches[0].to_str().unwrap().starts_with("/c/b-p-"), "{caches:?}");
        assert!(caches[3].starts_with(&folders.state));
    }

    #[test]
    fn each_part_of_a_bucket_has_a_cache_of_its_own() {
        let folders = Folders::in_surroundings(&user()).unwrap();
        let of = |source: &str, namespace: Option<&str>, under: Option<&str>| {
            let namespace = namespace.map(|name| name.parse().unwrap());
            let under = under.map(|path| path.parse().unwrap());
            folders.cache_of(&SessionOptions { namespace, under, ..SessionOptions::plain(source) })
        };
        let caches = [
            of("s3://b", None, None),
            of("s3://b", Some("infra"), None),
            of("s3://b", Some("team-b"), None),
            of("s3://b/infra", None, None),
            of("s3://b", None, Some("infra")),
            of("s3://b", Some("infra"), Some("infra")),
        ];
        let different: std::collections::HashSet<_> = caches.iter().collect();
        assert_eq!(different.len(), caches.len());
        assert!(caches[1].to_str().unwrap().contains("/b-infra-"), "{caches:?}");
    }
}
