//! Preconditions: judged under the lock that the write is made under.

use super::object::GcsObject;
use super::problem::{Kind, Outcome, Problem};

/// What must be true of an object for a request to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    /// The generation that is live; 0 if there must be none.
    pub(crate) generation: Option<i64>,
    /// A generation that must not be live; 0 if there must be one.
    pub(crate) not_generation: Option<i64>,
    pub(crate) metageneration: Option<i64>,
    pub(crate) not_metageneration: Option<i64>,
}

impl Preconditions {
    /// Fails with `conditionNotMet` if the object may not be written.
    pub(crate) fn judge_write(&self, live: Option<&GcsObject>) -> Outcome {
        if self.matched(live) && self.unmatched(live) { Ok(()) } else { Err(Problem::condition_not_met()) }
    }

    /// Fails with `conditionNotMet`, or with `NotModified` if the reader has what there is.
    pub(crate) fn judge_read(&self, live: &GcsObject) -> Outcome {
        if !self.matched(Some(live)) {
            return Err(Problem::condition_not_met());
        }
        if !self.unmatched(Some(live)) {
            return Err(Problem::new(Kind::NotModified, "Not Modified"));
        }
        Ok(())
    }

    fn matched(&self, live: Option<&GcsObject>) -> bool {
        let generation = live.map_or(0, |object| object.generation);
        self.generation.is_none_or(|wanted| wanted == generation)
            && self.metageneration.is_none_or(|wanted| live.is_some_and(|o| o.metageneration == wanted))
    }

    fn unmatched(&self, live: Option<&GcsObject>) -> bool {
        let differs = |unwanted: Option<i64>, found: fn(&GcsObject) -> i64| {
            unwanted.is_none_or(|unwanted| live.is_some_and(|object| found(object) != unwanted))
        };
        differs(self.not_generation, |o| o.generation)
            && differs(self.not_metageneration, |o| o.metageneration)
    }
}
