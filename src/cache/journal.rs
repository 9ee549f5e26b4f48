//! The append-only change journal in front of the catalog's database.
//!
//! A frame is `[length u32][crc32 u32][JSON]`, little endian, and holds one atomic group of
//! row images. An append costs microseconds and survives a crash of the process; with
//! [`Journal::sync`] it survives a power cut. Reading stops at the first torn frame.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::rows::RowOp;

const HEADER_BYTES: usize = 8;

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    bytes: u64,
    /// Whether there may be a part of a frame behind `bytes`.
    torn: bool,
}

impl Journal {
    /// Opens a journal for appending, cutting a torn frame off its end, and returns the groups
    /// that it holds.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Vec<RowOp>>)> {
        let (groups, good) = read_all(path)?;
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
        file.set_len(good)?;
        Ok((Self { file, path: path.to_owned(), bytes: good, torn: false }, groups))
    }

    /// Appends one atomic group.
    pub fn append(&mut self, group: &[RowOp]) -> io::Result<()> {
        let frame = encode(group)?;
        self.cut_torn()?;
        self.torn = true;
        if let Err(failed) = self.file.write_all(&frame) {
            // Where this fails it is tried again before the next frame.
            self.cut_torn().ok();
            return Err(failed);
        }
        self.torn = false;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    /// Cuts a half-written frame off: it would hide every later one.
    fn cut_torn(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.bytes)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Notes that the file was renamed.
    pub fn moved_to(&mut self, path: &Path) {
        path.clone_into(&mut self.path);
    }

    /// Returns when everything appended so far is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns a second handle to the same file, to sync without holding the journal's lock.
    pub fn sync_handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Returns the journal's size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the whole groups of a journal and the length up to which it is good.
pub fn read_all(path: &Path) -> io::Result<(Vec<Vec<RowOp>>, u64)> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => drop(file.read_to_end(&mut bytes)?),
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
        Err(failed) => return Err(failed),
    }
    let mut groups = Vec::new();
    let mut at = 0;
    while let Some((group, length)) = decode(&bytes[at..]) {
        groups.push(group);
        at += length;
    }
    if at < bytes.len() {
        tracing::warn!(path = %path.display(), torn = bytes.len() - at, "The journal's last frame is torn and was left out");
    }
    Ok((groups, at as u64))
}

fn encode(group: &[RowOp]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut frame, group)?;
    let length = u32::try_from(frame.len() - HEADER_BYTES).map_err(io::Error::other)?;
    let sum = crc32fast::hash(&frame[HEADER_BYTES..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    Ok(frame)
}

fn decode(bytes: &[u8]) -> Option<(Vec<RowOp>, usize)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let sum = u32::from_le_bytes(bytes.get(4..HEADER_BYTES)?.try_into().ok()?);
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    if crc32fast::hash(body) != sum {
        return None;
    }
    let group = serde_json::from_slice(body).ok()?;
    Some((group, HEADER_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(n: u32) -> Vec<RowOp> {
        vec![RowOp::Setting("n".to_owned(), n.to_string())]
    }

    #[test]
    fn what_was_appended_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, before) = Journal::open(&path).unwrap();
        assert!(before.is_empty());
        journal.append(&setting(1)).unwrap();
        journal.append(&setting(2)).unwrap();
        let (_, groups) = Journal::open(&path).unwrap();
        assert_eq!(groups, vec![setting(1), setting(2)]);
    }

    #[test]
    fn a_journal_cut_at_any_byte_gives_a_prefix_and_can_be_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        for n in 0..3 {
            journal.append(&setting(n)).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            let part = folder.path().join("part");
            crate::os::durable_file::replace(&part, &whole[..cut]).unwrap();
            let (mut journal, groups) = Journal::open(&part).unwrap();
            assert!(groups.len() < 3 && groups.iter().enumerate().all(|(n, g)| *g == setting(n as u32)));
            journal.append(&setting(9)).unwrap();
            let (_, again) = Journal::open(&part).unwrap();
            assert_eq!(again.len(), groups.len() + 1);
        }
    }

    #[test]
    fn a_garbled_frame_ends_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&setting(1)).unwrap();
        journal.append(&setting(2)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        crate::os::durable_file::replace(&path, &bytes).unwrap();
        assert_eq!(read_all(&path).unwrap().0, vec![setting(1)]);
    }
}
