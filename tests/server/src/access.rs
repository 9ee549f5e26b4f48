//! Who may do what: key pairs, anonymous access, the region of a signature.

use async_trait::async_trait;
use hyper::header::{self, HeaderMap, HeaderValue};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3Result, s3_error};

use crate::operation::Target;
use crate::options::{Anonymous, KeyPair, Listing, Options, Trailers};

/// The key pairs that are known.
pub(crate) struct Keys(Vec<KeyPair>);

impl Keys {
    pub(crate) fn new(options: &Options) -> Self {
        Self(std::iter::once(options.keys.clone()).chain(options.read_only_keys.clone()).collect())
    }
}

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.iter().find(|pair| pair.access_key == access_key) {
            Some(pair) => Ok(SecretKey::from(pair.secret_key.as_str())),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

/// What a signer (or nobody) may do.
pub(crate) struct Policy {
    read_only: Option<String>,
    anonymous: Anonymous,
    listing: Listing,
    region: Option<String>,
    trailers: Trailers,
}

impl Policy {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            read_only: options.read_only_keys.as_ref().map(|pair| pair.access_key.clone()),
            anonymous: options.anonymous,
            listing: options.listing,
            region: options.region.clone(),
            trailers: options.trailers,
        }
    }

    fn check_region(&self, headers: &HeaderMap) -> S3Result {
        let (Some(ours), Some(theirs)) = (&self.region, signed_region(headers)) else { return Ok(()) };
        if *ours == theirs { Ok(()) } else { Err(wrong_region(ours, &theirs)) }
    }

    fn check_framing(&self, headers: &HeaderMap, signer: Option<&str>) -> S3Result {
        let is_chunked = headers.contains_key("x-amz-trailer");
        if is_chunked && (signer.is_none() || self.trailers == Trailers::Refused) {
            return Err(s3_error!(InvalidRequest, "Invalid payload signature"));
        }
        Ok(())
    }
}

#[async_trait]
impl S3Access for Policy {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let op = Target::of(context.method(), context.uri(), context.headers()).op;
        let signer = context.credentials().map(|credentials| credentials.access_key.clone());
        let may_write = match &signer {
            Some(key) => self.read_only.as_ref() != Some(key),
            None => self.anonymous == Anonymous::MayWrite,
        };
        let may_read = signer.is_some() || self.anonymous != Anonymous::Denied;
        let may = if op.is_write() { may_write } else { may_read };
        if !may || (op.is_listing() && self.listing == Listing::Denied) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        self.check_region(context.headers())?;
        self.check_framing(context.headers(), signer.as_deref())
    }
}

/// Returns the region in an `Authorization` header's credential scope.
fn signed_region(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, scope) = authorization.split_once("Credential=")?;
    scope.split('/').nth(2).map(str::to_owned)
}

fn wrong_region(ours: &str, theirs: &str) -> S3Error {
    let mut error = s3_error!(
        AuthorizationHeaderMalformed,
        "The authorization header is malformed; the region '{theirs}' is wrong; expecting '{ours}'"
    );
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(region) = HeaderValue::from_str(ours) {
        headers.insert("x-amz-bucket-region", region);
    }
    error.set_headers(headers);
    error
}
