//! A folder used as a bucket.
//!
//! Every ordinary key is an ordinary file at its own path, so any other program can read it.
//! Machinery lives in `.bayou-folder` and is never listed. Keys that cannot be a path are kept
//! there too. Writes are atomic and durable when they return, and conditions hold between
//! processes: a write prepares its bytes aside, then checks and renames under the key's lock.
//! Symbolic links are never followed.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{
    Abilities, Component, Condition, ErrorKind, Fetched, Listed, ObjectMeta, ObjectStore, PartSource,
    PutOptions, Result, StoreError, UploadId, UploadedPart, Version,
};
use crate::model::key::{MAX_KEY_BYTES, ObjectKey};

mod draft;
mod failure;
mod listing;
mod lock;
mod object;
mod place;
mod removal;
mod uploads;

use draft::Draft;
use failure::Request;
use listing::Listing;
use lock::Gates;

/// What S3 allows, so that both backends are used alike.
const ABILITIES: Abilities = Abilities {
    min_part_bytes: 5 << 20,
    max_parts: 10_000,
    max_put_bytes: 5 << 30,
    parts_show: false,
    parts_in_order: false,
    begins_early: true,
    copies_parts: true,
    most_components: 0,
    write_interval: std::time::Duration::ZERO,
};

/// A bucket that is a folder.
#[derive(Debug, Clone)]
pub struct FolderStore {
    folder: Arc<Folder>,
}

/// The folder itself, seen from the threads that may block.
#[derive(Debug)]
struct Folder {
    root: OwnedFd,
    address: String,
    gates: Gates,
    swept: std::sync::Once,
}

impl FolderStore {
    /// Opens the folder at `path`; changes nothing in it.
    ///
    /// Fails with `NoBucket` if there is none, with `Denied` if it may not be read, and with
    /// `Unsupported` if its filesystem keeps no user extended attributes.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let at = |kind| StoreError::at(kind, "open", &shown);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => at(ErrorKind::NoBucket)
                .detail(errno.to_string())
                .hint(format!("Make the folder first: mkdir -p {shown:?}")),
            Errno::ACCESS | Errno::PERM => at(ErrorKind::Denied).detail(errno.to_string()),
            _ => at(ErrorKind::Unreachable).detail(errno.to_string()),
        })?;
        let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let address = format!("file://{}", absolute.display());
        let folder = Folder { root, address, gates: Gates::default(), swept: std::sync::Once::new() };
        folder
            .check_system()
            .map_err(|(what, way_out)| at(ErrorKind::Unsupported).detail(what).hint(way_out))?;
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Runs work that may block where it harms nobody.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &ObjectKey,
        work: impl FnOnce(&Arc<Folder>, &Request) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let request = Request { operation, key: key.clone() };
        if key.as_str().len() > MAX_KEY_BYTES || key.as_str().is_empty() {
            return Err(request.error(ErrorKind::Invalid).detail("a key has 1 to 1024 bytes"));
        }
        let folder = Arc::clone(&self.folder);
        let failed = StoreError::new(ErrorKind::Unreachable, operation, key);
        let done = tokio::task::spawn_blocking(move || work(&folder, &request)).await;
        done.unwrap_or_else(|gone| Err(failed.caused_by(gone)))
    }
}

impl Folder {
    /// Opens what is at a path below the root, without following any link.
    fn open_beneath(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, mode, resolve)
    }

    /// Returns what the system lacks for a folder to be a bucket, and the way out.
    fn check_system(&self) -> std::result::Result<(), (String, &'static str)> {
        if let Err(errno @ (Errno::NOSYS | Errno::PERM)) = self.open_beneath(".", OFlags::PATH) {
            let way_out = "Use Linux 5.6 or later, and a sandbox that allows openat2";
            return Err((format!("the system call openat2 is not available: {errno}"), way_out));
        }
        match rustix::fs::fgetxattr(&self.root, object::META_XATTR, &mut [0u8; 0]) {
            Ok(_) | Err(Errno::NODATA | Errno::RANGE) => Ok(()),
            Err(errno) => {
                let what = format!("its filesystem keeps no user extended attributes: {errno}");
                Err((what, "Use a folder on ext4, xfs, btrfs or a recent tmpfs"))
            }
        }
    }

    /// Fails with `NoBucket` if the root was removed; otherwise absence is absence.
    fn check_root(&self, request: &Request) -> Result<()> {
        let stat = rustix::fs::fstat(&self.root).map_err(request.failed("look at the bucket's folder"))?;
        if stat.st_nlink == 0 { Err(request.error(ErrorKind::NoBucket)) } else { Ok(()) }
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<std::ops::Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        let if_version = if_version.cloned();
        self.run("get", key, move |folder, request| folder.read(request, range, if_version.as_ref())).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        let options = options.clone();
        let work = move |folder: &Arc<Folder>, request: &Request| {
            let mut draft = Draft::create(folder, request)?;
            draft.write(&body)?;
            draft.commit(&options)
        };
        self.run("put", key, work).await
    }

    async fn begin_upload(&self, key: &ObjectKey, _size: u64, _options: &PutOptions) -> Result<UploadId> {
        self.run("begin_upload", key, |folder, request| folder.begin_upload(request)).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let upload = upload.clone();
        let work = move |folder: &Arc<Folder>, request: &Request| {
            folder.upload_part(request, &upload, number, &body)
        };
        self.run("upload_part", key, work).await
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let source = Request { operation: "copy_part", key: from.key.clone() };
        let (upload, from) = (upload.clone(), from.clone());
        let work = move |folder: &Arc<Folder>, request: &Request| {
            let object = folder.find_version(&source, Some(&from.version))?;
            let part = folder.copy_part(request, (&upload, number), &object, from.range)?;
            object.check_unchanged(&source).map(|()| part)
        };
        self.run("copy_part", key, work).await
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let (upload, parts, options) = (upload.clone(), parts.to_vec(), options.clone());
        let work = move |folder: &Arc<Folder>, request: &Request| {
            folder.complete_upload(request, &upload, &parts, &options)
        };
        self.run("complete_upload", key, work).await
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        let upload = upload.clone();
        self.run("abort_upload", key, move |folder, request| folder.abort_upload(request, &upload)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        let work = |folder: &Arc<Folder>, request: &Request| match folder.find(request)? {
            Some(object) => object.meta(request).map(Some),
            None => folder.check_root(request).map(|()| None),
        };
        self.run("head", key, work).await
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        let condition = condition.clone();
        self.run("delete", key, move |folder, request| folder.remove(request, &condition)).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let source = Request { operation: "copy", key: from.clone() };
        let (from_version, options) = (from_version.clone(), options.clone());
        let work = move |folder: &Arc<Folder>, request: &Request| {
            let object = folder.find_version(&source, Some(&from_version))?;
            let mut draft = Draft::create(folder, request)?;
            draft.append(object.file(), 0..object.size())?;
            object.check_unchanged(&source)?;
            draft.commit(&options)
        };
        self.run("copy", to, work).await
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let _ = (components, options);
        Err(StoreError::new(ErrorKind::Unsupported, "compose", to)
            .detail("a folder puts files together in parts only"))
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        let listing = Listing::new(Arc::clone(&self.folder), prefix, start_after);
        stream::try_unfold(listing, |mut listing| async move {
            let prefix = listing.request().clone();
            let page = tokio::task::spawn_blocking(move || Ok((listing.next_page()?, listing))).await;
            let (page, listing) =
                page.unwrap_or_else(|gone| Err(prefix.error(ErrorKind::Unreachable).caused_by(gone)))?;
            Ok((!page.is_empty()).then_some((page, listing)))
        })
        .boxed()
    }

    fn abilities(&self) -> Abilities {
        ABILITIES
    }

    fn address(&self) -> String {
        self.folder.address.clone()
    }
}
