//! What this machine holds: the tree of names, the content files and the dirty watermark.
//!
//! A [`Cache`] owns one folder of local state. Its calls are synchronous and bounded by the
//! local disk; only [`hydrate::Hydrator`] asks the bucket. Nothing is changed without a
//! [`watermark::ChangeToken`], everything that must be found again is noted before it is done,
//! and only clean content is ever dropped.
//!
//! Lock order: a content's state, the tree of names, the journal.

use std::collections::HashMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::model::key::MAX_KEY_BYTES;
use crate::os::clock::SharedClock;
use crate::os::crash_point::{Step, reached};
use crate::os::folder_lock::FolderLock;

mod ahead;
mod applied;
mod arriving;
pub mod attributes;
mod bare_key;
mod brought_back;
pub mod bypass;
pub mod catalog;
pub mod content;
mod content_change;
pub mod counted;
mod due;
pub mod durable;
pub mod error;
pub mod eviction;
pub mod exchange;
pub mod file;
mod flights;
pub mod folders;
pub mod found;
pub mod freeze;
pub mod holes;
pub mod hydrate;
pub mod journal;
pub mod kind;
mod leaving;
pub mod lent;
mod links;
pub mod listing;
pub mod missing;
pub mod moves;
pub mod names;
pub mod open;
pub mod origin;
pub mod prefetch;
mod pull_links;
pub mod pull_state;
pub mod push_state;
pub mod ranges;
pub mod recover;
mod refused;
pub mod rename;
pub mod rows;
mod send_buffers;
mod sequence;
pub mod set_aside;
pub mod shadow;
pub mod shared_sync;
mod tables;
pub mod theirs;
mod tombstones;
pub mod traffic;
pub mod tree;
pub mod unchanged;
pub mod unnamed;
mod walk;
mod watched;
pub mod watermark;
mod windows;
pub mod within;

pub use error::{CacheError, Result};
pub use rows::{Ino, ROOT};

use catalog::Catalog;
use content::{Content, ContentState};
use listing::Listings;
use names::Names;
use rows::{ContentId, ContentRow, Nanos, Path, RowOp};
use watermark::{ChangeToken, Watermark};

/// What the kernel must be told because it changed without the kernel's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A name appeared, vanished or now means another file.
    Entry {
        /// The folder.
        parent: Ino,
        /// The name in it.
        name: String,
    },
    /// A file's content changed.
    Content {
        /// The file.
        ino: Ino,
        /// Its names, each with its folder.
        names: Vec<(Ino, String)>,
    },
    /// Nobody uses a file, as far as is known here.
    Unused {
        /// Its names, each with its folder.
        names: Vec<(Ino, String)>,
    },
    /// Only attributes changed.
    Attributes {
        /// The file or folder.
        ino: Ino,
        /// Its names, each with its folder.
        names: Vec<(Ino, String)>,
    },
}

/// Who hands on what the kernel must be told.
type TellKernel = Box<dyn Fn(Seen) + Send>;

/// Who is told that a file grew at its end by so many bytes again. Called while the file's content
/// is locked: it must not wait, and it must not ask for that.
struct TellGrowth {
    step: u64,
    tell: Box<dyn Fn(Ino) + Send + Sync>,
}

/// How a cache is used.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// The folder of local state.
    pub folder: PathBuf,
    /// Most bytes of content to keep.
    pub limit_bytes: u64,
    /// Free space to leave on the local disk, in bytes.
    pub min_free_bytes: u64,
}

/// Everything that this machine holds of one bucket.
pub struct Cache {
    options: CacheOptions,
    boot: String,
    clock: SharedClock,
    watermark: Watermark,
    catalog: Catalog,
    names: RwLock<Names>,
    contents: Mutex<HashMap<ContentId, Arc<Content>>>,
    listings: Listings,
    seen: Mutex<Option<TellKernel>>,
    growth: std::sync::OnceLock<TellGrowth>,
    uses: AtomicU64,
    idle_points: Mutex<durable::IdlePoints>,
    local_bytes: AtomicU64,
    since_look: eviction::SinceLook,
    traffic: traffic::Traffic,
    applied: Mutex<applied::Applied>,
    /// Keys of the index that cannot be files.
    refused: Mutex<Vec<String>>,
    /// What was set aside in the bucket. Taken under the lock of the tree, or alone.
    temporaries: Mutex<set_aside::Temporaries>,
    /// Whether something of the index was left out that is to be shown now: nothing counts as
    /// applied until all of it is taken over again.
    show_again: AtomicBool,
    /// Told when something is to be pushed, and nothing was before.
    became_dirty: Notify,
    missing: missing::Missing,
    watches: watched::Watches,
    loans: lent::Loans,
    send_buffers: send_buffers::SendBuffers,
    read_only: Mutex<Option<String>>,
    frozen: AtomicBool,
    /// Whether files are opened without a count: they may be open until they are forgotten.
    opens_untold: AtomicBool,
    _lock: FolderLock,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("folder", &self.options.folder).finish_non_exhaustive()
    }
}

impl Cache {
    /// Returns the folder of local state.
    pub fn folder(&self) -> &FsPath {
        &self.options.folder
    }

    /// Returns how the cache is used.
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// Keeps room in every key for a prefix that is put before each path.
    pub fn keep_room_for_prefix(&self, bytes: usize) {
        self.names.write().longest_path = MAX_KEY_BYTES.saturating_sub(bytes);
    }

    /// Returns the dirty watermark.
    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// Hands what the kernel must be told to `tell` from now on; it must not wait, and it must
    /// not call back.
    pub fn tell_kernel_through(&self, tell: impl Fn(Seen) + Send + 'static) {
        *self.seen.lock() = Some(Box::new(tell));
    }

    /// Has files that are written on and on told of, every time that one has `step` bytes more. The
    /// content of the file is locked then: `tell` must not ask for that, and it must not wait.
    pub fn tell_of_growth(&self, step: u64, tell: impl Fn(Ino) + Send + Sync + 'static) {
        let told = self.growth.set(TellGrowth { step: step.max(1), tell: Box::new(tell) });
        debug_assert!(told.is_ok(), "growth is told to one only");
    }

    /// Refuses every change from now on, for this reason.
    pub fn make_read_only(&self, reason: impl Into<String>) {
        *self.read_only.lock() = Some(reason.into());
        self.frozen.store(true, Ordering::Release);
    }

    /// Keeps each file until the kernel has forgotten it: files are opened without a count.
    pub fn keep_until_forgotten(&self) {
        self.opens_untold.store(true, Ordering::Release);
    }

    /// Returns why nothing may be changed, if so.
    pub fn read_only_reason(&self) -> Option<String> {
        self.read_only.lock().clone()
    }

    /// Returns the number of bytes of content on the local disk.
    pub fn local_bytes(&self) -> u64 {
        self.local_bytes.load(Ordering::Relaxed)
    }

    /// Marks the cache dirty, before a change of something that may be machine-local; fails if
    /// the mount is read-only.
    fn begin_change_of(&self, local: bool) -> Result<ChangeToken> {
        if self.frozen.load(Ordering::Acquire)
            && let Some(reason) = self.read_only_reason()
        {
            return Err(CacheError::ReadOnly(reason));
        }
        if local {
            return Ok(ChangeToken::uncounted());
        }
        let path = self.options.folder.join("state");
        self.watermark.mark_dirty().map_err(CacheError::io("Marking dirty", path))
    }

    /// Notes a group of changes and applies it to the tree. An inode that is noted as gone
    /// stays in memory: the kernel may still use it, and who commits drops it when unused.
    fn commit(&self, names: &mut Names, mut group: Vec<RowOp>) -> Result<()> {
        names.keep_linked(&mut group);
        self.catalog.note(&group)?;
        let now = self.clock.instant();
        let was_pushed = names.pending().is_empty();
        for op in group {
            if matches!(op, RowOp::NoInode(_)) {
                continue;
            }
            self.listings.forget_for(&op, names);
            names.apply(op, now);
        }
        if was_pushed && !names.pending().is_empty() {
            self.became_dirty.notify_one();
        }
        Ok(())
    }

    /// Commits new names and tells of each: of the folders above that are new, too.
    fn make_known(&self, names: &mut Names, group: Vec<RowOp>) -> Result<()> {
        let named = |op: &RowOp| if let RowOp::Name(path, _) = op { Some(Path::clone(path)) } else { None };
        let made: Vec<Path> = group.iter().filter_map(named).collect();
        self.commit(names, group)?;
        made.iter().for_each(|path| self.tell_entry(names, path));
        Ok(())
    }

    fn tell(&self, seen: Seen) {
        if let Some(tell) = &*self.seen.lock() {
            tell(seen);
        }
    }

    fn tell_attributes(&self, names: &Names, ino: Ino) {
        self.tell(Seen::Attributes { ino, names: Self::places_of(names, ino) });
    }

    /// Returns an inode's names, each with its folder.
    fn places_of(names: &Names, ino: Ino) -> Vec<(Ino, String)> {
        let place = |path: &Path| {
            let (parent, name) = names::split(path);
            names.name(parent).map(|folder| (folder.ino, name.to_owned()))
        };
        names.names_of(ino).iter().filter(|path| !path.is_empty()).filter_map(place).collect()
    }

    fn tell_entry(&self, names: &Names, path: &str) {
        let (parent, name) = names::split(path);
        if let Some(folder) = names.name(parent) {
            self.tell(Seen::Entry { parent: folder.ino, name: name.to_owned() });
        }
    }

    fn now_nanos(&self) -> Nanos {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn now(&self) -> Instant {
        self.clock.instant()
    }

    fn content_folder(&self) -> PathBuf {
        self.options.folder.join("content")
    }

    /// Returns the content with this id; fails if it is not known.
    fn content(&self, id: &ContentId) -> Result<Arc<Content>> {
        let content = self.contents.lock().get(id).map(Arc::clone);
        let content = content.ok_or_else(|| CacheError::NotFound(format!("content {}", id.0)))?;
        content.mark_used(self.uses.fetch_add(1, Ordering::Relaxed));
        Ok(content)
    }

    /// Makes a content file of `len` bytes, of which those below `fill_limit` are absent.
    fn new_content(&self, len: u64, fill_limit: u64) -> Result<Arc<Content>> {
        let id = ContentId(uuid::Uuid::new_v4().simple().to_string().into());
        let row = ContentRow { fill_limit, ..ContentRow::default() };
        let content = Arc::new(Content::at(&self.content_folder(), id.clone(), row, len));
        if let Err(failed) = content.create() {
            std::fs::remove_file(content.path()).ok();
            return Err(failed);
        }
        reached(Step::ContentMade);
        content.mark_used(self.uses.fetch_add(1, Ordering::Relaxed));
        self.contents.lock().insert(id, Arc::clone(&content));
        Ok(content)
    }

    /// Counts a content's bytes on the local disk again after they changed.
    fn recount(&self, content: &Content, state: &ContentState) {
        content.counted.replace(state.local_bytes(), &self.local_bytes);
    }

    /// Forgets a content file and removes it; its bytes are not needed any more.
    ///
    /// May be called under the lock of the tree: it asks for no content's state.
    fn drop_content(&self, id: &ContentId) {
        let Some(content) = self.contents.lock().remove(id) else { return };
        content.counted.end(&self.local_bytes);
        if let Err(failed) = std::fs::remove_file(content.path()) {
            tracing::warn!(path = %content.path().display(), error = %failed, "Content file could not be removed");
        }
    }
}
