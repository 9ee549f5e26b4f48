//! Every request that reached the server, in order of arrival.
//!
//! A request is recorded before anything happens to it; its status and byte counts are filled
//! in as they become known, so that a request which is held or stalled is visible too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use hyper::{HeaderMap, Request, header};
use parking_lot::Mutex;

use crate::operation::{Op, Target, query_value};

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The operation.
    pub op: Op,
    /// The bucket; empty if none.
    pub bucket: String,
    /// The object's key; empty if none.
    pub key: String,
    /// The `prefix` of a listing.
    pub prefix: Option<String>,
    /// The part number of a multipart upload.
    pub part: Option<u32>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    /// The `If-None-Match` header.
    pub if_none_match: Option<String>,
    /// Whether its body is covered by its signature (S3).
    pub body_is_signed: bool,
    /// The access key that signed it (S3).
    pub access_key: Option<String>,
    /// The token behind `Bearer` in its `Authorization` (GCS).
    pub bearer: Option<String>,
    /// The generation that the object must have, 0 for none (GCS).
    pub if_generation_match: Option<i64>,
    /// Whether it came over gRPC (GCS).
    pub rpc: bool,
    /// The HTTP status that was answered, also for what a gRPC call was answered; `None` if nothing was (yet).
    pub status: Option<u16>,
    /// Bytes of the request's body that arrived.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
}

/// What becomes known of a request after it arrived.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    status: AtomicU16,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Progress {
    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::SeqCst);
    }
}

/// The list of requests.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    entries: Mutex<Vec<(Recorded, Arc<Progress>)>>,
}

impl RequestLog {
    /// Records an arriving request and returns where its outcome is to be noted.
    pub(crate) fn begin(&self, request: Recorded) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        self.record(request, Arc::clone(&progress));
        progress
    }

    /// Records a request of which something is known already.
    pub(crate) fn record(&self, request: Recorded, progress: Arc<Progress>) {
        self.entries.lock().push((request, progress));
    }

    /// Returns all requests as far as they are known now.
    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.entries.lock().iter().map(|(recorded, progress)| with_progress(recorded, progress)).collect()
    }

    pub(crate) fn count(&self, op: Op) -> usize {
        self.entries.lock().iter().filter(|(recorded, _)| recorded.op == op).count()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}

fn with_progress(recorded: &Recorded, progress: &Progress) -> Recorded {
    let status = progress.status.load(Ordering::SeqCst);
    Recorded {
        status: (status != 0).then_some(status),
        bytes_in: progress.bytes_in.load(Ordering::SeqCst),
        bytes_out: progress.bytes_out.load(Ordering::SeqCst),
        ..recorded.clone()
    }
}

/// Returns an S3 request as it arrives.
pub(crate) fn describe<B>(request: &Request<B>, target: &Target) -> Recorded {
    let headers = request.headers();
    Recorded {
        op: target.op,
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        prefix: query_value(request.uri(), "prefix"),
        part: query_value(request.uri(), "partNumber").and_then(|n| n.parse().ok()),
        range: text(headers, header::RANGE.as_str()),
        if_match: text(headers, header::IF_MATCH.as_str()),
        if_none_match: text(headers, header::IF_NONE_MATCH.as_str()),
        body_is_signed: text(headers, "x-amz-content-sha256")
            .is_some_and(|hash| !hash.starts_with("UNSIGNED")),
        access_key: signer(headers),
        bearer: None,
        if_generation_match: None,
        rpc: false,
        status: None,
        bytes_in: 0,
        bytes_out: 0,
    }
}

pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn signer(headers: &HeaderMap) -> Option<String> {
    let authorization = text(headers, header::AUTHORIZATION.as_str())?;
    let (_, scope) = authorization.split_once("Credential=")?;
    Some(scope.split('/').next().unwrap_or(scope).to_owned())
}
