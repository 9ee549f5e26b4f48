//! Content files that the kernel reads itself, without a request.
//!
//! The kernel knows a content file by a number that it gives us for it. All who have an inode
//! open must have the same number, and either all of them have one or nobody has: the cache
//! counts who does. Without the right to lend, or where it is of no use, reads are requests as
//! ever; a program never notices.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fuser::BackingId;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::error::Result;
use super::front::Front;
use crate::cache::file::Access;
use crate::cache::lent::NewLoans;
use crate::cache::{Cache, Ino};

/// Asks the kernel for the number of a content file.
pub(super) type Register<'a> = &'a dyn Fn(&File) -> io::Result<BackingId>;

/// `statfs` of the filesystems that tell of the first store into each page that is clean: a
/// content file elsewhere could be changed without anybody hearing of it.
const TELLING: [rustix::fs::FsWord; 3] = [EXT, XFS, BTRFS];
const EXT: rustix::fs::FsWord = 0xEF53;
const XFS: rustix::fs::FsWord = 0x5846_5342;
const BTRFS: rustix::fs::FsWord = 0x9123_683E;

/// What is lent to the kernel.
#[derive(Debug, Default)]
pub struct Passthrough {
    /// Why nothing more is lent.
    off: Mutex<Option<String>>,
    /// The kernel's numbers of the content files that are lent now.
    ids: Mutex<HashMap<Ino, Arc<BackingId>>>,
    opens: AtomicU64,
}

/// Whether an open was lent.
pub(super) enum Loan {
    /// The content file has this number.
    Lent(Arc<BackingId>),
    /// It is an open like any other.
    None,
    /// It should have been lent: what the kernel keeps of the file may be wrong.
    Failed,
}

impl Passthrough {
    /// Returns whether a cache in this folder can be lent from, and the means for it.
    pub(super) fn over(folder: &Path) -> Self {
        let passthrough = Self::default();
        if !may_lend() {
            passthrough.turn_off("it needs the capability CAP_SYS_ADMIN");
        } else if !rustix::fs::statfs(folder).is_ok_and(|disk| TELLING.contains(&disk.f_type)) {
            passthrough.turn_off("the cache is not on ext4, XFS or Btrfs");
        }
        passthrough
    }

    /// Returns how many opens were lent.
    pub fn opens(&self) -> u64 {
        self.opens.load(Ordering::Relaxed)
    }

    /// Returns why nothing is lent, if so.
    pub fn off_reason(&self) -> Option<String> {
        self.off.lock().clone()
    }

    pub(super) fn is_on(&self) -> bool {
        self.off.lock().is_none()
    }

    /// Lends nothing more, for this reason; the first one counts.
    pub(super) fn turn_off(&self, reason: impl Into<String>) {
        self.off.lock().get_or_insert_with(|| reason.into());
    }

    fn new_loans(&self) -> NewLoans {
        if self.is_on() { NewLoans::Allowed } else { NewLoans::Refused }
    }

    /// Returns the number of a content file that the cache has counted as lent; `None`, and not
    /// counted so any more, if the kernel gives none.
    fn id(&self, ino: Ino, cache: &Cache, file: &File, register: Register<'_>) -> Option<Arc<BackingId>> {
        let mut ids = self.ids.lock();
        if let Some(id) = ids.get(&ino) {
            return Some(Arc::clone(id));
        }
        // Somebody who came at the same time may have been refused.
        let registered = if cache.is_lent_to_all(ino) { register(file) } else { Err(Errno::BUSY.into()) };
        match registered {
            Ok(id) => {
                let id = Arc::new(id);
                ids.insert(ino, Arc::clone(&id));
                Some(id)
            }
            Err(refused) => {
                self.note_refusal(&refused);
                cache.unlend(ino);
                None
            }
        }
    }

    /// What is refused once for want of a right, or for where the cache is, always will be.
    fn note_refusal(&self, refused: &io::Error) {
        match Errno::from_io_error(refused) {
            Some(Errno::PERM | Errno::ACCESS) => self.turn_off("the kernel does not permit it"),
            Some(Errno::LOOP) => self.turn_off("the cache is on an overlay"),
            Some(Errno::NOTTY | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                self.turn_off("the kernel does not have it");
            }
            _ => {}
        }
    }

    /// Closes a file that was lent. The kernel has let go of the content file by now.
    pub(super) fn give_back(&self, ino: Ino, cache: &Cache) {
        let mut ids = self.ids.lock();
        if !cache.release_lent(ino) {
            ids.remove(&ino);
        }
    }
}

impl Front {
    /// Opens a file, lent if that may be.
    pub(super) fn borrow(&self, ino: Ino, access: Access, register: Register<'_>) -> Result<Loan> {
        let new = self.passthrough.new_loans();
        let lent = self.cache.open_lent(ino, access, new)?;
        let id = lent.and_then(|file| self.passthrough.id(ino, &self.cache, &file, register));
        let Some(id) = id else {
            return Ok(if self.cache.is_watched(ino) { Loan::Failed } else { Loan::None });
        };
        if access == Access::Write
            && let Err(failed) = self.cache.watch(ino)
        {
            self.passthrough.give_back(ino, &self.cache);
            return Err(failed.into());
        }
        self.passthrough.opens.fetch_add(1, Ordering::Relaxed);
        Ok(Loan::Lent(id))
    }
}

fn may_lend() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}
