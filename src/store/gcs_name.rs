//! How keys are named in Google Cloud Storage.
//!
//! An object there has any name but `.`, `..` and one with a line break, so these keys need
//! another name: `␊` and `␍` stand for the line breaks and `．` for a lone dot, behind a `‛`
//! where the sign itself is meant. rclone writes them the same way. Every other key is its own
//! name, and every name is the name of exactly one key.

use std::borrow::Cow;

/// Stands before a sign that means itself.
const QUOTE: char = '‛';

/// Returns the name of the object with this key.
pub(super) fn name_of(key: &str) -> Cow<'_, str> {
    match Dots::of_key(key) {
        Some(dots) => Cow::Owned(dots.name()),
        None => without_breaks(key),
    }
}

/// Returns what the names of all keys with this prefix begin with; others may, too.
pub(super) fn name_prefix_of(prefix: &str) -> Cow<'_, str> {
    match Dots::of_key(prefix) {
        Some(_) => Cow::Borrowed(""),
        None => without_breaks(prefix),
    }
}

fn without_breaks(key: &str) -> Cow<'_, str> {
    if !key.contains(['\n', '\r', '␊', '␍']) {
        return Cow::Borrowed(key);
    }
    let quoted = |quotes: usize, sign| match sign {
        '\n' => (2 * quotes, '␊'),
        '\r' => (2 * quotes, '␍'),
        '␊' | '␍' => (2 * quotes + 1, sign),
        other => (quotes, other),
    };
    Cow::Owned(rewrite(key, quoted))
}

/// Returns the key of the object with this name.
pub(super) fn key_of(name: &str) -> Cow<'_, str> {
    if let Some(dots) = Dots::of_name(name) {
        return Cow::Owned(dots.key());
    }
    if !name.contains(['␊', '␍']) {
        return Cow::Borrowed(name);
    }
    let meant = |quotes: usize, sign| match sign {
        '␊' | '␍' if quotes % 2 == 1 => (quotes / 2, sign),
        '␊' => (quotes / 2, '\n'),
        '␍' => (quotes / 2, '\r'),
        other => (quotes, other),
    };
    Cow::Owned(rewrite(name, meant))
}

/// Exchanges each sign, together with the number of quotes before it.
fn rewrite(text: &str, exchange: impl Fn(usize, char) -> (usize, char)) -> String {
    let (mut written, mut quotes) = (String::with_capacity(text.len() + 8), 0);
    let quote = |written: &mut String, count| written.extend(std::iter::repeat_n(QUOTE, count));
    for sign in text.chars() {
        if sign == QUOTE {
            quotes += 1;
            continue;
        }
        let (before, sign) = exchange(std::mem::take(&mut quotes), sign);
        quote(&mut written, before);
        written.push(sign);
    }
    quote(&mut written, quotes);
    written
}

/// A key of dots only, or one that looks like the name of such a key.
struct Dots {
    /// How many quotes its name has.
    quotes: usize,
    is_two: bool,
}

impl Dots {
    fn of_key(key: &str) -> Option<Self> {
        match key {
            "." => Some(Self { quotes: 0, is_two: false }),
            ".." => Some(Self { quotes: 0, is_two: true }),
            _ => Self::of_name(key).map(|dots| Self { quotes: dots.quotes + 1, ..dots }),
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let bare = name.trim_start_matches(QUOTE);
        let quotes = (name.len() - bare.len()) / QUOTE.len_utf8();
        matches!(bare, "．" | "．．").then_some(Self { quotes, is_two: bare == "．．" })
    }

    fn name(&self) -> String {
        let quotes = QUOTE.to_string().repeat(self.quotes);
        quotes + if self.is_two { "．．" } else { "．" }
    }

    fn key(&self) -> String {
        match self.quotes {
            0 => if self.is_two { ".." } else { "." }.to_owned(),
            quotes => Self { quotes: quotes - 1, is_two: self.is_two }.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_that_no_object_can_be_named_have_a_name_and_all_others_are_their_own() {
        let table = [
            ("a\nb", "a␊b"),
            ("a\rb", "a␍b"),
            ("a␊b", "a‛␊b"),
            ("a‛\n", "a‛‛␊"),
            ("a‛␊", "a‛‛‛␊"),
            (".", "．"),
            ("..", "．．"),
            ("．", "‛．"),
            ("‛．．", "‛‛．．"),
        ];
        for (key, name) in table {
            assert_eq!(name_of(key), name, "{key:?}");
            assert_eq!(key_of(name), key, "{name:?}");
        }
        for plain in ["", "a", "...", "../x", "a/..", "‛", "a‛b", "．x", "x．"] {
            assert!(matches!(name_of(plain), Cow::Borrowed(name) if name == plain), "{plain:?}");
            assert_eq!(key_of(plain), plain);
        }
    }

    proptest! {
        #[test]
        fn the_prefix_of_a_key_is_found_in_its_name(prefix in "[.．‛␊a\n]{0,3}", rest in "[.．‛␊a\n]{0,3}") {
            let key = format!("{prefix}{rest}");
            prop_assert!(name_of(&key).starts_with(&*name_prefix_of(&prefix)), "{key:?}");
        }

        #[test]
        fn every_key_has_a_name_that_an_object_can_have(key in "[.．‛␊␍a\n\r]{0,8}") {
            let name = name_of(&key);
            prop_assert!(!name.contains(['\n', '\r']) && name != "." && name != "..");
            prop_assert_eq!(key_of(&name), &*key);
        }

        #[test]
        fn every_name_is_that_of_its_key(name in "[．‛␊␍a]{0,8}") {
            let key = key_of(&name);
            prop_assert_eq!(name_of(&key), &*name);
        }
    }
}
