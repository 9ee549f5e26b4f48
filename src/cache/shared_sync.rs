//! Writing to the disk for many at once.
//!
//! A disk takes about as long for one note as for a hundred. Whoever finds nobody waiting for the
//! disk does, for all who came before; who comes meanwhile is served by the next round. A round
//! that fails serves nobody: each of its askers tries again and hears of it.

use std::io;

use parking_lot::{Condvar, Mutex};

/// The rounds in which a file is written to the disk.
#[derive(Debug, Default)]
pub(super) struct SharedSync {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    /// The last one that went well.
    done: u64,
    under_way: bool,
}

/// A round that is under way until this is dropped, however it ends.
struct Round<'a> {
    of: &'a SharedSync,
    number: u64,
    went_well: bool,
}

/// What was written before a round that is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "what was written is not on the disk yet"]
pub struct Unsynced(u64);

impl SharedSync {
    /// Returns the round that what was written so far waits for.
    pub(super) fn written(&self) -> Unsynced {
        Unsynced(self.rounds.lock().begun + 1)
    }

    /// Returns when what was written is on the disk; `sync` is one round.
    pub(super) fn sync(&self, written: Unsynced, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let Some(mut round) = self.join(written) else { return Ok(()) };
        let outcome = sync();
        round.went_well = outcome.is_ok();
        outcome
    }

    /// Waits for a round; returns a new one if that is for the caller to do.
    fn join(&self, Unsynced(enough): Unsynced) -> Option<Round<'_>> {
        let mut rounds = self.rounds.lock();
        while rounds.done < enough {
            if !rounds.under_way {
                rounds.under_way = true;
                rounds.begun += 1;
                return Some(Round { of: self, number: rounds.begun, went_well: false });
            }
            self.ended.wait(&mut rounds);
        }
        None
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let mut rounds = self.of.rounds.lock();
        rounds.under_way = false;
        if self.went_well {
            rounds.done = self.number;
        }
        self.of.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Has a round under way while 8 more ask; returns how many rounds there were in all.
    fn rounds_of_nine(second: impl Fn() -> io::Result<()> + Sync) -> (usize, usize) {
        let (shared, rounds, failed) = (SharedSync::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let (go, wait) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                shared.sync(shared.written(), move || {
                    wait.recv().expect("the test lets it go on");
                    Ok(())
                })
            });
            while !shared.rounds.lock().under_way {}
            for _ in 0..8 {
                scope.spawn(|| {
                    let outcome = shared.sync(shared.written(), || {
                        rounds.fetch_add(1, Ordering::Relaxed);
                        second()
                    });
                    failed.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed);
                });
            }
            go.send(()).expect("the first round waits");
            first.join().expect("it does not panic").expect("it goes well");
        });
        (rounds.into_inner(), failed.into_inner())
    }

    #[test]
    fn who_comes_during_a_round_is_served_by_the_next_ones_and_not_by_that() {
        let (rounds, failed) = rounds_of_nine(|| Ok(()));
        assert!((1..=8).contains(&rounds), "{rounds}");
        assert_eq!(failed, 0);
    }

    #[test]
    fn a_round_that_fails_serves_nobody() {
        let (rounds, failed) = rounds_of_nine(|| Err(io::ErrorKind::Other.into()));
        assert_eq!((rounds, failed), (8, 8));
    }

    #[test]
    fn who_asks_when_a_round_has_begun_is_not_served_by_it() {
        let shared = SharedSync::default();
        let first = shared.join(shared.written()).expect("nobody is at it");
        std::thread::scope(|scope| {
            let late = scope.spawn(|| shared.join(shared.written()).is_some());
            // It waits for the end of the first round, and is served by one of its own.
            drop(Round { went_well: true, ..first });
            assert!(late.join().expect("it does not panic"));
        });
    }
}
