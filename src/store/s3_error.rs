//! How a request to S3 fails, in the words of [`ErrorKind`].
//!
//! It was refused, answered with nonsense, never answered or never sent; the SDK has one type
//! for all of these. What a refusal means is in `s3_answer`.

use std::error::Error;
use std::time::SystemTime;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use super::causes::causes;
use super::http_date::wait_asked;
use super::patience::Silent;
use super::s3_answer::{Said, sign_in_hint};
use super::{Condition, ErrorKind, StoreError};

/// How much is shown of an answer that nobody can read.
const PREVIEW_BYTES: usize = 256;

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
            .detail(format!("{}{}{id}", said.detail(), preview(answer, said.code)))
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
        if let Some(failure) = find::<CredentialsError, _>(&error) {
            let kind = match failure {
                CredentialsError::ProviderTimedOut(_) => ErrorKind::Unreachable,
                _ => ErrorKind::Unauthenticated,
            };
            let failed = self.error(kind).detail(without_credentials(failure, self.profile));
            return failed.hint(sign_in_hint(self.profile)).caused_by(error);
        }
        let kind = match &error {
            SdkError::ConstructionFailure(_) => ErrorKind::Invalid,
            SdkError::DispatchFailure(failure) if failure.is_user() => ErrorKind::Invalid,
            _ => ErrorKind::Unreachable,
        };
        self.error(kind).detail(causes(&error)).caused_by(error)
    }
}

/// Returns the beginning of an answer in which no code was found, such as a proxy's page.
fn preview(answer: &HttpResponse, code: &str) -> String {
    let Some(body) = answer.body().bytes().filter(|body| code.is_empty() && !body.is_empty()) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&body[..body.len().min(PREVIEW_BYTES)]);
    format!(": {:?}", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Returns why there are no credentials; the SDK lists every place where it has looked.
fn without_credentials(failure: &CredentialsError, profile: Option<&str>) -> String {
    let said = causes(failure);
    match (failure, profile) {
        (_, Some(name)) if said.contains(&format!("profile `{name}` was not defined")) => {
            format!("the configuration files of AWS have no profile {name:?}")
        }
        (CredentialsError::CredentialsNotLoaded(_), _) => {
            "no credentials in the environment, the configuration files or this machine's role".to_owned()
        }
        _ => said,
    }
}

/// Returns what a person can do about a failure, as a sentence.
pub fn hint(error: &StoreError) -> Option<String> {
    error.hint.as_deref().map(str::to_owned)
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
    use std::time::Duration;

    use aws_sdk_s3::error::ConnectorError;
    use aws_sdk_s3::operation::get_object::GetObjectError;

    use super::*;

    fn without(failure: CredentialsError) -> StoreError {
        let asked = Asked {
            operation: "get",
            key: "a",
            condition: &Condition::Always,
            profile: Some("work"),
            now: SystemTime::UNIX_EPOCH,
        };
        let dispatch = ConnectorError::other(failure.into(), None);
        asked.failed(SdkError::<GetObjectError, HttpResponse>::dispatch_failure(dispatch))
    }

    #[test]
    fn missing_credentials_are_told_from_a_server_that_is_away() {
        let nowhere = without(CredentialsError::not_loaded("Attempted:\n Environment: not set"));
        assert_eq!(nowhere.kind, ErrorKind::Unauthenticated);
        assert!(nowhere.detail.starts_with("no credentials in the environment"), "{nowhere}");
        assert!(hint(&nowhere).unwrap().contains("aws sso login --profile \"work\""));
        let unknown = without(CredentialsError::not_loaded("Profile: profile `work` was not defined"));
        assert!(unknown.detail.contains("have no profile \"work\""), "{unknown}");
        let expired = without(CredentialsError::provider_error("the token\n has expired"));
        assert_eq!(expired.kind, ErrorKind::Unauthenticated);
        assert!(expired.detail.ends_with("the token; has expired"), "{expired}");
        let slow = without(CredentialsError::provider_timed_out(Duration::from_secs(5)));
        assert_eq!(slow.kind, ErrorKind::Unreachable);
    }
}
