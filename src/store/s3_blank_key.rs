//! Keys that consist of blanks only.
//!
//! S3 takes them, but the SDK mistakes them for missing ones and refuses to send. So they go
//! through the SDK behind a mark, which is taken out of the address before it is signed.

use std::borrow::Cow;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use crate::model::key::ObjectKey;

/// Noncharacters, which stand in no text that is exchanged.
const MARK: &str = "\u{10fffe}\u{10ffff}blank\u{10fffe}";
/// The mark as it stands in an address.
const MARK_IN_URI: &str = "%F4%8F%BF%BE%F4%8F%BF%BFblank%F4%8F%BF%BE";

/// Returns the key as the SDK is to be told it.
pub(super) fn sdk_key(key: &ObjectKey) -> Cow<'_, str> {
    let text = key.as_str();
    if text.trim().is_empty() { Cow::Owned(format!("{MARK}{text}")) } else { Cow::Borrowed(text) }
}

/// Takes the mark out of addresses.
#[derive(Debug)]
pub(super) struct UnmarkBlankKeys;

impl Intercept for UnmarkBlankKeys {
    fn name(&self) -> &'static str {
        "UnmarkBlankKeys"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if let Some((before, after)) = request.uri().split_once(MARK_IN_URI) {
            let unmarked = format!("{before}{after}");
            request.set_uri(unmarked)?;
        }
        Ok(())
    }
}
