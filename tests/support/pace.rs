//! A gate for requests: a test lets so many pass, does something else, and lets more pass. They
//! pass in the order in which they came.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A gate that somebody's requests go through.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    state: Mutex<State>,
    /// More may pass.
    opened: Notify,
    /// Somebody waits, or has been answered.
    moved: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many may still pass; `None`: all.
    left: Option<usize>,
    /// Those who came and have not passed yet, in this order.
    queue: VecDeque<u64>,
    /// How many came.
    count: u64,
    under_way: usize,
}

/// A request that has passed and is under way until this is dropped.
pub(crate) struct Passed<'a>(&'a Pace);

/// A request's place in the queue until it has passed or this is dropped.
struct Place<'a>(&'a Pace, u64);

impl Pace {
    /// Returns a gate that is open.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets all requests pass from now on.
    pub(crate) fn open(&self) {
        self.set(None);
    }

    /// Works until it is done or `requests` have passed and been answered; returns what came of
    /// it if it is done.
    pub(crate) async fn advance<T>(
        &self,
        requests: usize,
        mut work: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    ) -> Option<T> {
        self.set(Some(requests));
        let mut moved = pin!(self.moved.notified());
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while !self.is_stuck() {
                if moved.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                moved.set(self.moved.notified());
            }
            Poll::Ready(None)
        })
        .await
    }

    /// Lets nothing pass any more and returns when what is under way is answered; returns what
    /// came of the work if it is done.
    pub(crate) async fn stand_still<T>(
        &self,
        mut work: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    ) -> Option<T> {
        self.set(Some(0));
        let mut moved = pin!(self.moved.notified());
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while self.state.lock().under_way > 0 {
                if moved.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                moved.set(self.moved.notified());
            }
            Poll::Ready(None)
        })
        .await
    }

    /// Returns when a request may be sent.
    pub(crate) async fn pass(&self) -> Passed<'_> {
        let place = self.queue_up();
        loop {
            let mut opened = pin!(self.opened.notified());
            opened.as_mut().enable();
            if self.try_pass(place.1) {
                return Passed(self);
            }
            self.moved.notify_waiters();
            opened.await;
        }
    }

    fn queue_up(&self) -> Place<'_> {
        let mut state = self.state.lock();
        state.count += 1;
        let number = state.count;
        state.queue.push_back(number);
        Place(self, number)
    }

    fn try_pass(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        if state.left == Some(0) || state.queue.front() != Some(&number) {
            return false;
        }
        state.queue.pop_front();
        state.left = state.left.map(|left| left - 1);
        state.under_way += 1;
        true
    }

    fn set(&self, left: Option<usize>) {
        self.state.lock().left = left;
        self.opened.notify_waiters();
    }

    fn is_stuck(&self) -> bool {
        let state = self.state.lock();
        state.left == Some(0) && !state.queue.is_empty() && state.under_way == 0
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        self.0.state.lock().under_way -= 1;
        self.0.moved.notify_waiters();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state.lock().queue.retain(|&number| number != self.1);
        // It is another's turn.
        self.0.opened.notify_waiters();
    }
}
