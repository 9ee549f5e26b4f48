//! What of an index can be shown, and what not and why.

use crate::model::entry::{Attributes, Entry};
use crate::model::key::{DataKey, Refusal};

/// What of an index can be shown.
#[derive(Debug, Default)]
pub struct Admitted {
    /// Files and links, by key.
    pub files: Vec<(DataKey, Entry)>,
    /// Folders that are recorded, with their attributes.
    pub folders: Vec<(String, Attributes)>,
    /// Keys that cannot be files here, and why. Their entries stay in the index.
    pub refused: Vec<(String, Refusal)>,
}

impl Admitted {
    /// Adds an entry, or notes why its key is refused.
    pub fn take(&mut self, key: &str, entry: Entry) {
        match DataKey::admit(key) {
            Ok(key) => self.files.push((key, entry)),
            Err(reason) => self.refused.push((key.to_owned(), reason)),
        }
    }
}
