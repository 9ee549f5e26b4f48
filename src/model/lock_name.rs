//! Which lock: that of the whole bucket, of a namespace, or of one model.
//!
//! Swamp decides the keys. They are below the mount's prefix, never below a namespace's own:
//! the lock of a namespace is at the root, so that whoever sees the bucket sees its locks.

use super::key::ObjectKey;
use super::namespace::Namespace;

/// A lock that swamp's clients know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockName {
    namespace: Option<Namespace>,
    model: Option<(String, String)>,
}

/// Why a text names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no model; write TYPE/ID, as in aws/ec2/vpc/0b8f6a1e")]
pub struct NoModel {
    /// What was given.
    pub text: String,
}

impl LockName {
    /// Returns the lock of the whole bucket, or of a namespace of it.
    pub fn of_bucket(namespace: Option<&Namespace>) -> Self {
        Self { namespace: namespace.cloned(), model: None }
    }

    /// Returns the lock of the model that `text` names as `TYPE/ID`; a type may hold slashes.
    pub fn of_model(namespace: Option<&Namespace>, text: &str) -> Result<Self, NoModel> {
        let is_name = |part: &str| !part.is_empty() && part != "." && part != "..";
        match text.rsplit_once('/') {
            Some((kind, id)) if is_name(id) && kind.split('/').all(is_name) => {
                let model = Some((kind.to_owned(), id.to_owned()));
                Ok(Self { namespace: namespace.cloned(), model })
            }
            _ => Err(NoModel { text: text.to_owned() }),
        }
    }

    /// Returns the lock that has this key, if any has.
    pub fn of_key(key: &str) -> Option<Self> {
        if key == ".datastore.lock" {
            return Some(Self::of_bucket(None));
        }
        if let Some(name) = key.strip_prefix(".locks/").and_then(|rest| rest.strip_suffix(".lock")) {
            return name.parse().ok().map(|namespace| Self::of_bucket(Some(&namespace)));
        }
        let path = key.strip_suffix("/.lock")?;
        match path.strip_prefix("data/") {
            Some(model) => Self::of_model(None, model).ok(),
            None => {
                let (namespace, model) = path.split_once("/data/")?;
                Self::of_model(Some(&namespace.parse().ok()?), model).ok()
            }
        }
    }

    /// Returns the lock's key, below the mount's prefix.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(match (&self.namespace, &self.model) {
            (None, None) => ".datastore.lock".to_owned(),
            (Some(namespace), None) => format!(".locks/{namespace}.lock"),
            (None, Some((kind, id))) => format!("data/{kind}/{id}/.lock"),
            (Some(namespace), Some((kind, id))) => format!("{namespace}/data/{kind}/{id}/.lock"),
        })
    }

    /// Returns the words that name it on the command line, each with a space before it.
    pub fn flags(&self) -> String {
        let namespace = self.namespace.as_ref().map(|name| format!(" --namespace {name}"));
        let model = self.model.as_ref().map(|(kind, id)| format!(" --model {kind}/{id}"));
        namespace.unwrap_or_default() + &model.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lock_has_its_key_and_its_words_and_is_known_by_its_key() {
        let (infra, a): (Namespace, Namespace) = ("infra".parse().unwrap(), "a".parse().unwrap());
        let model = |namespace, text| LockName::of_model(namespace, text).unwrap();
        let table = [
            (LockName::of_bucket(None), ".datastore.lock", ""),
            (LockName::of_bucket(Some(&infra)), ".locks/infra.lock", " --namespace infra"),
            (model(None, "probe/m-2"), "data/probe/m-2/.lock", " --model probe/m-2"),
            (model(None, "aws/ec2/vpc/x"), "data/aws/ec2/vpc/x/.lock", " --model aws/ec2/vpc/x"),
            (model(Some(&a), "@b/c/d"), "a/data/@b/c/d/.lock", " --namespace a --model @b/c/d"),
        ];
        for (name, key, flags) in table {
            assert_eq!((name.key().as_str(), name.flags().as_str()), (key, flags));
            assert_eq!(LockName::of_key(key), Some(name));
        }
    }

    #[test]
    fn other_keys_and_words_are_no_locks() {
        for key in
            ["", ".lock", "a/.lock", "data/a/.lock", ".locks/.lock", ".locks/a/b.lock", "data/a/b/x.lock"]
        {
            assert_eq!(LockName::of_key(key), None, "{key}");
        }
        for text in ["", "a", "a/", "/a", "a//b", "../b", "a/..", "a/./b"] {
            let refused = LockName::of_model(None, text).unwrap_err();
            assert!(refused.to_string().contains("TYPE/ID"), "{text}");
        }
    }
}
