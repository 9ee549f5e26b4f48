//! How user metadata is written, the same in every bucket.
//!
//! The headers of S3 carry plain ASCII only. Google Cloud Storage takes more, but an object
//! that a tool copies from one to the other keeps its metadata to the letter, so both have the
//! same escape.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::store::{Nonce, PutOptions, UserMeta};

/// What is escaped in the value of user metadata that is not plain text.
const META: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'"').add(b',');

/// Returns the user metadata of a new object, the nonce included, as it is sent.
pub(super) fn encode_meta(options: &PutOptions) -> HashMap<String, String> {
    let mut meta: HashMap<_, _> =
        options.meta.iter().map(|(name, value)| (name.clone(), encode_value(value).into_owned())).collect();
    meta.insert(Nonce::META.to_owned(), options.nonce.as_str().to_owned());
    meta
}

/// Returns the user metadata that an answer carries.
pub(super) fn decode_meta<'a>(said: impl IntoIterator<Item = (&'a String, &'a String)>) -> UserMeta {
    let decode = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
    said.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), decode(value))).collect()
}

/// Leaves plain text readable for other tools and escapes the rest.
fn encode_value(value: &str) -> Cow<'_, str> {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%');
    let is_trimmed = !value.starts_with(' ') && !value.ends_with(' ');
    if is_plain && is_trimmed { Cow::Borrowed(value) } else { utf8_percent_encode(value, META).into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Condition;

    fn meta_round_trip(value: &str) -> String {
        let mut options = PutOptions::when(Condition::Always);
        options.meta.insert("name".to_owned(), value.to_owned());
        let headers = encode_meta(&options);
        let sent = &headers["name"];
        assert!(sent.bytes().all(|b| (b' '..=b'~').contains(&b)), "{sent:?} is not plain ASCII");
        assert_eq!(sent.trim(), sent, "servers trim headers");
        assert_eq!(decode_meta(&headers)[Nonce::META], options.nonce.as_str());
        decode_meta(&headers).remove("name").unwrap()
    }

    #[test]
    fn plain_metadata_stays_readable_for_other_tools() {
        for value in ["", "644", "a b, c; \"d\"", "{\"x\":1}"] {
            assert_eq!(encode_value(value), value);
        }
        assert_eq!(encode_value("ü 100%"), "%C3%BC%20100%25");
    }

    proptest! {
        #[test]
        fn any_metadata_comes_back_as_it_was(value in ".*") {
            prop_assert_eq!(meta_round_trip(&value), value);
        }
    }
}
