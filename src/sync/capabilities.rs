//! What a running sync service says that it can do, and what follows from it.
//!
//! Only what the service itself says counts, at the moment when it is asked: what runs may be
//! of another version than who asks. No answer, or a failure to give one, says nothing, and
//! then everything is synced.

use serde::{Deserialize, Serialize};

use super::scope::SyncContext;

/// What a running sync service can do beyond bringing everything together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncCapabilities {
    /// It works on a context only, if it is given one.
    pub scoped_sync: bool,
    /// It fetches content when it is read.
    pub lazy_hydration: bool,
    /// It can be bound to a namespace.
    pub namespaced_sync: bool,
    /// It uploads outside of the lock and commits inside.
    pub two_phase_sync: bool,
}

impl SyncCapabilities {
    /// What this version can do.
    pub const OURS: Self =
        Self { scoped_sync: true, lazy_hydration: true, namespaced_sync: true, two_phase_sync: true };
}

/// Decides what a sync is about, after the running service was asked what it can do: only what
/// it says that it can is asked of it. No answer, or a failure to give one, says nothing.
pub fn agree<E>(wanted: &SyncContext, said: Result<Option<SyncCapabilities>, E>) -> SyncContext {
    match said {
        Ok(Some(SyncCapabilities { scoped_sync: true, .. })) => wanted.without_repetition(),
        Ok(Some(_) | None) | Err(_) => SyncContext::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_13_only_a_service_that_says_it_can_is_asked_for_less() {
        let context = |models: &[&str], prefixes: &[&str]| SyncContext {
            models: models.iter().map(|text| text.parse().unwrap()).collect(),
            prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let wanted = context(&["t/b", "t/a", "t/b"], &["notes", "notes/"]);
        let deduplicated = context(&["t/a", "t/b"], &["notes"]);
        type Said = Result<Option<SyncCapabilities>, &'static str>;
        let can = SyncCapabilities { scoped_sync: true, ..SyncCapabilities::default() };
        let cannot = SyncCapabilities { scoped_sync: false, ..SyncCapabilities::OURS };
        let table: [(Said, SyncContext); 5] = [
            (Ok(Some(can)), deduplicated.clone()),
            (Ok(Some(SyncCapabilities::OURS)), deduplicated),
            (Ok(Some(cannot)), SyncContext::default()),
            (Ok(None), SyncContext::default()),
            (Err("it threw"), SyncContext::default()),
        ];
        for (said, expected) in table {
            assert_eq!(agree(&wanted, said), expected, "{said:?}");
        }
    }

    #[test]
    fn what_an_older_or_newer_service_says_is_understood() {
        let read = |text: &str| serde_json::from_str::<SyncCapabilities>(text).unwrap();
        assert_eq!(read("{}"), SyncCapabilities::default());
        assert!(read(r#"{"scopedSync":true,"previewPush":true}"#).scoped_sync);
        assert_eq!(read(&serde_json::to_string(&SyncCapabilities::OURS).unwrap()), SyncCapabilities::OURS);
    }
}
