//! A gate that requests wait at until the test opens it.
//!
//! The test side blocks or awaits as it likes; every wait of it is bounded, so that a request
//! which never comes fails the test instead of hanging it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long a test waits for a request to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    arrived: usize,
    open: bool,
}

/// A gate; clones are the same gate. It begins closed.
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// Returns a closed gate.
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Lets all requests through, those that wait and those to come.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Makes requests wait again.
    pub fn close(&self) {
        self.state.send_modify(|state| state.open = false);
    }

    /// Returns how many requests have come to the gate so far.
    pub fn arrived(&self) -> usize {
        self.state.borrow().arrived
    }

    /// Waits until `count` requests have come to the gate.
    ///
    /// # Panics
    /// If they do not come within half a minute.
    pub async fn wait_for(&self, count: usize) {
        let mut seen = self.state.subscribe();
        let arrival = seen.wait_for(|state| state.arrived >= count);
        let came = tokio::time::timeout(PATIENCE, arrival).await.is_ok();
        assert!(came, "{} of {count} requests came to the gate", self.arrived());
    }

    /// Waits as [`Gate::wait_for`] does, in a thread that is not async.
    ///
    /// # Panics
    /// If they do not come within half a minute.
    pub fn wait_for_blocking(&self, count: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime with only a clock can be built").block_on(self.wait_for(count));
    }

    /// Comes to the gate and waits until it is open.
    pub(crate) async fn pass(&self) {
        self.state.send_modify(|state| state.arrived += 1);
        let mut seen = self.state.subscribe();
        let open = seen.wait_for(|state| state.open).await.is_ok();
        debug_assert!(open, "the gate is held by `self`");
    }
}
