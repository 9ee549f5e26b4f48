//! Completing a multipart upload: its parts are checked and become one object, in one step.

use bytes::{Bytes, BytesMut};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::bucket::{Store, Stored, hex, now};
use crate::checksums::{self, Checksum, Coverage};
use crate::conditions::WriteCondition;
use crate::multipart::{self, Upload, UploadedPart};
use crate::objects::length;

/// Answers CompleteMultipartUpload.
pub(crate) fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let condition = WriteCondition::of_write(&request.headers, store.conditions)?;
    let claimed = checksums::claims_in(&request.headers)?.pop();
    let input = request.input;
    let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let object = store.with(&input.bucket, |bucket| {
        let upload = multipart::find(bucket, &input.upload_id, &input.key)?;
        let parts = chosen(upload, &listed, store.min_part_bytes)?;
        let object = assemble(store, upload, &parts, claimed.as_ref())?;
        if input.mpu_object_size.is_some_and(|size| size != length(object.body.len())) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided x-amz-mp-object-size does not match the object's size"
            ));
        }
        bucket.put(&input.key, object.clone(), &condition)?;
        bucket.uploads.remove(&input.upload_id);
        Ok(object)
    })?;
    let sums = object.checksum.fields();
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(object.etag)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        ..Default::default()
    }))
}

/// Returns the parts that were listed, if they may become an object.
fn chosen<'a>(
    upload: &'a Upload,
    listed: &[CompletedPart],
    min_bytes: u64,
) -> S3Result<Vec<&'a UploadedPart>> {
    if listed.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut parts = Vec::with_capacity(listed.len());
    let mut before = 0;
    for one in listed {
        let number = one.part_number.unwrap_or(0);
        if number <= before {
            return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
        }
        before = number;
        let part = upload.parts.get(&number).ok_or_else(invalid_part)?;
        agree(upload, one, part)?;
        parts.push(part);
    }
    let all_but_last = &parts[..parts.len() - 1];
    if all_but_last.iter().any(|part| (part.body.len() as u64) < min_bytes) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(parts)
}

/// Fails unless what the client says of a part is what the server knows of it.
fn agree(upload: &Upload, listed: &CompletedPart, part: &UploadedPart) -> S3Result {
    if listed.e_tag.as_ref().map(ETag::value) != Some(part.etag.as_str()) {
        return Err(invalid_part());
    }
    let claims = [
        &listed.checksum_crc32,
        &listed.checksum_crc32c,
        &listed.checksum_crc64nvme,
        &listed.checksum_sha1,
        &listed.checksum_sha256,
    ];
    let claimed = claims.into_iter().flatten().next();
    let known = part.checksum.as_ref().map(|sum| &sum.value);
    if claimed.is_some() && claimed != known {
        return Err(invalid_part());
    }
    match upload.checksum {
        Some((algorithm, Coverage::Composite)) if claimed.is_none() => Err(s3_error!(
            InvalidRequest,
            "The upload was created using a {} checksum. The complete request must include the checksum for each part.",
            algorithm.name().to_lowercase()
        )),
        _ => Ok(()),
    }
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    )
}

fn assemble(
    store: &Store,
    upload: &Upload,
    parts: &[&UploadedPart],
    claimed: Option<&Checksum>,
) -> S3Result<Stored> {
    let body = joined(parts);
    let checksum = match upload.checksum {
        None => Checksum::by_default(&body),
        Some((algorithm, Coverage::FullObject)) => Checksum::of(algorithm, &body),
        Some((algorithm, Coverage::Composite)) => {
            Checksum::composite(algorithm, parts.iter().filter_map(|part| part.checksum.as_ref()))
        }
    };
    let same =
        |claimed: &Checksum| claimed.algorithm == checksum.algorithm && claimed.value == checksum.value;
    if claimed.is_some_and(|claimed| !same(claimed)) {
        return Err(s3_error!(
            BadDigest,
            "The checksum you specified did not match the calculated checksum."
        ));
    }
    let md5s: Vec<u8> = parts.iter().flat_map(|part| part.md5).collect();
    let etag = store.etag_of_parts(&hex(&Md5::checksum(&md5s)), parts.len());
    Ok(Stored {
        body,
        etag,
        modified: now(),
        meta: upload.attributes.meta.clone(),
        content_type: upload.attributes.content_type.clone(),
        checksum,
    })
}

fn joined(parts: &[&UploadedPart]) -> Bytes {
    if let [only] = parts {
        return only.body.clone();
    }
    let mut body = BytesMut::with_capacity(parts.iter().map(|part| part.body.len()).sum());
    for part in parts {
        body.extend_from_slice(&part.body);
    }
    body.freeze()
}
