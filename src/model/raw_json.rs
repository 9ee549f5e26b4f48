//! JSON that is kept as the text it came in.
//!
//! The index belongs to several programs. What another program wrote, and nobody changed, must
//! leave here byte for byte as it came, members unknown to us included. So values stay text;
//! only blanks between them are dropped.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object from names to values that are kept as text, in the order they were written.
#[derive(Debug, Clone, Default)]
pub(super) struct RawMap {
    /// `None` marks a removed member, so that removing does not move the others.
    slots: IndexMap<Box<str>, Option<Box<RawValue>>>,
    removed: usize,
}

impl RawMap {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.removed
    }

    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        self.slots.get(name)?.as_deref()
    }

    /// Sets a member; a member that exists keeps its place.
    pub(super) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.slots.get_mut(name) {
            Some(slot) => self.removed -= usize::from(slot.replace(value).is_none()),
            None => drop(self.slots.insert(name.into(), Some(value))),
        }
    }

    /// Removes a member; returns whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let there = self.slots.get_mut(name).is_some_and(|slot| slot.take().is_some());
        self.removed += usize::from(there);
        there
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.slots.iter().filter_map(|(name, value)| Some((&**name, value.as_deref()?)))
    }

    /// Appends the object as compact JSON.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_member(out, name, value);
        }
        out.push(b'}');
    }
}

impl<'de> Deserialize<'de> for RawMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawMapVisitor)
    }
}

struct RawMapVisitor;

impl<'de> Visitor<'de> for RawMapVisitor {
    type Value = RawMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawMap, A::Error> {
        let mut map = RawMap::default();
        while let Some(name) = members.next_key::<Box<str>>()? {
            let value = compact(members.next_value()?);
            map.slots.insert(name, Some(value));
        }
        Ok(map)
    }
}

/// Appends `"name":value`.
pub(super) fn write_member(out: &mut Vec<u8>, name: &str, value: &RawValue) {
    serde_json::to_writer(&mut *out, name).expect("writing text to memory cannot fail");
    out.push(b':');
    out.extend_from_slice(value.get().as_bytes());
}

/// Returns the value without blanks between its parts.
pub(super) fn compact(value: Box<RawValue>) -> Box<RawValue> {
    match without_blanks(value.get()) {
        Cow::Borrowed(_) => value,
        Cow::Owned(text) => RawValue::from_string(text).unwrap_or(value),
    }
}

fn without_blanks(text: &str) -> Cow<'_, str> {
    let (mut kept, mut run_start) = (String::new(), 0);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            kept.push_str(&text[run_start..at]);
            run_start = at + 1;
        }
    }
    if run_start == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[run_start..]);
    Cow::Owned(kept)
}

/// A name in an object, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of a JSON object, borrowed from its text; none if it is not an object.
#[derive(Default)]
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(super) fn of(value: &'a RawValue) -> Self {
        serde_json::from_str(value.get()).unwrap_or_default()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

/// Returns the text, if the value is a string.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Returns the number, if the value is a whole number from 0 to 2^53 (what JavaScript keeps)
/// or written without fraction or exponent.
pub(super) fn number_of(value: &RawValue) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let text = value.get();
    text.parse().ok().or_else(|| {
        let float: f64 = serde_json::from_str(text).ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked on this line")]
        (float.fract() == 0.0 && (0.0..=EXACT).contains(&float)).then_some(float as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn written(map: &RawMap) -> String {
        let mut out = Vec::new();
        map.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_blanks_outside_strings_are_dropped() {
        let pretty = "{\n  \"a b\": [ 1,\t2 ],\r\n \"c\\\" \\\\\" : \" x \\\" y \" }";
        assert_eq!(compact(raw(pretty)).get(), "{\"a b\":[1,2],\"c\\\" \\\\\":\" x \\\" y \"}");
        assert_eq!(compact(raw("{\"a\":1.50}")).get(), "{\"a\":1.50}");
    }

    #[test]
    fn removing_and_setting_keep_count_and_order() {
        let mut map: RawMap = serde_json::from_str(r#"{"a": 1, "b": 2, "c": 3}"#).unwrap();
        assert!(map.remove("b"));
        assert!(!map.remove("b"));
        assert!(!map.remove("x"));
        map.set("d", raw("4"));
        assert_eq!((map.len(), written(&map).as_str()), (3, r#"{"a":1,"c":3,"d":4}"#));
        map.set("b", raw("5"));
        map.set("a", raw("6"));
        assert_eq!((map.len(), written(&map).as_str()), (4, r#"{"a":6,"b":5,"c":3,"d":4}"#));
    }

    #[test]
    fn of_a_name_written_twice_the_last_value_counts() {
        let map: RawMap = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(written(&map), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn numbers_are_read_as_javascript_writes_them() {
        assert_eq!(number_of(&raw("6")), Some(6));
        assert_eq!(number_of(&raw("6.0")), Some(6));
        assert_eq!(number_of(&raw("1e3")), Some(1000));
        assert_eq!(number_of(&raw("18446744073709551615")), Some(u64::MAX));
        for odd in ["-1", "1.5", "1e300", "\"6\"", "null", "[]"] {
            assert_eq!(number_of(&raw(odd)), None, "{odd}");
        }
    }
}
