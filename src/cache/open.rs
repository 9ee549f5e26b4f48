//! Opening a cache folder: one owner, the catalog, and what a crash left behind.
//!
//! After a crash of the process every dirty file is dirty still, with the length that its
//! content file has. After a power cut (another boot id) content is trusted only as far as the
//! last durable point. With the catalog lost, dirty files are found again by what their
//! content files say of themselves.

use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::catalog::Catalog;
use super::content::{self, Content};
use super::error::{CacheError, Result};
use super::listing::Listings;
use super::names::Names;
use super::rows::{ContentId, ContentRow, Ino, RowOp, Rows};
use super::watermark::Watermark;
use super::{Cache, CacheOptions};
use crate::os::clock::SharedClock;
use crate::os::durable_file;
use crate::os::folder_lock::FolderLock;

const BOOT_ID: &str = "boot-id";

impl Cache {
    /// Opens (or makes) the cache in `options.folder`.
    ///
    /// Fails with [`CacheError::Locked`] if another process owns it.
    pub fn open(options: CacheOptions, clock: SharedClock) -> Result<Arc<Self>> {
        let state = options.folder.join("state");
        for folder in [&options.folder, &state, &options.folder.join("content")] {
            make_private(folder)?;
        }
        let lock = FolderLock::acquire(&state.join("lock"))?;
        let sidecar = state.join(".datastore-sync-state.json");
        let watermark =
            Watermark::open(&sidecar, Arc::clone(&clock)).map_err(CacheError::io("Reading", &sidecar))?;
        let (catalog, rows, lost) = open_catalog(&state)?;
        let boot_id = rows.settings.get(BOOT_ID).cloned();
        let applied = rows.settings.get(super::APPLIED).filter(|text| !text.is_empty()).cloned();
        let contents = rows.contents.clone();
        let (names, orphans) = Names::load(rows, clock.instant());
        let cache = Self {
            options,
            clock,
            watermark,
            catalog,
            names: RwLock::new(names),
            contents: Mutex::new(HashMap::new()),
            listings: Listings::new(),
            seen: Mutex::new(None),
            uses: AtomicU64::new(1),
            local_bytes: AtomicU64::new(0),
            since_look: super::eviction::SinceLook::default(),
            applied: Mutex::new(applied),
            read_only: Mutex::new(None),
            frozen: AtomicBool::new(false),
            _lock: lock,
        };
        cache.adopt_contents(contents)?;
        cache.drop_orphans(orphans.into_iter().map(|(ino, inode)| (ino, inode.content)))?;
        if lost {
            cache.watermark.forget().map_err(CacheError::io("Removing", &sidecar))?;
            cache.recover_from_contents()?;
        }
        let boot = current_boot_id();
        let power_was_cut = boot_id.is_some_and(|noted| noted != boot);
        cache.recover_files(power_was_cut)?;
        cache.remove_unknown_contents()?;
        cache.catalog.note_durably(&[RowOp::Setting(BOOT_ID.to_owned(), boot)])?;
        Ok(Arc::new(cache))
    }

    /// Takes over the content files that exist and that a file still has.
    fn adopt_contents(&self, rows: impl IntoIterator<Item = (ContentId, ContentRow)>) -> Result<()> {
        let folder = self.content_folder();
        let held = self.names.read().content_ids();
        let mut contents = self.contents.lock();
        let mut gone = Vec::new();
        for (id, row) in rows {
            match std::fs::metadata(content::path_of(&folder, &id)) {
                Ok(meta) if held.contains(&id) => {
                    let content = Content::at(&folder, id.clone(), row, meta.len());
                    self.local_bytes.fetch_add(content.lock().local_bytes(), Ordering::Relaxed);
                    contents.insert(id, Arc::new(content));
                }
                Ok(_) | Err(_) => gone.push(RowOp::NoContent(id)),
            }
        }
        drop(contents);
        self.catalog.note(&gone)
    }

    fn drop_orphans(&self, orphans: impl Iterator<Item = (Ino, Option<ContentId>)>) -> Result<()> {
        for (ino, content) in orphans {
            let mut group = vec![RowOp::NoInode(ino)];
            group.extend(content.clone().map(RowOp::NoContent));
            self.catalog.note(&group)?;
            content.iter().for_each(|id| self.drop_content(id));
        }
        Ok(())
    }

    /// Removes content files that the catalog does not know.
    fn remove_unknown_contents(&self) -> Result<()> {
        for path in
            content_files(&self.content_folder()).map_err(CacheError::io("Listing", self.content_folder()))?
        {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !self.contents.lock().contains_key(&ContentId(name.into())) {
                std::fs::remove_file(&path).map_err(CacheError::io("Removing", &path))?;
            }
        }
        Ok(())
    }
}

/// Opens the catalog; a damaged one is kept aside and begun anew.
fn open_catalog(state: &FsPath) -> Result<(Catalog, Rows, bool)> {
    let path = state.join("catalog.db");
    let fresh = !path.exists();
    match Catalog::open(state) {
        Ok((catalog, rows)) => Ok((catalog, rows, fresh)),
        Err(CacheError::Catalog { source, .. }) => {
            let aside = state.join("catalog.db.damaged");
            tracing::error!(
                path = %path.display(), kept = %aside.display(), error = %source,
                "The catalog is damaged: it is kept aside, and dirty files are found again by their content files"
            );
            durable_file::rename(&path, &aside).map_err(CacheError::io("Setting aside", &path))?;
            for suffix in ["catalog.db-wal", "catalog.db-shm"] {
                std::fs::remove_file(state.join(suffix)).ok();
            }
            let (catalog, rows) = Catalog::open(state)?;
            Ok((catalog, rows, true))
        }
        Err(other) => Err(other),
    }
}

/// Returns the paths of all content files.
pub(super) fn content_files(folder: &FsPath) -> std::io::Result<Vec<std::path::PathBuf>> {
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
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(CacheError::io("Making", folder))
}

fn current_boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
