//! ListObjectsV2: pages of keys in byte order, folded at a delimiter.

use std::ops::Bound;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::bucket::{Bucket, Store, Stored};
use crate::conditions::timestamp;
use crate::objects::length;

/// What `encoding-type=url` leaves as it is. A space becomes `+`, as from S3.
const URL_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

const MAX_KEYS: usize = 1000;

/// Answers ListObjectsV2.
pub(crate) fn list(
    store: &Store,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let asked = input.max_keys.unwrap_or(1000);
    let max_keys = usize::try_from(asked).map_err(|_| {
        s3_error!(InvalidArgument, "Argument max-keys must be an integer between 0 and 2147483647")
    })?;
    let after = match &input.continuation_token {
        Some(token) => Some(Position::of_token(token)?),
        None => input.start_after.clone().filter(|key| !key.is_empty()).map(Position::Key),
    };
    let walk = Walk {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|d| !d.is_empty()),
        max_keys: max_keys.min(MAX_KEYS),
    };
    let page = store.with(&input.bucket, |bucket| Ok(walk.page(bucket, after)))?;
    let encode = Encoding::of(input.encoding_type.as_ref());
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encode.apply(walk.prefix)),
        delimiter: walk.delimiter.map(|d| encode.apply(d)),
        start_after: input.start_after.map(|key| encode.apply(key)),
        encoding_type: input.encoding_type,
        max_keys: Some(asked.min(1000)),
        key_count: i32::try_from(page.objects.len() + page.prefixes.len()).ok(),
        is_truncated: Some(page.next.is_some()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next.map(|position| position.token()),
        contents: Some(
            page.objects.into_iter().map(|(key, object)| entry(encode.apply(key), &object)).collect(),
        ),
        common_prefixes: Some(
            page.prefixes
                .into_iter()
                .map(|prefix| CommonPrefix { prefix: Some(encode.apply(prefix)) })
                .collect(),
        ),
        request_charged: None,
    }))
}

/// Whether keys in the answer are percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(crate) fn of(asked: Option<&EncodingType>) -> Self {
        match asked {
            Some(asked) if asked.as_str() == EncodingType::URL => Self::Url,
            _ => Self::Plain,
        }
    }

    pub(crate) fn apply(self, text: String) -> String {
        match self {
            Self::Plain => text,
            Self::Url => utf8_percent_encode(&text, URL_ENCODED).to_string().replace(' ', "+"),
        }
    }
}

/// Where a page ended: at a key, or at a folded prefix whose keys are all behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Position {
    Key(String),
    Prefix(String),
}

impl Position {
    fn token(&self) -> String {
        let plain = match self {
            Self::Key(key) => format!("k{key}"),
            Self::Prefix(prefix) => format!("p{prefix}"),
        };
        base64_simd::STANDARD.encode_to_string(plain)
    }

    fn of_token(token: &str) -> S3Result<Self> {
        let invalid = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
        let plain = base64_simd::STANDARD.decode_to_vec(token).map_err(|_| invalid())?;
        let plain = String::from_utf8(plain).map_err(|_| invalid())?;
        match plain.split_at_checked(1) {
            Some(("k", key)) => Ok(Self::Key(key.to_owned())),
            Some(("p", prefix)) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Err(invalid()),
        }
    }

    fn covers(&self, key: &str) -> bool {
        match self {
            Self::Key(last) => key <= last.as_str(),
            Self::Prefix(last) => key <= last.as_str() || key.starts_with(last.as_str()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }
}

struct Walk {
    prefix: String,
    delimiter: Option<String>,
    max_keys: usize,
}

#[derive(Default)]
struct Page {
    objects: Vec<(String, Stored)>,
    prefixes: Vec<String>,
    next: Option<Position>,
}

impl Walk {
    fn page(&self, bucket: &Bucket, after: Option<Position>) -> Page {
        let mut page = Page::default();
        if self.max_keys == 0 {
            return page;
        }
        let start = after.as_ref().map_or("", Position::text).max(&self.prefix).to_owned();
        let mut last = None;
        for (key, object) in
            bucket.objects.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
        {
            if !key.starts_with(&self.prefix) {
                break;
            }
            if after.as_ref().is_some_and(|after| after.covers(key)) {
                continue;
            }
            let folded = self.folded(key);
            if folded.is_some() && folded == page.prefixes.last().map(String::as_str) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == self.max_keys {
                page.next = last;
                break;
            }
            match folded {
                Some(prefix) => {
                    page.prefixes.push(prefix.to_owned());
                    last = Some(Position::Prefix(prefix.to_owned()));
                }
                None => {
                    page.objects.push((key.clone(), object.clone()));
                    last = Some(Position::Key(key.clone()));
                }
            }
        }
        page
    }

    /// Returns the part of the key up to the first delimiter after the prefix.
    fn folded<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.as_deref()?;
        let at = key[self.prefix.len()..].find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

fn entry(key: String, object: &Stored) -> Object {
    Object {
        key: Some(key),
        size: Some(length(object.body.len())),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Default::default()
    }
}
