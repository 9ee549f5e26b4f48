//! The fetches that are under way: each byte is asked for once, however many readers want it.
//!
//! A reader asks for its turn until all it wants is there. It fetches what nobody is fetching,
//! and waits for what somebody is, until its own bytes have arrived. A flight ends when it is
//! dropped, whether it brought its bytes, failed or was given up; who waited then looks again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::rows::ContentId;

/// All fetches that are under way.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<ContentId, Vec<UnderWay>>>>);

struct UnderWay {
    range: Range<u64>,
    arrived: watch::Receiver<u64>,
}

/// What is to be done for a reader.
pub(super) enum Turn {
    /// Nothing: all of it is there.
    Present,
    /// Somebody is fetching a part of it.
    Wait(Landing),
    /// This part is the reader's to fetch.
    Fetch(Flight),
}

/// The arrival of bytes with somebody's flight, or its end.
pub(super) struct Landing {
    arrived: watch::Receiver<u64>,
    until: u64,
}

/// A fetch that is under way while this lives.
#[must_use = "a flight ends when it is dropped"]
pub(super) struct Flight {
    flights: Flights,
    id: ContentId,
    range: Range<u64>,
    /// How far its bytes have arrived. Dropped after the flight has left the table: this wakes
    /// who waits.
    arrived: watch::Sender<u64>,
}

impl Flights {
    /// Returns what is to be done for a reader. `gap` says what is absent first of what it
    /// wants, and how far may be fetched; `reach` what to ask for from the gap's beginning.
    pub(super) fn turn(
        &self,
        id: &ContentId,
        gap: impl FnOnce() -> Option<(Range<u64>, u64)>,
        reach: impl FnOnce(&Range<u64>, u64) -> Range<u64>,
    ) -> Turn {
        // The lock is held while the gap is looked for: a flight that has ended has filled it.
        let mut flights = self.0.lock();
        let Some((gap, limit)) = gap() else { return Turn::Present };
        let there = flights.entry(id.clone()).or_default();
        if let Some(flight) = there.iter().find(|flight| flight.range.contains(&gap.start)) {
            let until = gap.end.min(flight.range.end);
            return Turn::Wait(Landing { arrived: flight.arrived.clone(), until });
        }
        let wanted = reach(&gap, limit);
        let next = there.iter().map(|flight| flight.range.start).filter(|&start| start > gap.start).min();
        let range = wanted.start..wanted.end.min(next.unwrap_or(u64::MAX));
        let (sender, arrived) = watch::channel(range.start);
        there.push(UnderWay { range: range.clone(), arrived });
        Turn::Fetch(Flight { flights: self.clone(), id: id.clone(), range, arrived: sender })
    }
}

impl Landing {
    /// Returns when the bytes have arrived, or the flight has ended; says whether they have.
    pub(super) async fn wait(mut self) -> bool {
        self.arrived.wait_for(|&arrived| arrived >= self.until).await.is_ok()
    }
}

impl Flight {
    /// Returns what is to be fetched.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Returns the arrival of what is before `end`.
    pub(super) fn landing(&self, end: u64) -> Landing {
        Landing { arrived: self.arrived.subscribe(), until: end.min(self.range.end) }
    }

    /// Tells who waits that what is before `to` is there.
    pub(super) fn has_arrived(&self, to: u64) {
        self.arrived.send_replace(to);
    }

    /// Returns how far its bytes have arrived.
    pub(super) fn arrived(&self) -> u64 {
        *self.arrived.borrow()
    }

    /// Returns whether somebody else waits for it.
    pub(super) fn is_waited_for(&self) -> bool {
        // One receiver is the table's.
        self.arrived.receiver_count() > 1
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        let Some(there) = flights.get_mut(&self.id) else { return };
        there.retain(|flight| flight.range != self.range);
        if there.is_empty() {
            flights.remove(&self.id);
        }
    }
}
