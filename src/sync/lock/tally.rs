//! A count that can be waited for.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

/// How many of something there are.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<watch::Sender<usize>>);

/// One of what a tally counts.
pub(super) struct Ticket(Tally);

impl Tally {
    /// Counts one more, until the ticket is dropped.
    pub(super) fn enter(&self) -> Ticket {
        self.0.send_modify(|count| *count += 1);
        Ticket(self.clone())
    }

    /// Returns when there is none.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.until(|count| *count == 0)
    }

    /// Returns when there is one.
    pub(super) fn begun(&self) -> impl Future<Output = ()> + use<> {
        self.until(|count| *count > 0)
    }

    fn until<F: FnMut(&usize) -> bool>(&self, is_so: F) -> impl Future<Output = ()> + use<F> {
        let mut count = self.0.subscribe();
        async move {
            // The sender lives as long as its lock, which whoever waits here has.
            count.wait_for(is_so).await.ok();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
