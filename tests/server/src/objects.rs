//! Requests on single objects: read, write, copy, delete.

use std::collections::{BTreeMap, HashMap};
use std::ops;

use bytes::Bytes;
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::bucket::{Attributes, Store, Stored};
use crate::checksums::{self, Checksum};
use crate::conditions::{ReadCondition, WriteCondition, timestamp};

/// Most bytes that the names and values of user metadata may have together.
const MAX_META_BYTES: usize = 2048;

/// Answers GetObject.
pub(crate) fn get(
    store: &Store,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    if input.part_number.is_some() || input.version_id.is_some() {
        return Err(s3_error!(NotImplemented, "Parts and versions of objects are not implemented"));
    }
    let object = store.get(&input.bucket, &input.key)?;
    let condition = ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    condition.judge(&object)?;
    let range = input.range.map(|range| satisfy(range, &object)).transpose()?;
    let sums = whole_checksum(&object, input.checksum_mode.as_ref(), range.as_ref());
    let body = match &range {
        Some(range) => object.body.slice(range.clone()),
        None => object.body.clone(),
    };
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(length(body.len())),
        content_range: range
            .as_ref()
            .map(|r| format!("bytes {}-{}/{}", r.start, r.end - 1, object.body.len())),
        body: Some(s3s::Body::from(body).into()),
        content_type: content_type(&object),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified)),
        metadata: metadata(&object),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        ..Default::default()
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Ok(S3Response::with_status(output, status))
}

/// Answers HeadObject.
pub(crate) fn head(
    store: &Store,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    let object = store.get(&input.bucket, &input.key)?;
    let condition = ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    condition.judge(&object)?;
    let range = input.range.map(|range| satisfy(range, &object)).transpose()?;
    let sums = whole_checksum(&object, input.checksum_mode.as_ref(), range.as_ref());
    let bytes = range.as_ref().map_or(object.body.len(), ops::Range::len);
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(length(bytes)),
        content_range: range
            .as_ref()
            .map(|r| format!("bytes {}-{}/{}", r.start, r.end - 1, object.body.len())),
        content_type: content_type(&object),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified)),
        metadata: metadata(&object),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        ..Default::default()
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Ok(S3Response::with_status(output, status))
}

/// Answers PutObject.
pub(crate) async fn put(
    store: &Store,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let body = request.input.body.take();
    let received = checksums::receive(body, request.input.content_length, &request).await?;
    let condition = WriteCondition::of_write(&request.headers, store.conditions)?;
    let input = request.input;
    let attributes = attributes(input.metadata, input.content_type)?;
    let checksum = received.checksum.unwrap_or_else(|| Checksum::by_default(&received.bytes));
    let object = store.object(received.bytes, attributes, checksum);
    let (etag, sums) = (object.etag.clone(), object.checksum.fields());
    store.with(&input.bucket, |bucket| bucket.put(&input.key, object, &condition))?;
    Ok(S3Response::new(PutObjectOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        ..Default::default()
    }))
}

/// Answers CopyObject.
pub(crate) fn copy(
    store: &Store,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let condition = WriteCondition::of_write(&request.headers, store.conditions)?;
    let input = request.input;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let source_condition = ReadCondition {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let original = store.get(from_bucket, from_key)?;
    source_condition.judge_source(&original)?;
    let replaces = input.metadata_directive.is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
    let attributes = if replaces {
        attributes(input.metadata, input.content_type)?
    } else if (from_bucket, from_key) == (input.bucket.as_str(), input.key.as_str()) {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal: it copies an object to itself unchanged."
        ));
    } else {
        Attributes { meta: original.meta, content_type: original.content_type }
    };
    let checksum = Checksum::of(original.checksum.algorithm, &original.body);
    let object = store.object(original.body, attributes, checksum);
    let (etag, modified, sums) = (object.etag.clone(), object.modified, object.checksum.fields());
    store.with(&input.bucket, |bucket| bucket.put(&input.key, object, &condition))?;
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(etag)),
        last_modified: Some(timestamp(modified)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
    };
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
}

/// Answers DeleteObject.
pub(crate) fn delete(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let condition = WriteCondition::of_delete(&request.headers, store.conditions)?;
    let input = request.input;
    store.with(&input.bucket, |bucket| bucket.delete(&input.key, &condition))?;
    Ok(S3Response::with_status(DeleteObjectOutput::default(), StatusCode::NO_CONTENT))
}

/// Answers DeleteObjects: each key by itself.
pub(crate) fn delete_many(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let vouched = request
        .headers
        .keys()
        .any(|name| name == "content-md5" || name.as_str().starts_with("x-amz-checksum-"));
    if !vouched {
        return Err(s3_error!(InvalidRequest, "Missing required header for this request: Content-MD5"));
    }
    let input = request.input;
    if input.delete.objects.is_empty() || input.delete.objects.len() > 1000 {
        return Err(s3_error!(MalformedXML, "The XML you provided was not well-formed"));
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for one in input.delete.objects {
        let condition = WriteCondition::if_tag(one.e_tag, store.conditions);
        match store.with(&input.bucket, |bucket| bucket.delete(&one.key, &condition)) {
            Ok(()) => deleted.push(DeletedObject { key: Some(one.key), ..Default::default() }),
            Err(error) if error.code().as_str() == "NoSuchBucket" => return Err(error),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(one.key),
                message: error.message().map(str::to_owned),
                version_id: None,
            }),
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet && !deleted.is_empty()).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..Default::default()
    }))
}

/// Returns the bucket and key of a copy's source.
pub(crate) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "Only current versions in buckets can be copied")),
    }
}

/// Returns what a writer says of an object.
///
/// Fails with `MetadataTooLarge`.
pub(crate) fn attributes(meta: Option<Metadata>, content_type: Option<String>) -> S3Result<Attributes> {
    let meta: BTreeMap<String, String> =
        meta.unwrap_or_default().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    if meta.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_META_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    Ok(Attributes { meta, content_type })
}

/// Returns a size as the protocol crate wants it.
pub(crate) fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("no object is that large")
}

fn satisfy(range: Range, object: &Stored) -> S3Result<ops::Range<usize>> {
    let size = object.body.len() as u64;
    let refused = || s3_error!(InvalidRange, "The requested range is not satisfiable");
    let found = range.check(size).map_err(|_| refused())?;
    if found.is_empty() {
        return Err(refused());
    }
    let index = |offset: u64| usize::try_from(offset).expect("the range is inside a body in memory");
    Ok(index(found.start)..index(found.end))
}

/// Returns the checksum if it is asked for and covers all that is answered.
fn whole_checksum(
    object: &Stored,
    mode: Option<&ChecksumMode>,
    range: Option<&ops::Range<usize>>,
) -> s3s::dto::Checksum {
    let wanted = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if wanted && range.is_none() { object.checksum.fields() } else { s3s::dto::Checksum::default() }
}

fn content_type(object: &Stored) -> Option<String> {
    Some(object.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned()))
}

fn metadata(object: &Stored) -> Option<Metadata> {
    let meta: HashMap<_, _> = object.meta.clone().into_iter().collect();
    (!meta.is_empty()).then_some(meta)
}

/// Returns an object with these bytes and metadata, as a direct write of a test makes it.
pub(crate) fn direct(store: &Store, body: Bytes, meta: BTreeMap<String, String>) -> Stored {
    let checksum = Checksum::by_default(&body);
    store.object(body, Attributes { meta, content_type: None }, checksum)
}
