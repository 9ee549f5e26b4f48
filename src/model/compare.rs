//! The two-sided comparison of what we know with what the index in the bucket says.
//!
//! "Nothing to push" is no proof that two sides agree: the other side may have more. Only a
//! comparison that finds nothing only here, nothing only there and nothing differing gives an
//! [`InSyncProof`], and only with a proof may the watermark be cleared.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::identity::Identity;

/// How two sides differ.
///
/// Its parts are private, so that only [`compare`] can say that nothing differs:
///
/// ```compile_fail
/// use bayou::model::compare::Comparison;
/// let forged = Comparison { only_here: vec![], only_there: vec![], differing: vec![] };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    only_here: Vec<String>,
    only_there: Vec<String>,
    differing: Vec<String>,
}

/// Proof that both sides were compared and agree.
///
/// Only [`Comparison::proof`] makes one:
///
/// ```compile_fail
/// use bayou::model::compare::InSyncProof;
/// let forged = InSyncProof { _made_here: () };
/// ```
///
/// It is good for one settling:
///
/// ```compile_fail
/// use bayou::model::compare::InSyncProof;
/// fn twice(proof: InSyncProof) -> (InSyncProof, InSyncProof) {
///     (proof.clone(), proof)
/// }
/// ```
///
/// This is how one is got:
///
/// ```
/// use bayou::model::compare::compare;
/// use bayou::model::identity::Identity;
/// let nothing: [(&str, Identity); 0] = [];
/// assert!(compare(nothing.clone(), nothing).proof().is_some());
/// ```
#[derive(Debug)]
#[must_use]
pub struct InSyncProof {
    _made_here: (),
}

/// Compares what we know with what the index says, key by key; each side names a key once.
///
/// What internal and refused keys mean is the caller's to decide: both sides are taken as given.
pub fn compare<K, L>(
    ours: impl IntoIterator<Item = (K, Identity)>,
    theirs: impl IntoIterator<Item = (L, Identity)>,
) -> Comparison
where
    K: Borrow<str> + Eq + Hash,
    L: Borrow<str>,
{
    let mut ours: HashMap<K, Identity> = ours.into_iter().collect();
    let (mut only_there, mut differing) = (Vec::new(), Vec::new());
    for (key, theirs) in theirs {
        match ours.remove(key.borrow()) {
            None => only_there.push(key.borrow().to_owned()),
            Some(ours) if !ours.is_same_as(&theirs) => differing.push(key.borrow().to_owned()),
            Some(_) => {}
        }
    }
    let only_here = ours.into_keys().map(|key| key.borrow().to_owned()).collect();
    Comparison { only_here: sorted(only_here), only_there: sorted(only_there), differing: sorted(differing) }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys
}

impl Comparison {
    /// Returns the keys that only we know, in order.
    pub fn only_here(&self) -> &[String] {
        &self.only_here
    }

    /// Returns the keys that only the index names, in order.
    pub fn only_there(&self) -> &[String] {
        &self.only_there
    }

    /// Returns the keys that do not surely mean the same bytes on both sides, in order.
    pub fn differing(&self) -> &[String] {
        &self.differing
    }

    /// Returns the proof that both sides agree, if they do.
    pub fn proof(self) -> Option<InSyncProof> {
        let agree = self.only_here.is_empty() && self.only_there.is_empty() && self.differing.is_empty();
        agree.then_some(InSyncProof { _made_here: () })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::version::Version;

    fn side(keys: &[(&'static str, &str)]) -> Vec<(&'static str, Identity)> {
        keys.iter()
            .map(|(key, version)| (*key, Identity { version: Version::new(version), ..Identity::default() }))
            .collect()
    }

    #[test]
    fn agreement_on_every_key_is_a_proof() {
        let same = compare(side(&[("a", "1"), ("b", "2")]), side(&[("b", "2"), ("a", "1")]));
        assert!(same.proof().is_some());
    }

    #[test]
    fn nothing_to_push_is_not_a_proof_when_the_bucket_has_more() {
        let more_there = compare(side(&[("a", "1")]), side(&[("a", "1"), ("b", "2")]));
        assert_eq!(more_there.only_there(), ["b"]);
        assert!(more_there.proof().is_none());
    }

    #[test]
    fn each_kind_of_difference_is_named_and_spoils_the_proof() {
        let here = compare(side(&[("b", "1"), ("a", "1")]), side(&[]));
        assert_eq!(here.only_here(), ["a", "b"]);
        assert!(here.proof().is_none());
        let other = compare(side(&[("a", "1")]), side(&[("a", "2")]));
        assert_eq!(other.differing(), ["a"]);
        assert!(other.proof().is_none());
    }

    #[test]
    fn what_is_unknown_on_both_sides_differs() {
        let unknown = compare(side(&[("a", "")]), side(&[("a", "")]));
        assert_eq!(unknown.differing(), ["a"]);
    }

    proptest! {
        #[test]
        fn a_proof_means_that_both_sides_are_equal(
            ours in proptest::collection::btree_map("[a-d]", "[1-3]", 0..4),
            theirs in proptest::collection::btree_map("[a-d]", "[1-3]", 0..4),
        ) {
            let identified = |side: &std::collections::BTreeMap<String, String>| {
                let known = |text: &String| Identity { version: Version::new(text), ..Identity::default() };
                side.iter().map(|(key, version)| (key.clone(), known(version))).collect::<Vec<_>>()
            };
            let proof = compare(identified(&ours), identified(&theirs)).proof();
            prop_assert_eq!(proof.is_some(), ours == theirs);
        }
    }
}
