//! What an operation is about: models and key prefixes, never how anything is stored.
//!
//! Whoever asks for a [`SyncContext`] asks for less work, not for another result. Which keys
//! and which shards of the index belong to a context is known here alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::key::{DataKey, Refusal};

/// Folders whose keys begin with the folder, the model's type and its id.
const MODEL_FOLDERS: [&str; 3] = ["data", "outputs", "definitions-evaluated"];
/// Folders whose every key is in one shard of that name.
const WHOLE_FOLDERS: [&str; 6] =
    ["workflows-evaluated", "auto-definitions", "audit", "telemetry", "logs", "files"];
/// What joins the parts of a shard's name.
const JOINT: &str = "--";
/// The fewest parts of a key that a model's shard is named by.
const FEWEST_PARTS: usize = 3;
/// How many parts at the end of a key its shard is not named by, at most.
const MOST_UNNAMED: usize = 3;

/// A model: its type, which may have several parts, and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId {
    model_type: String,
    id: String,
}

/// A path in the tree: a file, or a folder with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPrefix(DataKey);

/// Why a text names nothing that an operation could be about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// It is not a type and an id.
    #[error("{text:?} is not TYPE/ID, like aws/ec2/vpc/main")]
    NoModel {
        /// What was given.
        text: String,
    },
    /// It begins with a slash.
    #[error("{text:?} begins with a slash: paths in a bucket do not, write notes/2026")]
    Absolute {
        /// What was given.
        text: String,
    },
    /// It cannot be the path of a file or folder.
    #[error("{text:?} cannot be a path below the mount: it {reason}")]
    NoPath {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        reason: Refusal,
    },
}

/// What an operation is about; nothing in it means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncContext {
    /// Models.
    pub models: Vec<ModelId>,
    /// Files and folders.
    pub prefixes: Vec<KeyPrefix>,
}

impl SyncContext {
    /// Returns whether the operation is about everything.
    pub fn is_everything(&self) -> bool {
        self.models.is_empty() && self.prefixes.is_empty()
    }

    /// Returns the models and paths, as on the command line.
    pub fn words(&self) -> Vec<String> {
        let models = self.models.iter().map(ToString::to_string);
        models.chain(self.prefixes.iter().map(ToString::to_string)).collect()
    }

    /// Returns the same without what is named twice.
    pub(super) fn without_repetition(&self) -> Self {
        let mut context = self.clone();
        context.models.sort();
        context.models.dedup();
        context.prefixes.sort();
        context.prefixes.dedup();
        context
    }

    /// Returns the keys that the operation is about.
    pub fn scope(&self) -> Scope {
        let of_model = |model: &ModelId| {
            let ModelId { model_type, id } = model;
            let folders = MODEL_FOLDERS.map(|folder| format!("{folder}/{model_type}/{id}"));
            folders.into_iter().chain([format!("definitions-evaluated/{model_type}/{id}.yaml")])
        };
        let prefixes = self.prefixes.iter().map(|prefix| prefix.as_str().to_owned());
        Scope { places: self.models.iter().flat_map(of_model).chain(prefixes).collect() }
    }
}

/// The keys that an operation is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Files, or folders with all that is below them; none: everything.
    places: Vec<String>,
}

impl Scope {
    /// Returns what is at or below a path.
    pub fn of_folder(path: &str) -> Self {
        Self { places: vec![path.to_owned()] }
    }

    /// Returns whether these are all keys.
    pub fn is_everything(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether a key, or a folder, is one of these.
    pub fn contains(&self, key: &str) -> bool {
        let is_at_or_in = |place: &String| {
            key.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.is_everything() || self.places.iter().any(is_at_or_in)
    }

    /// Returns whether the shard of this name may hold entries of these keys. Among them are
    /// shards with shorter names: that is where `latest` markers are.
    pub fn may_be_in_shard(&self, name: &str) -> bool {
        self.is_everything() || self.places.iter().any(|place| may_hold(name, place))
    }
}

/// Returns whether a shard may hold the key `place`, or keys below it.
fn may_hold(name: &str, place: &str) -> bool {
    let parts: Vec<&str> = place.split('/').collect();
    let continues =
        |whole: &str| name.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(JOINT));
    // Whatever is at the top and has no slash is in one shard.
    if parts.len() == 1 && name == "_root" {
        return true;
    }
    match parts[0] {
        // A shard is named by all parts of a key but the last ones, which may be among ours.
        first if MODEL_FOLDERS.contains(&first) => {
            let fewest = parts.len().saturating_sub(MOST_UNNAMED).max(FEWEST_PARTS);
            continues(&parts.join(JOINT))
                || (fewest..parts.len()).any(|count| name == parts[..count].join(JOINT))
        }
        "workflow-runs" => continues(&parts[..parts.len().min(2)].join(JOINT)),
        // Once each workflow had a shard of its own.
        first if WHOLE_FOLDERS.contains(&first) => continues(first),
        _ => false,
    }
}

impl FromStr for ModelId {
    type Err = BadScope;

    /// Reads `type/id`: what is behind the last `/` is the id.
    fn from_str(text: &str) -> Result<Self, BadScope> {
        let bad = || BadScope::NoModel { text: text.to_owned() };
        let (model_type, id) = text.rsplit_once('/').ok_or_else(bad)?;
        DataKey::admit(&format!("data/{text}")).map_err(|_| bad())?;
        Ok(Self { model_type: model_type.to_owned(), id: id.to_owned() })
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model_type, self.id)
    }
}

impl TryFrom<String> for ModelId {
    type Error = BadScope;

    fn try_from(text: String) -> Result<Self, BadScope> {
        text.parse()
    }
}

impl From<ModelId> for String {
    fn from(model: ModelId) -> Self {
        model.to_string()
    }
}

impl KeyPrefix {
    /// Returns the path.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for KeyPrefix {
    type Err = BadScope;

    /// Reads a path; one `/` at its end says that it is a folder, which makes no difference.
    fn from_str(text: &str) -> Result<Self, BadScope> {
        if text.starts_with('/') {
            return Err(BadScope::Absolute { text: text.to_owned() });
        }
        let path = text.strip_suffix('/').unwrap_or(text);
        let admitted = DataKey::admit(path);
        admitted.map(Self).map_err(|reason| BadScope::NoPath { text: text.to_owned(), reason })
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for KeyPrefix {
    type Error = BadScope;

    fn try_from(text: String) -> Result<Self, BadScope> {
        text.parse()
    }
}

impl From<KeyPrefix> for String {
    fn from(prefix: KeyPrefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shard::partition_key;

    fn context(models: &[&str], prefixes: &[&str]) -> SyncContext {
        SyncContext {
            models: models.iter().map(|text| text.parse().unwrap()).collect(),
            prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_model_is_split_at_the_last_slash() {
        let model: ModelId = "aws/ec2/vpc/main".parse().unwrap();
        assert_eq!((model.model_type.as_str(), model.id.as_str()), ("aws/ec2/vpc", "main"));
        for text in ["", "main", "/main", "vpc/", "a//b", "../b", "a/..", "a/.lock"] {
            let refused = text.parse::<ModelId>().unwrap_err().to_string();
            assert_eq!(refused, format!("{text:?} is not TYPE/ID, like aws/ec2/vpc/main"));
        }
    }

    #[test]
    fn a_prefix_is_a_path_in_the_tree() {
        for text in ["notes", "notes/", "data/a/b"] {
            assert_eq!(text.parse::<KeyPrefix>().unwrap().as_str(), text.trim_end_matches('/'));
        }
        for text in ["", "/", "/notes", "a//b", "a//", "..", "_index", "_control/x"] {
            assert!(text.parse::<KeyPrefix>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_model_has_its_data_its_outputs_and_its_definitions() {
        let scope = context(&["probe/m"], &[]).scope();
        for key in [
            "data/probe/m/result/1/raw",
            "data/probe/m/result/latest",
            "data/probe/m",
            "outputs/probe/m/run-1.yaml",
            "definitions-evaluated/probe/m/x.yaml",
            "definitions-evaluated/probe/m.yaml",
        ] {
            assert!(scope.contains(key), "{key}");
        }
        for key in [
            "data/probe/m2/a",
            "data/probe",
            "probe/m/a",
            "audit/probe/m",
            "definitions-evaluated/probe/m.yml",
        ] {
            assert!(!scope.contains(key), "{key}");
        }
    }

    #[test]
    fn a_prefix_has_what_is_at_and_below_it_and_nothing_is_everything() {
        let scope = context(&[], &["notes", "data/a"]).scope();
        for key in ["notes", "notes/x", "notes/x/y", "data/a/b"] {
            assert!(scope.contains(key), "{key}");
        }
        for key in ["notes2", "note", "data", "data/ab", "x/notes"] {
            assert!(!scope.contains(key), "{key}");
        }
        let everything = SyncContext::default().scope();
        assert!(everything.is_everything() && everything.contains("x") && everything.may_be_in_shard("x"));
    }

    /// For every key and every place that it may be in: its shard is one of the place's.
    #[test]
    fn w_10_no_shard_that_holds_a_key_of_the_scope_is_left_out() {
        let keys = [
            "data/t/m/latest",
            "data/t/m/n/latest",
            "data/t/m/n/1/raw",
            "data/a/b/m/n/1/raw",
            "data/a/b/m/n/latest",
            "data/a/b/c/m/n/1/metadata.yaml",
            "data/x--y/m--n/n/1/raw",
            "outputs/t/m/f",
            "outputs/t/m/deep/f",
            "definitions-evaluated/t/m/f",
            "workflow-runs/w/r",
            "workflow-runs/w/deep/r",
            "workflows-evaluated/w.yaml",
            "audit/a/b/c",
            "logs/x",
            "README.md",
            "audit",
        ];
        for key in keys {
            let shard = partition_key(key).unwrap();
            let ends = key.match_indices('/').map(|(at, _)| at).chain([key.len()]);
            for place in ends.map(|end| &key[..end]) {
                let scope = context(&[], &[place]).scope();
                assert!(scope.contains(key) && scope.may_be_in_shard(&shard), "{key} in {place}: {shard}");
            }
        }
        let model = context(&["a/b/m"], &[]).scope();
        for shard in [
            "data--a--b--m",
            "data--a--b",
            "data--a--b--m--n",
            "outputs--a--b--m",
            "definitions-evaluated--a--b--m",
        ] {
            assert!(model.may_be_in_shard(shard), "{shard}");
        }
    }

    #[test]
    fn shards_that_cannot_hold_a_key_of_the_scope_are_left_out() {
        let table = [
            ("data/t/m", &["data--t--m2", "data--t", "outputs--t--m", "_root", "audit"][..]),
            ("data/t/m/n/1/raw", &["data--t--m--o", "data--t--n"]),
            ("workflow-runs/w", &["workflow-runs--v", "workflow-runs--wx"]),
            ("audit", &["audits", "logs"]),
            ("README.md", &["data--README.md", "audit"]),
            ("src/main.rs", &["_root", "src", "src--main.rs"]),
        ];
        for (place, shards) in table {
            let scope = context(&[], &[place]).scope();
            for shard in shards {
                assert!(!scope.may_be_in_shard(shard), "{place}: {shard}");
            }
        }
    }

    #[test]
    fn a_context_is_the_same_on_the_other_side_of_the_wire() {
        let text = serde_json::to_string(&context(&["a/b/c"], &["notes"])).unwrap();
        assert_eq!(text, r#"{"models":["a/b/c"],"prefixes":["notes"]}"#);
        assert_eq!(serde_json::from_str::<SyncContext>(&text).unwrap(), context(&["a/b/c"], &["notes"]));
        assert!(serde_json::from_str::<SyncContext>(r#"{"prefixes":["../x"]}"#).is_err());
    }
}
