//! A panic while bucket and cache are brought together ends one round, never the mount.
//!
//! Locks are let go of as the panic unwinds, and what was noted is noted, as after a crash: no
//! change counts as pushed before its commit is noted. What was known of the index is forgotten,
//! so that the next round reads it and compares all of it anew.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use parking_lot::Mutex;

use super::SyncService;
use super::error::{Result, SyncError};
use crate::os::panics;

/// What is done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Round {
    /// Changes are brought to the bucket.
    Flush,
    /// The bucket is asked for changes.
    Refresh,
    /// Changes are written down on this machine.
    DurablePoint,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flush => "Bringing changes to the bucket",
            Self::Refresh => "Asking the bucket for changes",
            Self::DurablePoint => "Writing changes down on this machine",
        })
    }
}

/// The rounds of which the last one went wrong in one way, with what is to be said of that.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<BTreeMap<Round, String>>);

impl Troubles {
    /// Returns the gravest.
    pub(super) fn gravest(&self) -> Option<String> {
        self.0.lock().values().next().cloned()
    }

    pub(super) fn note(&self, round: Round, trouble: String) {
        self.0.lock().insert(round, trouble);
    }

    pub(super) fn forget(&self, round: Round) {
        self.0.lock().remove(&round);
    }
}

impl SyncService {
    /// Does a round; a panic in it is logged, told by [`SyncService::health`] until such a round
    /// succeeds, and returned as [`SyncError::Panicked`].
    pub async fn guarded<T>(&self, round: Round, work: impl Future<Output = Result<T>>) -> Result<T> {
        let caught = AssertUnwindSafe(work).catch_unwind().await;
        let outcome = match caught {
            Ok(outcome) => outcome,
            Err(panic) => {
                let message = panics::message(&*panic).to_owned();
                return Err(self.after_panic(round, message).await);
            }
        };
        if outcome.is_ok() {
            self.panics.forget(round);
        }
        outcome
    }

    async fn after_panic(&self, round: Round, message: String) -> SyncError {
        let panicked = SyncError::Panicked { round, message };
        tracing::error!(error = %panicked, "It is begun anew");
        self.panics.note(round, panicked.to_string());
        if let Err(failed) = self.take_over_anew().await {
            tracing::error!(error = super::describe(&failed), "What was pulled could not be forgotten");
        }
        panicked
    }
}
