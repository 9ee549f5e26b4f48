//! Fetching bytes of a known version on demand.
//!
//! Each range is asked for once (`flights`); the window grows while a reader goes on
//! sequentially, and a reader is answered when his own bytes are there (`arriving`). Every request
//! carries the version, so a file never mixes two. A whole file that is asked for in one piece is
//! checked against the index's hash before anybody sees it. Hydrating is never a change.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Cache;
use super::arriving::Arriving;
use super::bare_key::BareKeys;
use super::content::{Content, ReadOutcome};
use super::error::{CacheError, Result};
use super::flights::{Flight, Flights, Turn};
use super::rows::{Ino, Path, RowOp, Source};
use super::windows::{Ahead, FIRST_WINDOW, Windows};
use crate::model::content_hash::ContentHash;
use crate::model::key::ObjectKey;
use crate::store::{ErrorKind, Fetched, SharedStore, StoreError};

/// How often a reader looks again when other readers' fetches failed.
const MOST_ROUNDS: usize = 64;
/// How many requests may be under way for those who wait, each with at most 1 MiB that is held in
/// memory until all of it is here.
const MOST_REQUESTS: usize = 64;

/// Fetches what is absent. A clone is the same one.
#[derive(Clone)]
pub struct Hydrator {
    pub(super) cache: Arc<Cache>,
    pub(super) store: SharedStore,
    bare: Option<Arc<BareKeys>>,
    pub(super) timeout: Duration,
    flights: Flights,
    windows: Arc<Windows>,
    requests: Arc<Semaphore>,
}

/// What bytes are fetched for, and with that what may be done for them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// A reader asks for them, who can do without the cache. What he will want next comes as well.
    Read,
    /// Without them nothing can be pushed, and nothing dropped: they may exceed the cache.
    Push,
    /// Somebody may ask for them, as long as this has an owner: nothing is dropped for them, and
    /// nothing comes beyond them.
    Guess(&'a Weak<()>),
}

/// What came of a request whose answer is not kept.
pub(super) enum Piece {
    /// The bytes.
    Bytes(Bytes),
    /// The file is another version now: look again.
    FileMoved,
}

impl Hydrator {
    /// Returns a hydrator for this cache from this store.
    pub fn new(cache: Arc<Cache>, store: SharedStore, timeout: Duration) -> Self {
        let requests = Arc::new(Semaphore::new(MOST_REQUESTS));
        let (flights, windows) = (Flights::default(), Arc::new(Windows::new()));
        Self { cache, store, bare: None, timeout, flights, windows, requests }
    }

    /// Has content that is not in the store, which is a namespace, looked for at the bucket's
    /// root as well, where old clients put it.
    pub fn with_root(mut self, root: SharedStore) -> Self {
        let bare = BareKeys::new(root, Arc::clone(self.cache.clock()), self.timeout);
        self.bare = Some(Arc::new(bare));
        self
    }

    /// Reads up to `len` bytes at `offset`, fetching what is absent.
    pub async fn read(&self, ino: Ino, offset: u64, len: u64) -> Result<Vec<u8>> {
        for _ in 0..MOST_ROUNDS {
            let range = offset..offset.saturating_add(len);
            let ensured = match self.cache.read(ino, offset, len) {
                Ok(ReadOutcome::Data(bytes)) => return Ok(bytes),
                Ok(ReadOutcome::Missing(_)) => self.ensure(ino, range.clone()).await,
                Err(failed) => Err(failed),
            };
            match ensured {
                Err(failed) if failed.is_lack_of_room() => return self.read_around(ino, range).await,
                ensured => ensured?,
            }
        }
        // Others always made room faster than it was read.
        self.read_around(ino, offset..offset.saturating_add(len)).await
    }

    /// Returns when all of a file is present, for a push: also if the cache is full of what only
    /// a push makes room for.
    pub async fn hydrate(&self, ino: Ino) -> Result<()> {
        let size = self.cache.attr(ino)?.size;
        self.ensure_for(ino, 0..size, Purpose::Push).await
    }

    /// Returns when a range of a file is present.
    pub async fn ensure(&self, ino: Ino, range: Range<u64>) -> Result<()> {
        self.ensure_for(ino, range, Purpose::Read).await
    }

    /// Returns when a range of a file is present, or nobody may want it any more; asks for nothing
    /// beyond it, and fails if there is no room without dropping something.
    pub(super) async fn ensure_exactly(
        &self,
        ino: Ino,
        range: Range<u64>,
        interest: &Weak<()>,
    ) -> Result<()> {
        self.ensure_for(ino, range, Purpose::Guess(interest)).await
    }

    /// Notes a read; returns what should be fetched for a reader who goes on like that.
    pub(super) fn ahead(&self, ino: Ino, read: Range<u64>) -> Option<Ahead> {
        let content = self.cache.content_if_any(ino)?;
        let limit = {
            let state = content.lock();
            state.row.fill_limit.min(state.len)
        };
        self.windows.read(&content.id, read, limit)
    }

    /// Notes that nobody has a file open any more.
    pub(super) fn forget_readers(&self, ino: Ino) {
        if let Some(content) = self.cache.content_if_any(ino) {
            self.windows.forget(&content.id);
        }
    }

    async fn ensure_for(&self, ino: Ino, range: Range<u64>, purpose: Purpose<'_>) -> Result<()> {
        for _ in 0..MOST_ROUNDS * (1 + (range.end - range.start).div_ceil(FIRST_WINDOW) as usize) {
            if !purpose.is_wanted() {
                return Ok(());
            }
            let content = self.cache.content_of(ino)?;
            match self.turn(&content, &range, purpose) {
                Turn::Present => return Ok(()),
                Turn::Wait(landing) => drop(landing.wait().await),
                Turn::Fetch(flight) => self.fetch_until(ino, content, flight, (range.end, purpose)).await?,
            }
        }
        Err(CacheError::Gone(ino))
    }

    fn turn(&self, content: &Content, range: &Range<u64>, purpose: Purpose<'_>) -> Turn {
        let gap = || {
            let state = content.lock();
            let gap = state.missing(range.start..range.end.min(state.len)).into_iter().next()?;
            Some((gap, state.row.fill_limit.min(state.len)))
        };
        let wanted = |gap: &Range<u64>, limit| match purpose {
            Purpose::Read | Purpose::Push => self.windows.wanted(&content.id, gap, limit),
            Purpose::Guess(_) => gap.clone(),
        };
        self.flights.turn(&content.id, gap, wanted)
    }

    /// Returns when a request for somebody who waits may be made. Guesses have a budget of their
    /// own, so that nobody waits behind them.
    async fn permit(&self, purpose: Purpose<'_>) -> Option<SemaphorePermit<'_>> {
        match purpose {
            Purpose::Read | Purpose::Push => self.requests.acquire().await.ok(),
            Purpose::Guess(_) => None,
        }
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Fetches bytes that are not kept.
    pub(super) async fn fetch_piece(&self, ino: Ino, range: Range<u64>) -> Result<Piece> {
        let _permit = self.permit(Purpose::Read).await;
        let (path, source) = self.cache.source_of(ino)?;
        match self.get(&path, &source, range.clone()).await {
            Ok(fetched) if source.remote.version.is_none() && fetched.meta.size != source.remote.size => {
                self.adopt(ino, &path, &source, &fetched).await.map(|()| Piece::FileMoved)
            }
            Ok(fetched) => Ok(Piece::Bytes(fetched.body)),
            Err(failed) if is_other(&failed) => match self.at_root(&path, &source, range, &failed).await? {
                Some(body) => Ok(Piece::Bytes(body)),
                None => self.object_moved(ino, &path, &source, failed).await.map(|()| Piece::FileMoved),
            },
            Err(failed) => Err(failed_at(&path, failed)),
        }
    }

    pub(super) async fn fetch(
        &self,
        ino: Ino,
        content: &Content,
        flight: &Flight,
        purpose: Purpose<'_>,
    ) -> Result<()> {
        let range = flight.range();
        let _permit = self.permit(purpose).await;
        // Asked before the request, so that nothing is fetched for which there is no room.
        purpose.make_room(&self.cache, range.end - range.start)?;
        if content.is_dropped() {
            // That made the room: what replaces it is filled instead.
            return Ok(());
        }
        let (path, source) = self.cache.source_of(ino)?;
        let whole = range == (0..source.remote.size);
        let outcome = match &source.remote.version {
            Some(version) if !(whole && source.remote.sha256.is_some()) => {
                let mut arriving = Arriving::new(&self.cache, content, flight, purpose);
                match self.hand_over(&source, version, &mut arriving).await {
                    Ok(()) => return arriving.end(),
                    Err(failed) => Err(failed),
                }
            }
            Some(_) | None => self.get(&path, &source, range.clone()).await,
        };
        let fetched = match outcome {
            Ok(fetched) => fetched,
            Err(failed) if is_other(&failed) => {
                let Some(body) = self.at_root(&path, &source, range.clone(), &failed).await? else {
                    return self.object_moved(ino, &path, &source, failed).await;
                };
                purpose.once_fetched().make_room(&self.cache, body.len() as u64)?;
                return self.cache.filled(content, range.start, &body);
            }
            Err(failed) => return Err(failed_at(&path, failed)),
        };
        if source.remote.version.is_none() && fetched.meta.size != source.remote.size {
            return self.adopt(ino, &path, &source, &fetched).await;
        }
        if whole && !self.check(ino, &path, &source, &fetched).await? {
            return Ok(());
        }
        self.cache.learn_version(ino, &source, &fetched)?;
        purpose.once_fetched().make_room(&self.cache, fetched.body.len() as u64)?;
        self.cache.filled(content, range.start, &fetched.body)
    }

    async fn get(
        &self,
        path: &Path,
        source: &Source,
        range: Range<u64>,
    ) -> std::result::Result<Fetched, StoreError> {
        let key = ObjectKey::new(Path::clone(&source.key));
        let request = self.store.get(&key, Some(range.clone()), source.remote.version.as_ref());
        let slept = self.cache.clock().sleep(self.timeout);
        let fetched = tokio::select! {
            biased;
            fetched = request => fetched?,
            () = slept => return Err(StoreError::new(ErrorKind::Unreachable, "get", &key).detail("no answer in time")),
        };
        let wanted = range.end.min(fetched.meta.size).saturating_sub(range.start);
        if fetched.body.len() as u64 != wanted {
            let detail = format!("{} bytes of {path} instead of {wanted}", fetched.body.len());
            return Err(StoreError::new(ErrorKind::Corrupt, "get", &key).detail(detail));
        }
        self.cache.traffic.note_fetched(fetched.body.len() as u64);
        Ok(fetched)
    }

    /// Returns what is missing in the namespace, if the bucket's root has exactly that.
    async fn at_root(
        &self,
        path: &Path,
        source: &Source,
        range: Range<u64>,
        failed: &StoreError,
    ) -> Result<Option<Bytes>> {
        match self.bare.as_ref().filter(|_| failed.is_not_found()) {
            Some(bare) => bare.get(source, range).await.map_err(|failed| failed_at(path, failed)),
            None => Ok(None),
        }
    }

    /// Compares a whole file with the hash that the index names; returns whether to go on.
    async fn check(&self, ino: Ino, path: &Path, source: &Source, fetched: &Fetched) -> Result<bool> {
        let Some(expected) = source.remote.sha256.as_deref().and_then(ContentHash::from_hex) else {
            return Ok(true);
        };
        if ContentHash::of(&fetched.body) == expected {
            return Ok(true);
        }
        let again = self.get(path, source, 0..source.remote.size).await.map_err(|e| failed_at(path, e))?;
        if ContentHash::of(&again.body) == expected {
            return Ok(false);
        }
        if source.remote.version.is_some() {
            return Err(CacheError::Damaged { path: path.to_string() });
        }
        // The writer put the object and has not committed its entry yet: the object is right.
        self.adopt(ino, path, source, &again).await.map(|()| false)
    }
}

impl Purpose<'_> {
    /// Returns whether there still is one.
    pub(super) fn is_wanted(self) -> bool {
        match self {
            Self::Read | Self::Push => true,
            Self::Guess(interest) => interest.strong_count() > 0,
        }
    }

    /// Returns what holds of bytes that are here: not to keep them would be to fetch them twice.
    pub(super) fn once_fetched(self) -> Self {
        if matches!(self, Self::Guess(_)) { Self::Read } else { self }
    }

    /// Makes room for bytes, as far as this allows.
    pub(super) fn make_room(self, cache: &Cache, bytes: u64) -> Result<()> {
        match self {
            Self::Guess(_) if bytes > cache.room() => {
                return Err(CacheError::Full { limit: cache.options().limit_bytes });
            }
            Self::Guess(_) | Self::Read | Self::Push => {}
        }
        match cache.make_room(bytes) {
            Err(CacheError::Full { .. }) if matches!(self, Self::Push) => Ok(()),
            made => made,
        }
    }
}

/// Returns whether the object is not the one that was asked for.
fn is_other(failed: &StoreError) -> bool {
    failed.kind == ErrorKind::Changed || failed.kind == ErrorKind::NotFound
}

pub(super) fn failed_at(path: &Path, source: StoreError) -> CacheError {
    CacheError::Store { path: path.to_string(), source: Arc::new(source) }
}

impl Cache {
    /// Returns the clock by which this cache goes.
    pub fn clock(&self) -> &crate::os::clock::SharedClock {
        &self.clock
    }

    /// Returns a file's path (or its last key) and the object that fills it.
    pub(super) fn source_of(&self, ino: Ino) -> Result<(Path, Source)> {
        let names = self.names.read();
        let inode = names.inode(ino)?;
        let source = inode.source.clone().ok_or(CacheError::Gone(ino))?;
        let is_own = names.name(&source.key).is_some_and(|name| name.ino == ino);
        let path = inode.path.clone().filter(|_| !is_own);
        Ok((path.unwrap_or_else(|| Path::clone(&source.key)), source))
    }

    /// Notes the version that an answer told of an entry that had none.
    fn learn_version(&self, ino: Ino, source: &Source, fetched: &Fetched) -> Result<()> {
        if source.remote.version.is_some() {
            return Ok(());
        }
        let mut names = self.names.write();
        let mut inode = names.inode(ino)?.clone();
        let Some(filled) = inode.source.as_mut().filter(|now| **now == *source) else { return Ok(()) };
        filled.remote.version = Some(fetched.meta.version.clone());
        let learned = filled.remote.clone();
        let mut group = vec![RowOp::Inode(ino, Box::new(inode.clone()))];
        if let Some(path) = &inode.path
            && let Some(name) = names.name(path)
            && name.base.as_ref() == Some(&source.remote)
        {
            let mut noted = name.clone();
            noted.base = Some(learned);
            group.push(RowOp::Name(Path::clone(path), Box::new(noted)));
        }
        self.commit(&mut names, group)
    }

    /// Writes fetched bytes where they are absent and notes that they are there.
    fn filled(&self, content: &Content, offset: u64, body: &Bytes) -> Result<()> {
        let mut state = content.lock();
        let end = (offset + body.len() as u64).min(state.row.fill_limit);
        let filled = state.fill(content.path(), offset, body);
        if content.is_dropped() {
            return Ok(());
        }
        state.unnoted |= filled.is_err();
        let extent = filled.as_ref().is_ok_and(|&bytes| bytes > 0).then_some(offset..end);
        let noted = self.note_presence(content, &mut state, extent);
        self.recount(content, &state);
        filled.and(noted)
    }
}
