//! What an answer of Google Cloud Storage that is a refusal means, and what a person can do
//! about it.
//!
//! Half of the requests are answered with a status of HTTP, half with a code of gRPC. Both
//! have the same meanings here, told by the status.

use std::time::Duration;

use google_cloud_gax::error::rpc::Code;

use crate::store::{Condition, ErrorKind};

/// What an answer said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    pub(super) status: u16,
    pub(super) message: &'a str,
    /// How long the answer asks to wait.
    pub(super) wait: Option<Duration>,
}

/// What to do when the session has expired or nobody has signed in; the first words are swamp's.
pub(super) const SIGN_IN: &str = "Datastore session expired or without credentials: run `gcloud auth \
    application-default login`, or name a service account's file with --key-file or \
    GOOGLE_APPLICATION_CREDENTIALS, or use --no-sign-request for a public bucket";

/// What to do when the credentials are not good enough; the first words are swamp's.
const REJECTED: &str = "Datastore credentials rejected by GCS or the endpoint: check what \
    GOOGLE_APPLICATION_CREDENTIALS, --key-file or `gcloud auth application-default login` gave, and that \
    this account may list, get, create and delete objects of the bucket (Storage Object Admin)";

/// What to do when an account has no access because there is none.
const ANONYMOUS: &str = "The bucket is not public: leave out --no-sign-request, and run `gcloud auth \
    application-default login` or name a service account's file with --key-file";

/// What to do when what answers may be something else.
pub(super) const WRONG_SERVER: &str = "If the network is well, what answers does not speak the protocol of Google \
    Cloud Storage (JSON and gRPC): check --endpoint-url and STORAGE_EMULATOR_HOST";

/// Returns the status of HTTP that means the same as a code.
pub(super) fn status_of(code: Code) -> u16 {
    match code {
        Code::InvalidArgument => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::FailedPrecondition => 412,
        Code::OutOfRange => 416,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        _ => 500,
    }
}

impl Said<'_> {
    /// Returns what the answer means for a request with this condition.
    pub(super) fn kind(&self, condition: &Condition) -> ErrorKind {
        match (self.status, condition) {
            (404, _) if self.names_the_bucket() => ErrorKind::NoBucket,
            // The key that had the version is gone.
            (404, Condition::IfVersion(_)) => ErrorKind::Changed,
            (404, _) => ErrorKind::NotFound,
            (304 | 412, Condition::IfAbsent) => ErrorKind::Exists,
            (304 | 412, _) => ErrorKind::Changed,
            (401, _) => ErrorKind::Unauthenticated,
            (403, _) if self.says("rate limit") || self.says("rateLimitExceeded") => ErrorKind::Throttled,
            (403, _) => ErrorKind::Denied,
            (409 | 429, _) => ErrorKind::Throttled,
            (503, _) if self.wait.is_some() => ErrorKind::Throttled,
            (408 | 425, _) => ErrorKind::Unreachable,
            (400, _) if self.says("CRC32C") || self.says("checksum") => ErrorKind::Corrupt,
            (400, _) if self.says("object name") || self.says("maximum object length") => {
                ErrorKind::Unsupported
            }
            (405 | 413 | 501, _) => ErrorKind::Unsupported,
            (507, _) => ErrorKind::NoSpace,
            (500..=599, _) => ErrorKind::Unreachable,
            (200..=299, _) => ErrorKind::Corrupt,
            _ => ErrorKind::Invalid,
        }
    }

    /// Returns what a person can do about it.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self.status {
            401 | 403 if self.says("Anonymous caller") => Some(ANONYMOUS),
            401 if self.says("invalid authentication credentials") || self.says("expired") => Some(SIGN_IN),
            401 | 403 => Some(REJECTED),
            404 if self.names_the_bucket() => {
                Some("Check the bucket's name; `gcloud storage buckets list` shows those of a project")
            }
            400 if self.says("requester pays") => {
                Some("The bucket charges whoever reads it: set a quota project in the credentials")
            }
            _ => None,
        }
    }

    /// The service has one status for a missing object and for a missing bucket.
    fn names_the_bucket(&self) -> bool {
        self.says("bucket does not exist") || self.says("No such bucket") || self.says("bucket not found")
    }

    fn says(&self, words: &str) -> bool {
        let message = self.message.as_bytes();
        message.windows(words.len()).any(|part| part.eq_ignore_ascii_case(words.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Condition {
        Condition::IfVersion(crate::store::Version::new("7").unwrap())
    }

    #[test]
    fn every_answer_has_one_meaning() {
        use ErrorKind::*;
        let table = [
            (404, "No such object: b/k", Condition::Always, NotFound),
            (404, "", Condition::Always, NotFound),
            (404, "No such object: b/k", version(), Changed),
            (404, "The specified bucket does not exist.", version(), NoBucket),
            (412, "", version(), Changed),
            (412, "", Condition::IfAbsent, Exists),
            (401, "Invalid Credentials", version(), Unauthenticated),
            (403, "does not have storage.objects.get access", version(), Denied),
            (403, "User rate limit exceeded", version(), Throttled),
            (409, "", version(), Throttled),
            (429, "The object exceeded the rate limit", version(), Throttled),
            (400, "Provided CRC32C \"a\" doesn't match", version(), Corrupt),
            (400, "The maximum object length is 1024 characters", version(), Unsupported),
            (400, "Bad thing", version(), Invalid),
            (408, "", version(), Unreachable),
            (500, "", version(), Unreachable),
            (503, "", version(), Unreachable),
            (501, "", version(), Unsupported),
        ];
        for (status, message, condition, kind) in table {
            let said = Said { status, message, wait: None };
            assert_eq!(said.kind(&condition), kind, "{status} {message} {condition:?}");
        }
        let asked_to_wait = Said { status: 503, wait: Some(Duration::from_secs(1)), ..Said::default() };
        assert_eq!(asked_to_wait.kind(&Condition::Always), Throttled);
    }

    #[test]
    fn a_code_of_grpc_means_what_its_status_means() {
        let table = [
            (Code::NotFound, ErrorKind::NotFound),
            (Code::FailedPrecondition, ErrorKind::Changed),
            (Code::PermissionDenied, ErrorKind::Denied),
            (Code::Unauthenticated, ErrorKind::Unauthenticated),
            (Code::ResourceExhausted, ErrorKind::Throttled),
            (Code::Aborted, ErrorKind::Throttled),
            (Code::Unavailable, ErrorKind::Unreachable),
            (Code::DeadlineExceeded, ErrorKind::Unreachable),
            (Code::Internal, ErrorKind::Unreachable),
            (Code::Unknown, ErrorKind::Unreachable),
            (Code::InvalidArgument, ErrorKind::Invalid),
            (Code::Unimplemented, ErrorKind::Unsupported),
        ];
        for (code, kind) in table {
            let said = Said { status: status_of(code), ..Said::default() };
            assert_eq!(said.kind(&Condition::Always), kind, "{code:?}");
        }
    }

    #[test]
    fn hints_name_the_way_out() {
        let hint = |status, message| Said { status, message, wait: None }.hint().unwrap_or_default();
        assert!(hint(403, "no access").starts_with("Datastore credentials rejected by GCS"));
        assert!(hint(403, "no access").contains("GOOGLE_APPLICATION_CREDENTIALS"));
        assert!(hint(401, "Anonymous caller does not have access").contains("--no-sign-request"));
        assert!(hint(404, "The specified bucket does not exist.").contains("bucket's name"));
        assert_eq!(hint(404, "No such object: b/k"), "");
    }
}
