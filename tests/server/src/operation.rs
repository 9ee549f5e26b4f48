//! Which operation a request is, and on what.
//!
//! The operations of both services have one name each, S3's where S3 has one, so that a fault
//! or a count means the same whichever server it is asked of. For S3 it is decided from the
//! request line and headers alone, before anything is verified, so that faults and the log know
//! it as early as possible.

use std::fmt;

use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

/// An operation. What GCS calls otherwise, or S3 does not have, says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are S3's own")]
pub enum Op {
    /// GCS: a read of an object's bytes (`alt=media`).
    GetObject,
    /// GCS: a read of an object's metadata.
    HeadObject,
    /// GCS: an upload in one request.
    PutObject,
    /// GCS: one call of a rewrite.
    CopyObject,
    /// GCS only: the concatenation of objects.
    ComposeObject,
    /// GCS only: a change of an object's metadata.
    UpdateObject,
    /// GCS only: the start of a resumable upload.
    StartResumable,
    /// GCS only: a piece of a resumable upload, also the last.
    UploadChunk,
    /// GCS only: the question how far a resumable upload has come.
    QueryResumable,
    /// GCS only: the end of a resumable upload that is given up.
    CancelResumable,
    /// GCS only: a request of an access token.
    Token,
    DeleteObject,
    DeleteObjects,
    /// GCS: one page of a listing.
    ListObjectsV2,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    /// GCS: a read of a bucket's metadata.
    HeadBucket,
    CreateBucket,
    ListBuckets,
    GetBucketLocation,
    /// Anything else; the server refuses it.
    Other,
}

impl Op {
    /// Returns whether the operation changes what the bucket holds.
    pub fn is_write(self) -> bool {
        match self {
            Self::PutObject
            | Self::CopyObject
            | Self::DeleteObject
            | Self::DeleteObjects
            | Self::CreateMultipartUpload
            | Self::UploadPart
            | Self::UploadPartCopy
            | Self::CompleteMultipartUpload
            | Self::AbortMultipartUpload
            | Self::CreateBucket
            | Self::ComposeObject
            | Self::UpdateObject
            | Self::StartResumable
            | Self::UploadChunk
            | Self::CancelResumable => true,
            Self::GetObject
            | Self::HeadObject
            | Self::ListObjectsV2
            | Self::ListParts
            | Self::ListMultipartUploads
            | Self::HeadBucket
            | Self::ListBuckets
            | Self::GetBucketLocation
            | Self::QueryResumable
            | Self::Token
            | Self::Other => false,
        }
    }

    /// Returns whether the operation needs the right to list a bucket.
    pub(crate) fn is_listing(self) -> bool {
        matches!(self, Self::ListObjectsV2 | Self::HeadBucket)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An operation with the bucket and key that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) op: Op,
    /// Empty if the request is on no bucket.
    pub(crate) bucket: String,
    /// Empty if the request is on no object.
    pub(crate) key: String,
}

impl Target {
    /// Returns what a request is on, path style.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = Query(uri.query().unwrap_or(""));
        let op = if bucket.is_empty() {
            on_service(method)
        } else if key.is_empty() {
            on_bucket(method, &query)
        } else {
            on_object(method, &query, headers)
        };
        Self { op, bucket: bucket.to_owned(), key: key.to_owned() }
    }
}

/// The parameters of a request.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find_map(|(n, v)| (n == name).then_some(v))
    }
}

/// Returns the decoded value of a query parameter.
pub(crate) fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let query = Query(uri.query()?);
    let raw = query.get(name)?;
    Some(percent_decode_str(raw).decode_utf8_lossy().into_owned())
}

fn on_service(method: &Method) -> Op {
    if *method == Method::GET { Op::ListBuckets } else { Op::Other }
}

fn on_bucket(method: &Method, query: &Query<'_>) -> Op {
    match *method {
        Method::HEAD => Op::HeadBucket,
        Method::PUT => Op::CreateBucket,
        Method::POST if query.has("delete") => Op::DeleteObjects,
        Method::GET if query.has("uploads") => Op::ListMultipartUploads,
        Method::GET if query.has("location") => Op::GetBucketLocation,
        Method::GET if query.get("list-type") == Some("2") => Op::ListObjectsV2,
        _ => Op::Other,
    }
}

fn on_object(method: &Method, query: &Query<'_>, headers: &HeaderMap) -> Op {
    let is_copy = headers.contains_key("x-amz-copy-source");
    let of_upload = query.has("uploadId");
    match *method {
        Method::HEAD => Op::HeadObject,
        Method::GET if of_upload => Op::ListParts,
        Method::GET => Op::GetObject,
        Method::PUT if of_upload && is_copy => Op::UploadPartCopy,
        Method::PUT if of_upload => Op::UploadPart,
        Method::PUT if is_copy => Op::CopyObject,
        Method::PUT => Op::PutObject,
        Method::POST if of_upload => Op::CompleteMultipartUpload,
        Method::POST if query.has("uploads") => Op::CreateMultipartUpload,
        Method::DELETE if of_upload => Op::AbortMultipartUpload,
        Method::DELETE => Op::DeleteObject,
        _ => Op::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(method: Method, uri: &str) -> Op {
        Target::of(&method, &uri.parse().unwrap(), &HeaderMap::new()).op
    }

    #[test]
    fn each_request_line_names_its_operation() {
        for (method, uri, expected) in [
            (Method::GET, "/", Op::ListBuckets),
            (Method::GET, "/b?list-type=2&prefix=a", Op::ListObjectsV2),
            (Method::GET, "/b/?list-type=2", Op::ListObjectsV2),
            (Method::GET, "/b?uploads", Op::ListMultipartUploads),
            (Method::POST, "/b?delete", Op::DeleteObjects),
            (Method::GET, "/b/k", Op::GetObject),
            (Method::GET, "/b/k?uploadId=1", Op::ListParts),
            (Method::PUT, "/b/k?x-id=PutObject", Op::PutObject),
            (Method::PUT, "/b/k?partNumber=1&uploadId=1", Op::UploadPart),
            (Method::POST, "/b/k?uploads", Op::CreateMultipartUpload),
            (Method::POST, "/b/k?uploadId=1", Op::CompleteMultipartUpload),
            (Method::DELETE, "/b/k?uploadId=1", Op::AbortMultipartUpload),
            (Method::DELETE, "/b/k", Op::DeleteObject),
        ] {
            assert_eq!(op(method, uri), expected, "{uri}");
        }
    }

    #[test]
    fn keys_are_decoded_once_and_keep_their_slashes() {
        let target = Target::of(&Method::GET, &"/b//x/%252F%20+".parse().unwrap(), &HeaderMap::new());
        assert_eq!((target.bucket.as_str(), target.key.as_str()), ("b", "/x/%2F +"));
    }
}
