//! How a server is started: who may do what, and which store it imitates.
//!
//! The default is S3 as strict as it gets, with one bucket named `bucket`.

/// An access key and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
}

impl KeyPair {
    /// Returns the pair of these two.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into() }
    }
}

/// What a request without a signature may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// Nothing: 403.
    Denied,
    /// Read objects and listings.
    MayRead,
    /// Everything.
    MayWrite,
}

/// Whether clients may list, as `s3:ListBucket` or `storage.objects.list` lets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// They do.
    Allowed,
    /// They do not: listings are refused, and a missing object answers 403, not 404.
    Denied,
}

/// What becomes of conditions on writes and deletes: `If-Match`, `ifGenerationMatch` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// They are judged, atomically with the write.
    Honoured,
    /// They are silently ignored, as Garage and some imitations of GCS do. Reads still honour theirs.
    IgnoredOnWrites,
}

/// What becomes of uploads that carry their checksum behind the body (`aws-chunked`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailers {
    /// They are verified.
    Verified,
    /// They are refused with 400, as older stores do.
    Refused,
}

/// Which parts a multipart upload takes that was begun without a checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartChecksums {
    /// Parts may still carry a checksum, as the SDK's do unasked; it is verified.
    Any,
    /// Parts must carry none, as S3 had it before it added checksums by itself.
    AsAgreed,
}

/// How the ETag of an object that was written in one piece is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Etags {
    /// The MD5 of its bytes: writing the same bytes again gives the same ETag.
    Md5,
    /// A new one for every write, as with SSE-KMS.
    Unique,
}

/// How to start an [`S3Server`](crate::S3Server).
#[derive(Debug, Clone)]
pub struct Options {
    /// The buckets that exist from the start.
    pub buckets: Vec<String>,
    /// The key pair that may do everything.
    pub keys: KeyPair,
    /// A second key pair, all of whose writes are refused with 403.
    pub read_only_keys: Option<KeyPair>,
    /// What unsigned requests may do.
    pub anonymous: Anonymous,
    /// Whether objects may be listed.
    pub listing: Listing,
    /// The only region that requests may be signed for; `None` takes any.
    pub region: Option<String>,
    /// Smallest size of a multipart upload's part but the last, in bytes.
    pub min_part_bytes: u64,
    /// What becomes of conditions on writes.
    pub conditions: Conditions,
    /// What becomes of checksums behind the body.
    pub trailers: Trailers,
    /// What becomes of checksums of parts that were not agreed on.
    pub part_checksums: PartChecksums,
    /// How ETags are made.
    pub etags: Etags,
    /// The TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buckets: vec!["bucket".to_owned()],
            keys: KeyPair::new("test-access-key", "test-secret-key"),
            read_only_keys: None,
            anonymous: Anonymous::Denied,
            listing: Listing::Allowed,
            region: None,
            min_part_bytes: 5 * 1024 * 1024,
            conditions: Conditions::Honoured,
            trailers: Trailers::Verified,
            part_checksums: PartChecksums::Any,
            etags: Etags::Md5,
            port: 0,
        }
    }
}
