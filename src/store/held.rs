//! What a get has received over several attempts.
//!
//! A body that breaks off is not asked for again: what arrived is kept, and only the rest of the
//! same version is missing.

use std::ops::Range;

use bytes::BytesMut;

use super::{Fetched, Version};

/// An attempt that brought as many bytes does not count as a failure.
pub(super) const PROGRESS_BYTES: usize = 16 * 1024;

/// What a get has received over several attempts.
pub(super) struct Held<'a> {
    range: Option<Range<u64>>,
    if_version: Option<&'a Version>,
    first: Option<Fetched>,
}

impl<'a> Held<'a> {
    pub(super) fn nothing(range: Option<Range<u64>>, if_version: Option<&'a Version>) -> Self {
        Self { range, if_version, first: None }
    }

    /// Returns the range that is still to be asked for.
    pub(super) fn missing(&self) -> Option<Range<u64>> {
        let Some(first) = &self.first else { return self.range.clone() };
        let whole = self.range.clone().unwrap_or(0..first.meta.size);
        Some(whole.start + first.body.len() as u64..whole.end)
    }

    /// Returns the version to insist on: the caller's, else that of the first answer.
    pub(super) fn version(&self) -> Option<&Version> {
        self.if_version.or_else(|| self.first.as_ref().map(|first| &first.meta.version))
    }

    /// Returns whether the version was not the caller's wish but ours.
    pub(super) fn is_unasked(&self) -> bool {
        self.if_version.is_none() && self.first.is_some()
    }

    pub(super) fn forget(&mut self) {
        self.first = None;
    }

    /// Keeps the beginning of what was missing; returns whether it was much.
    pub(super) fn keep(&mut self, part: Fetched) -> bool {
        let progress = part.body.len() >= PROGRESS_BYTES;
        if !part.body.is_empty() {
            self.first = Some(self.followed_by(part));
        }
        progress
    }

    /// Returns what was held with `rest`, which is of the same version, behind it.
    pub(super) fn followed_by(&mut self, rest: Fetched) -> Fetched {
        let Some(first) = self.first.take() else { return rest };
        let mut body = BytesMut::with_capacity(first.body.len() + rest.body.len());
        body.extend_from_slice(&first.body);
        body.extend_from_slice(&rest.body);
        Fetched { body: body.freeze(), meta: first.meta }
    }
}
