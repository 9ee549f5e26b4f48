//! Removal of an object, and of the folders that it leaves empty.

use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Folder;
use super::draft::check_condition;
use super::failure::Request;
use super::place::{AS_FOLDER, ODD, odd_name, plain_path, sync_folders};
use crate::store::{Condition, Result};

impl Folder {
    /// Removes the object of the request's key, if there is one and the condition holds.
    pub(super) fn remove(&self, request: &Request, condition: &Condition) -> Result<()> {
        if self.find(request)?.is_none() {
            return self.check_root(request);
        }
        let lock = self.lock(request)?;
        let Some(object) = self.find(request)? else { return Ok(()) };
        check_condition(request, condition, Some(&object))?;
        let key = request.key.as_str();
        let mut changed = Vec::new();
        // The odd place is read first, so it must be emptied last.
        if let Some(path) = plain_path(key) {
            changed.extend(self.remove_file(path, request)?);
        }
        if object.is_odd {
            changed.extend(self.remove_file(&format!("{ODD}/{}", odd_name(key)), request)?);
        }
        drop(lock);
        sync_folders(&changed, request)
    }

    /// Removes a file and its empty folders; returns the folder that remains.
    fn remove_file(&self, path: &str, request: &Request) -> Result<Option<OwnedFd>> {
        let (mut above, mut name) = path.rsplit_once('/').unwrap_or((".", path));
        let mut parent = match self.open_beneath(above, AS_FOLDER) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(request.failed("open the object's folder")(errno)),
        };
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::ISDIR) => return Ok(None),
            Err(errno) => return Err(request.failed("remove the file")(errno)),
        }
        while above != "." && above != ODD {
            (above, name) = above.rsplit_once('/').unwrap_or((".", above));
            let Ok(higher) = self.open_beneath(above, AS_FOLDER) else { break };
            if rustix::fs::unlinkat(&higher, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            parent = higher;
        }
        Ok(Some(parent))
    }

    /// Removes a folder of the machinery with the files in it; succeeds if there is none.
    pub(super) fn remove_machinery(&self, above: &str, name: &str, request: &Request) -> Result<()> {
        let failed = || request.failed("remove a folder of the machinery");
        let folder = match self.open_beneath(&format!("{above}/{name}"), AS_FOLDER) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed()(errno)),
        };
        for entry in rustix::fs::Dir::read_from(&folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                rustix::fs::unlinkat(&folder, entry.file_name(), AtFlags::empty()).map_err(failed())?;
            }
        }
        let parent = self.open_beneath(above, AS_FOLDER).map_err(failed())?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed()(errno)),
        }
    }
}
