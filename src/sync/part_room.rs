//! How much of all that is sent in parts is in memory at once, whatever the number of files.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all parts together may take, in bytes.
const ROOM_BYTES: u64 = 64 << 20;
/// In steps of this many bytes.
const STEP_BYTES: u64 = 64 << 10;
const STEPS: u32 = (ROOM_BYTES / STEP_BYTES) as u32;

/// Room for parts, handed out in the order in which it is asked for.
#[derive(Debug)]
pub(super) struct PartRoom(Arc<Semaphore>);

impl Default for PartRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STEPS as usize)))
    }
}

impl PartRoom {
    /// Returns when there is room for a part, which has it until what this returns is dropped. A
    /// part that is larger than all of it has all of it.
    pub(super) async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        let steps = u32::try_from(bytes.div_ceil(STEP_BYTES)).unwrap_or(STEPS).min(STEPS);
        let taken = Arc::clone(&self.0).acquire_many_owned(steps).await;
        taken.expect("the room is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_part_waits_until_there_is_room_for_it() {
        let room = PartRoom::default();
        let first = room.take(ROOM_BYTES - 1).await;
        assert!(room.take(1 << 20).now_or_never().is_none());
        drop(first);
        let _second = room.take(1 << 20).await;
        assert!(room.take(u64::MAX).now_or_never().is_none(), "all of it");
    }
}
