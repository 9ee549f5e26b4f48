//! Local durable points: what is on this machine's disk whatever happens to its power.
//!
//! A durable point writes the content of dirty files (and of hydrated ones) to the disk and
//! then notes up to which length each is there. Bytes that change while it is made leave the
//! file marked as being overwritten until the next point.

use std::collections::HashSet;
use std::path::PathBuf;
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

/// After how many points with nothing to do, and no use of any content between, nothing is looked
/// at: at the first of them a write may have been under way.
const IDLE_POINTS: u32 = 2;

/// How many durable points had nothing to do since content was last used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IdlePoints {
    uses: u64,
    points: u32,
}

impl Cache {
    /// Writes all dirty content, and some of what was hydrated, to the disk.
    ///
    /// Looks at nothing if nothing is dirty and nothing was used since there was nothing to do.
    pub fn durable_point(&self) -> Result<()> {
        self.look_at_watched();
        let uses = self.uses.load(Ordering::Relaxed);
        let idle = *self.idle_points.lock();
        if self.names.read().pending().is_empty() && idle.uses == uses && idle.points >= IDLE_POINTS {
            return self.catalog.fold_if_large();
        }
        let contents = self.contents_to_write_down();
        let (shelves, mut failed) = sync_shelves(&contents);
        let mut any = false;
        let is_left =
            |content: &Content| content.path().parent().is_some_and(|shelf| shelves.left.contains(shelf));
        for content in contents.into_iter().filter(|content| !is_left(content)) {
            match self.write_down(&content, &shelves.synced) {
                Ok(written) => any |= written,
                // One file that cannot be written must not keep the others from it.
                Err(one) => failed = failed.or(Some(one)),
            }
        }
        if any {
            self.catalog.sync()?;
            reached(Step::LocallyDurable);
        } else if failed.is_none() {
            let points = if idle.uses == uses { idle.points + 1 } else { 1 };
            *self.idle_points.lock() = IdlePoints { uses, points };
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
            self.write_down(&*self.content(&id)?, &HashSet::new())?;
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

    /// Writes one file to the disk; the names in these shelves are there already.
    fn write_down(&self, content: &Content, shelves: &HashSet<PathBuf>) -> Result<bool> {
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
        if new && path.parent().is_none_or(|shelf| !shelves.contains(shelf)) {
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

/// The shelves of new content files.
#[derive(Default)]
struct Shelves {
    /// Their names are on the disk.
    synced: HashSet<PathBuf>,
    /// The disk refused them: their files are left for the next durable point.
    left: HashSet<PathBuf>,
}

/// Writes the names of new content files to the disk, once a shelf; returns the first failure, too.
fn sync_shelves(contents: &[Arc<Content>]) -> (Shelves, Option<CacheError>) {
    let new = contents.iter().filter(|content| content.lock().row.durable_len.is_none());
    let found: HashSet<PathBuf> =
        new.filter_map(|content| content.path().parent()).map(PathBuf::from).collect();
    let (mut shelves, mut failed) = (Shelves::default(), None);
    for shelf in found {
        match durable_file::sync_folder(&shelf).map_err(CacheError::io("Writing down", &shelf)) {
            Ok(()) => shelves.synced.insert(shelf),
            Err(one) => {
                failed = failed.or(Some(one));
                shelves.left.insert(shelf)
            }
        };
    }
    (shelves, failed)
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
