//! What was written by whom, and what of it was given up knowingly.
//!
//! Every content is written once only, so a text says where it came from. A content is given up
//! when a machine that sees it replaces or removes it, and when swamp puts or deletes an object
//! that holds it. All others must be in the bucket in the end.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// The book of contents.
#[derive(Default)]
pub(crate) struct Ledger {
    ours: BTreeMap<String, String>,
    theirs: BTreeMap<String, String>,
    given_up: BTreeSet<String>,
    /// What swamp last made of each object; nothing if it deleted it.
    deeds: BTreeMap<String, Option<String>>,
    written: usize,
    story: Vec<String>,
}

impl Ledger {
    /// Returns a text that was never written before. Many have the same size: swamp sees no
    /// difference between those.
    fn fresh(&mut self, pad: usize) -> String {
        self.written += 1;
        format!("<{:05}{}>", self.written, "+".repeat(pad))
    }

    /// Returns a new content of ours.
    pub(crate) fn ours(&mut self, pad: usize, note: String) -> String {
        let text = self.fresh(pad);
        self.note(format!("{text}: {note}"));
        self.ours.insert(text.clone(), note);
        text
    }

    /// Returns a new content of swamp's; it counts once it is in the bucket.
    pub(crate) fn theirs(&mut self, pad: usize) -> String {
        self.fresh(pad)
    }

    /// Notes that somebody who saw this replaced or removed it.
    pub(crate) fn give_up(&mut self, content: Option<&str>) {
        if let Some(text) = content {
            self.ours.remove(text);
            self.theirs.remove(text);
            self.given_up.insert(text.to_owned());
        }
    }

    /// Notes what swamp did to an object: what it was, and what it is since.
    pub(crate) fn record(&mut self, key: &str, before: Option<&Bytes>, after: Option<&Bytes>) {
        let text = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
        let (before, after) = (before.map(text), after.map(text));
        self.note(format!("  swamp makes {key} {before:?} -> {after:?}"));
        if before != after {
            self.give_up(before.as_deref());
        }
        self.deeds.insert(key.to_owned(), after.clone());
        // What was given up and is put again by a stale cache is no news to anybody.
        if let Some(after) = after.filter(|after| !self.given_up.contains(after)) {
            self.theirs.insert(after, format!("swamp put {key}"));
        }
    }

    /// Returns whether an object is as swamp left it: what the index says of it is swamp's affair.
    pub(crate) fn is_as_swamp_left_it(&self, key: &str, object: Option<&String>) -> bool {
        self.deeds.get(key).is_some_and(|left| left.as_ref() == object)
    }

    pub(crate) fn note(&mut self, text: String) {
        self.story.push(text);
    }

    /// Returns our contents that must be in the bucket and its index, with what they are.
    pub(crate) fn our_contents(&self) -> &BTreeMap<String, String> {
        &self.ours
    }

    /// Returns swamp's contents that must be in the bucket.
    pub(crate) fn their_contents(&self) -> &BTreeMap<String, String> {
        &self.theirs
    }

    /// Returns what happened, the last part of it if that is long.
    pub(crate) fn story(&self) -> String {
        const LAST: usize = 10_000;
        self.story[self.story.len().saturating_sub(LAST)..].join("\n")
    }
}
