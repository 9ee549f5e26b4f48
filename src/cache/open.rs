//! Opening a cache folder: one owner, the catalog, and what a crash left behind.
//!
//! After a crash of the process every dirty file is dirty still, with the length that its
//! content file has. After a power cut (another boot id) content is trusted only as far as the
//! last durable point. With the catalog lost, dirty files are found again by what their
//! content files say of themselves.

use std::collections::HashMap;
use std::fs::{Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};

use super::applied::{APPLIED, Applied};
use super::catalog::Catalog;
use super::content::{self, Content};
use super::error::{CacheError, Result};
use super::freeze::FROZEN;
use super::listing::Listings;
use super::names::Names;
use super::rows::{ContentId, ContentRow, RowOp, Rows};
use super::watermark::Watermark;
use super::{Cache, CacheOptions};
use crate::os::clock::SharedClock;
use crate::os::crash_point::{Step, reached};
use crate::os::durable_file;
use crate::os::folder_lock::FolderLock;

const BOOT_ID: &str = "boot-id";

impl Cache {
    /// Opens (or makes) the cache in `options.folder`.
    ///
    /// Fails with [`CacheError::Locked`] if another process owns it.
    pub fn open(options: CacheOptions, clock: SharedClock) -> Result<Arc<Self>> {
        Self::open_in_boot(options, clock, &current_boot_id())
    }

    /// As [`Cache::open`], for a machine whose present boot has this id: where it is another
    /// than the last one that used the cache, what was only in memory then is gone.
    pub fn open_in_boot(options: CacheOptions, clock: SharedClock, boot: &str) -> Result<Arc<Self>> {
        let state = options.folder.join("state");
        make_private(&options.folder)?;
        for folder in [&state, &options.folder.join("content")] {
            make_private(folder)?;
            // One that was there already may have been made by somebody careless.
            std::fs::set_permissions(folder, Permissions::from_mode(0o700))
                .map_err(CacheError::io("Making", folder))?;
        }
        let lock = FolderLock::acquire(&state.join("lock"))?;
        content::make_shelves(&options.folder.join("content"))?;
        remove_frozen(&state)?;
        let sidecar = state.join(".datastore-sync-state.json");
        let watermark =
            Watermark::open(&sidecar, Arc::clone(&clock)).map_err(CacheError::io("Reading", &sidecar))?;
        let (catalog, rows) = open_catalog(&state)?;
        let last_boot = rows.settings.get(BOOT_ID).cloned();
        let applied = Applied::read(rows.settings.get(APPLIED));
        let refused = super::refused::read(rows.settings.get(super::refused::REFUSED));
        let temporaries = super::set_aside::read(rows.settings.get(super::set_aside::TEMPORARY));
        let contents = rows.contents.clone();
        let (names, leftover) = Names::load(rows, clock.instant());
        let cache = Self {
            options,
            boot: boot.to_owned(),
            clock,
            watermark,
            catalog,
            names: RwLock::new(names),
            contents: Mutex::new(HashMap::new()),
            listings: Listings::new(),
            seen: Mutex::new(None),
            growth: std::sync::OnceLock::new(),
            uses: AtomicU64::new(1),
            idle_points: Mutex::default(),
            local_bytes: AtomicU64::new(0),
            since_look: super::eviction::SinceLook::default(),
            traffic: super::traffic::Traffic::default(),
            applied: Mutex::new(applied),
            refused: Mutex::new(refused),
            temporaries: Mutex::new(temporaries),
            show_again: AtomicBool::new(false),
            became_dirty: tokio::sync::Notify::new(),
            missing: super::missing::Missing::default(),
            watches: super::watched::Watches::default(),
            loans: super::lent::Loans::default(),
            send_buffers: super::send_buffers::SendBuffers::default(),
            read_only: Mutex::new(None),
            frozen: AtomicBool::new(false),
            opens_untold: AtomicBool::new(false),
            _lock: lock,
        };
        cache.catalog.note(&leftover)?;
        cache.take_over(contents, last_boot)?;
        Ok(Arc::new(cache))
    }

    /// Brings tree and content files into line, and the watermark with them.
    fn take_over(
        &self,
        contents: impl IntoIterator<Item = (ContentId, ContentRow)>,
        last_boot: Option<String>,
    ) -> Result<()> {
        let watermark = |failed| CacheError::io("Marking dirty", self.options.folder.join("state"))(failed);
        if last_boot.is_none() {
            // A catalog that is new, or anew, has verified nothing.
            self.watermark.forget().map_err(watermark)?;
        }
        self.adopt_contents(contents)?;
        self.drop_unused_contents()?;
        self.recover_files(last_boot.is_some_and(|last| last != self.boot))?;
        self.recover_from_contents()?;
        self.remove_unknown_contents()?;
        reached(Step::Recovered);
        self.catalog.note_durably(&[RowOp::Setting(BOOT_ID.to_owned(), self.boot.clone())])?;
        if !self.nothing_pending() {
            drop(self.watermark.mark_dirty().map_err(watermark)?);
        }
        Ok(())
    }

    /// Takes over the content files that the catalog knows and that exist.
    fn adopt_contents(&self, rows: impl IntoIterator<Item = (ContentId, ContentRow)>) -> Result<()> {
        let folder = self.content_folder();
        let mut gone = Vec::new();
        for (id, row) in rows {
            match std::fs::metadata(content::path_of(&folder, &id)) {
                Ok(meta) => self.adopt_content(id, row, &meta),
                Err(_) => gone.push(RowOp::NoContent(id)),
            }
        }
        self.catalog.note(&gone)
    }

    /// Takes over one content file.
    pub(super) fn adopt_content(&self, id: ContentId, row: ContentRow, meta: &Metadata) {
        let content = Content::at(&self.content_folder(), id.clone(), row, meta.len());
        content.lock().take_over(meta);
        self.recount(&content, &content.lock());
        self.contents.lock().insert(id, Arc::new(content));
    }

    /// Drops the content of files that were unlinked while they were open.
    fn drop_unused_contents(&self) -> Result<()> {
        let used = self.names.read().content_ids();
        let unused: Vec<_> = self.contents.lock().keys().filter(|id| !used.contains(id)).cloned().collect();
        unused.iter().for_each(|id| self.drop_content(id));
        self.catalog.note(&unused.into_iter().map(RowOp::NoContent).collect::<Vec<_>>())
    }

    /// Removes content files that the catalog does not know.
    fn remove_unknown_contents(&self) -> Result<()> {
        for (id, path) in self.unknown_contents()? {
            tracing::debug!(id = %id.0, "A content file that nothing needs is removed");
            std::fs::remove_file(&path).map_err(CacheError::io("Removing", &path))?;
        }
        Ok(())
    }

    /// Returns the content files that the catalog does not know.
    pub(super) fn unknown_contents(&self) -> Result<Vec<(ContentId, PathBuf)>> {
        let folder = self.content_folder();
        let files = content_files(&folder).map_err(CacheError::io("Listing", &folder))?;
        let contents = self.contents.lock();
        let named = |path: PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (ContentId(name.into()), path)
        };
        Ok(files.into_iter().map(named).filter(|(id, _)| !contents.contains_key(id)).collect())
    }
}

/// Opens the catalog; a damaged one is kept aside, with its journal, and begun anew.
fn open_catalog(state: &FsPath) -> Result<(Catalog, Rows)> {
    let source = match Catalog::open(state) {
        Err(CacheError::Catalog { source, .. }) => source,
        opened => return opened,
    };
    tracing::error!(
        path = %state.join("catalog.db").display(), error = %source,
        "The catalog is damaged: it is kept aside, and dirty files are found again by their content files"
    );
    for name in ["catalog.db", "journal.folding", "journal"] {
        let (path, aside) = (state.join(name), state.join(format!("{name}.damaged")));
        match durable_file::rename(&path, &aside) {
            Err(absent) if absent.kind() == std::io::ErrorKind::NotFound => {}
            moved => moved.map_err(CacheError::io("Setting aside", &path))?,
        }
    }
    for suffix in ["catalog.db-wal", "catalog.db-shm"] {
        std::fs::remove_file(state.join(suffix)).ok();
    }
    Catalog::open(state)
}

/// Removes the private copies of uploads that a crash left behind.
fn remove_frozen(state: &FsPath) -> Result<()> {
    for file in std::fs::read_dir(state).map_err(CacheError::io("Listing", state))? {
        let file = file.map_err(CacheError::io("Listing", state))?;
        if file.file_name().to_string_lossy().starts_with(FROZEN) {
            std::fs::remove_file(file.path()).map_err(CacheError::io("Removing", file.path()))?;
        }
    }
    Ok(())
}

/// Returns the paths of all content files.
fn content_files(folder: &FsPath) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for shelf in std::fs::read_dir(folder)? {
        let shelf = shelf?;
        if !shelf.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(shelf.path())? {
            files.push(file?.path());
        }
    }
    Ok(files)
}

fn make_private(folder: &FsPath) -> Result<()> {
    durable_file::make_folder(folder).map_err(CacheError::io("Making", folder))
}

fn current_boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
