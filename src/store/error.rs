//! What can go wrong with a request, the same words for every backend.

use std::fmt;
use std::time::Duration;

use super::Fetched;
use crate::model::key::ObjectKey;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, as far as callers decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No object has the key.
    NotFound,
    /// The bucket does not exist.
    NoBucket,
    /// The object's version is not the one that was asked for.
    Changed,
    /// An object has the key already.
    Exists,
    /// The credentials do not allow this request.
    Denied,
    /// There are no credentials, or they are wrong or expired.
    Unauthenticated,
    /// The server asks for fewer requests (429, 503 SlowDown).
    Throttled,
    /// The server failed (5xx), was not reached, or did not answer in time.
    Unreachable,
    /// The answer contradicts itself (length, checksum).
    Corrupt,
    /// The local disk of a folder bucket is full.
    NoSpace,
    /// The store cannot do this, or not with this key.
    Unsupported,
    /// The request itself is wrong (other 4xx).
    Invalid,
}

impl ErrorKind {
    /// Returns whether the same request may succeed later.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Throttled | Self::Unreachable | Self::Corrupt => true,
            Self::NotFound
            | Self::NoBucket
            | Self::Changed
            | Self::Exists
            | Self::Denied
            | Self::Unauthenticated
            | Self::NoSpace
            | Self::Unsupported
            | Self::Invalid => false,
        }
    }
}

/// A request that failed.
#[derive(Debug)]
pub struct StoreError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What was tried, as a verb: `get`, `put`, `list`.
    pub operation: &'static str,
    /// The key it was tried on, or the prefix of a listing.
    pub key: String,
    /// The server's own words: status, code, request id.
    pub detail: Box<str>,
    /// How long the server asked to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// What a person can do about it, as a sentence.
    pub hint: Option<Box<str>>,
    /// What a `get` had received when it broke: the first bytes of what was asked for.
    pub partial: Option<Box<Fetched>>,
    /// What caused it.
    pub source: Option<Cause>,
}

impl StoreError {
    /// Returns an error of this kind for an operation on a key.
    pub fn new(kind: ErrorKind, operation: &'static str, key: &ObjectKey) -> Self {
        Self::at(kind, operation, key.as_str())
    }

    /// Returns an error of this kind for an operation on a key or prefix given as text.
    pub fn at(kind: ErrorKind, operation: &'static str, key: &str) -> Self {
        Self {
            kind,
            operation,
            key: key.to_owned(),
            detail: Box::default(),
            retry_after: None,
            hint: None,
            partial: None,
            source: None,
        }
    }

    /// Adds the server's own words.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into().into();
        self
    }

    /// Adds what a person can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// Adds how long the server asked to wait.
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Adds the bytes that had arrived.
    pub fn partial(mut self, fetched: Fetched) -> Self {
        self.partial = Some(Box::new(fetched));
        self
    }

    /// Adds what caused it.
    pub fn caused_by(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns whether no object has the key.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Returns whether a condition was not met.
    pub fn is_condition_failed(&self) -> bool {
        matches!(self.kind, ErrorKind::Changed | ErrorKind::Exists)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::NotFound => "no such object",
            ErrorKind::NoBucket => "no such bucket",
            ErrorKind::Changed => "the object has changed",
            ErrorKind::Exists => "an object has this name already",
            ErrorKind::Denied => "access denied",
            ErrorKind::Unauthenticated => "credentials missing, wrong or expired",
            ErrorKind::Throttled => "the server asks for fewer requests",
            ErrorKind::Unreachable => "the server cannot be reached or failed",
            ErrorKind::Corrupt => "the answer is incomplete or damaged",
            ErrorKind::NoSpace => "no space left in the bucket's folder",
            ErrorKind::Unsupported => "not supported by this store",
            ErrorKind::Invalid => "the request was refused",
        };
        write!(f, "{} of {:?} failed: {what}", self.operation, self.key)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
