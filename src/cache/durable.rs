//! Local durable points: what is on this machine's disk whatever happens to its power.
//!
//! A durable point writes the content of dirty files (and of hydrated ones) to the disk and
//! then notes up to which length each is there. Bytes that change while it is made leave the
//! file marked as being overwritten until the next point.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cache;
use super::content::{Content, ContentState};
use super::error::{CacheError, Result};
use super::rows::{Ino, RowOp};
use crate::os::crash_point::{Step, reached};
use crate::os::durable_file;

/// How many clean files one durable point covers.
const CLEAN_FILES_A_POINT: usize = 256;
/// How many content files stay open.
const OPEN_FILES: usize = 512;

impl Cache {
    /// Writes all dirty content, and some of what was hydrated, to the disk.
    pub fn durable_point(&self) -> Result<()> {
        self.look_at_watched();
        let mut any = false;
        let mut failed = None;
        for content in self.contents_to_write_down() {
            match self.write_down(&content) {
                Ok(written) => any |= written,
                // One file that cannot be written must not keep the others from it.
                Err(one) => failed = failed.or(Some(one)),
            }
        }
        if any {
            self.catalog.sync()?;
            reached(Step::LocallyDurable);
        }
        self.close_idle_files();
        self.catalog.fold_if_large()?;
        failed.map_or(Ok(()), Err)
    }

    /// Closes the content files that were used longest ago, so that descriptors do not run out.
    fn close_idle_files(&self) {
        let mut open = self.all_contents();
        open.retain(|content| content.is_open());
        if open.len() > OPEN_FILES {
            open.sort_unstable_by_key(|content| std::cmp::Reverse(content.used.load(Ordering::Relaxed)));
            open[OPEN_FILES..].iter().for_each(|content| content.close());
        }
    }

    /// Writes one file to the disk; returns when it would survive a power cut.
    pub fn make_durable(&self, ino: Ino) -> Result<()> {
        self.look_at(ino)?;
        let id = self.names.read().inode(ino)?.content.clone();
        if let Some(id) = id {
            self.write_down(&*self.content(&id)?)?;
        }
        self.catalog.sync()
    }

    /// Folds the journal into the database: the cache is about to be left.
    pub fn fold_catalog(&self) -> Result<()> {
        self.catalog.fold()
    }

    fn contents_to_write_down(&self) -> Vec<Arc<Content>> {
        let ids: Vec<_> = {
            let names = self.names.read();
            let dirty = names.pending().keys().filter_map(|path| names.at(path).ok()?.1.content.clone());
            dirty.collect()
        };
        let mut wanted: Vec<_> = {
            let contents = self.contents.lock();
            ids.iter().filter_map(|id| contents.get(id).map(Arc::clone)).collect()
        };
        let mut hydrated = self.all_contents();
        hydrated.retain(|content| content.is_only_in_memory());
        hydrated.truncate(CLEAN_FILES_A_POINT);
        wanted.extend(hydrated);
        wanted
    }

    /// Returns all contents: their states are locked only when the list of them is not.
    fn all_contents(&self) -> Vec<Arc<Content>> {
        self.contents.lock().values().map(Arc::clone).collect()
    }

    fn write_down(&self, content: &Content) -> Result<bool> {
        let _one_at_a_time = content.writing_down.lock();
        let (file, present, new) = {
            let mut state = content.lock();
            let is_written = !state.row.overwriting || (state.watched && !state.changed);
            if state.row.durable_len == Some(state.len) && is_written {
                return Ok(false);
            }
            let len = state.len;
            state.point = Some(len);
            state.point_spoiled = false;
            state.changed = false;
            (state.file(content.path())?, state.row.present.clone(), state.row.durable_len.is_none())
        };
        let path = content.path();
        file.sync_data().map_err(CacheError::io("Writing down", path))?;
        if new {
            durable_file::sync_folder_of(path).map_err(CacheError::io("Writing down", path))?;
        }
        let mut state = content.lock();
        state.row.durable_len = state.point.take().map(|point| point.min(state.len));
        state.row.durable_present = present;
        let limit = state.row.fill_limit;
        state.row.durable_present.cut_from(limit);
        // What may change unseen may be changing.
        state.row.overwriting = state.point_spoiled || state.watched;
        let row = state.row.clone();
        self.catalog.note(&[RowOp::Content(content.id.clone(), Box::new(row))])?;
        Ok(true)
    }
}

impl ContentState {
    /// Gives up what is known to be durable, unless that is all there is: these bytes are
    /// about to be in the bucket, and an older, shorter file must never be pushed over them.
    pub(super) fn outgrow_durable_point(&mut self) -> bool {
        self.point = self.point.filter(|&point| point >= self.len);
        let outgrown = self.row.durable_len.is_some_and(|durable| durable < self.len);
        if outgrown {
            self.row.durable_len = None;
        }
        outgrown
    }

    /// Returns whether bytes that a durable point covered would change.
    pub(super) fn overwrites_durable(&self, offset: u64) -> bool {
        !self.row.overwriting && self.row.durable_len.is_some_and(|durable| offset < durable)
    }

    /// Notes that bytes from `offset` on change while a durable point may be made.
    pub(super) fn spoil_point(&mut self, offset: u64) {
        self.point_spoiled |= self.point.is_some_and(|point| offset < point);
    }
}
