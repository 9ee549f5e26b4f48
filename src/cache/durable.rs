//! Local durable points: what is on this machine's disk whatever happens to its power.
//!
//! A durable point writes the content of dirty files (and of hydrated ones) to the disk and
//! then notes up to which length each is there. Bytes that change while it is made leave the
//! file marked as being overwritten until the next point.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cache;
use super::content::Content;
use super::error::{CacheError, Result};
use super::rows::{Ino, RowOp};
use crate::os::crash_point::{Step, reached};

/// How many clean files one durable point covers.
const CLEAN_FILES_A_POINT: usize = 256;
/// How many content files stay open.
const OPEN_FILES: usize = 512;

impl Cache {
    /// Writes all dirty content, and some of what was hydrated, to the disk.
    pub fn durable_point(&self) -> Result<()> {
        let mut any = false;
        for content in self.contents_to_write_down() {
            any |= self.write_down(&content)?;
        }
        if any {
            self.catalog.sync()?;
            reached(Step::LocallyDurable);
        }
        self.close_idle_files();
        self.catalog.fold_if_large()
    }

    /// Closes the content files that were used longest ago, so that descriptors do not run out.
    fn close_idle_files(&self) {
        let contents = self.contents.lock();
        let mut open: Vec<&Arc<Content>> = contents.values().filter(|content| content.is_open()).collect();
        if open.len() > OPEN_FILES {
            open.sort_unstable_by_key(|content| std::cmp::Reverse(content.used.load(Ordering::Relaxed)));
            open[OPEN_FILES..].iter().for_each(|content| content.close());
        }
    }

    /// Writes one file to the disk; returns when it would survive a power cut.
    pub fn make_durable(&self, ino: Ino) -> Result<()> {
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
        let contents = self.contents.lock();
        let dirty: Vec<_> = ids.iter().filter_map(|id| contents.get(id).map(Arc::clone)).collect();
        let hydrated = contents.values().filter(|content| content.is_only_in_memory()).map(Arc::clone);
        dirty.iter().map(Arc::clone).chain(hydrated.take(CLEAN_FILES_A_POINT)).collect()
    }

    fn write_down(&self, content: &Content) -> Result<bool> {
        let file = {
            let mut state = content.lock();
            if state.row.durable_len == Some(state.len) && !state.row.overwriting {
                return Ok(false);
            }
            let len = state.len;
            state.point = Some(len);
            state.point_spoiled = false;
            state.file(content.path())?
        };
        file.sync_data().map_err(CacheError::io("Writing down", content.path()))?;
        let mut state = content.lock();
        state.row.durable_len = state.point.take().map(|point| point.min(state.len));
        state.row.overwriting = state.point_spoiled;
        let row = state.row.clone();
        self.catalog.note(&[RowOp::Content(content.id.clone(), Box::new(row))])?;
        Ok(true)
    }
}
