//! What an answer of S3 that is a refusal means, and what a person can do about it.
//!
//! The code decides before the status: S3 says several different things with 400, 403, 404
//! and 409. The answer to a HEAD has no body and thus no code, so the status alone must be
//! enough.

use std::time::Duration;

use crate::store::{Condition, ErrorKind};

/// What an answer said, as far as it was one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    pub(super) status: u16,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    /// The region that the answer names as the bucket's.
    pub(super) region: Option<&'a str>,
    /// How long the answer asks to wait.
    pub(super) wait: Option<Duration>,
}

/// The answer's code for keys that nobody has.
const WRONG_KEYS: [&str; 2] = ["InvalidAccessKeyId", "SignatureDoesNotMatch"];
/// The answer's code for a session that is over.
const EXPIRED: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"];
/// The answer's code for a bucket that is elsewhere.
const WRONG_REGION: [&str; 3] =
    ["PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"];

impl Said<'_> {
    /// Returns what the answer means for a request with this condition.
    pub(super) fn kind(&self, condition: &Condition) -> ErrorKind {
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
        // S3 may have said 200 before it knew, and says the rest in the body.
        let status = match self.code {
            "PreconditionFailed" => 412,
            "NoSuchKey" => 404,
            "AccessDenied" => 403,
            _ => self.status,
        };
        match (status, condition) {
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
            || (self.code == "AuthorizationHeaderMalformed" && self.message.contains("region"))
            || matches!(self.status, 301 | 307 | 308)
            || (self.status == 400 && self.code.is_empty() && self.region.is_some())
    }

    /// Returns the answer in its own words, and the right region after a wrong one.
    pub(super) fn detail(&self) -> String {
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

    /// Returns what a person can do about it.
    pub(super) fn hint(&self, profile: Option<&str>) -> Option<String> {
        let whose = whose(profile);
        match (self.status, self.code) {
            (_, code) if EXPIRED.contains(&code) => Some(sign_in_hint(profile)),
            (_, code) if WRONG_KEYS.contains(&code) => Some(format!(
                "{REJECTED}{whose}: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the profile that is \
                 in use"
            )),
            (_, "RequestTimeTooSkewed") => Some("Set this machine's clock".to_owned()),
            (403, "AccessDenied") => {
                Some(format!("{REJECTED}{whose} for this request: check their policy and the bucket's"))
            }
            (401 | 403, _) => {
                Some(format!("Check the AWS credentials{whose} and --region, --endpoint-url and --profile"))
            }
            _ => None,
        }
    }
}

/// How a refusal of the credentials begins, in swamp's words: people search for them.
const REJECTED: &str = "Datastore credentials rejected by AWS or the endpoint";

fn whose(profile: Option<&str>) -> String {
    profile.map(|name| format!(" of profile {name:?}")).unwrap_or_default()
}

/// What to do when the session has expired or nobody has signed in.
pub(super) fn sign_in_hint(profile: Option<&str>) -> String {
    let flag = profile.map(|name| format!(" --profile {name:?}")).unwrap_or_default();
    format!(
        "Datastore session expired or without credentials: run `aws sso login{flag}`, \
         or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use --no-sign-request for a public bucket"
    )
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
            (200, "PreconditionFailed", Condition::IfAbsent, Exists),
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
}
