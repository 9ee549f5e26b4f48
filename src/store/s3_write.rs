//! The requests to S3 that write or delete one object.
//!
//! Every body is in memory and carries a CRC-32 that the server checks. What a condition's
//! refusal means is settled here, so that callers see one meaning on every store.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::meta_text::encode_meta;
use super::patience::Progress;
use super::s3::S3Store;
use super::s3_blank_key::sdk_key;
use super::s3_read::version;
use super::s3_text::{checksum, match_headers, part_tag, split_part_tag};
use super::s3_upload_body::CountedUpload;
use super::{Condition, ErrorKind, PutOptions, Result, UploadId, UploadedPart, Version};
use crate::model::key::ObjectKey;

impl S3Store {
    pub(super) async fn put_object(
        &self,
        key: &ObjectKey,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<Version> {
        let asked = self.asked("put", key.as_str(), &options.condition);
        let (if_match, if_none_match) = match_headers(&options.condition);
        let progress = Progress::default();
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(sdk_key(key))
            .set_metadata(Some(encode_meta(options)))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .checksum_crc32(checksum(&body))
            .body(ByteStream::from(body.clone()))
            .customize()
            .interceptor(CountedUpload::new(&body, &progress));
        let answer = self.patience.watch(&progress, request.send()).await.map_err(|s| asked.unanswered(s))?;
        version(&asked, answer.map_err(|error| asked.failed(error))?.e_tag())
    }

    pub(super) async fn create_multipart_upload(
        &self,
        key: &ObjectKey,
        options: &PutOptions,
    ) -> Result<UploadId> {
        let asked = self.asked("begin upload", key.as_str(), &Condition::Always);
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(sdk_key(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .set_metadata(Some(encode_meta(options)));
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        let id = answer.map_err(|error| asked.failed(error))?.upload_id;
        id.map(UploadId).ok_or_else(|| asked.corrupt("the answer has no upload id"))
    }

    pub(super) async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let asked = self.asked("upload part", key.as_str(), &Condition::Always);
        let sum = checksum(&body);
        let progress = Progress::default();
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(sdk_key(key))
            .upload_id(&upload.0)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .checksum_crc32(&sum)
            .body(ByteStream::from(body.clone()))
            .customize()
            .interceptor(CountedUpload::new(&body, &progress));
        let request = if self.signs_parts { request } else { request.disable_payload_signing() };
        let answer = self.patience.watch(&progress, request.send()).await.map_err(|s| asked.unanswered(s))?;
        let answer = answer.map_err(|error| asked.failed(error))?;
        let etag = answer.e_tag().ok_or_else(|| asked.corrupt("the answer has no ETag"))?;
        Ok(part_tag(number, etag, Some(&sum)))
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let asked = self.asked("complete upload", key.as_str(), &options.condition);
        let (if_match, if_none_match) = match_headers(&options.condition);
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.iter().map(completed_part).collect()))
            .build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(sdk_key(key))
            .upload_id(&upload.0)
            .multipart_upload(parts)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        let patience = self.patience.while_the_server_works();
        let answer = patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        version(&asked, answer.map_err(|error| asked.failed(error))?.e_tag())
    }

    pub(super) async fn abort_multipart_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        let asked = self.asked("abort upload", key.as_str(), &Condition::Always);
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(sdk_key(key)).upload_id(&upload.0);
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        match answer.map_err(|error| asked.failed(error)) {
            Err(refused) if !refused.is_not_found() => Err(refused),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn delete_object(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        let asked = self.asked("delete", key.as_str(), condition);
        let if_match = match condition {
            Condition::Always => None,
            Condition::IfVersion(_) => match_headers(condition).0,
            Condition::IfAbsent => {
                return Err(asked.error(ErrorKind::Unsupported).detail("a delete cannot ask for absence"));
            }
        };
        let request =
            self.client.delete_object().bucket(&self.bucket).key(sdk_key(key)).set_if_match(if_match);
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        match answer.map_err(|error| asked.failed(error)) {
            Ok(_) => Ok(()),
            Err(absent) if absent.is_not_found() => Ok(()),
            // Stores do not agree on what a condition on an absent key means.
            Err(refused) if refused.kind == ErrorKind::Changed => match self.head_object(key).await? {
                None => Ok(()),
                Some(_) => Err(refused),
            },
            Err(refused) => Err(refused),
        }
    }
}

fn completed_part(part: &UploadedPart) -> CompletedPart {
    let (etag, checksum) = split_part_tag(part);
    CompletedPart::builder()
        .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
        .e_tag(etag)
        .set_checksum_crc32(checksum.map(str::to_owned))
        .build()
}
