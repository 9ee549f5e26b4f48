//! The keys of the index that cannot be files here, remembered for a process that reads none of it.

use super::Cache;
use super::error::Result;
use super::rows::RowOp;

/// The setting under which they are kept, as JSON.
pub(super) const REFUSED: &str = "refused-keys";

/// Returns the keys that a setting names. One that cannot be read names none: that is found out
/// again when the index is read.
pub(super) fn read(setting: Option<&String>) -> Vec<String> {
    setting.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl Cache {
    /// Returns the keys of the index that cannot be files, as far as it was read.
    pub fn refused_keys(&self) -> Vec<String> {
        self.refused.lock().clone()
    }

    /// Notes the keys of the index that cannot be files.
    pub fn note_refused(&self, keys: &[String]) -> Result<()> {
        let mut refused = self.refused.lock();
        if *refused != keys {
            let text = serde_json::Value::from(keys).to_string();
            self.catalog.note(&[RowOp::Setting(REFUSED.to_owned(), text)])?;
            *refused = keys.to_vec();
        }
        Ok(())
    }
}
