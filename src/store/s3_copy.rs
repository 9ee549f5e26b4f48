//! Copies inside a bucket of S3, which no byte of passes through this machine.
//!
//! A copy is one request. S3 refuses it for an object of more than 5 GiB, and only then the
//! object is copied in parts.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::MetadataDirective;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::meta_text::encode_meta;
use super::s3::S3Store;
use super::s3_blank_key::sdk_key;
use super::s3_read::version;
use super::s3_text::{copy_source, match_headers, part_tag, quoted};
use super::{
    Condition, ErrorKind, PartSource, PutOptions, Result, StoreError, UploadId, UploadedPart, Version,
};
use crate::model::key::ObjectKey;

/// Size of the parts of a copy in parts: 10,000 of them are 5 TiB, the largest object there is.
const PART_BYTES: u64 = 512 * 1024 * 1024;
/// How many parts are copied at the same time.
const PARTS_AT_ONCE: usize = 8;

/// What is to be copied.
#[derive(Clone, Copy)]
struct CopyOf<'a> {
    from: &'a ObjectKey,
    version: &'a Version,
    to: &'a ObjectKey,
}

impl S3Store {
    pub(super) async fn copy_object(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let copy = CopyOf { from, version: from_version, to };
        let asked = self.asked("copy", to.as_str(), &options.condition);
        let (if_match, if_none_match) = match_headers(&options.condition);
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(sdk_key(to))
            .copy_source(copy_source(&self.bucket, from.as_str()))
            .copy_source_if_match(quoted(from_version))
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(encode_meta(options)))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        let patience = self.patience.while_the_server_works();
        let answer = patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        match answer {
            Ok(answer) => version(&asked, answer.copy_object_result().and_then(|result| result.e_tag())),
            Err(error) if is_too_large(&error) => self.copy_in_parts(copy, options).await,
            Err(error) => Err(self.which_side(copy, options, asked.failed(error)).await?),
        }
    }

    /// A refused condition does not say whether the source or the target broke it: looks.
    async fn which_side(
        &self,
        copy: CopyOf<'_>,
        options: &PutOptions,
        refused: StoreError,
    ) -> Result<StoreError> {
        if !(refused.is_condition_failed() || refused.is_not_found()) {
            return Ok(refused);
        }
        let kind = match self.head_object(copy.from).await? {
            None => ErrorKind::NotFound,
            Some(source) if source.version != *copy.version => ErrorKind::Changed,
            Some(_) if options.condition == Condition::IfAbsent => ErrorKind::Exists,
            Some(_) => ErrorKind::Changed,
        };
        Ok(StoreError { kind, ..refused })
    }

    async fn copy_in_parts(&self, copy: CopyOf<'_>, options: &PutOptions) -> Result<Version> {
        let asked = self.asked("copy", copy.from.as_str(), &Condition::Always);
        let source = self.head_object(copy.from).await?.ok_or_else(|| asked.error(ErrorKind::NotFound))?;
        if source.version != *copy.version {
            return Err(asked.error(ErrorKind::Changed));
        }
        let upload = self.create_upload_for_copy(copy.to, options).await?;
        let outcome = self.copy_parts(copy, &upload, source.size, options).await;
        if outcome.is_err()
            && let Err(error) = self.abort_multipart_upload(copy.to, &upload).await
        {
            tracing::warn!(%error, "A copy in parts was left behind unfinished");
        }
        outcome
    }

    /// Begins an upload whose parts carry no checksums of ours: we do not see the bytes.
    async fn create_upload_for_copy(&self, to: &ObjectKey, options: &PutOptions) -> Result<UploadId> {
        let asked = self.asked("copy", to.as_str(), &Condition::Always);
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(sdk_key(to))
            .set_metadata(Some(encode_meta(options)));
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        let id = answer.map_err(|error| asked.failed(error))?.upload_id;
        id.map(UploadId).ok_or_else(|| asked.corrupt("the answer has no upload id"))
    }

    async fn copy_parts(
        &self,
        copy: CopyOf<'_>,
        upload: &UploadId,
        size: u64,
        options: &PutOptions,
    ) -> Result<Version> {
        let ranges =
            (0..size.div_ceil(PART_BYTES)).map(|part| part * PART_BYTES..size.min((part + 1) * PART_BYTES));
        let source = |range| PartSource { key: copy.from.clone(), version: copy.version.clone(), range };
        let parts: Vec<UploadedPart> = stream::iter(ranges.map(source).zip(1..))
            .map(|(from, number)| async move { self.put_part_copy(copy.to, upload, number, &from).await })
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        self.complete_multipart_upload(copy.to, upload, &parts, options).await
    }

    pub(super) async fn put_part_copy(
        &self,
        to: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let asked = self.asked("copy", from.key.as_str(), &Condition::Always);
        let request = self
            .client
            .upload_part_copy()
            .bucket(&self.bucket)
            .key(sdk_key(to))
            .upload_id(&upload.0)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .copy_source(copy_source(&self.bucket, from.key.as_str()))
            .copy_source_if_match(quoted(&from.version))
            .copy_source_range(format!("bytes={}-{}", from.range.start, from.range.end.saturating_sub(1)));
        let patience = self.patience.while_the_server_works();
        let answer = patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        let answer = answer.map_err(|error| asked.failed(error))?;
        let result = answer.copy_part_result();
        let etag = result.and_then(|result| result.e_tag());
        let etag = etag.ok_or_else(|| asked.corrupt("the answer has no ETag"))?;
        // Where the upload's parts carry checksums, the server has made this one's.
        Ok(part_tag(number, etag, result.and_then(|result| result.checksum_crc32())))
    }
}

/// Returns whether the server says that the source is too large for one request.
fn is_too_large(error: &impl ProvideErrorMetadata) -> bool {
    match error.code() {
        Some("EntityTooLarge") => true,
        Some("InvalidRequest") => error.message().is_some_and(|text| text.contains("larger than")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;

    use super::*;

    #[test]
    fn only_a_source_that_is_too_large_is_copied_in_parts() {
        let said = |code: &str, message: &str| ErrorMetadata::builder().code(code).message(message).build();
        let limit = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
        assert!(is_too_large(&said("InvalidRequest", limit)));
        assert!(is_too_large(&said("EntityTooLarge", "")));
        assert!(!is_too_large(&said("InvalidRequest", "This copy request is illegal")));
        assert!(!is_too_large(&said("AccessDenied", limit)));
    }
}
