//! What bayou tells of a file through `user.bayou.*`.
//!
//! `state`: `clean`, `dirty`, `uploading`, `conflict` (a copy that was kept beside the
//! bucket's version) or `local` (never leaves this machine). `hydrated`: `yes`, `partly` or
//! `no`. `version`: the object's version that the file equals or derives from.

use super::error::{FsError, Result};
use super::front::Front;
use crate::cache::push_state::FileState;
use crate::cache::{CacheError, Ino};

impl Front {
    /// Returns the value of the attribute `user.bayou.<own>`.
    pub(super) fn own_xattr(&self, ino: Ino, own: &str) -> Result<Vec<u8>> {
        let missing = || FsError::Cache(CacheError::NoAttribute(format!("user.bayou.{own}")));
        let state =
            self.cache.path_of(ino).and_then(|path| self.cache.file_state(&path)).ok_or_else(missing)?;
        let value = match own {
            "state" => Some(state.word().to_owned()),
            "hydrated" if state.inode.is_file() => Some(self.hydrated_word(ino, &state)?.to_owned()),
            "version" => version_text(&state),
            _ => None,
        };
        Ok(value.ok_or_else(missing)?.into_bytes())
    }

    fn hydrated_word(&self, ino: Ino, state: &FileState) -> Result<&'static str> {
        if state.inode.size == 0 {
            return Ok("yes");
        }
        if state.inode.content.is_none() {
            return Ok("no");
        }
        let content = self.cache.content_of(ino)?;
        let content = content.lock();
        let absent: u64 = content.missing(0..content.len).iter().map(|gap| gap.end - gap.start).sum();
        Ok(match absent {
            0 => "yes",
            all if all == content.len => "no",
            _ => "partly",
        })
    }
}

fn version_text(state: &FileState) -> Option<String> {
    let base = state.name.base.as_ref().or(state.name.remote.as_ref())?;
    base.version.as_ref().map(|version| version.as_str().to_owned())
}
