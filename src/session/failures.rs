//! How what goes wrong below is said to people: one sentence, the way out, and the kind that
//! becomes the exit code.
//!
//! Every variant is matched, so that a new way to fail gets its own decision.

use std::error::Error;
use std::path::Path;

use crate::cache::error::CacheError;
use crate::control::{Failure, FailureKind};
use crate::fs::busy::Holder;
use crate::fs::mount::{MountError, UnmountError};
use crate::fs::mountpoint::MountpointError;
use crate::os::folder_lock::LockError;
use crate::store::{ErrorKind, StoreError};
use crate::sync::SyncError;

/// Says that the bucket at `address` could not be used.
pub fn of_store(address: &str, error: &StoreError) -> Failure {
    let (kind, what) = match error.kind {
        ErrorKind::NoBucket => (FailureKind::Unreachable, "does not exist; create it or correct the name"),
        ErrorKind::Denied => (FailureKind::NotPermitted, "does not let you in"),
        ErrorKind::Unauthenticated => (FailureKind::NotPermitted, "does not accept the credentials"),
        ErrorKind::Throttled => (FailureKind::Unreachable, "asks for fewer requests; try again later"),
        ErrorKind::Unreachable => (
            FailureKind::Unreachable,
            "cannot be reached; check the network and --endpoint-url, and try again",
        ),
        ErrorKind::Corrupt => (FailureKind::Unreachable, "gives incomplete answers; try again later"),
        ErrorKind::Invalid => (FailureKind::Usage, "refuses the request; check --region and --endpoint-url"),
        ErrorKind::NoSpace => (FailureKind::System, "has no space left; make room on its disk"),
        ErrorKind::Unsupported => (FailureKind::System, "cannot do what is needed"),
        ErrorKind::NotFound | ErrorKind::Changed | ErrorKind::Exists => {
            (FailureKind::System, "was changed by somebody else at the same time; try again")
        }
    };
    let message = match &error.hint {
        Some(hint) => format!("{address} {what}. {hint}"),
        None => format!("{address} {what}"),
    };
    Failure::new(kind, message).caused_by(error)
}

/// Says that the bucket at `address` and this machine could not be brought together.
pub fn of_sync(address: &str, error: &SyncError) -> Failure {
    let kind = match error {
        SyncError::Store { source, .. } => return of_store(address, source),
        SyncError::Cache { source, .. } => return of_cache(source),
        SyncError::DamagedIndex { .. }
        | SyncError::DamagedShard { .. }
        | SyncError::MissingShard { .. }
        | SyncError::NothingToMigrate { .. }
        | SyncError::NoShard { .. } => FailureKind::System,
        SyncError::Panicked { .. } => FailureKind::Panicked,
        SyncError::Conflict { .. } => FailureKind::Conflicts,
        SyncError::KeepsChanging { .. } => FailureKind::Unsynced,
        SyncError::ReadOnly { .. } => FailureKind::NotPermitted,
        SyncError::LockHeld { .. } => FailureKind::Unreachable,
        SyncError::Contended { .. } | SyncError::LockLost { .. } => {
            let message = format!("{error}; try again later");
            return Failure::new(FailureKind::Unreachable, message);
        }
    };
    chain(kind, error)
}

/// Says that this machine's cache could not be used.
pub fn of_cache(error: &CacheError) -> Failure {
    match error {
        CacheError::Locked(LockError::Held { path, owner }) => held(path, *owner),
        CacheError::Locked(LockError::Io { path, source }) => unusable(path, source, error),
        CacheError::Io { path, source, .. } => unusable(path, source, error),
        CacheError::Catalog { path, .. } => {
            let message =
                format!("The catalog {} cannot be used; check its disk, and mount again", path.display());
            Failure::new(FailureKind::System, message).caused_by(error)
        }
        CacheError::Full { .. } => {
            let message = format!(
                "{error}; give it more room with --cache-size, or let what is dirty reach the bucket"
            );
            Failure::new(FailureKind::System, message)
        }
        CacheError::Store { source, .. } => {
            Failure { causes: vec![error.to_string()], ..of_store("The bucket", source) }
        }
        CacheError::NotFound(_)
        | CacheError::Gone(_)
        | CacheError::Exists(_)
        | CacheError::NotAFolder(_)
        | CacheError::IsAFolder(_)
        | CacheError::NotEmpty(_)
        | CacheError::IntoItself(_)
        | CacheError::Reserved(_)
        | CacheError::Outside(_)
        | CacheError::AcrossLocal(_)
        | CacheError::BadName { .. }
        | CacheError::NoAttribute(_)
        | CacheError::ReadOnly(_)
        | CacheError::Stale { .. }
        | CacheError::Damaged { .. } => chain(FailureKind::System, error),
    }
}

fn held(path: &Path, owner: Option<u32>) -> Failure {
    let folder = path.parent().and_then(Path::parent).unwrap_or(path);
    let owner = owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let message = format!(
        "The cache {} is in use by {owner}; use its mount (`bayou status` shows it), end it with `bayou umount`, or \
         choose another folder with --cache-dir",
        folder.display()
    );
    Failure::new(FailureKind::System, message)
}

fn unusable(path: &Path, source: &std::io::Error, error: &CacheError) -> Failure {
    let way_out = match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "make room on its disk",
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "let this user write there"
        }
        _ => "check its disk",
    };
    let message = format!(
        "The cache cannot use {}; {way_out}, or choose another folder with --cache-dir",
        path.display()
    );
    Failure::new(FailureKind::System, message).caused_by(error)
}

/// Says that the mountpoint is not fit.
pub fn of_mountpoint(error: &MountpointError) -> Failure {
    chain(FailureKind::MountFailed, error)
}

/// Says that the kernel or `fusermount3` did not mount.
pub fn of_mount(error: &MountError) -> Failure {
    let kind = match error {
        MountError::AllowOtherDenied => FailureKind::NotPermitted,
        MountError::NoDevice | MountError::NoHelper | MountError::Refused { .. } | MountError::Io { .. } => {
            FailureKind::MountFailed
        }
    };
    chain(kind, error)
}

/// Says that the mount could not be taken down.
pub fn of_unmount(error: &UnmountError) -> Failure {
    let kind = match error {
        UnmountError::Refused { .. } => FailureKind::NotPermitted,
        UnmountError::Busy { .. } | UnmountError::Io { .. } => FailureKind::System,
    };
    let mut failure = chain(kind, error);
    if let UnmountError::Busy { path } = error {
        let holders = crate::fs::busy::holders(path).unwrap_or_default();
        failure.message =
            format!("{error}; end what uses it, or detach all the same with `bayou umount --lazy`");
        failure.causes.extend(holders.iter().map(|holder| format!("used by {holder}")));
    }
    failure
}

/// Says that a mount is gone here and lives on in other mount namespaces.
pub fn of_others(mountpoint: &Path, holders: &[Holder]) -> Failure {
    let message = format!(
        "{} is unmounted here, and another mount namespace still shows it; its process ends when nobody does any more, \
         or when it is told to with a signal",
        mountpoint.display()
    );
    let causes = holders.iter().map(|holder| format!("used by {holder}")).collect();
    Failure { causes, ..Failure::new(FailureKind::System, message) }
}

/// Returns a failure that says what the error says, with what caused it behind.
pub fn chain(kind: FailureKind, error: &(dyn Error + 'static)) -> Failure {
    let failure = Failure::new(kind, error.to_string());
    match error.source() {
        Some(source) => failure.caused_by(source),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::guarded::Round;

    fn store(kind: ErrorKind) -> Failure {
        of_store("s3://b", &StoreError::at(kind, "get", "k").detail("HTTP 403").hint("Do this"))
    }

    #[test]
    fn each_failure_of_a_bucket_has_its_kind_the_server_s_words_and_the_way_out() {
        let table = [
            (ErrorKind::NoBucket, FailureKind::Unreachable),
            (ErrorKind::Denied, FailureKind::NotPermitted),
            (ErrorKind::Unauthenticated, FailureKind::NotPermitted),
            (ErrorKind::Unreachable, FailureKind::Unreachable),
            (ErrorKind::Throttled, FailureKind::Unreachable),
            (ErrorKind::Invalid, FailureKind::Usage),
            (ErrorKind::NoSpace, FailureKind::System),
        ];
        for (kind, expected) in table {
            let failure = store(kind);
            assert_eq!(failure.kind, expected, "{kind:?}");
            assert!(
                failure.message.starts_with("s3://b ") && failure.message.ends_with(". Do this"),
                "{failure}"
            );
            assert!(failure.causes[0].contains("HTTP 403"), "{:?}", failure.causes);
        }
    }

    #[test]
    fn a_cache_that_is_in_use_is_named_with_its_owner() {
        let lock = LockError::Held { path: "/c/b-1/state/lock".into(), owner: Some(7) };
        let failure = of_cache(&CacheError::Locked(lock));
        assert!(failure.message.starts_with("The cache /c/b-1 is in use by process 7;"), "{failure}");
        assert_eq!(failure.kind, FailureKind::System);
    }

    #[test]
    fn a_disk_that_is_full_and_one_that_may_not_be_written_have_their_own_way_out() {
        for (kind, word) in [
            (std::io::ErrorKind::StorageFull, "make room"),
            (std::io::ErrorKind::PermissionDenied, "let this user write"),
            (std::io::ErrorKind::Other, "check its disk"),
        ] {
            let failure = of_cache(&CacheError::io("writing", "/c/x")(kind.into()));
            assert!(failure.message.contains(word) && failure.message.contains("--cache-dir"), "{failure}");
            assert!(!failure.causes.is_empty());
        }
    }

    #[test]
    fn what_a_sync_cannot_do_has_its_exit_code() {
        let path = "a".to_owned();
        let table = [
            (SyncError::Conflict { path: path.clone() }, FailureKind::Conflicts),
            (SyncError::KeepsChanging { path }, FailureKind::Unsynced),
            (SyncError::ReadOnly { reason: "it is locked".to_owned() }, FailureKind::NotPermitted),
            (SyncError::Contended { address: "s3://b".to_owned() }, FailureKind::Unreachable),
            (SyncError::Panicked { round: Round::Flush, message: String::new() }, FailureKind::Panicked),
            (
                SyncError::store("Pulling")(StoreError::at(ErrorKind::Denied, "get", "k")),
                FailureKind::NotPermitted,
            ),
        ];
        for (error, kind) in table {
            let failure = of_sync("s3://b", &error);
            assert_eq!(failure.kind, kind, "{failure}");
        }
    }

    #[test]
    fn a_busy_mount_stays_a_failure_of_the_system() {
        let failure = of_unmount(&UnmountError::Busy { path: "/no/such/mount".into() });
        assert_eq!(failure.kind, FailureKind::System);
    }
}
