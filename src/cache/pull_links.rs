//! Files with several names, as the index has them.
//!
//! Entries of one link group that have the same bytes are one file here. A name leaves its file
//! when its entry says something else: another group, none, or other bytes, which is what
//! somebody leaves who knows nothing of groups and writes or removes one name.

use super::Cache;
use super::error::Result;
use super::names::Names;
use super::pull_state::{clean_name, kind_of};
use super::rows::{Ino, Inode, LinkGroup, Name, Path, Remote, RowOp, Source};
use crate::model::entry::Entry;
use crate::model::key::DataKey;

impl Names {
    /// Returns the file that an entry is a name of: one of its group with the same bytes.
    pub(super) fn file_of_group(&self, path: &str, entry: &Entry, remote: &Remote) -> Option<Ino> {
        let kind = kind_of(entry);
        let has_bytes = |ino: Ino| {
            let of_other =
                |other: &Path| **other != *path && self.name(other).is_some_and(|name| is_same(name, remote));
            self.inode(ino).is_ok_and(|inode| inode.kind == kind) && self.names_of(ino).iter().any(of_other)
        };
        self.group(entry.link.as_ref()?).find(|ino| has_bytes(*ino))
    }
}

impl Cache {
    /// Takes over which groups the names that are here are in now, so that the names that are
    /// new in a group find it.
    pub(super) fn take_over_groups(&self, files: &[(DataKey, Entry)]) -> Result<()> {
        for (key, entry) in files.iter().filter(|(_, entry)| entry.link.is_some()) {
            let mut names = self.names.write();
            let path = key.shared();
            let Ok((name, inode)) = names.at(&path) else { continue };
            let is_same = Remote::of_entry(entry).is_some_and(|remote| is_same(name, &remote));
            if is_same && inode.link.is_none() && !inode.is_folder() && !names.is_dirty(&path) {
                let (ino, group) = (name.ino, entry.link.clone());
                self.set_group(&mut names, ino, group)?;
            }
        }
        Ok(())
    }

    /// Follows what an entry says of a clean name's group.
    pub(super) fn follow_link(&self, names: &mut Names, path: &Path, entry: &Entry) -> Result<()> {
        let (name, inode) = names.at(path)?;
        if names.is_dirty(path) || (entry.link.is_none() && inode.link.is_none()) {
            return Ok(());
        }
        let Some(remote) = name.base.clone() else { return Ok(()) };
        let (ino, is_same_group) = (name.ino, inode.link == entry.link);
        let others = names.file_of_group(path, entry, &remote).filter(|other| *other != ino);
        if is_same_group && names.links(ino) > 1 {
            return Ok(());
        }
        match others {
            Some(other) => {
                self.join(names, path, (other, &remote), vec![RowOp::NoInode(ino)])?;
                Self::remember_taken(names, ino, path);
                self.tell_attributes(names, ino);
                self.drop_if_unused(names, ino);
                Ok(())
            }
            None if is_same_group => Ok(()),
            None if names.is_only_name(ino, path) => self.set_group(names, ino, entry.link.clone()),
            None => self.leave(names, path, (ino, remote), entry.link.clone()),
        }
    }

    fn set_group(&self, names: &mut Names, ino: Ino, group: Option<LinkGroup>) -> Result<()> {
        let grouped = Inode { link: group, ..names.inode(ino)?.clone() };
        self.commit(names, vec![RowOp::Inode(ino, Box::new(grouped))])
    }

    /// Makes a name one of a file's that is here.
    pub(super) fn join(
        &self,
        names: &mut Names,
        path: &Path,
        (ino, remote): (Ino, &Remote),
        mut group: Vec<RowOp>,
    ) -> Result<()> {
        let inode = names.inode(ino)?;
        let pushed = names
            .names_of(ino)
            .iter()
            .filter_map(|other| names.name(other))
            .find(|name| is_same(name, remote));
        let pushed = pushed.map_or(Some(inode.stamp), |other| other.pushed);
        let name = Name { pushed, ..clean_name(ino, remote, inode.stamp) };
        group.push(RowOp::Name(Path::clone(path), Box::new(name)));
        self.make_known(names, group)?;
        self.tell_attributes(names, ino);
        Ok(())
    }

    /// Makes a file of its own of one of a file's names.
    fn leave(
        &self,
        names: &mut Names,
        path: &Path,
        (ino, remote): (Ino, Remote),
        group: Option<LinkGroup>,
    ) -> Result<()> {
        let mut own = names.inode(ino)?.clone();
        own.source = Some(Source { key: Path::clone(path), remote: remote.clone(), at: own.stamp.content });
        (own.content, own.link, own.size) = (None, group, remote.size);
        let fresh = names.fresh_ino();
        let name = clean_name(fresh, &remote, own.stamp);
        let rows = vec![RowOp::Inode(fresh, Box::new(own)), RowOp::Name(Path::clone(path), Box::new(name))];
        self.make_known(names, rows)?;
        self.tell_attributes(names, ino);
        Ok(())
    }
}

/// Returns whether a name is known to have exactly these bytes in the bucket.
fn is_same(name: &Name, remote: &Remote) -> bool {
    let known = name.base.as_ref().filter(|base| base.size == remote.size);
    known.is_some_and(|base| base.sha256.is_some() && base.sha256 == remote.sha256)
}
