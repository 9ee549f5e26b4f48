//! What the kernel says is mounted (`/proc/self/mountinfo`).
//!
//! Reading it sends no request to any filesystem, so it never waits for a daemon that hangs
//! or is dead. Everything that asks "is this mount still ours?" asks here.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The filesystem type of our mounts, as the kernel shows it.
pub const FSTYPE: &str = "fuse.bayou";

/// One mounted filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The kernel's id of the mount; it may be given to another mount later.
    pub id: u64,
    /// Major and minor number of the device, as `0:52`.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The filesystem's type.
    pub fstype: String,
    /// The mounted source, as the one who mounted it named it.
    pub source: OsString,
}

impl MountEntry {
    /// Returns whether a bayou made this mount.
    pub fn is_ours(&self) -> bool {
        self.fstype == FSTYPE
    }
}

/// Returns all mounts, oldest first.
pub fn read() -> io::Result<Vec<MountEntry>> {
    read_of(Path::new("/proc/self"))
}

/// Returns all mounts that a process (`/proc/PID`) sees, oldest first.
pub(super) fn read_of(process: &Path) -> io::Result<Vec<MountEntry>> {
    Ok(parse(&std::fs::read(process.join("mountinfo"))?))
}

/// Returns the mount that is seen at exactly this path: the last of those stacked there.
pub fn topmost_at(path: &Path) -> io::Result<Option<MountEntry>> {
    Ok(read()?.into_iter().rfind(|entry| entry.mountpoint == path))
}

/// Returns all mounts that a bayou made, oldest first.
pub fn ours() -> io::Result<Vec<MountEntry>> {
    Ok(read()?.into_iter().filter(MountEntry::is_ours).collect())
}

fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// Reads one line: `id parent major:minor root mountpoint options [optional...] - fstype source super`.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = text(fields.next()?).parse().ok()?;
    let device = text(fields.nth(1)?);
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fstype = text(fields.next()?);
    let source = OsString::from_vec(unescape(fields.next()?));
    Some(MountEntry { id, device, mountpoint, fstype, source })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Undoes the kernel's octal escapes (`\040` for a space).
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match octal(rest) {
            Some(decoded) => {
                plain.push(decoded);
                rest = &rest[4..];
            }
            None => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\")?.get(..3)?;
    digits.iter().try_fold(0u8, |value, digit| {
        let digit = char::from(*digit).to_digit(8)?;
        value.checked_mul(8)?.checked_add(u8::try_from(digit).ok()?)
    })
}

/// Returns whether `path` is `folder` or lies below it.
pub(crate) fn is_at_or_below(path: &[u8], folder: &Path) -> bool {
    let folder = folder.as_os_str().as_bytes();
    match path.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || folder.ends_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 0:19 / /proc rw,nosuid shared:5 - proc proc rw\n\
        90 29 0:52 / /mnt/my\\040data rw,nosuid,nodev,noatime - fuse.bayou s3://b/p\\054q rw,user_id=0\n\
        91 90 0:53 / /mnt/my\\040data rw shared:1 master:2 - tmpfs tmpfs rw\n";

    #[test]
    fn lines_are_read_with_their_escapes_undone() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 3);
        assert_eq!(table[1].id, 90);
        assert_eq!(table[1].device, "0:52");
        assert_eq!(table[1].mountpoint, Path::new("/mnt/my data"));
        assert_eq!(table[1].source, "s3://b/p,q");
        assert!(table[1].is_ours());
    }

    #[test]
    fn optional_fields_are_passed_over_however_many_there_are() {
        let table = parse(TABLE);
        assert_eq!(table[0].fstype, "proc");
        assert_eq!(table[2].fstype, "tmpfs");
    }

    #[test]
    fn a_line_that_is_cut_off_is_no_mount() {
        assert_eq!(parse(b"90 29 0:52 / /mnt rw"), vec![]);
        assert_eq!(parse(b""), vec![]);
    }

    #[test]
    fn a_backslash_that_begins_no_escape_stays() {
        assert_eq!(unescape(b"a\\134b\\9\\777\\04"), b"a\\b\\9\\777\\04");
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_below() {
        assert!(is_at_or_below(b"/mnt/a", Path::new("/mnt/a")));
        assert!(is_at_or_below(b"/mnt/a/b", Path::new("/mnt/a")));
        assert!(!is_at_or_below(b"/mnt/ab", Path::new("/mnt/a")));
        assert!(is_at_or_below(b"/mnt", Path::new("/")));
    }

    #[test]
    fn the_kernels_own_table_can_be_read() {
        assert!(topmost_at(Path::new("/proc")).unwrap().is_some());
    }
}
