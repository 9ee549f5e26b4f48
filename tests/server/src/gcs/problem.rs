//! What a request fails with, in the forms of both protocols.

use std::fmt;

/// The kinds of failure that the service documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    Required,
    Unauthorized,
    Forbidden,
    NotFound,
    Exists,
    /// A session of an upload that has ended.
    Gone,
    ConditionNotMet,
    /// A condition of a read that asks for something newer.
    NotModified,
    OutOfRange,
    /// A piece of an upload that does not follow what is kept.
    Gap,
    RateLimited,
    /// The answer to a session that was cancelled.
    Cancelled,
    NotImplemented,
}

impl Kind {
    /// Returns the HTTP status.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::NotModified => 304,
            Self::Invalid | Self::Required => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Exists => 409,
            Self::Gone => 410,
            Self::ConditionNotMet => 412,
            Self::OutOfRange => 416,
            Self::RateLimited => 429,
            Self::Cancelled => 499,
            Self::NotImplemented => 501,
            Self::Gap => 503,
        }
    }

    /// Returns the `reason` in a JSON error.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Invalid | Self::NotModified | Self::Cancelled => "invalid",
            Self::Required => "required",
            Self::Unauthorized => "authError",
            Self::Forbidden => "forbidden",
            Self::NotFound => "notFound",
            Self::Exists => "conflict",
            Self::Gone => "gone",
            Self::ConditionNotMet => "conditionNotMet",
            Self::OutOfRange => "requestedRangeNotSatisfiable",
            Self::RateLimited => "rateLimitExceeded",
            Self::NotImplemented => "notImplemented",
            Self::Gap => "backendError",
        }
    }

    /// Returns the status code of gRPC.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Exists => ALREADY_EXISTS,
            Self::NotModified => ABORTED,
            other => code_of(other.status()),
        }
    }
}

const ALREADY_EXISTS: u32 = 6;
const ABORTED: u32 = 10;

/// Returns the status code of gRPC that stands for an HTTP status, as the service maps them.
pub(crate) fn code_of(status: u16) -> u32 {
    match status {
        200 => 0,
        499 => 1,
        400 => 3,
        504 | 408 => 4,
        404 | 410 => 5,
        403 => 7,
        429 => 8,
        412 => 9,
        409 => ABORTED,
        416 => 11,
        501 => 12,
        500 => 13,
        502 | 503 => 14,
        401 => 16,
        _ => 2,
    }
}

/// A failure of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Returns the failure of a request without something that it must have.
    pub(crate) fn required(what: &str) -> Self {
        Self::new(Kind::Required, format!("Required parameter: {what}"))
    }

    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(Kind::NotImplemented, format!("{what} is not implemented"))
    }

    pub(crate) fn no_bucket() -> Self {
        Self::new(Kind::NotFound, "The specified bucket does not exist.")
    }

    pub(crate) fn no_object(bucket: &str, name: &str) -> Self {
        Self::new(Kind::NotFound, format!("No such object: {bucket}/{name}"))
    }

    pub(crate) fn condition_not_met() -> Self {
        Self::new(Kind::ConditionNotMet, "At least one of the pre-conditions you specified did not hold.")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a request comes to.
pub(crate) type Outcome<T = ()> = Result<T, Problem>;
