//! The requests to S3 that change nothing: get, head, list.
//!
//! A body is taken piece by piece; if it breaks off, the error carries what had arrived.

use std::ops::{ControlFlow, Range};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use aws_sdk_s3::types::{EncodingType, Object};
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};

use super::body::{Expected, nothing};
use super::meta_text::decode_meta;
use super::s3::S3Store;
use super::s3_blank_key::sdk_key;
use super::s3_date::ServerTime;
use super::s3_error::Asked;
use super::s3_text::{ContentRange, decode_listed_key, quoted, system_time};
use super::{Condition, ErrorKind, Fetched, Listed, ObjectMeta, Result, StoreError, Taker, Version};
use crate::model::key::ObjectKey;

impl S3Store {
    pub(super) async fn get_object(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        match self.begin_get(key, range, if_version).await? {
            Answer::Nothing(fetched) => Ok(fetched),
            Answer::Body { expected, body, .. } => expected.take(&self.patience, pieces(body)).await,
        }
    }

    pub(super) async fn hand_over_object(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        match self.begin_get(key, Some(range), Some(version)).await? {
            Answer::Nothing(_) => Ok(()),
            Answer::Body { expected, body, is_judged_at_its_end: true } => {
                let fetched = expected.take(&self.patience, pieces(body)).await?;
                match taker(&fetched.body) {
                    ControlFlow::Continue(()) | ControlFlow::Break(()) => Ok(()),
                }
            }
            Answer::Body { expected, body, .. } => {
                expected.hand_over(&self.patience, pieces(body), taker).await
            }
        }
    }

    /// Asks for bytes; returns when the answer has begun.
    async fn begin_get<'k>(
        &self,
        key: &'k ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Answer<'k>> {
        if range.as_ref().is_some_and(|range| range.is_empty()) {
            let meta = self.head_object(key).await?;
            return nothing(key.as_str(), meta, None, if_version).map(Answer::Nothing);
        }
        let asked = self.asked("get", key.as_str(), &Condition::Always);
        let time = ServerTime::default();
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(sdk_key(key))
            .set_range(range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1)))
            .set_if_match(if_version.map(quoted))
            .customize()
            .interceptor(time.clone());
        let answer = match self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))? {
            Ok(answer) => answer,
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => {
                let start = range.map_or(0, |range| range.start);
                let meta = self.head_object(key).await?;
                return nothing(key.as_str(), meta, Some(start), if_version).map(Answer::Nothing);
            }
            Err(error) => return Err(asked.failed(error)),
        };
        let (mut meta, bytes) = described(&asked, &answer, range.as_ref())?;
        meta.answered = time.noted();
        if if_version.is_some_and(|version| *version != meta.version) {
            return Err(asked.error(ErrorKind::Changed).detail("the server ignored the condition"));
        }
        let expected = Expected { key: key.as_str(), meta: meta.into(), bytes };
        let is_judged_at_its_end = has_checksum(&answer);
        Ok(Answer::Body { expected, body: answer.body, is_judged_at_its_end })
    }

    pub(super) async fn head_object(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        let asked = self.asked("head", key.as_str(), &Condition::Always);
        let time = ServerTime::default();
        let request = self.client.head_object().bucket(&self.bucket).key(sdk_key(key));
        let request = request.customize().interceptor(time.clone());
        match self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))? {
            Ok(answer) => Ok(Some(ObjectMeta {
                size: size(&asked, answer.content_length())?,
                version: version(&asked, answer.e_tag())?,
                modified: system_time(answer.last_modified()),
                answered: time.noted(),
                user: decode_meta(answer.metadata().into_iter().flatten()),
            })),
            Err(error) => match asked.failed(error) {
                absent if absent.is_not_found() => Ok(None),
                unclear if unclear.kind == ErrorKind::Invalid => Err(self.reason(key, unclear).await),
                refused => Err(refused),
            },
        }
    }

    /// Finds out why a HEAD was refused: its answer has no body, and expired credentials or a
    /// wrong region are a bare 400.
    async fn reason(&self, key: &ObjectKey, unclear: StoreError) -> StoreError {
        let asked = self.asked("head", key.as_str(), &Condition::Always);
        let request = self.client.get_object().bucket(&self.bucket).key(sdk_key(key)).range("bytes=0-0");
        match self.patience.wait(request.send()).await {
            Ok(Err(error)) => asked.failed(error),
            Ok(Ok(_)) | Err(_) => unclear,
        }
    }

    pub(super) fn list_objects(
        &self,
        prefix: &str,
        start_after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<Vec<Listed>>> {
        let first = Position { after: start_after.cloned(), token: None };
        let prefix = prefix.to_owned();
        stream::unfold(Some(first), move |position| {
            let prefix = prefix.clone();
            async move {
                match self.list_page(&prefix, position?).await {
                    Ok((page, next)) => Some((Ok(page), next)),
                    Err(error) => Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn list_page(&self, prefix: &str, at: Position) -> Result<(Vec<Listed>, Option<Position>)> {
        let asked = self.asked("list", prefix, &Condition::Always);
        let after = at.after.as_ref().map(|key| key.as_str().to_owned());
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_start_after(after.clone())
            .set_continuation_token(at.token);
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        let answer = answer.map_err(|error| asked.failed(error))?;
        let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let page = answer
            .contents()
            .iter()
            .filter_map(|object| listed(object, is_encoded))
            // Some stores ignore where a listing is to start.
            .filter(|listed| after.as_deref().is_none_or(|after| listed.key.as_str() > after))
            .collect();
        let token = answer.next_continuation_token.filter(|_| answer.is_truncated == Some(true));
        if answer.is_truncated == Some(true) && token.is_none() {
            return Err(asked.corrupt("the page is not the last, but names no next one"));
        }
        Ok((page, token.map(|token| Position { after: at.after, token: Some(token) })))
    }
}

/// What came of a get.
enum Answer<'k> {
    /// There are no bytes there.
    Nothing(Fetched),
    /// They follow.
    Body {
        expected: Expected<'k>,
        body: ByteStream,
        /// Whether the client compares it with a checksum when all of it is here.
        is_judged_at_its_end: bool,
    },
}

fn pieces(body: ByteStream) -> impl Stream<Item = std::result::Result<Bytes, ByteStreamError>> + Send {
    stream::unfold(body, async |mut body| Some((body.next().await?, body)))
}

fn has_checksum(answer: &GetObjectOutput) -> bool {
    let checksums = [
        answer.checksum_crc32(),
        answer.checksum_crc32_c(),
        answer.checksum_crc64_nvme(),
        answer.checksum_sha1(),
        answer.checksum_sha256(),
    ];
    checksums.iter().any(Option::is_some)
}

/// Where a listing goes on.
struct Position {
    /// What the whole listing begins after.
    after: Option<ObjectKey>,
    token: Option<String>,
}

/// Returns what the answer says of the object, and how many bytes its body must have.
fn described(
    asked: &Asked<'_>,
    answer: &GetObjectOutput,
    range: Option<&Range<u64>>,
) -> Result<(ObjectMeta, u64)> {
    let length = size(asked, answer.content_length())?;
    let size = match (range, answer.content_range()) {
        (None, _) => length,
        (Some(range), None) if range.start == 0 && length <= range.end => length,
        (Some(_), None) => {
            return Err(asked.error(ErrorKind::Unsupported).detail("the server ignores ranges"));
        }
        (Some(range), Some(text)) => {
            let given = ContentRange::parse(text)
                .filter(|given| given.start == range.start && given.end == range.end.min(given.size))
                .filter(|given| given.end - given.start == length);
            given.ok_or_else(|| asked.corrupt(format!("asked for {range:?}, got {text:?}")))?.size
        }
    };
    let meta = ObjectMeta {
        size,
        version: version(asked, answer.e_tag())?,
        modified: system_time(answer.last_modified()),
        answered: None,
        user: decode_meta(answer.metadata().into_iter().flatten()),
    };
    Ok((meta, length))
}

fn listed(object: &Object, is_encoded: bool) -> Option<Listed> {
    let text = object.key()?;
    let key = if is_encoded { decode_listed_key(text) } else { Some(text.to_owned()) };
    if key.is_none() {
        tracing::warn!(key = text, "Left out an object whose key is not UTF-8");
    }
    Some(Listed {
        key: ObjectKey::new(key?),
        size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        modified: system_time(object.last_modified()),
        version: object.e_tag().and_then(Version::new),
    })
}

/// Returns the version that an answer names.
pub(super) fn version(asked: &Asked<'_>, etag: Option<&str>) -> Result<Version> {
    etag.and_then(Version::new).ok_or_else(|| asked.corrupt("the answer has no ETag"))
}

fn size(asked: &Asked<'_>, length: Option<i64>) -> Result<u64> {
    length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| asked.corrupt("the answer has no Content-Length"))
}
