//! What an inode is.

use serde::{Deserialize, Serialize};

use crate::model::special::Special;

/// What kind of thing an inode is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Symlink(String),
    /// A pipe, a socket or a device.
    #[serde(with = "special_text")]
    Special(Special),
}

impl Kind {
    /// Returns the permission bits that it has unless something else is said.
    pub fn default_mode(&self) -> u32 {
        match self {
            Self::File | Self::Special(_) => 0o644,
            Self::Folder => 0o755,
            Self::Symlink(_) => 0o777,
        }
    }
}

/// A special file in the catalog is the text that it is in the index.
mod special_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::special::Special;

    pub(super) fn serialize<S: Serializer>(special: &Special, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(special)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Special, D::Error> {
        let text = String::deserialize(deserializer)?;
        Special::parse(&text).ok_or_else(|| serde::de::Error::custom("no kind of special file"))
    }
}
