//! How a request to Google Cloud Storage fails, in the words of [`ErrorKind`].
//!
//! It was refused, answered with nonsense, never answered or never sent; the crate has one type
//! for all of these. What a refusal means is in `gcs_answer`.

use std::time::SystemTime;

use google_cloud_gax::error::{CredentialsError, Error};

use super::causes::causes;
use super::gcs_answer::{SIGN_IN, Said, WRONG_SERVER, status_of};
use super::gcs_options::is_away;
use super::http_date::{self, wait_asked};
use super::patience::Silent;
use super::{Condition, ErrorKind, StoreError};

/// How much is shown of an answer that nobody can read.
const PREVIEW_BYTES: usize = 256;

/// How the errors of the credentials begin where there is nothing to be found.
const NO_CREDENTIALS: &str = "not running in a Google Cloud Environment";

/// The request that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) operation: &'static str,
    pub(super) key: &'a str,
    /// What was asked of the object that is written, deleted or read.
    pub(super) condition: &'a Condition,
    /// Whether somebody named a server other than Google's.
    pub(super) is_other_server: bool,
    pub(super) now: SystemTime,
}

impl Asked<'_> {
    /// Returns the failure of a request that the crate reports.
    pub(super) fn failed(&self, error: Error) -> StoreError {
        self.described(&error).caused_by(error)
    }

    fn described(&self, error: &Error) -> StoreError {
        match status(error) {
            Some(status) => self.refused(error, status),
            None if error.is_authentication() => self.without_credentials(error),
            None => self.unanswerable(error),
        }
    }

    /// Returns the failure of a request that the server was silent about.
    pub(super) fn unanswered(&self, silent: Silent) -> StoreError {
        self.error(ErrorKind::Unreachable).detail(silent.to_string()).caused_by(silent)
    }

    /// Returns the failure of a request whose answer contradicts itself.
    pub(super) fn corrupt(&self, detail: impl Into<String>) -> StoreError {
        self.error(ErrorKind::Corrupt).detail(detail)
    }

    /// Returns a failure of this request.
    pub(super) fn error(&self, kind: ErrorKind) -> StoreError {
        StoreError::at(kind, self.operation, self.key)
    }

    fn refused(&self, error: &Error, status: u16) -> StoreError {
        let message = message(error);
        let header = |name: &str| error.http_headers()?.get(name)?.to_str().ok();
        let wait = header("retry-after").and_then(|text| wait_asked(text, self.now));
        let said = Said { status, message: &message, wait };
        let colon = if message.is_empty() { "" } else { ": " };
        let refusal = self
            .error(said.kind(self.condition))
            .detail(format!("HTTP {status}{colon}{message}"))
            .retry_after(wait);
        let is_foreign = self.is_other_server && message.starts_with("<?xml");
        match said.hint() {
            _ if is_foreign => refusal.hint(WRONG_SERVER),
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }

    /// The server that gives out credentials refused, or nobody has any.
    fn without_credentials(&self, error: &Error) -> StoreError {
        let said = causes(error);
        let is_transient = find::<CredentialsError>(error).is_some_and(CredentialsError::is_transient);
        if is_transient && !said.contains(NO_CREDENTIALS) && !said.contains("invalid_grant") {
            return self.error(ErrorKind::Unreachable).detail(said);
        }
        let detail = if said.contains(NO_CREDENTIALS) {
            "no credentials in the environment, the files of gcloud or this machine's role".to_owned()
        } else {
            said
        };
        self.error(ErrorKind::Unauthenticated).detail(detail).hint(SIGN_IN)
    }

    /// A request that got no answer at all, or one that says nothing.
    fn unanswerable(&self, error: &Error) -> StoreError {
        let said = causes(error);
        if error.is_deserialization() {
            return self.corrupt(said);
        }
        if self.is_other_server && error.is_transport() {
            return self.error(ErrorKind::Unreachable).detail(said).hint(WRONG_SERVER);
        }
        let may_pass = is_away(error) || error.is_transport() || error.is_exhausted();
        let kind = if may_pass { ErrorKind::Unreachable } else { ErrorKind::Invalid };
        self.error(kind).detail(said)
    }
}

/// Returns whether the same request may succeed later.
pub(super) fn is_transient(error: &Error) -> bool {
    let (condition, now) = (&Condition::Always, SystemTime::UNIX_EPOCH);
    let asked = Asked { operation: "upload part", key: "", condition, is_other_server: false, now };
    asked.described(error).kind.is_transient()
}

/// Returns the status of an answer that is a refusal.
pub(super) fn status(error: &Error) -> Option<u16> {
    error.http_status_code().or_else(|| Some(status_of(error.status()?.code)))
}

/// Returns the time that the headers of an error name.
pub(super) fn date(error: &Error) -> Option<SystemTime> {
    http_date::parse(error.http_headers()?.get("date")?.to_str().ok()?)
}

/// Returns what a refusal says, or the beginning of what nobody can read.
fn message(error: &Error) -> String {
    let text = match (error.status(), error.http_payload()) {
        (Some(status), _) if !status.message.is_empty() => status.message.clone(),
        (_, Some(payload)) => {
            let start = &payload[..payload.len().min(PREVIEW_BYTES)];
            String::from_utf8_lossy(start).into_owned()
        }
        _ => String::new(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the first cause of this type.
pub(super) fn find<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: Error) -> StoreError {
        let now = SystemTime::UNIX_EPOCH;
        let condition = &Condition::Always;
        Asked { operation: "get", key: "a", condition, is_other_server: false, now }.failed(error)
    }

    #[test]
    fn missing_credentials_are_told_from_a_server_that_is_away() {
        let nowhere = CredentialsError::from_msg(true, format!("you are {NO_CREDENTIALS}"));
        let nowhere = failed(Error::authentication(nowhere));
        assert_eq!(nowhere.kind, ErrorKind::Unauthenticated);
        assert!(nowhere.detail.starts_with("no credentials in the environment"), "{nowhere}");
        let expired = CredentialsError::from_msg(false, "body=<{\"error\": \"invalid_grant\"}>");
        let expired = failed(Error::authentication(expired));
        assert_eq!(expired.kind, ErrorKind::Unauthenticated);
        let hint = expired.hint.unwrap();
        assert!(hint.starts_with("Datastore session expired"), "{hint}");
        assert!(hint.contains("`gcloud auth application-default login`"), "{hint}");
        let away = failed(Error::authentication(CredentialsError::from_msg(true, "connection refused")));
        assert_eq!(away.kind, ErrorKind::Unreachable);
    }

    #[test]
    fn what_is_no_answer_of_the_service_is_understood_by_its_status() {
        let page = bytes::Bytes::from_static(b"<html>Something\n is wrong</html>");
        let failed = failed(Error::http(502, Default::default(), page));
        assert_eq!(failed.kind, ErrorKind::Unreachable);
        assert!(failed.detail.contains("HTTP 502: <html>Something is wrong"), "{failed}");
    }

    #[test]
    fn a_broken_connection_may_pass_and_a_broken_request_does_not() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(failed(Error::io(lost)).kind, ErrorKind::Unreachable);
        assert_eq!(failed(Error::binding("no")).kind, ErrorKind::Invalid);
        assert_eq!(failed(Error::deser("no")).kind, ErrorKind::Corrupt);
    }
}
