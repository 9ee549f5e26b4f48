//! Bytes that readers are given while the rest of their answer is still on its way.
//!
//! Each piece is written where it belongs when it comes, so an answer takes no memory and nobody
//! waits for more than he asked for. What is compared with a hash as a whole never comes this way.
//! A guess that nobody follows and nobody waits for ends with the piece that is just there.

use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::Cache;
use super::content::Content;
use super::error::{CacheError, Result};
use super::flights::Flight;
use super::hydrate::{Hydrator, Purpose};
use super::rows::{Ino, Path, RowOp, Source};
use crate::model::key::ObjectKey;
use crate::store::{ErrorKind, StoreError, Version};

/// An answer of which pieces arrive.
pub(super) struct Arriving<'a> {
    cache: &'a Cache,
    content: &'a Content,
    flight: &'a Flight,
    purpose: Purpose<'a>,
    /// How far it was kept.
    at: u64,
    outcome: Result<()>,
}

/// What became of a piece.
enum Kept {
    ThereItIs,
    /// The content is nobody's any more.
    Dropped,
}

impl<'a> Arriving<'a> {
    pub(super) fn new(
        cache: &'a Cache,
        content: &'a Content,
        flight: &'a Flight,
        purpose: Purpose<'a>,
    ) -> Self {
        content.lock().arriving += 1;
        Self { cache, content, flight, purpose, at: flight.range().start, outcome: Ok(()) }
    }

    /// Returns whether what arrived could be kept.
    pub(super) fn end(mut self) -> Result<()> {
        std::mem::replace(&mut self.outcome, Ok(()))
    }

    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.cache.traffic.note_fetched(piece.len() as u64);
        match self.keep(piece) {
            Ok(Kept::ThereItIs) if self.is_wanted() => ControlFlow::Continue(()),
            Ok(Kept::ThereItIs | Kept::Dropped) => ControlFlow::Break(()),
            Err(failed) => {
                self.outcome = Err(failed);
                ControlFlow::Break(())
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) -> Result<Kept> {
        self.purpose.once_fetched().make_room(self.cache, piece.len() as u64)?;
        let kept = self.cache.fill_arriving(self.content, self.at, piece)?;
        self.at += piece.len() as u64;
        self.flight.has_arrived(self.at);
        Ok(kept)
    }

    fn is_wanted(&self) -> bool {
        self.purpose.is_wanted() || self.flight.is_waited_for()
    }
}

/// Also when it was given up: what arrived is there.
impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let arrived = self.flight.range().start..self.at;
        if let Err(failed) = self.cache.note_arrived(self.content, arrived) {
            tracing::warn!(error = %failed, "What was fetched could not be noted, and is fetched again after a crash");
        }
    }
}

impl Hydrator {
    /// Fetches, and returns when what is before `end` is here. The rest goes on arriving.
    pub(super) async fn fetch_until(
        &self,
        ino: Ino,
        content: Arc<Content>,
        flight: Flight,
        (end, purpose): (u64, Purpose<'_>),
    ) -> Result<()> {
        let has_rest = matches!(purpose, Purpose::Read) && end < flight.range().end;
        let Some(runtime) = Handle::try_current().ok().filter(|_| has_rest) else {
            return self.fetch(ino, &content, &flight, purpose).await;
        };
        let (this, landing) = (self.clone(), flight.landing(end));
        let all = runtime.spawn(async move { this.fetch(ino, &content, &flight, Purpose::Read).await });
        if landing.wait().await {
            return Ok(());
        }
        match all.await {
            Ok(fetched) => fetched,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_cancelled) => Err(CacheError::Gone(ino)),
            },
        }
    }

    /// Asks for bytes of a version and keeps them as they come, for as long as any come.
    pub(super) async fn hand_over(
        &self,
        source: &Source,
        version: &Version,
        arriving: &mut Arriving<'_>,
    ) -> std::result::Result<(), StoreError> {
        let key = ObjectKey::new(Path::clone(&source.key));
        let (flight, clock) = (arriving.flight, self.cache.clock());
        let mut taker = |piece: &[u8]| arriving.take(piece);
        let mut request = pin!(self.store.get_arriving(&key, flight.range(), version, &mut taker));
        let mut seen = flight.arrived();
        loop {
            tokio::select! {
                biased;
                handed = &mut request => return handed,
                () = clock.sleep(self.timeout) => {
                    let now = flight.arrived();
                    if now == seen {
                        let silent = StoreError::new(ErrorKind::Unreachable, "get", &key);
                        return Err(silent.detail("no answer in time"));
                    }
                    seen = now;
                }
            }
        }
    }
}

impl Cache {
    /// Writes a piece where bytes are absent; that they are there is noted later.
    fn fill_arriving(&self, content: &Content, offset: u64, piece: &[u8]) -> Result<Kept> {
        let mut state = content.lock();
        let filled = state.fill(content.path(), offset, piece);
        if content.is_dropped() {
            return Ok(Kept::Dropped);
        }
        self.recount(content, &state);
        filled.map(|_| Kept::ThereItIs)
    }

    fn note_arrived(&self, content: &Content, range: Range<u64>) -> Result<()> {
        let mut state = content.lock();
        state.arriving -= 1;
        if range.is_empty() || content.is_dropped() {
            return Ok(());
        }
        if state.unnoted {
            return self.note_presence(content, &mut state, None);
        }
        let until = range.end.min(state.row.fill_limit);
        if range.start >= until {
            return Ok(());
        }
        let noted = self.catalog.note(&[RowOp::Extent(content.id.clone(), range.start, until)]);
        state.unnoted = noted.is_err();
        noted
    }
}
