//! Checksums of bodies: verified on the way in, kept, and given back.
//!
//! The crate that speaks the protocol verifies only signatures. Here are `x-amz-checksum-*`
//! in a header or behind the body, `Content-MD5`, and lengths.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{ChecksumType, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};

/// An algorithm that S3 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Returns the algorithm of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Returns the name as in `x-amz-checksum-algorithm`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Returns the digest of `bytes` in base64.
    pub(crate) fn digest(self, bytes: &[u8]) -> String {
        let mut hasher = ChecksumHasher::default();
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        hasher.update(bytes);
        let sums = hasher.finalize();
        let digest = match self {
            Self::Crc32 => sums.checksum_crc32,
            Self::Crc32c => sums.checksum_crc32c,
            Self::Crc64Nvme => sums.checksum_crc64nvme,
            Self::Sha1 => sums.checksum_sha1,
            Self::Sha256 => sums.checksum_sha256,
        };
        digest.expect("the hasher was given this algorithm")
    }
}

/// Whether a checksum covers the bytes or the parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    FullObject,
    Composite,
}

impl Coverage {
    /// Returns it as the field of an answer.
    pub(crate) fn dto(self) -> ChecksumType {
        ChecksumType::from_static(match self {
            Self::FullObject => ChecksumType::FULL_OBJECT,
            Self::Composite => ChecksumType::COMPOSITE,
        })
    }
}

/// The checksum that is kept with an object or part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) value: String,
    pub(crate) coverage: Coverage,
}

impl Checksum {
    /// Returns the checksum over these bytes.
    pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self { algorithm, value: algorithm.digest(bytes), coverage: Coverage::FullObject }
    }

    /// Returns the checksum over the parts' checksums.
    pub(crate) fn composite<'a>(algorithm: Algorithm, parts: impl Iterator<Item = &'a Self>) -> Self {
        let raw: Vec<_> =
            parts.map(|part| base64_simd::STANDARD.decode_to_vec(&part.value).unwrap_or_default()).collect();
        let value = format!("{}-{}", algorithm.digest(&raw.concat()), raw.len());
        Self { algorithm, value, coverage: Coverage::Composite }
    }

    /// Returns the checksum that S3 makes up for an object that came with none.
    pub(crate) fn by_default(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Crc64Nvme, bytes)
    }

    /// Returns the checksum as the fields of an answer.
    pub(crate) fn fields(&self) -> s3s::dto::Checksum {
        let is = |algorithm| (self.algorithm == algorithm).then(|| self.value.clone());
        s3s::dto::Checksum {
            checksum_crc32: is(Algorithm::Crc32),
            checksum_crc32c: is(Algorithm::Crc32c),
            checksum_crc64nvme: is(Algorithm::Crc64Nvme),
            checksum_sha1: is(Algorithm::Sha1),
            checksum_sha256: is(Algorithm::Sha256),
            checksum_type: Some(self.coverage.dto()),
        }
    }
}

/// A body that is exactly what its sender claimed, and the checksum it claimed, if any.
pub(crate) struct Verified {
    pub(crate) bytes: Bytes,
    pub(crate) checksum: Option<Checksum>,
}

/// Reads a request's body to its end and verifies every claim about it.
///
/// Fails with `IncompleteBody`, `BadDigest`, `InvalidDigest` or a signature's error.
pub(crate) async fn receive<T>(
    body: Option<StreamingBlob>,
    length: Option<i64>,
    request: &S3Request<T>,
) -> S3Result<Verified> {
    let bytes = collect(body, length).await?;
    if let Some(claimed) = request.headers.get("content-md5") {
        verify_md5(claimed.as_bytes(), &bytes)?;
    }
    let trailers = request.trailing_headers.as_ref().and_then(s3s::TrailingHeaders::take);
    let checksum = claimed_checksum(&request.headers, &trailers.unwrap_or_default())?;
    if let Some(claimed) = &checksum
        && claimed.algorithm.digest(&bytes) != claimed.value
    {
        return Err(bad_digest(claimed.algorithm.name()));
    }
    Ok(Verified { bytes, checksum })
}

async fn collect(body: Option<StreamingBlob>, length: Option<i64>) -> S3Result<Bytes> {
    let expected = length.and_then(|length| usize::try_from(length).ok());
    let mut bytes = BytesMut::with_capacity(expected.unwrap_or(0));
    let mut body = body.unwrap_or_else(|| s3s::Body::empty().into());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| broken_body(&error.to_string()))?;
        bytes.extend_from_slice(&chunk);
    }
    if expected.is_some_and(|expected| expected != bytes.len()) {
        return Err(broken_body("the body has another length than was announced"));
    }
    Ok(bytes.freeze())
}

/// Names what was wrong with a body as S3 would; the protocol crate only gives a text.
fn broken_body(what: &str) -> S3Error {
    if what.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "A chunk's signature does not match")
    } else if what.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        refused(code, "The provided 'x-amz-content-sha256' header does not match what was computed.")
    } else {
        s3_error!(IncompleteBody, "You did not provide the number of bytes specified: {what}")
    }
}

/// Returns a 400 with a code that the protocol crate has no name for.
fn refused(code: S3ErrorCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(code, message);
    error.set_status_code(hyper::StatusCode::BAD_REQUEST);
    error
}

fn verify_md5(claimed: &[u8], bytes: &[u8]) -> S3Result {
    let claimed = base64_simd::STANDARD.decode_to_vec(claimed).unwrap_or_default();
    if claimed.len() != 16 {
        return Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."));
    }
    if claimed != Md5::checksum(bytes).as_ref() {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
    }
    Ok(())
}

fn bad_digest(name: &str) -> S3Error {
    s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum.")
}

/// Returns the one checksum that is claimed, before the body or behind it.
fn claimed_checksum(headers: &HeaderMap, trailers: &HeaderMap) -> S3Result<Option<Checksum>> {
    if let Some(promised) = headers.get("x-amz-trailer")
        && !promised.to_str().is_ok_and(|name| trailers.contains_key(name))
    {
        let code = S3ErrorCode::Custom("MalformedTrailerError".into());
        return Err(refused(code, "The request contained trailing data that was not well-formed."));
    }
    let mut claims = claims_in(headers)?;
    claims.extend(claims_in(trailers)?);
    match claims.len() {
        0 | 1 => Ok(claims.pop()),
        _ => Err(s3_error!(InvalidRequest, "Expecting a single x-amz-checksum- header.")),
    }
}

/// Returns the checksums that headers claim.
pub(crate) fn claims_in(headers: &HeaderMap) -> S3Result<Vec<Checksum>> {
    let mut claims = Vec::new();
    for algorithm in Algorithm::ALL {
        let Some(value) = headers.get(algorithm.header()) else { continue };
        let value = value.to_str().unwrap_or_default().to_owned();
        if base64_simd::STANDARD.decode_to_vec(&value).is_err() {
            return Err(s3_error!(InvalidRequest, "Value for {} header is invalid.", algorithm.header()));
        }
        claims.push(Checksum { algorithm, value, coverage: Coverage::FullObject });
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_checksum_is_claimed_before_the_body_or_behind_it_and_once() {
        let (none, crc) = (headers(&[]), headers(&[("x-amz-checksum-crc32", "NhCmhg==")]));
        let promise = headers(&[("x-amz-trailer", "x-amz-checksum-crc32")]);
        let claimed = Checksum::of(Algorithm::Crc32, b"hello");
        assert_eq!(claimed_checksum(&none, &none).unwrap(), None);
        assert_eq!(claimed_checksum(&crc, &none).unwrap(), Some(claimed.clone()));
        assert_eq!(claimed_checksum(&promise, &crc).unwrap(), Some(claimed));
        let broken = claimed_checksum(&promise, &none).unwrap_err();
        assert_eq!(broken.code().as_str(), "MalformedTrailerError");
        let twice = claimed_checksum(&crc, &headers(&[("x-amz-checksum-sha1", "AAAA")])).unwrap_err();
        assert_eq!(twice.code().as_str(), "InvalidRequest");
    }

    #[test]
    fn a_composite_checksum_covers_the_parts_checksums() {
        let parts = [Checksum::of(Algorithm::Crc32c, b"a"), Checksum::of(Algorithm::Crc32c, b"b")];
        let raw: Vec<u8> =
            parts.iter().flat_map(|part| base64_simd::STANDARD.decode_to_vec(&part.value).unwrap()).collect();
        let whole = Checksum::composite(Algorithm::Crc32c, parts.iter());
        assert_eq!(whole.value, format!("{}-2", Algorithm::Crc32c.digest(&raw)));
        assert_eq!(whole.coverage, Coverage::Composite);
    }
}
