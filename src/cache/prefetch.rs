//! Fetching ahead of the readers: the next files of a sequence, the next bytes of a large file.
//!
//! It is a guess, so it never costs anything that is here: nothing is evicted for it, a failure
//! is nobody's, all of it together holds a bounded number of bytes in memory, and what nobody
//! follows any more is given up.

use std::ops::Range;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Cache;
use super::error::Result;
use super::file::Access;
use super::hydrate::Hydrator;
use super::names::Names;
use super::rows::{Ino, Inode, Path};
use super::sequence::{Interest, Order, Part, Sequences, Wish};

/// Larger files are not fetched before they are opened, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// Most bytes that may be on their way, in KiB.
const BUDGET_KIB: usize = 64 << 10;
/// What every request counts for at least, in KiB: so many may be on their way, too.
const LEAST_KIB: u32 = 1 << 10;
/// How many names are looked at to find a file's neighbours.
const MOST_LOOKS: usize = 64;

/// Fetches what will be read next.
pub struct Prefetch {
    hydrator: Arc<Hydrator>,
    runtime: Handle,
    budget: Arc<Semaphore>,
    guesses: Mutex<Guesses>,
}

/// Programs read in the order of names or in that of listings.
struct Guesses {
    by_name: Sequences<Path>,
    as_listed: Sequences<(Ino, Ino)>,
}

/// What may be read next.
#[derive(Debug)]
enum Guess {
    /// A small file.
    File(Candidate),
    /// A range of a file that somebody has open.
    Range(Ino, Range<u64>),
}

/// A file that may be fetched.
#[derive(Debug)]
struct Candidate {
    ino: Ino,
    size: u64,
}

struct ByName<'a>(&'a Names);

struct AsListed<'a>(&'a Cache);

impl Prefetch {
    /// Returns a prefetch that runs on `runtime`.
    pub fn new(hydrator: Arc<Hydrator>, runtime: Handle) -> Arc<Self> {
        let guesses = Guesses { by_name: Sequences::new(), as_listed: Sequences::new() };
        let budget = Arc::new(Semaphore::new(BUDGET_KIB));
        Arc::new(Self { hydrator, runtime, budget, guesses: Mutex::new(guesses) })
    }

    /// Notes a read of `len` bytes at `offset`, and fetches what follows if it is part of a
    /// sequence. Never waits.
    pub fn note_read(self: &Arc<Self>, ino: Ino, offset: u64, len: u64) {
        if offset == 0
            && let Some(wish) = self.files_after(ino)
        {
            self.fetch_files(wish);
        }
        if let Some(ahead) = self.hydrator.ahead(ino, offset..offset.saturating_add(len)) {
            for range in ahead.ranges {
                self.fetch(Guess::Range(ino, range), &ahead.interest);
            }
        }
    }

    /// Notes that a file was closed: if nobody has it open, nobody reads on in it.
    pub fn note_closed(&self, ino: Ino) {
        if !self.hydrator.cache().is_open(ino) {
            self.hydrator.forget_readers(ino);
        }
    }

    fn files_after(&self, ino: Ino) -> Option<Wish<Candidate>> {
        let cache = self.hydrator.cache();
        let path = {
            let names = cache.names.read();
            let inode = names.inode(ino).ok()?;
            inode.path.clone().filter(|_| is_small_file(inode))?
        };
        let mut guesses = self.guesses.lock();
        let part = guesses.by_name.read(&path, &ByName(&cache.names.read()));
        if let Part::Sequence(wish) = part {
            return wish;
        }
        let folder = cache.folder_of(&path)?;
        match guesses.as_listed.read(&(folder, ino), &AsListed(cache)) {
            Part::Sequence(wish) => wish,
            Part::Alone => None,
        }
    }

    fn fetch_files(self: &Arc<Self>, wish: Wish<Candidate>) {
        let absent = wish.files.into_iter().filter(|file| !self.hydrator.cache().is_here(file.ino));
        let mut room = self.hydrator.cache().room();
        for file in absent {
            if file.size > room {
                tracing::debug!("The cache has no room to fetch ahead");
                return;
            }
            room -= file.size;
            self.fetch(Guess::File(file), &wish.interest);
        }
    }

    /// Fetches what the budget allows, unless nobody wants it any more then.
    fn fetch(self: &Arc<Self>, guess: Guess, interest: &Interest) {
        let this = Arc::clone(self);
        let interest = Arc::downgrade(interest);
        self.runtime.spawn(async move {
            let kib = u32::try_from(guess.bytes() >> 10).unwrap_or(u32::MAX);
            let Ok(_permit) = this.budget.acquire_many(kib.clamp(LEAST_KIB, BUDGET_KIB as u32)).await else {
                return;
            };
            if interest.strong_count() == 0 {
                return;
            }
            if let Err(failed) = this.fetch_now(&guess, &interest).await {
                tracing::debug!(?guess, error = %failed, "What may be read next could not be fetched");
                let mut guesses = this.guesses.lock();
                guesses.by_name.give_up();
                guesses.as_listed.give_up();
            }
        });
    }

    async fn fetch_now(&self, guess: &Guess, interest: &Weak<()>) -> Result<()> {
        match guess {
            Guess::Range(ino, range) => self.hydrator.ensure_exactly(*ino, range.clone(), interest).await,
            Guess::File(file) => {
                // As long as it is open its content is dropped last.
                self.hydrator.cache().open_file(file.ino, Access::Read)?;
                let fetched = self.hydrator.ensure_exactly(file.ino, 0..file.size, interest).await;
                self.hydrator.cache().release(file.ino);
                fetched
            }
        }
    }
}

impl Guess {
    fn bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.size,
            Self::Range(_, range) => range.end - range.start,
        }
    }
}

fn is_small_file(inode: &Inode) -> bool {
    inode.is_file() && (1..=LARGEST_FILE).contains(&inode.size)
}

impl Order for ByName<'_> {
    type Place = Path;
    type File = Candidate;

    fn before(&self, place: &Path) -> Option<Path> {
        let before = self.0.names.range::<Path, _>(..place).rev().take(MOST_LOOKS);
        before
            .filter(|(_, name)| self.0.inode(name.ino).is_ok_and(is_small_file))
            .map(|(path, _)| path)
            .next()
            .cloned()
    }

    fn after(&self, place: &Path, most: usize) -> Vec<(Path, Candidate)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.0.names.range::<Path, _>((Excluded(place), Unbounded)).take(most + MOST_LOOKS);
        let files = after.filter_map(|(path, name)| {
            let inode = self.0.inode(name.ino).ok().filter(|inode| is_small_file(inode))?;
            Some((Path::clone(path), Candidate { ino: name.ino, size: inode.size }))
        });
        files.take(most).collect()
    }
}

impl Order for AsListed<'_> {
    /// The folder, and the file in it: listings go by inode number.
    type Place = (Ino, Ino);
    type File = Candidate;

    fn before(&self, &(folder, ino): &(Ino, Ino)) -> Option<(Ino, Ino)> {
        Some((folder, self.0.listed_before(folder, ino)?))
    }

    fn after(&self, &(folder, ino): &(Ino, Ino), most: usize) -> Vec<((Ino, Ino), Candidate)> {
        let listed = self.0.read_folder(folder, ino, most + MOST_LOOKS).unwrap_or_default();
        let names = self.0.names.read();
        let files = listed.iter().filter_map(|entry| {
            let inode = names.inode(entry.ino).ok().filter(|inode| is_small_file(inode))?;
            Some(((folder, entry.ino), Candidate { ino: entry.ino, size: inode.size }))
        });
        files.take(most).collect()
    }
}
