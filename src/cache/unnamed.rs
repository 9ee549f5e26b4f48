//! Objects that are in the bucket although the index does not name them: they are shown, and
//! the next commit names them.
//!
//! Whatever the reason (another writer's mistake, or a version that was put while the name was
//! removed), an object that is there is never hidden because an entry is missing.

use super::Cache;
use super::error::Result;
use super::names::Names;
use super::pull_state::Pulled;
use super::rows::{Name, Path, Remote, RowOp, Uploaded};
use crate::model::entry::Entry;

impl Cache {
    /// Has the object of a clean file named by the index, which lost it: as what is known of it
    /// here, or as what it is if it is another version by now.
    pub fn name_again(&self, path: &Path, object: &Entry) -> Result<()> {
        let Some(remote) = Remote::of_entry(object) else { return Ok(()) };
        let mut names = self.names.write();
        let Ok((name, inode)) = names.at(path) else { return Ok(()) };
        if names.is_dirty(path) || name.uploading.is_some() || inode.is_folder() {
            return Ok(());
        }
        let known = name.base.as_ref().and_then(|base| base.version.as_ref());
        if known.is_none() || known != remote.version.as_ref() {
            self.replace_by_remote(&mut names, path, object, remote)?;
        }
        self.wait_for_entry(&mut names, path)
    }

    /// Shows an object whose name nothing here has; returns whether it could be shown.
    pub fn show_unnamed(&self, path: &Path, object: &Entry) -> Result<bool> {
        let Some(remote) = Remote::of_entry(object) else { return Ok(false) };
        let mut names = self.names.write();
        if names.name(path).is_some() || names.tombstone(path).is_some() || !names.is_within(path) {
            return Ok(false);
        }
        self.add_remote(&mut names, path, (object, remote), &mut Pulled::default())?;
        if names.name(path).is_none() {
            return Ok(false);
        }
        self.wait_for_entry(&mut names, path)?;
        Ok(true)
    }

    /// Notes that the index does not name a clean file and is to name it.
    fn wait_for_entry(&self, names: &mut Names, path: &Path) -> Result<()> {
        let (name, inode) = names.at(path)?;
        let uploaded = name.base.clone().map(|remote| Uploaded { stamp: inode.stamp, remote });
        let unnamed = Name { remote: None, uploaded, ..name.clone() };
        self.commit(names, vec![RowOp::Name(Path::clone(path), Box::new(unnamed))])
    }
}
