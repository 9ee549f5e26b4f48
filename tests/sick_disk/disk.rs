//! A disk for a cache: a small one that can be filled to the last page, or one that can fail.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::text;

/// The unit in which a small disk gives room, in bytes.
const PAGE: u64 = 4096;
/// `EXT4_IOC_SHUTDOWN`: from then on every request to the filesystem fails.
const SHUTDOWN: libc::Ioctl = 0x8004_587d;
/// Goes down at once: what was not written to the disk yet is lost.
static NOTHING_WRITTEN: u32 = 2;

/// A disk that is mounted somewhere.
pub(crate) struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// Mounts a disk in memory of this size.
    pub(crate) fn small(at: &Path, bytes: u64) -> Self {
        fs::create_dir(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "disk", text(at)]);
        Self { at: at.to_owned(), image: None }
    }

    /// Mounts a disk that can fail.
    pub(crate) fn fragile(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        let image = at.with_extension("img");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", text(&image)]);
        let disk = Self { at: at.to_owned(), image: Some(image) };
        disk.mount();
        disk
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", text(self.image.as_ref().unwrap()), text(&self.at)]);
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Fills it but for so many pages.
    pub(crate) fn leave(&self, pages: u64) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        loop {
            match ballast.write(&[1; PAGE as usize]) {
                Ok(_) => {}
                Err(full) if full.kind() == ErrorKind::StorageFull => break,
                Err(failed) => panic!("{failed}"),
            }
        }
        let filled = ballast.metadata().unwrap().len();
        ballast.set_len(filled.saturating_sub(pages * PAGE)).unwrap();
    }

    /// Has room again.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// Fails from now on, whatever is asked of it.
    pub(crate) fn fail(&self) {
        let root = File::open(&self.at).unwrap();
        #[expect(unsafe_code, reason = "there is no safe call for it")]
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const NOTHING_WRITTEN) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        assert!(File::create(self.at.join("x")).is_err(), "the disk works on");
    }

    /// Works again, with what was written to it; nobody may use it any more.
    pub(crate) fn recover(&self) {
        run("umount", &[text(&self.at)]);
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

#[track_caller]
fn run(program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).output().unwrap();
    assert!(done.status.success(), "{program} {words:?}: {done:?}");
}
