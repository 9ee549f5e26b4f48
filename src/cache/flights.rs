//! The fetches that are under way: each byte is asked for once, however many readers want it.
//!
//! A reader asks for its turn until all it wants is there. It fetches what nobody is fetching,
//! and waits for what somebody is. A flight ends when it is dropped, whether it brought its
//! bytes, failed or was given up; who waited then looks again.

use std::collections::HashMap;
use std::ops::Range;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::rows::ContentId;

/// All fetches that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<ContentId, Vec<UnderWay>>>);

struct UnderWay {
    range: Range<u64>,
    ended: watch::Receiver<()>,
}

/// What is to be done for a reader.
pub(super) enum Turn<'a> {
    /// Nothing: all of it is there.
    Present,
    /// Somebody is fetching a part of it.
    Wait(Landing),
    /// This part is the reader's to fetch.
    Fetch(Flight<'a>),
}

/// The end of somebody's flight.
pub(super) struct Landing(watch::Receiver<()>);

/// A fetch that is under way while this lives.
#[must_use = "a flight ends when it is dropped"]
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    id: ContentId,
    range: Range<u64>,
    /// Dropped after the flight has left the table: this wakes who waits.
    _ended: watch::Sender<()>,
}

impl Flights {
    /// Returns what is to be done for a reader. `gap` says what is absent first of what it
    /// wants, and how far may be fetched; `reach` what to ask for from the gap's beginning.
    pub(super) fn turn(
        &self,
        id: &ContentId,
        gap: impl FnOnce() -> Option<(Range<u64>, u64)>,
        reach: impl FnOnce(&Range<u64>, u64) -> Range<u64>,
    ) -> Turn<'_> {
        // The lock is held while the gap is looked for: a flight that has ended has filled it.
        let mut flights = self.0.lock();
        let Some((gap, limit)) = gap() else { return Turn::Present };
        let there = flights.entry(id.clone()).or_default();
        if let Some(flight) = there.iter().find(|flight| flight.range.contains(&gap.start)) {
            return Turn::Wait(Landing(flight.ended.clone()));
        }
        let wanted = reach(&gap, limit);
        let next = there.iter().map(|flight| flight.range.start).filter(|&start| start > gap.start).min();
        let range = wanted.start..wanted.end.min(next.unwrap_or(u64::MAX));
        let (sender, ended) = watch::channel(());
        there.push(UnderWay { range: range.clone(), ended });
        Turn::Fetch(Flight { flights: self, id: id.clone(), range, _ended: sender })
    }
}

impl Landing {
    /// Returns when the flight has ended.
    pub(super) async fn wait(mut self) {
        // Nothing is ever sent: an error says that the sender is gone.
        drop(self.0.changed().await);
    }
}

impl Flight<'_> {
    /// Returns what is to be fetched.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        let Some(there) = flights.get_mut(&self.id) else { return };
        there.retain(|flight| flight.range != self.range);
        if there.is_empty() {
            flights.remove(&self.id);
        }
    }
}
