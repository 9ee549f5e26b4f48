//! How a mount is set up that is tried.

use std::path::PathBuf;
use std::sync::Arc;

use bayou::fs::front::{CloseMode, FsyncMode};

use super::machine::CACHE_BYTES;
use super::pace::Pace;

/// What a mount is made with; by default what a mount without options is.
pub(crate) struct Setup {
    /// Where all of it is.
    pub(crate) disk: PathBuf,
    /// Most bytes of content to keep.
    pub(crate) limit_bytes: u64,
    pub(crate) close: CloseMode,
    pub(crate) fsync: FsyncMode,
    /// At which pace the bucket is asked.
    pub(crate) pace: Arc<Pace>,
    pub(crate) use_of_it: Use,
}

/// What a mount is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Reading and writing.
    Everything,
    /// Reading.
    Reading,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            disk: std::env::temp_dir(),
            limit_bytes: CACHE_BYTES,
            close: CloseMode::Returns,
            fsync: FsyncMode::Remote,
            pace: Pace::new(),
            use_of_it: Use::Everything,
        }
    }
}
