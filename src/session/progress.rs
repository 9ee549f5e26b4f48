//! How far a push is, for those who wait for it.
//!
//! What is still dirty says how many files are through; what the store has taken says that a
//! large file is moving before it is.

use std::time::Duration;

use super::opened::{self, Opened};
use crate::control::{Amount, Progress};
use crate::os::clock::SharedClock;

/// A push, measured from the moment when this was made.
pub(super) struct Pace<'a> {
    opened: &'a Opened,
    total: Amount,
    taken_before: u64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(opened: &'a Opened) -> Self {
        let taken_before = opened.bucket.requests.uploaded_bytes();
        Self { opened, total: opened::dirty(&opened.cache), taken_before }
    }

    /// Returns how far the push is.
    pub(super) fn now(&self) -> Progress {
        let taken = self.opened.bucket.requests.uploaded_bytes() - self.taken_before;
        let left = opened::dirty(&self.opened.cache);
        Progress { step: "uploading".to_owned(), done: done(self.total, left, taken), total: self.total }
    }
}

fn done(total: Amount, left: Amount, taken: u64) -> Amount {
    let through = total.bytes.saturating_sub(left.bytes);
    Amount { files: total.files.saturating_sub(left.files), bytes: through.max(taken.min(total.bytes)) }
}

/// Waits for `work` and calls `tick` at once and then again and again until it is done.
pub(super) async fn watched<T>(
    work: impl Future<Output = T>,
    clock: &SharedClock,
    every: Duration,
    mut tick: impl FnMut(),
) -> T {
    tokio::pin!(work);
    loop {
        tick();
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = clock.sleep(every) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::os::clock::ManualClock;

    #[test]
    fn a_large_file_moves_before_it_is_through_and_never_beyond_its_size() {
        let total = Amount { files: 2, bytes: 100 };
        assert_eq!(done(total, total, 0), Amount::default());
        assert_eq!(done(total, total, 40), Amount { files: 0, bytes: 40 });
        assert_eq!(done(total, Amount { files: 1, bytes: 10 }, 40), Amount { files: 1, bytes: 90 });
        assert_eq!(done(total, Amount::default(), 900), Amount { files: 2, bytes: 100 });
        assert_eq!(done(total, Amount { files: 5, bytes: 500 }, 0), Amount::default());
    }

    #[tokio::test]
    async fn what_takes_long_is_ticked_until_it_is_done() {
        let hands = ManualClock::at(SystemTime::UNIX_EPOCH);
        let clock: SharedClock = Arc::new(Arc::clone(&hands));
        let every = Duration::from_secs(5);
        let (tick, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let (finish, finished) = tokio::sync::oneshot::channel::<u8>();
        let work =
            tokio::spawn(async move { watched(finished, &clock, every, || tick.send(()).unwrap()).await });
        for _ in 0..3 {
            heard.recv().await.unwrap();
            // The sleep may begin only after this, so the hands are turned until it has ended.
            while heard.is_empty() {
                hands.advance(every);
                tokio::task::yield_now().await;
            }
        }
        finish.send(7).unwrap();
        assert_eq!(work.await.unwrap(), Ok(7));
    }
}
