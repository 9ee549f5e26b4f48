//! The buckets and what is in them: one lock, so that a condition and the write it guards are
//! one step.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Result, s3_error};

use crate::checksums::Checksum;
use crate::conditions::WriteCondition;
use crate::multipart::Upload;
use crate::options::{Conditions, Etags, Listing, Options, PartChecksums};

/// An object as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub body: Bytes,
    /// Its ETag, without quotes.
    pub etag: String,
    /// When it was written; whole seconds, as in S3.
    pub modified: SystemTime,
    /// User metadata, by lower-case name without `x-amz-meta-`.
    pub meta: BTreeMap<String, String>,
    /// Its content type.
    pub content_type: Option<String>,
    /// The checksum that S3 keeps with it.
    pub(crate) checksum: Checksum,
}

/// What a writer says of an object besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) content_type: Option<String>,
}

/// One bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Ordered by key, byte by byte.
    pub(crate) objects: BTreeMap<String, Stored>,
    /// By upload id.
    pub(crate) uploads: BTreeMap<String, Upload>,
}

impl Bucket {
    /// Writes or replaces an object if `condition` allows it.
    pub(crate) fn put(&mut self, key: &str, object: Stored, condition: &WriteCondition) -> S3Result {
        condition.judge(self.objects.get(key))?;
        self.objects.insert(key.to_owned(), object);
        Ok(())
    }

    /// Removes an object if `condition` allows it.
    pub(crate) fn delete(&mut self, key: &str, condition: &WriteCondition) -> S3Result {
        condition.judge(self.objects.get(key))?;
        self.objects.remove(key);
        Ok(())
    }
}

/// All buckets, and the rules that hold for them.
#[derive(Debug)]
pub(crate) struct Store {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    pub(crate) conditions: Conditions,
    pub(crate) min_part_bytes: u64,
    pub(crate) part_checksums: PartChecksums,
    etags: Etags,
    listing: Listing,
}

impl Store {
    pub(crate) fn new(options: &Options) -> Self {
        let buckets = options.buckets.iter().map(|name| (name.clone(), Bucket::default())).collect();
        Self {
            buckets: Mutex::new(buckets),
            conditions: options.conditions,
            min_part_bytes: options.min_part_bytes,
            part_checksums: options.part_checksums,
            etags: options.etags,
            listing: options.listing,
        }
    }

    /// Returns the buckets, locked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock()
    }

    /// Runs `act` on one bucket; nothing else happens to any bucket meanwhile.
    ///
    /// Fails with `NoSuchBucket`.
    pub(crate) fn with<T>(&self, bucket: &str, act: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        match self.lock().get_mut(bucket) {
            Some(bucket) => act(bucket),
            None => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }

    /// Returns a copy of an object (its bytes are shared).
    pub(crate) fn get(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        let found = self.with(bucket, |bucket| Ok(bucket.objects.get(key).cloned()))?;
        match (found, self.listing) {
            (Some(object), _) => Ok(object),
            (None, Listing::Allowed) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (None, Listing::Denied) => Err(s3_error!(AccessDenied, "Access Denied")),
        }
    }

    /// Returns a new object, written now.
    pub(crate) fn object(&self, body: Bytes, attributes: Attributes, checksum: Checksum) -> Stored {
        let etag = self.etag(&body);
        Stored {
            body,
            etag,
            modified: now(),
            meta: attributes.meta,
            content_type: attributes.content_type,
            checksum,
        }
    }

    /// Returns the ETag of an object or part that was written in one piece.
    pub(crate) fn etag(&self, body: &[u8]) -> String {
        match self.etags {
            Etags::Md5 => hex(Md5::checksum(body).as_ref()),
            Etags::Unique => uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// Returns the ETag of an object made of `count` parts, given the MD5 of their MD5s.
    pub(crate) fn etag_of_parts(&self, md5: &str, count: usize) -> String {
        match self.etags {
            Etags::Md5 => format!("{md5}-{count}"),
            Etags::Unique => format!("{}-{count}", uuid::Uuid::new_v4().simple()),
        }
    }
}

/// Returns bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the wall clock's time in whole seconds, which is all that S3 keeps.
#[expect(clippy::disallowed_methods, reason = "a server stamps objects with its own clock")]
pub(crate) fn now() -> SystemTime {
    whole_seconds(SystemTime::now())
}

/// Returns the time without its fraction of a second.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => time,
    }
}
