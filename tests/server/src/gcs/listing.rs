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
    Ok(query.page(store.lock().bucket(&query.bucket)?, after, size))
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
            if page.objects.len() + page.prefixes.len() >= size {
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
