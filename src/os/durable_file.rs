//! Replacement of small files, and folders, that survive a crash and a power cut.
//!
//! A reader sees the old bytes or the new ones, never a mixture and never nothing. This is
//! the only place that renames files of the local state.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`; returns when that is on the disk.
///
/// The file is readable by its owner only. Fails with the step's own error; the old file is
/// then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_name(path);
    let written = write_new(&temp, bytes).and_then(|()| rename(&temp, path));
    if written.is_err() {
        std::fs::remove_file(&temp).ok();
    }
    written
}

/// Renames a file over another in the same or another folder; returns when that is on the disk.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_unsynced(from, to)?;
    sync_folder_of(to)
}

/// Renames a file; a power cut may undo it.
#[expect(clippy::disallowed_methods, reason = "this is the one door to rename")]
pub fn rename_unsynced(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Writes a file's directory entry to the disk.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Writes all entries of a folder to the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder, and those above it, for its owner only; returns when their names are on the
/// disk. One that is there already stays as it is.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let made: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    made.into_iter().try_for_each(sync_folder_of)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn temp_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_the_new_bytes_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_made_with_those_above_it_and_may_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        make_folder(&path).unwrap();
        make_folder(&path).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn replace_that_fails_keeps_the_old_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dir");
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
