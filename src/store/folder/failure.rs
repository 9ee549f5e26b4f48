//! Errors of the local system, in the words that all stores share.

use rustix::io::Errno;

use crate::model::key::ObjectKey;
use crate::store::{ErrorKind, StoreError};

/// What is being done to which key, for errors.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) operation: &'static str,
    pub(super) key: ObjectKey,
}

impl Request {
    pub(super) fn error(&self, kind: ErrorKind) -> StoreError {
        StoreError::new(kind, self.operation, &self.key)
    }

    /// Returns what turns a system error at `step` (`"open the file"`) into an error of the store.
    pub(super) fn failed<E: Into<std::io::Error>>(&self, step: &'static str) -> impl FnOnce(E) -> StoreError {
        move |source| {
            let source = source.into();
            let kind = Errno::from_io_error(&source).map_or(ErrorKind::Unreachable, kind_of);
            self.error(kind).detail(format!("cannot {step}: {source}")).caused_by(source)
        }
    }
}

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOSPC | Errno::DQUOT => ErrorKind::NoSpace,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Denied,
        Errno::FBIG | Errno::NAMETOOLONG | Errno::TOOBIG => ErrorKind::Invalid,
        _ => ErrorKind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_missing_rights_are_told_apart_and_name_the_step() {
        let request = Request { operation: "put", key: ObjectKey::new("a") };
        let error = |errno: Errno| request.failed("write")(errno);
        assert_eq!(error(Errno::NOSPC).kind, ErrorKind::NoSpace);
        assert_eq!(error(Errno::ROFS).kind, ErrorKind::Denied);
        assert_eq!(error(Errno::ACCESS).kind, ErrorKind::Denied);
        assert_eq!(error(Errno::IO).kind, ErrorKind::Unreachable);
        assert!(error(Errno::NOSPC).to_string().contains("cannot write: No space left"));
    }
}
