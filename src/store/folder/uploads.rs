//! Objects that arrive in parts.
//!
//! An upload is a folder of the machinery with a file for each part. To complete it is to
//! concatenate the parts to a draft and commit that like any other.

use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, XattrFlags};

use super::Folder;
use super::draft::Draft;
use super::failure::Request;
use super::object::{Facts, KEY_XATTR, OpenObject, xattr};
use super::place::AS_FOLDER;
use crate::store::{ErrorKind, PutOptions, Result, UploadId, UploadedPart, Version};

const UPLOADS: &str = ".bayou-folder/uploads";

impl Folder {
    pub(super) fn begin_upload(&self, request: &Request) -> Result<UploadId> {
        let failed = || request.failed("make a folder for the parts");
        let uploads = self.machinery(UPLOADS, request)?;
        let id = uuid::Uuid::new_v4().to_string();
        rustix::fs::mkdirat(&uploads, &id, Mode::from_raw_mode(0o777)).map_err(failed())?;
        let parts = self.open_beneath(&format!("{UPLOADS}/{id}"), AS_FOLDER).map_err(failed())?;
        let key = request.key.as_str().as_bytes();
        rustix::fs::fsetxattr(&parts, KEY_XATTR, key, XattrFlags::empty()).map_err(failed())?;
        rustix::fs::fsync(&parts).and_then(|()| rustix::fs::fsync(&uploads)).map_err(failed())?;
        Ok(UploadId(id))
    }

    pub(super) fn upload_part(
        &self,
        request: &Request,
        upload: &UploadId,
        number: u32,
        body: &[u8],
    ) -> Result<UploadedPart> {
        let parts = self.parts_of(request, upload)?;
        let mut draft = Draft::create(self, request)?;
        draft.write(body)?;
        let version = draft.keep_as(&parts, &number.to_string())?;
        Ok(UploadedPart { number, tag: version.as_str().to_owned() })
    }

    pub(super) fn copy_part(
        &self,
        request: &Request,
        (upload, number): (&UploadId, u32),
        source: &OpenObject,
        range: Range<u64>,
    ) -> Result<UploadedPart> {
        let parts = self.parts_of(request, upload)?;
        if range.is_empty() || range.end > source.size() {
            let detail = format!("the source has no bytes {}..{}", range.start, range.end);
            return Err(request.error(ErrorKind::Invalid).detail(detail));
        }
        let mut draft = Draft::create(self, request)?;
        draft.append(source.file(), range)?;
        let version = draft.keep_as(&parts, &number.to_string())?;
        Ok(UploadedPart { number, tag: version.as_str().to_owned() })
    }

    pub(super) fn complete_upload(
        &self,
        request: &Request,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let folder = self.parts_of(request, upload)?;
        if parts.is_empty() || !parts.is_sorted_by(|a, b| a.number < b.number) {
            let detail = "parts must be named once each, in order";
            return Err(request.error(ErrorKind::Invalid).detail(detail));
        }
        let mut draft = Draft::create(self, request)?;
        for part in parts {
            append_part(&mut draft, &folder, part, request)?;
        }
        let version = draft.commit(options)?;
        // The object is there; parts that cannot be removed only take space.
        if let Err(error) = self.abort_upload(request, upload) {
            tracing::warn!(key = %request.key, %error, "Parts of a complete upload are left behind");
        }
        Ok(version)
    }

    pub(super) fn abort_upload(&self, request: &Request, upload: &UploadId) -> Result<()> {
        if self.parts_of(request, upload).is_err_and(|error| error.is_not_found()) {
            return Ok(());
        }
        self.remove_machinery(UPLOADS, &upload.0, request)
    }

    /// Opens the folder of an upload of the request's key.
    fn parts_of(&self, request: &Request, upload: &UploadId) -> Result<OwnedFd> {
        let missing = || request.error(ErrorKind::NotFound).detail("no such upload");
        uuid::Uuid::parse_str(&upload.0).map_err(|_| missing())?;
        let folder = match self.open_beneath(&format!("{UPLOADS}/{}", upload.0), AS_FOLDER) {
            Err(rustix::io::Errno::NOENT) => return Err(missing()),
            opened => opened.map_err(request.failed("open the folder of the parts"))?,
        };
        let key = xattr(&folder, KEY_XATTR).map_err(request.failed("read the upload's key"))?;
        if key.as_deref() == Some(request.key.as_str().as_bytes()) { Ok(folder) } else { Err(missing()) }
    }
}

fn append_part(
    draft: &mut Draft<'_>,
    folder: &OwnedFd,
    part: &UploadedPart,
    request: &Request,
) -> Result<()> {
    let failed = || request.failed("read a part");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, part.number.to_string(), flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Err(wrong_part(request, part)),
        opened => opened.map_err(failed())?,
    };
    let facts = Facts::of(&rustix::fs::fstat(&file).map_err(failed())?);
    if facts.version().as_str() != part.tag {
        return Err(wrong_part(request, part));
    }
    draft.append(&file.into(), 0..facts.size)
}

fn wrong_part(request: &Request, part: &UploadedPart) -> crate::store::StoreError {
    let detail = format!("part {} is not the one that was uploaded", part.number);
    request.error(ErrorKind::Invalid).detail(detail)
}
