//! One of the two that are compared: a folder of the local disk, or of the mount.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bayou::cache::listing::EntryKind;
use rustix::fs::{CWD, RenameFlags, getxattr, llistxattr, removexattr, renameat_with, setxattr};

use super::calls::{Call, KEPT_OPEN};

/// One side: a folder, and files that are kept open.
pub(super) struct Side {
    pub(super) root: PathBuf,
    kept: Vec<Option<File>>,
}

impl Side {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, kept: (0..KEPT_OPEN).map(|_| None).collect() }
    }

    /// Makes a call; returns what a program sees of its outcome.
    pub(super) fn run(&mut self, call: &Call) -> io::Result<Vec<u8>> {
        let path = |name: &str| self.root.join(name);
        let done = match call {
            Call::Create(name) => File::create_new(path(name)).map(drop),
            Call::Folder(name) => fs::create_dir(path(name)),
            Call::Symlink(name) => symlink("a/x", path(name)),
            Call::Remove(name) => fs::remove_file(path(name)),
            Call::RemoveFolder(name) => fs::remove_dir(path(name)),
            Call::Rename(from, to) => self.rename(from, to, RenameFlags::empty()),
            Call::RenameNoReplace(from, to) => self.rename(from, to, RenameFlags::NOREPLACE),
            Call::Exchange(from, to) => self.rename(from, to, RenameFlags::EXCHANGE),
            Call::Link(from, to) => fs::hard_link(path(from), path(to)),
            Call::Fallocate(name, at, len, mode) => {
                let file = OpenOptions::new().write(true).open(path(name))?;
                Ok(rustix::fs::fallocate(&file, *mode, *at, *len)?)
            }
            Call::CopyRange(name, at, to, len) => {
                let file = OpenOptions::new().read(true).write(true).open(path(name))?;
                copy_range(&file, *at, *to, *len)
            }
            Call::SetMode(name, mode) => fs::set_permissions(path(name), Permissions::from_mode(*mode)),
            Call::WriteAt(name, at, len, byte) => {
                let file = OpenOptions::new().write(true).open(path(name))?;
                file.write_all_at(&vec![*byte; *len as usize], *at)
            }
            Call::Cut(name, len) => OpenOptions::new().write(true).open(path(name))?.set_len(*len),
            Call::Empty(name) => OpenOptions::new().write(true).truncate(true).open(path(name)).map(drop),
            Call::Read(name) => return fs::read(path(name)),
            Call::Keep(name) => {
                let file = OpenOptions::new().read(true).write(true).open(path(name))?;
                if let Some(place) = self.kept.iter_mut().find(|place| place.is_none()) {
                    *place = Some(file);
                }
                Ok(())
            }
            Call::WriteKept(kept, at, len, byte) => self.kept[*kept]
                .as_ref()
                .map_or(Ok(()), |file| file.write_all_at(&vec![*byte; *len as usize], *at)),
            Call::CutKept(kept, len) => self.kept[*kept].as_ref().map_or(Ok(()), |file| file.set_len(*len)),
            Call::ReadKept(kept) => return self.kept[*kept].as_ref().map_or(Ok(Vec::new()), read_all),
            Call::Drop(kept) => {
                self.kept[*kept] = None;
                Ok(())
            }
            Call::SetXattr(name, xattr, byte, flags) => {
                Ok(setxattr(path(name), *xattr, &vec![*byte; *byte as usize], *flags)?)
            }
            Call::RemoveXattr(name, xattr) => Ok(removexattr(path(name), *xattr)?),
        };
        done.map(|()| Vec::new())
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
        Ok(renameat_with(CWD, self.root.join(from), CWD, self.root.join(to), flags)?)
    }

    /// Returns everything as the other machine's tree shows it.
    pub(super) fn plain_tree(&self) -> BTreeMap<String, (EntryKind, u32, Vec<u8>)> {
        let paths = self.tree().into_iter().map(|(path, _)| path);
        let entry = |path: PathBuf| {
            let full = self.root.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let (kind, bytes) = if meta.is_dir() {
                (EntryKind::Folder, Vec::new())
            } else if meta.is_symlink() {
                (EntryKind::Symlink, fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes())
            } else {
                (EntryKind::File, fs::read(&full).unwrap())
            };
            (path.into_os_string().into_string().unwrap(), (kind, meta.mode() & 0o7777, bytes))
        };
        paths.map(entry).collect()
    }

    /// Returns the extended attributes of what has any.
    pub(super) fn xattrs(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        let paths = self.tree().into_iter().map(|(path, _)| path);
        let given = paths.map(|path| (path.to_str().unwrap().to_owned(), xattrs(&self.root.join(path))));
        given.filter(|(_, xattrs)| !xattrs.is_empty()).collect()
    }

    /// Returns everything that can be seen, name by name.
    pub(super) fn tree(&self) -> Vec<(PathBuf, String)> {
        let mut seen = Vec::new();
        describe(&self.root, &self.root, &mut seen);
        seen.sort();
        seen
    }
}

/// Copies all that there is of a range within a file.
fn copy_range(file: &File, mut from: u64, mut to: u64, mut len: u64) -> io::Result<()> {
    while len > 0 {
        let copied =
            rustix::fs::copy_file_range(file, Some(&mut from), file, Some(&mut to), len as usize)? as u64;
        if copied == 0 {
            return Ok(());
        }
        len -= copied;
    }
    Ok(())
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn describe(root: &Path, folder: &Path, seen: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let what = if meta.is_dir() {
            describe(root, &path, seen);
            "folder".to_owned()
        } else if meta.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else {
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, meta.len(), "{}", path.display());
            format!("{} bytes, checksum {:08x}", bytes.len(), crc32fast::hash(&bytes))
        };
        let (mode, links) = (meta.mode() & 0o7777, if meta.is_dir() { 0 } else { meta.nlink() });
        let what = format!("{what} with {links} names, {:?}", xattrs(&path));
        seen.push((path.strip_prefix(root).unwrap().to_owned(), format!("{mode:o} {what}")));
    }
}

/// Returns the extended attributes of a file or folder; a link has none.
fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 4096];
    let len = llistxattr(path, names.as_mut_slice()).unwrap();
    let names = String::from_utf8(names[..len].to_vec()).unwrap();
    let value = |name: &str| {
        let mut value = vec![0_u8; 4096];
        let len = getxattr(path, name, value.as_mut_slice()).unwrap();
        (name.to_owned(), value[..len].to_vec())
    };
    names.split_terminator('\0').map(value).collect()
}
