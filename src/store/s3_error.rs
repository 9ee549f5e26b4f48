//! What an answer of S3 means in the words of [`ErrorKind`], and what a person can do about it.
//!
//! The code decides before the status: S3 says several different things with 400, 403, 404
//! and 409. A HEAD has no body and thus no code, so the status alone must be enough.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use super::s3_patience::Silent;
use crate::store::{Condition, ErrorKind, StoreError};

/// The request that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) operation: &'static str,
    pub(super) key: &'a str,
    /// What was asked of the object that is written, deleted or read.
    pub(super) condition: &'a Condition,
    /// The profile in use, for hints.
    pub(super) profile: Option<&'a str>,
    pub(super) now: SystemTime,
}

/// What an answer said, as far as it was one.
#[derive(Debug, Clone, Copy, Default)]
struct Said<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    /// The region that the answer names as the bucket's.
    region: Option<&'a str>,
    /// How long the answer asks to wait.
    wait: Option<Duration>,
}

/// The answer's code for keys that are wrong or expired.
const WRONG_KEYS: [&str; 2] = ["InvalidAccessKeyId", "SignatureDoesNotMatch"];
const EXPIRED: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"];
const WRONG_REGION: [&str; 4] = [
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];

impl Asked<'_> {
    /// Returns the failure of a request that the SDK reports.
    pub(super) fn failed<E>(&self, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match &error {
            SdkError::ServiceError(answered) => self.refused(answered.raw(), &error),
            SdkError::ResponseError(unread) if unread.raw().status().as_u16() >= 400 => {
                self.refused(unread.raw(), &error)
            }
            SdkError::ResponseError(_) => {
                self.error(ErrorKind::Corrupt).detail(causes(&error)).caused_by(error)
            }
            _ => self.unsent(error),
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

    fn refused<E>(&self, answer: &HttpResponse, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let said = Said {
            status: answer.status().as_u16(),
            code: error.code().unwrap_or_default(),
            message: error.message().unwrap_or_default(),
            region: answer.headers().get("x-amz-bucket-region"),
            wait: answer.headers().get("retry-after").and_then(|text| wait_asked(text, self.now)),
        };
        let unread = if said.status < 300 && said.code.is_empty() { causes(error) } else { String::new() };
        let said = Said { message: if unread.is_empty() { said.message } else { &unread }, ..said };
        let id = error.request_id().map(|id| format!(", request id {id}")).unwrap_or_default();
        let refusal = self
            .error(said.kind(self.condition))
            .detail(format!("{}{id}", said.detail()))
            .retry_after(said.wait);
        match said.hint(self.profile) {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }

    /// A request that got no answer at all, or was never sent.
    fn unsent<E>(&self, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + Send + Sync + 'static,
    {
        let credentials = find::<CredentialsError, _>(&error).map(|failure| match failure {
            CredentialsError::ProviderTimedOut(_) => ErrorKind::Unreachable,
            _ => ErrorKind::Unauthenticated,
        });
        let kind = credentials.unwrap_or(match &error {
            SdkError::ConstructionFailure(_) => ErrorKind::Invalid,
            SdkError::DispatchFailure(failure) if failure.is_user() => ErrorKind::Invalid,
            _ => ErrorKind::Unreachable,
        });
        let failure = self.error(kind).detail(causes(&error)).caused_by(error);
        if credentials.is_some() { failure.hint(sign_in_hint(self.profile)) } else { failure }
    }
}

impl Said<'_> {
    fn kind(&self, condition: &Condition) -> ErrorKind {
        if self.is_wrong_region() {
            return ErrorKind::Invalid;
        }
        match self.code {
            "NoSuchBucket" => ErrorKind::NoBucket,
            "NoSuchUpload" => ErrorKind::NotFound,
            code if WRONG_KEYS.contains(&code) || EXPIRED.contains(&code) => ErrorKind::Unauthenticated,
            "RequestTimeTooSkewed" => ErrorKind::Unauthenticated,
            "SlowDown" | "TooManyRequests" | "RequestLimitExceeded" | "ThrottlingException" => {
                ErrorKind::Throttled
            }
            "ConditionalRequestConflict" | "OperationAborted" => ErrorKind::Throttled,
            "RequestTimeout" => ErrorKind::Unreachable,
            "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" => ErrorKind::Corrupt,
            "NotImplemented" | "KeyTooLongError" | "EntityTooLarge" => ErrorKind::Unsupported,
            _ => self.kind_by_status(condition),
        }
    }

    fn kind_by_status(&self, condition: &Condition) -> ErrorKind {
        match (self.status, condition) {
            // The key that had the version is gone.
            (404, Condition::IfVersion(_)) => ErrorKind::Changed,
            (404, _) => ErrorKind::NotFound,
            (412, Condition::IfAbsent) => ErrorKind::Exists,
            (412, _) => ErrorKind::Changed,
            (401, _) => ErrorKind::Unauthenticated,
            (403, _) => ErrorKind::Denied,
            (409 | 429, _) => ErrorKind::Throttled,
            (503, _) if self.wait.is_some() => ErrorKind::Throttled,
            (408 | 425, _) => ErrorKind::Unreachable,
            (405 | 501, _) => ErrorKind::Unsupported,
            (507, _) => ErrorKind::NoSpace,
            (200..=299, _) if self.code.is_empty() => ErrorKind::Corrupt,
            // A 200 whose body is an error: the server failed after it had begun to answer.
            (200..=299 | 500..=599, _) => ErrorKind::Unreachable,
            _ => ErrorKind::Invalid,
        }
    }

    fn is_wrong_region(&self) -> bool {
        WRONG_REGION.contains(&self.code)
            || matches!(self.status, 301 | 307 | 308)
            || (self.status == 400 && self.code.is_empty() && self.region.is_some())
    }

    fn detail(&self) -> String {
        let mut detail = format!("HTTP {}", self.status);
        for (before, part) in [(", ", self.code), (": ", self.message.trim())] {
            if !part.is_empty() {
                detail.push_str(before);
                detail.push_str(part);
            }
        }
        match self.region {
            Some(region) if self.is_wrong_region() => {
                format!("the bucket is in region {region}: use --region {region}; {detail}")
            }
            None if self.is_wrong_region() => {
                format!("the bucket is in another region: name it with --region; {detail}")
            }
            _ => detail,
        }
    }

    fn hint(&self, profile: Option<&str>) -> Option<String> {
        let whose = whose(profile);
        match (self.status, self.code) {
            (_, code) if EXPIRED.contains(&code) => Some(sign_in_hint(profile)),
            (_, code) if WRONG_KEYS.contains(&code) => Some(format!(
                "The credentials{whose} were rejected: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
                 or the profile that is in use"
            )),
            (_, "RequestTimeTooSkewed") => Some("Set this machine's clock".to_owned()),
            (403, "AccessDenied") => Some(format!(
                "The credentials{whose} were rejected for this request: check their policy and the bucket's"
            )),
            (401 | 403, _) => {
                Some(format!("Check the AWS credentials{whose} and --region, --endpoint-url and --profile"))
            }
            _ => None,
        }
    }
}

fn whose(profile: Option<&str>) -> String {
    profile.map(|name| format!(" of profile {name:?}")).unwrap_or_default()
}

/// What to do when the session has expired or nobody has signed in.
fn sign_in_hint(profile: Option<&str>) -> String {
    let flag = profile.map(|name| format!(" --profile {name:?}")).unwrap_or_default();
    format!(
        "The session has expired or there are no credentials: run `aws sso login{flag}`, \
         or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use --no-sign-request for a public bucket"
    )
}

/// Returns what a person can do about a failure, as a sentence.
pub fn hint(error: &StoreError) -> Option<String> {
    error.hint.as_deref().map(str::to_owned)
}

/// Returns the wait that a `Retry-After` asks for: seconds, or a date.
fn wait_asked(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(text.trim(), DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(date).ok()?.duration_since(now).ok()
}

/// Returns the messages of an error and of what caused it, without repetitions.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut messages = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !messages.iter().any(|said| said.contains(&message)) {
            messages.push(message);
        }
        next = cause.source();
    }
    messages.join(": ")
}

/// Returns the first cause of this type.
fn find<T: Error + 'static, E: Error + 'static>(error: &E) -> Option<&T> {
    let mut next = error.source();
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

    fn said<'a>(status: u16, code: &'a str) -> Said<'a> {
        Said { status, code, ..Said::default() }
    }

    fn version() -> Condition {
        Condition::IfVersion(crate::store::Version::new("v").unwrap())
    }

    #[test]
    fn every_answer_has_one_meaning() {
        use ErrorKind::*;
        let table = [
            (404, "NoSuchKey", Condition::Always, NotFound),
            (404, "", Condition::Always, NotFound),
            (404, "NoSuchKey", version(), Changed),
            (404, "NoSuchBucket", version(), NoBucket),
            (404, "NoSuchUpload", version(), NotFound),
            (412, "PreconditionFailed", version(), Changed),
            (412, "PreconditionFailed", Condition::IfAbsent, Exists),
            (409, "ConditionalRequestConflict", version(), Throttled),
            (403, "AccessDenied", version(), Denied),
            (403, "", version(), Denied),
            (403, "InvalidAccessKeyId", version(), Unauthenticated),
            (403, "SignatureDoesNotMatch", version(), Unauthenticated),
            (400, "ExpiredToken", version(), Unauthenticated),
            (401, "", version(), Unauthenticated),
            (301, "PermanentRedirect", version(), Invalid),
            (400, "AuthorizationHeaderMalformed", version(), Invalid),
            (400, "InvalidArgument", version(), Invalid),
            (400, "RequestTimeout", version(), Unreachable),
            (400, "BadDigest", version(), Corrupt),
            (503, "SlowDown", version(), Throttled),
            (429, "", version(), Throttled),
            (503, "", version(), Unreachable),
            (500, "InternalError", version(), Unreachable),
            (200, "InternalError", version(), Unreachable),
            (200, "SlowDown", version(), Throttled),
            (200, "", version(), Corrupt),
            (501, "NotImplemented", version(), Unsupported),
        ];
        for (status, code, condition, kind) in table {
            assert_eq!(said(status, code).kind(&condition), kind, "{status} {code} {condition:?}");
        }
    }

    #[test]
    fn a_wrong_region_is_answered_with_the_right_one_and_the_flag() {
        let moved = Said { region: Some("eu-west-1"), ..said(301, "PermanentRedirect") };
        assert!(moved.detail().contains("--region eu-west-1"), "{}", moved.detail());
        let head = Said { region: Some("eu-west-1"), ..said(400, "") };
        assert!(head.detail().contains("--region eu-west-1"), "{}", head.detail());
        let denied = Said { region: Some("eu-west-1"), ..said(403, "AccessDenied") };
        assert_eq!(denied.detail(), "HTTP 403, AccessDenied");
    }

    #[test]
    fn hints_name_the_profile_and_the_way_out() {
        let expired = said(400, "ExpiredToken").hint(Some("work")).unwrap();
        assert!(expired.contains("aws sso login --profile \"work\""), "{expired}");
        assert!(said(400, "ExpiredToken").hint(None).unwrap().contains("`aws sso login`"));
        for (status, code) in [(403, "InvalidAccessKeyId"), (403, "AccessDenied"), (403, ""), (401, "")] {
            let hint = said(status, code).hint(Some("work")).unwrap();
            assert!(hint.contains("profile \"work\""), "{hint}");
        }
        assert_eq!(said(404, "NoSuchKey").hint(Some("work")), None);
    }

    #[test]
    fn a_server_may_ask_to_wait_in_seconds_or_until_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(wait_asked("7", now), Some(Duration::from_secs(7)));
        assert_eq!(wait_asked("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(wait_asked("Sun, 06 Nov 1994 08:00:00 GMT", now), None);
        assert_eq!(wait_asked("soon", now), None);
    }
}
