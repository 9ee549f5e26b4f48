//! Conditions on requests: `If-Match` and its kin, as S3 judges them.
//!
//! Reads follow RFC 9110. Writes know only what S3 knows: an ETag in `If-Match` and `*` in
//! `If-None-Match`; anything else is not implemented, there as here.

use std::time::SystemTime;

use hyper::HeaderMap;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use crate::bucket::{Stored, whole_seconds};
use crate::options::Conditions;

/// What must be true of an object for it to be read or copied from.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// Fails with `PreconditionFailed`, or with `NotModified` where a read says so.
    pub(crate) fn judge(&self, object: &Stored) -> S3Result {
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !names(wanted, object) => return Err(failed("If-Match")),
            (None, Some(since)) if modified_after(object, since) => {
                return Err(failed("If-Unmodified-Since"));
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(unwanted), _) if names(unwanted, object) => Err(s3_error!(NotModified)),
            (None, Some(since)) if !modified_after(object, since) => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }

    /// Judges the source of a copy, where nothing is ever `NotModified`.
    pub(crate) fn judge_source(&self, object: &Stored) -> S3Result {
        self.judge(object).map_err(|_| failed("x-amz-copy-source-If-*"))
    }
}

fn names(condition: &ETagCondition, object: &Stored) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => tag.strong_cmp(&ETag::Strong(object.etag.clone())),
    }
}

fn modified_after(object: &Stored, since: &Timestamp) -> bool {
    Timestamp::from(whole_seconds(object.modified)) > *since
}

fn failed(condition: &str) -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold: {condition}"
    )
}

/// What must be true of a key for it to be written or deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteCondition {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    /// Returns the condition of a put, a copy's target or a completed upload.
    ///
    /// Fails with `NotImplemented` for forms that S3 refuses.
    pub(crate) fn of_write(headers: &HeaderMap, honour: Conditions) -> S3Result<Self> {
        let condition = Self::parse(headers, honour)?;
        let tag_absent = matches!(condition.if_none_match, Some(ETagCondition::ETag(_)));
        if tag_absent || matches!(condition.if_match, Some(ETagCondition::Any)) {
            return Err(not_implemented());
        }
        if condition.if_match.is_some() && condition.if_none_match.is_some() {
            return Err(not_implemented());
        }
        Ok(condition)
    }

    /// Returns the condition of a delete, which may also be `If-Match: *`.
    pub(crate) fn of_delete(headers: &HeaderMap, honour: Conditions) -> S3Result<Self> {
        let condition = Self::parse(headers, honour)?;
        if condition.if_none_match.is_some() {
            return Err(not_implemented());
        }
        Ok(condition)
    }

    /// Returns the condition that the object has this ETag, if one is given.
    pub(crate) fn if_tag(tag: Option<ETag>, honour: Conditions) -> Self {
        match honour {
            Conditions::Honoured => Self { if_match: tag.map(ETagCondition::ETag), if_none_match: None },
            Conditions::IgnoredOnWrites => Self::default(),
        }
    }

    fn parse(headers: &HeaderMap, honour: Conditions) -> S3Result<Self> {
        match honour {
            Conditions::Honoured => Ok(Self {
                if_match: tag(headers, "if-match")?,
                if_none_match: tag(headers, "if-none-match")?,
            }),
            Conditions::IgnoredOnWrites => Ok(Self::default()),
        }
    }

    /// Fails with `PreconditionFailed`, or with `NoSuchKey` if a version is asked of nothing.
    pub(crate) fn judge(&self, current: Option<&Stored>) -> S3Result {
        match (&self.if_match, current) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Some(wanted), Some(object)) if !names(wanted, object) => return Err(failed("If-Match")),
            _ => {}
        }
        match (&self.if_none_match, current) {
            (Some(_), Some(_)) => Err(failed("If-None-Match")),
            _ => Ok(()),
        }
    }
}

fn tag(headers: &HeaderMap, name: &str) -> S3Result<Option<ETagCondition>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let invalid = |_| s3_error!(InvalidArgument, "Invalid header {name}: {value:?}");
    ETagCondition::parse_http_header(value.as_bytes()).map(Some).map_err(invalid)
}

fn not_implemented() -> S3Error {
    s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented")
}

/// Returns the time in the form that S3's messages carry.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}
