//! Who keeps a mount from being unmounted, for messages.
//!
//! Reads `/proc` only, as text: nothing is opened below the mount, so a daemon that hangs
//! cannot hang the search. Processes of other users are seen only by root.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::mount_table::{self, is_at_or_below, unescape};

/// Something that uses a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process with files of the mount open, mapped or as its working directory.
    Process {
        /// Its id.
        pid: u32,
        /// Its name.
        command: String,
        /// How it holds the mount.
        hold: Hold,
        /// What it holds.
        path: PathBuf,
    },
    /// Another filesystem that is mounted inside.
    Mount {
        /// Where.
        path: PathBuf,
    },
    /// A mount namespace other than ours, that was copied from ours while it was mounted.
    Namespace {
        /// A process in it.
        pid: u32,
        /// The process's name.
        command: String,
        /// Where the mount is seen there.
        path: PathBuf,
    },
}

/// How a process holds a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is the working directory.
    WorkingDirectory,
    /// It is the root directory.
    Root,
    /// It is the program that runs.
    Program,
    /// It is open.
    OpenFile,
    /// It is mapped into memory.
    MappedFile,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WorkingDirectory => "working directory",
            Self::Root => "root directory",
            Self::Program => "running program",
            Self::OpenFile => "open file",
            Self::MappedFile => "mapped file",
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command, hold, path } => {
                write!(f, "{command} (pid {pid}, {hold} {})", path.display())
            }
            Self::Mount { path } => write!(f, "another filesystem mounted on {}", path.display()),
            Self::Namespace { pid, command, path } => {
                write!(f, "{command} (pid {pid}, in a mount namespace of its own, on {})", path.display())
            }
        }
    }
}

/// Returns who uses the mount at `mountpoint`, each process once.
pub fn holders(mountpoint: &Path) -> io::Result<Vec<Holder>> {
    let mut holders = mounts_inside(mountpoint)?;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        // A process that ends while we look holds nothing.
        if let Some(pid) = pid
            && let Some((hold, path)) = held_by(&process.path(), mountpoint)
        {
            holders.push(Holder::Process { pid, command: command(&process.path()), hold, path });
        }
    }
    Ok(holders)
}

/// Returns the other mount namespaces that still show a filesystem of ours, with one process of
/// each: unmounting it here leaves it there.
pub fn elsewhere(device: &str) -> io::Result<Vec<Holder>> {
    let namespace = |process: &Path| std::fs::read_link(process.join("ns/mnt")).ok();
    let mut seen: BTreeSet<PathBuf> = namespace(Path::new("/proc/self")).into_iter().collect();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        let process = process.path();
        if let Some(pid) = pid
            && namespace(&process).is_some_and(|namespace| seen.insert(namespace))
            && let Some(path) = shown_to(&process, device)
        {
            found.push(Holder::Namespace { pid, command: command(&process), path });
        }
    }
    Ok(found)
}

fn shown_to(process: &Path, device: &str) -> Option<PathBuf> {
    let table = mount_table::read_of(process).ok()?;
    table.into_iter().find(|entry| entry.is_ours() && entry.device == device).map(|entry| entry.mountpoint)
}

fn mounts_inside(mountpoint: &Path) -> io::Result<Vec<Holder>> {
    let inside = |path: &Path| path != mountpoint && path.starts_with(mountpoint);
    let entries = mount_table::read()?.into_iter();
    let paths = entries.map(|entry| entry.mountpoint).filter(|path| inside(path));
    Ok(paths.map(|path| Holder::Mount { path }).collect())
}

fn held_by(process: &Path, mountpoint: &Path) -> Option<(Hold, PathBuf)> {
    let links = [("cwd", Hold::WorkingDirectory), ("root", Hold::Root), ("exe", Hold::Program)];
    links
        .into_iter()
        .find_map(|(link, hold)| Some((hold, target_inside(&process.join(link), mountpoint)?)))
        .or_else(|| Some((Hold::OpenFile, open_file(process, mountpoint)?)))
        .or_else(|| Some((Hold::MappedFile, mapped_file(process, mountpoint)?)))
}

fn target_inside(link: &Path, mountpoint: &Path) -> Option<PathBuf> {
    let target = std::fs::read_link(link).ok()?;
    is_at_or_below(target.as_os_str().as_bytes(), mountpoint).then_some(target)
}

fn open_file(process: &Path, mountpoint: &Path) -> Option<PathBuf> {
    let descriptors = std::fs::read_dir(process.join("fd")).ok()?;
    descriptors.flatten().find_map(|descriptor| target_inside(&descriptor.path(), mountpoint))
}

/// Reads lines `from-to perms offset device inode   path`.
fn mapped_file(process: &Path, mountpoint: &Path) -> Option<PathBuf> {
    let maps = std::fs::read(process.join("maps")).ok()?;
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        let start = line.iter().position(|byte| *byte == b'/')?;
        let path = unescape(&line[start..]);
        is_at_or_below(&path, mountpoint).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(&path)))
    })
}

fn command(process: &Path) -> String {
    match std::fs::read_to_string(process.join("comm")) {
        Ok(name) => name.trim_end().to_owned(),
        Err(_) => "(unknown)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold_of_this_process(folder: &Path) -> Option<Hold> {
        holders(folder).unwrap().into_iter().find_map(|holder| match holder {
            Holder::Process { pid, hold, .. } if pid == std::process::id() => Some(hold),
            _ => None,
        })
    }

    #[test]
    fn an_open_file_is_found_as_long_as_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(folder.path()).unwrap();
        let file = std::fs::File::create(path.join("x")).unwrap();
        assert_eq!(hold_of_this_process(&path), Some(Hold::OpenFile));
        drop(file);
        assert_eq!(hold_of_this_process(&path), None);
    }

    #[test]
    fn a_filesystem_mounted_inside_is_found() {
        let inside = holders(Path::new("/")).unwrap();
        assert!(inside.contains(&Holder::Mount { path: "/proc".into() }));
    }

    #[test]
    fn a_holder_is_named_with_what_it_holds() {
        let holder = Holder::Process {
            pid: 7,
            command: "bash".to_owned(),
            hold: Hold::WorkingDirectory,
            path: "/mnt/a".into(),
        };
        assert_eq!(holder.to_string(), "bash (pid 7, working directory /mnt/a)");
    }
}
