//! Listings: pages of names in byte order, folded at a delimiter.

use std::ops::Bound;

use super::object::{GcsObject, base64};
use super::problem::{Outcome, Problem};
use super::store::{Bucket, Store};

/// Most names on a page.
const MAX_PAGE: usize = 1000;

/// What of a bucket is listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// Empty folds nothing.
    pub(crate) delimiter: String,
    /// Whether an object whose name ends at the fold is listed besides it.
    pub(crate) with_markers: bool,
    /// The first name that may be listed.
    pub(crate) start: String,
    /// The name before which the listing ends; empty for no end.
    pub(crate) end: String,
    /// 0 takes the most there is.
    pub(crate) page_size: i64,
    /// Empty for the first page.
    pub(crate) page_token: String,
}

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, GcsObject)>,
    pub(crate) prefixes: Vec<String>,
    /// Empty on the last page.
    pub(crate) next: String,
}

/// Lists one page.
pub(crate) fn list(store: &Store, query: &Query) -> Outcome<Page> {
    let size = usize::try_from(query.page_size)
        .map_err(|_| Problem::invalid(format!("Invalid value '{}' for maxResults.", query.page_size)))?;
    let size = if size == 0 { MAX_PAGE } else { size.min(MAX_PAGE) };
    let after = Position::of_token(&query.page_token)?;
    let state = store.lock();
    state.may_list()?;
    Ok(query.page(state.bucket(&query.bucket)?, after, size))
}

/// Where a page ended: at a name, or at a folded prefix whose names are all behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Position {
    Start,
    Name(String),
    Prefix(String),
}

impl Position {
    fn token(&self) -> String {
        match self {
            Self::Start => String::new(),
            Self::Name(name) => base64(format!("n{name}").as_bytes()),
            Self::Prefix(prefix) => base64(format!("p{prefix}").as_bytes()),
        }
    }

    fn of_token(token: &str) -> Outcome<Self> {
        if token.is_empty() {
            return Ok(Self::Start);
        }
        let invalid = || Problem::invalid("Invalid argument.");
        let plain = base64_simd::STANDARD.decode_to_vec(token).map_err(|_| invalid())?;
        let plain = String::from_utf8(plain).map_err(|_| invalid())?;
        match plain.split_at_checked(1) {
            Some(("n", name)) => Ok(Self::Name(name.to_owned())),
            Some(("p", prefix)) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Err(invalid()),
        }
    }

    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Start => false,
            Self::Name(last) => name <= last.as_str(),
            Self::Prefix(last) => name <= last.as_str() || name.starts_with(last.as_str()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Start => "",
            Self::Name(text) | Self::Prefix(text) => text,
        }
    }
}

impl Query {
    fn page(&self, bucket: &Bucket, after: Position, size: usize) -> Page {
        let mut page = Page::default();
        let first = after.text().max(&self.prefix).max(&self.start);
        let mut last = Position::Start;
        for (name, object) in bucket.objects.range::<str, _>((Bound::Included(first), Bound::Unbounded)) {
            if !name.starts_with(&self.prefix) || (!self.end.is_empty() && *name >= self.end) {
                break;
            }
            let folded = self.folded(name);
            let marks = self.with_markers && folded == Some(name.as_str());
            let known = folded.is_some() && folded == page.prefixes.last().map(String::as_str);
            if after.covers(name) || (known && !marks) {
                continue;
            }
            // A marker comes together with its prefix.
            let new = usize::from(marks || folded.is_none()) + usize::from(folded.is_some() && !known);
            let held = page.objects.len() + page.prefixes.len();
            if held > 0 && held + new > size {
                page.next = last.token();
                break;
            }
            if marks || folded.is_none() {
                page.objects.push((name.clone(), object.clone()));
                last = Position::Name(name.clone());
            }
            if let Some(prefix) = folded.filter(|_| !known) {
                page.prefixes.push(prefix.to_owned());
                last = Position::Prefix(prefix.to_owned());
            }
        }
        page
    }

    /// Returns the part of the name up to the first delimiter after the prefix.
    fn folded<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let at = name[self.prefix.len()..].find(&self.delimiter)?;
        Some(&name[..self.prefix.len() + at + self.delimiter.len()])
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::gcs::object::Attributes;
    use crate::gcs::options::GcsOptions;
    use crate::gcs::store::{Content, Place};

    const NAMES: [&str; 10] = ["-", "a", "a/", "a/1", "a/2/x", "a/2/y", "a0", "b/1", "b/2", "\u{e4}"];

    /// Returns what is listed, said in the plainest way: objects, then prefixes.
    fn expected(query: &Query) -> (Vec<&'static str>, Vec<&'static str>) {
        let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
        for name in NAMES.into_iter().filter(|name| name.starts_with(&query.prefix)) {
            if name < query.start.as_str() || (!query.end.is_empty() && name >= query.end.as_str()) {
                continue;
            }
            let behind = &name[query.prefix.len()..];
            match behind.find('/').filter(|_| !query.delimiter.is_empty()) {
                None => objects.push(name),
                Some(at) => {
                    let prefix = &name[..=query.prefix.len() + at];
                    prefixes.push(prefix);
                    if query.with_markers && prefix == name {
                        objects.push(name);
                    }
                }
            }
        }
        prefixes.dedup();
        (objects, prefixes)
    }

    #[test]
    fn whatever_the_pages_all_is_listed_once_and_in_order() {
        let store = Store::new(&GcsOptions::default());
        for name in NAMES {
            let content = Content { body: Bytes::new(), attributes: Attributes::default(), components: None };
            store.lock().put(&Place::new("bucket", name), content).expect("the bucket is there");
        }
        let mut asked = 0;
        for bits in 0..8 * 3 * 3 * 4 {
            let mut query = Query {
                bucket: "bucket".to_owned(),
                prefix: if bits & 1 == 0 { "" } else { "a/" }.to_owned(),
                delimiter: if bits & 2 == 0 { "" } else { "/" }.to_owned(),
                with_markers: bits & 4 != 0,
                start: ["", "a/1", "a/2/y"][bits / 8 % 3].to_owned(),
                end: ["", "a/2/y", "b/2"][bits / 24 % 3].to_owned(),
                page_size: i64::try_from(bits / 72).expect("it is small") + 1,
                page_token: String::new(),
            };
            let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
            loop {
                let page = list(&store, &query).expect("the query is good");
                let most = usize::try_from(query.page_size).expect("it is small");
                let most = if query.with_markers { most.max(2) } else { most };
                assert!(page.objects.len() + page.prefixes.len() <= most, "{query:?}");
                objects.extend(page.objects.into_iter().map(|(name, _)| name));
                prefixes.extend(page.prefixes);
                asked += 1;
                assert!(objects.len() + prefixes.len() <= 2 * NAMES.len(), "{query:?} has no end");
                if page.next.is_empty() {
                    break;
                }
                query.page_token = page.next;
            }
            let (all, folded) = expected(&query);
            assert!(objects == all && prefixes == folded, "{query:?}: {objects:?} {prefixes:?}");
        }
        assert!(asked > 500, "{asked} pages");
    }
}
