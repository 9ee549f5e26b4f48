//! What a crash or a power cut left behind, file by file.
//!
//! A file whose bytes are those of an object is only as good as its content file, and loses
//! that if it is in doubt. A changed file keeps its content whatever happens: under its name
//! if it is certain, beside it if it is not.

use std::sync::Arc;

use super::Cache;
use super::content::Content;
use super::error::Result;
use super::names::Names;
use super::origin::{Origin, changed_at};
use super::rows::{ContentRow, Ino, Inode, Name, Path, Remote, RowOp, Source, Stamp, Tombstone};
use super::tombstones::name_over;
use super::watermark::ChangeToken;

/// What a power cut means for one dirty file.
enum AfterPowerCut {
    /// All of it was on the disk.
    Whole,
    /// Only a tail was appended since the last durable point: cut it off.
    CutTo(u64),
    /// Bytes that were on the disk may have changed since: the file is uncertain.
    Uncertain,
}

impl Cache {
    /// Brings every file's row into line with its content file.
    pub(super) fn recover_files(&self, power_was_cut: bool) -> Result<()> {
        let files: Vec<(Path, Ino, bool)> = {
            let names = self.names.read();
            let held =
                names.all().filter(|(_, name)| names.inode(name.ino).is_ok_and(|i| i.content.is_some()));
            held.map(|(path, name)| (Path::clone(path), name.ino, names.is_dirty(path))).collect()
        };
        for (path, ino, dirty) in files {
            let inode = self.names.read().inode(ino)?.clone();
            let changed = dirty && inode.equal_object().is_none();
            match inode.content.as_ref().and_then(|id| self.content(id).ok()) {
                None if inode.local => self.empty_local(ino)?,
                None if changed => self.report_lost(&path),
                None => self.forget_content(ino)?,
                Some(content) if inode.local => self.take_length(ino, &content)?,
                Some(content) if changed && power_was_cut => {
                    self.recover_after_power_cut(&path, ino, &content)?;
                }
                Some(content) if changed => self.recover_changed(&path, ino, &content)?,
                Some(content) => match content.origin().filter(|_| !power_was_cut) {
                    Some(origin) if !content.is_untouched_since(inode.stamp.content) => {
                        self.recover_unnoted(&path, ino, &content, origin)?;
                    }
                    _ => self.recover_clean(ino, &content, &inode, power_was_cut)?,
                },
            }
        }
        Ok(())
    }

    fn report_lost(&self, path: &Path) {
        tracing::error!(%path, "The content of a changed file is gone from the cache folder; the bucket keeps its older version");
        let mut names = self.names.write();
        let Ok((name, inode)) = names.at(path) else { return };
        let mut back = name.clone();
        let mut without = inode.clone();
        without.content = None;
        let (ino, inode) = (name.ino, inode.clone());
        back.pushed = Some(without.stamp);
        leave_to_the_bucket(&mut back);
        let mut group = match back.base.clone() {
            Some(base) => {
                without.size = base.size;
                without.source =
                    Some(Source { key: Path::clone(path), remote: base, at: without.stamp.content });
                vec![RowOp::Inode(ino, Box::new(without)), RowOp::Name(Path::clone(path), Box::new(back))]
            }
            None => vec![RowOp::NoName(Path::clone(path)), RowOp::NoInode(ino)],
        };
        self.bring_old_names_back(&mut names, path, &inode, &mut group);
        if let Err(failed) = self.commit(&mut names, group) {
            tracing::error!(%path, error = %failed, "That could not be noted");
        }
        self.drop_if_unused(&mut names, ino);
    }

    fn forget_content(&self, ino: Ino) -> Result<()> {
        let mut names = self.names.write();
        let mut without = names.inode(ino)?.clone();
        without.content = None;
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(without))])
    }

    /// The bytes of a machine-local file are nowhere else.
    fn empty_local(&self, ino: Ino) -> Result<()> {
        let mut names = self.names.write();
        let empty = Inode { content: None, size: 0, ..names.inode(ino)?.clone() };
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(empty))])
    }

    /// Clean content is trusted if it was on the disk or the machine never went down.
    fn recover_clean(
        &self,
        ino: Ino,
        content: &Arc<Content>,
        inode: &Inode,
        power_was_cut: bool,
    ) -> Result<()> {
        let mut state = content.lock();
        let on_disk = state.row.durable_len == Some(state.len) && !state.row.overwriting;
        if state.len == inode.size && (on_disk || !power_was_cut) {
            content.unstamp()?;
            if power_was_cut {
                state.row.present = state.row.durable_present.clone();
                state.unnoted = true;
            }
            let noted = self.note_presence(content, &mut state, None);
            self.recount(content, &state);
            return noted;
        }
        drop(state);
        self.forget_content(ino)?;
        content.unstamp()?;
        self.catalog.note(&[RowOp::NoContent(content.id.clone())])?;
        self.drop_content(&content.id);
        Ok(())
    }

    /// Takes a changed file's length and time from its content file.
    fn recover_changed(&self, path: &Path, ino: Ino, content: &Content) -> Result<()> {
        {
            let mut names = self.names.write();
            let (name, inode) = names.at(path)?;
            let mut found = inode.clone();
            found.stamp.content = newer_than_all(name, inode);
            self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(found))])?;
        }
        self.take_length(ino, content)
    }

    fn take_length(&self, ino: Ino, content: &Content) -> Result<()> {
        let len = content.lock().len;
        let mut names = self.names.write();
        let mut found = names.inode(ino)?.clone();
        found.size = len;
        if let Ok(meta) = std::fs::metadata(content.path()) {
            let written = changed_at(&meta);
            // A time that was set after the last write stays.
            if written > found.ctime {
                found.mtime = written;
                found.ctime = written;
            }
        }
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(found))])
    }

    fn recover_after_power_cut(&self, path: &Path, ino: Ino, content: &Content) -> Result<()> {
        let mut state = content.lock();
        // The last notes of what was about to change may be lost.
        state.forget_unchanged();
        match after_power_cut(&state.row, state.len) {
            AfterPowerCut::Whole => {}
            AfterPowerCut::CutTo(len) => {
                tracing::warn!(%path, len, "A tail that was not on the disk when the power failed was cut off");
                state.truncate(&ChangeToken::uncounted(), content.path(), len)?;
            }
            AfterPowerCut::Uncertain => {
                tracing::warn!(%path, "The power failed while this file was written: it is kept beside its name");
                self.note_presence(content, &mut state, None)?;
                drop(state);
                return self.set_aside(path, ino, content);
            }
        }
        state.row.present = state.row.durable_present.clone();
        state.unnoted = true;
        self.note_presence(content, &mut state, None)?;
        self.recount(content, &state);
        drop(state);
        self.recover_changed(path, ino, content)
    }

    /// The content file says that it was changed and the catalog does not: its last notes are
    /// lost.
    fn recover_unnoted(&self, path: &Path, ino: Ino, content: &Content, origin: Origin) -> Result<()> {
        tracing::warn!(%path, "A changed file was found again by its content file");
        content.lock().forget_unchanged();
        if origin.partial {
            // Which of its bytes are real is lost: those that were never there are zeros.
            let mut state = content.lock();
            state.row = ContentRow::default();
            state.unnoted = true;
            self.note_presence(content, &mut state, None)?;
            drop(state);
            return self.set_aside(path, ino, content);
        }
        self.note_presence(content, &mut content.lock(), None)?;
        {
            let mut names = self.names.write();
            let mut name = names.at(path)?.0.clone();
            // A file may have other names, which have versions of their own.
            if origin.path == *path {
                name.base = origin.base;
            }
            self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(name))])?;
        }
        self.recover_changed(path, ino, content)
    }

    /// Keeps an uncertain file beside its name, which goes back to the bucket's version.
    fn set_aside(&self, path: &Path, ino: Ino, content: &Content) -> Result<()> {
        let aside = self.free_name_like(&self.names.read(), path, "recovered");
        tracing::warn!(%path, kept = %aside, "An uncertain file is kept beside its name");
        {
            let mut names = self.names.write();
            let (name, inode) = (names.at(path)?.0.clone(), names.inode(ino)?.clone());
            let mut group = vec![
                RowOp::NoName(Path::clone(path)),
                RowOp::Name(Path::clone(&aside), Box::new(Name::new_here(ino))),
            ];
            if let Some(base) = name.base.clone() {
                group.extend(restored(path, names.fresh_ino(), &name, &inode, base));
            }
            self.bring_old_names_back(&mut names, path, &inode, &mut group);
            self.commit(&mut names, group)?;
        }
        self.recover_changed(&aside, ino, content)?;
        let partial = !content.lock().is_complete();
        content.stamp(&mut content.lock(), &self.origin(aside, None, partial))
    }
}

impl Cache {
    /// Gives the bucket's version of a file that was renamed to `path`, where nothing certain is,
    /// its old name back: it would be deleted otherwise.
    fn bring_old_names_back(&self, names: &mut Names, path: &Path, inode: &Inode, group: &mut Vec<RowOp>) {
        let waits = |(old, left): &(&Path, &Tombstone)| {
            let moved_here = left.moved_to.as_ref() == Some(path) && left.remote.is_some() && !left.unindexed;
            moved_here && names.name(old).is_none()
        };
        let olds: Vec<Path> = names.tombstones().filter(waits).map(|(old, _)| Path::clone(old)).collect();
        for old in olds {
            if !self.imply_folders(names, &old, inode.mtime, group) {
                continue;
            }
            tracing::warn!(path = %old, "A renamed file that is uncertain has its old name again");
            let ino = names.fresh_ino();
            let mut back = Inode { content: None, ..inode.clone() };
            let mut name = name_over(names, &old, (ino, &back), group);
            name.pushed = Some(back.stamp);
            leave_to_the_bucket(&mut name);
            if let Some(remote) = name.base.clone() {
                back.size = remote.size;
                back.source = Some(Source { key: Path::clone(&old), remote, at: back.stamp.content });
            }
            group.push(RowOp::Inode(ino, Box::new(back)));
            group.push(RowOp::Name(old, Box::new(name)));
        }
    }
}

/// Claims nothing for a name that another file had before, or that the index had let go of while
/// its object stayed: whether it names it, and whether the object is there, the next pull finds out.
fn leave_to_the_bucket(name: &mut Name) {
    let was_anothers = name.uploaded.take_if(|uploaded| uploaded.stamp == Stamp::NEVER).is_some();
    if was_anothers || (name.remote.is_none() && name.uploaded.is_none()) {
        name.remote.clone_from(&name.base);
    }
}

/// Returns a stamp that nothing that was ever pushed, or begun to be, can have.
fn newer_than_all(name: &Name, inode: &Inode) -> u64 {
    let known = [
        Some(inode.stamp),
        name.pushed,
        name.uploading.as_ref().map(|uploading| uploading.stamp),
        name.uploaded.as_ref().map(|uploaded| uploaded.stamp),
    ];
    let ours = known.into_iter().flatten().filter(|stamp| *stamp != Stamp::NEVER);
    // Writes after the first were not counted on the disk.
    ours.map(|stamp| stamp.content).max().unwrap_or(0) + 1
}

fn after_power_cut(row: &ContentRow, len: u64) -> AfterPowerCut {
    match row.durable_len {
        _ if row.overwriting => AfterPowerCut::Uncertain,
        Some(durable) if durable == len => AfterPowerCut::Whole,
        Some(durable) if durable < len => AfterPowerCut::CutTo(durable),
        Some(_) | None => AfterPowerCut::Uncertain,
    }
}

fn restored(path: &Path, ino: Ino, name: &Name, inode: &Inode, base: Remote) -> Vec<RowOp> {
    let mut back = inode.clone();
    back.content = None;
    back.size = base.size;
    back.source = Some(Source { key: Path::clone(path), remote: base.clone(), at: back.stamp.content });
    let restored = Name {
        ino,
        remote: Some(base.clone()),
        base: Some(base),
        pushed: Some(back.stamp),
        uploading: None,
        uploaded: None,
        conflict_of: name.conflict_of.clone(),
        moved_from: None,
        record_left: name.record_left,
    };
    vec![RowOp::Inode(ino, Box::new(back)), RowOp::Name(Path::clone(path), Box::new(restored))]
}
