//! What each key may be in the bucket: whatever it was here since it was last made safe.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bayou::model::content_hash::ContentHash;

use crate::bucket_view::BucketView;
use crate::file_tree::{Node, Tree};

const PAGE: usize = 4096;

/// All states of all names, the latest last.
#[derive(Debug, Default)]
pub(crate) struct History {
    paths: HashMap<String, Past>,
}

#[derive(Debug)]
struct Past {
    /// The objects; `None`: there was none.
    states: Vec<State>,
    /// The state in which the name last came to mean something else, or nothing.
    named: usize,
    /// The bucket has this state or a later one.
    safe: usize,
}

/// What a name was at one time.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    hash: Option<String>,
    bytes: Option<Arc<Vec<u8>>>,
}

impl State {
    fn of(node: &Node) -> Self {
        let bytes = match node {
            Node::File { bytes, .. } => Some(Arc::clone(bytes)),
            Node::Folder | Node::Link(_) => None,
        };
        Self { hash: node.hash(), bytes }
    }
}

impl Past {
    /// Returns whether an object may be this, given all states from one on.
    fn has_been(&self, from: usize, hash: &Option<String>) -> bool {
        let states = &self.states[from..];
        states.iter().any(|state| state.hash == *hash)
            || states.windows(2).any(|pair| is_between(&pair[0], &pair[1], hash))
    }

    fn hashes(&self) -> Vec<&str> {
        self.states[self.safe..].iter().map(|state| state.hash.as_deref().unwrap_or("nothing")).collect()
    }
}

/// The kernel may cut a write in two where a page ends, and a push may come between them.
fn is_between(before: &State, after: &State, hash: &Option<String>) -> bool {
    let (Some(old), Some(new), Some(hash)) = (&before.bytes, &after.bytes, hash) else { return false };
    let is_new =
        |(n, page): &(usize, &[u8])| old.get(n * PAGE..).is_none_or(|there| !there.starts_with(page));
    let mut changed = new.chunks(PAGE).enumerate().filter(is_new).map(|(n, _)| n);
    let Some(first) = changed.next() else { return false };
    let last = changed.next_back().unwrap_or(first);
    (first + 1..=last).map(|page| page * PAGE).any(|cut| {
        let rest = old.get(cut..).unwrap_or_default();
        ContentHash::of(&[&new[..cut], rest].concat()).to_string() == *hash
    })
}

/// What a change is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeOf {
    Names,
    Content,
}

impl Default for Past {
    fn default() -> Self {
        Self { states: vec![State::default()], named: 0, safe: 0 }
    }
}

impl History {
    /// Begins anew with a tree that the bucket has exactly.
    pub(crate) fn settle(&mut self, tree: &Tree) {
        self.paths.clear();
        for (path, node) in tree {
            self.paths.insert(path.clone(), Past { states: vec![State::of(node)], named: 0, safe: 0 });
        }
    }

    /// Notes that a change may be made.
    pub(crate) fn note(&mut self, before: &Tree, after: &Tree, of: ChangeOf) {
        let gone = before.keys().filter(|path| !after.contains_key(*path));
        gone.for_each(|path| self.add(path, State::default(), of));
        for (path, node) in after {
            if before.get(path) != Some(node) {
                self.add(path, State::of(node), of);
            }
        }
    }

    fn add(&mut self, path: &str, state: State, of: ChangeOf) {
        let past = self.paths.entry(path.to_owned()).or_default();
        if past.states.last() != Some(&state) {
            past.states.push(state);
        }
        if of == ChangeOf::Names {
            past.named = past.states.len() - 1;
        }
    }

    /// Notes that the bucket has the present state of a name.
    pub(crate) fn is_safe(&mut self, path: &str) {
        if let Some(past) = self.paths.get_mut(path) {
            past.safe = past.states.len() - 1;
        }
    }

    /// Notes that the bucket has all names directly in a folder; their content may be older
    /// than it is here.
    pub(crate) fn folder_is_safe(&mut self, folder: &str) {
        for (path, past) in &mut self.paths {
            if path.rsplit_once('/').is_some_and(|(parent, _)| parent == folder) {
                past.safe = past.safe.max(past.named);
            }
        }
    }

    /// Returns what the bucket has of the names below a folder and may not have.
    pub(crate) fn faults(&self, bucket: &BucketView, below: &str) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (path, past) in &self.paths {
            let object = bucket.objects.get(path);
            let hash = object.map(|object| object.hash.clone());
            let entry = bucket.entries.get(path);
            let named = entry.and_then(|entry| entry.sha256).map(|hash| hash.to_string());
            let mut add = |fault: String| faults.push((path.clone(), fault));
            if entry.is_none() && !past.has_been(past.safe, &None) {
                add("was made safe, and the index does not name it".to_owned());
            }
            if entry.is_some() && !past.has_been(past.safe, &hash) {
                add(format!("is {object:?}, not {:?}", past.hashes()));
            }
            if named.is_some() && !past.has_been(past.safe, &named) {
                add(format!("is {named:?} in the index, not {:?}", past.hashes()));
            }
            if object.is_some() && !past.has_been(0, &hash) {
                add(format!("never was {object:?}"));
            }
        }
        let unknown = |path: &&String| path.starts_with(below) && !self.paths.contains_key(*path);
        let objects = bucket.objects.keys().filter(unknown);
        faults.extend(objects.map(|path| (path.clone(), "never was, and has an object".to_owned())));
        faults
    }
}

/// Returns in what the bucket is not exactly this tree of files.
pub(crate) fn inexact(bucket: &BucketView, tree: &Tree, below: &str) -> Vec<String> {
    let expected: BTreeMap<&String, String> =
        tree.iter().filter_map(|(path, node)| Some((path, Node::hash(node)?))).collect();
    let mut faults = Vec::new();
    for (path, hash) in &expected {
        let named = bucket.entries.get(*path).map(|entry| entry.sha256.map(|hash| hash.to_string()));
        match named {
            None => faults.push(format!("{path}: the index does not name it")),
            Some(Some(named)) if named != *hash => {
                faults.push(format!("{path}: the index names {named}, not {hash}"))
            }
            Some(_) => {}
        }
        if bucket.objects.get(*path).map(|object| &object.hash) != Some(hash) {
            faults.push(format!("{path}: the object is {:?}, not {hash}", bucket.objects.get(*path)));
        }
    }
    let extra = |path: &&String| path.starts_with(below) && !expected.contains_key(path);
    faults
        .extend(bucket.entries.keys().filter(extra).map(|path| format!("{path}: the index still names it")));
    faults.extend(bucket.objects.keys().filter(extra).map(|path| format!("{path}: its object is left")));
    faults
}
