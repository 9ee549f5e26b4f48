//! A file whose object is not the version that we knew: what a push or a read makes of it.
//!
//! Our bytes are never dropped unless that was asked for: either our version gets a name of its
//! own, or it is pushed over a base that was seen.

use super::error::Result;
use super::pull_state::{clean_name, inode_of};
use super::rows::{Ino, Name, Path, Remote, RowOp, Source, Stamp, Uploaded};
use super::{Cache, Seen};
use crate::model::entry::Entry;

impl Cache {
    /// Makes `base` the version that a dirty file's next push replaces.
    pub fn rebase(&self, path: &Path, base: Option<Remote>) -> Result<()> {
        let mut names = self.names.write();
        let Some(name) = names.name(path) else { return Ok(()) };
        let mut noted = name.clone();
        noted.remote.clone_from(&base);
        noted.base = base;
        self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(noted))])
    }

    /// Keeps our version of a file beside its name and gives the name to the bucket's version.
    pub fn keep_as_conflict(&self, path: &Path, theirs: &Entry) -> Result<Path> {
        let aside = self.free_name_like(path, "conflict");
        let Some(remote) = Remote::of_entry(theirs) else { return Ok(Path::clone(path)) };
        let mut names = self.names.write();
        let (name, _) = names.at(path)?;
        let mut kept = Name::new_here(name.ino);
        kept.conflict_of = Some(Path::clone(path));
        let inode = inode_of(path, theirs, &remote);
        let ino = names.fresh_ino();
        let back = clean_name(ino, &remote, inode.stamp);
        let group = vec![
            RowOp::NoName(Path::clone(path)),
            RowOp::Name(Path::clone(&aside), Box::new(kept)),
            RowOp::Inode(ino, Box::new(inode)),
            RowOp::Name(Path::clone(path), Box::new(back)),
        ];
        self.commit(&mut names, group)?;
        self.tell_entry(&names, path);
        self.tell_entry(&names, &aside);
        Ok(aside)
    }

    /// Gives a name to the bucket's version and drops ours.
    pub fn take_theirs(&self, path: &Path, theirs: &Entry) -> Result<()> {
        let Some(remote) = Remote::of_entry(theirs) else { return Ok(()) };
        self.replace_by_remote(&mut self.names.write(), path, theirs, remote)
    }

    /// Returns a name whose object is ahead of its entry; the next commit brings the entry up.
    fn provisional(&self, name: &Name, stamp: Stamp, remote: Remote) -> Name {
        let known = Some(remote.clone());
        let uploaded = self.read_only_reason().is_none().then_some(Uploaded { stamp, remote });
        Name { base: known.clone(), remote: known, uploaded, ..name.clone() }
    }

    /// Takes a newer version of a clean file from the object itself, ahead of the index.
    ///
    /// The inode stays if nothing of the older version was read yet.
    pub fn adopt_object(&self, ino: Ino, remote: Remote) -> Result<bool> {
        let mut names = self.names.write();
        let inode = names.inode(ino)?;
        let Some(path) = inode.path.clone() else { return Ok(false) };
        let unread = inode
            .content
            .as_ref()
            .is_none_or(|id| self.content(id).is_ok_and(|c| c.lock().row.present.is_empty()));
        if names.is_dirty(&path) || !unread {
            return Ok(false);
        }
        let mut updated = inode.clone();
        let old = updated.content.take();
        updated.size = remote.size;
        updated.source =
            Some(Source { key: Path::clone(&path), remote: remote.clone(), at: updated.stamp.content });
        let name = self.provisional(names.at(&path)?.0, updated.stamp, remote);
        let group = vec![RowOp::Inode(ino, Box::new(updated)), RowOp::Name(path, Box::new(name))];
        self.commit(&mut names, group)?;
        drop(names);
        if let Some(id) = old {
            self.catalog.note(&[RowOp::NoContent(id.clone())])?;
            self.drop_content(&id);
        }
        self.tell(Seen::Content(ino));
        Ok(true)
    }
}
