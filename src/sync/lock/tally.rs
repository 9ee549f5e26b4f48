//! A count that can be waited for. Who waited first goes on first.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many of something there are.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Counted>);

#[derive(Default)]
struct Counted {
    count: Mutex<usize>,
    changed: Notify,
}

/// One of what a tally counts.
pub(super) struct Ticket(Tally);

impl Tally {
    /// Counts one more, until the ticket is dropped.
    pub(super) fn enter(&self) -> Ticket {
        self.change(|count| *count += 1);
        Ticket(self.clone())
    }

    /// Returns when there is none.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.until(|count| count == 0)
    }

    /// Returns when there is one.
    pub(super) fn begun(&self) -> impl Future<Output = ()> + use<> {
        self.until(|count| count > 0)
    }

    fn until<F: Fn(usize) -> bool>(&self, is_so: F) -> impl Future<Output = ()> + use<F> {
        let Self(counted) = self.clone();
        async move {
            loop {
                // Made before the look, it misses no change after that.
                let changed = counted.changed.notified();
                if is_so(*counted.count.lock()) {
                    return;
                }
                changed.await;
            }
        }
    }

    fn change(&self, by: impl FnOnce(&mut usize)) {
        by(&mut self.0.count.lock());
        self.0.changed.notify_waiters();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.change(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waited_first_goes_on_first() {
        const WAITING: usize = 40;
        let (tally, order) = (Tally::default(), Arc::new(Mutex::new(Vec::new())));
        let ticket = tally.enter();
        let waiting = (0..WAITING).map(|number| {
            let (ended, order) = (tally.ended(), Arc::clone(&order));
            tokio::spawn(async move {
                ended.await;
                order.lock().push(number);
            })
        });
        let waiting: Vec<_> = waiting.collect();
        tokio::task::yield_now().await;
        assert_eq!(*order.lock(), [0; 0]);
        drop(ticket);
        futures::future::join_all(waiting).await;
        assert_eq!(*order.lock(), (0..WAITING).collect::<Vec<_>>());
    }
}
