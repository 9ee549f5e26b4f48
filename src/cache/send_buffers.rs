//! Memory for bytes that are sent, used again while anything is sent.
//!
//! A part has megabytes, and memory that is new costs the kernel as much as the copy into it. When
//! nothing is sent any more all of it is given back.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// What is kept for the next at most, with what is in use, in bytes.
const MOST_KEPT: usize = 64 << 20;

/// The memory of one cache.
#[derive(Debug, Default, Clone)]
pub(super) struct SendBuffers(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    free: Vec<Vec<u8>>,
    /// How many bytes are in use.
    used: usize,
}

/// Memory that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct SendBuffer {
    memory: Vec<u8>,
    /// How much of it is meant.
    len: usize,
    home: SendBuffers,
}

impl SendBuffers {
    /// Returns memory of this size; what is in it is of no meaning.
    pub(super) fn take(&self, len: usize) -> SendBuffer {
        let found = {
            let mut kept = self.0.lock();
            let fitting = (0..kept.free.len()).filter(|&at| kept.free[at].len() >= len);
            let smallest = fitting.min_by_key(|&at| kept.free[at].len());
            let found = smallest.map(|at| kept.free.swap_remove(at));
            kept.used += found.as_ref().map_or(len, Vec::len);
            found
        };
        SendBuffer { memory: found.unwrap_or_else(|| vec![0; len]), len, home: self.clone() }
    }
}

impl SendBuffer {
    /// Returns the bytes, as they are now and will be.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for SendBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl AsMut<[u8]> for SendBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

impl Drop for SendBuffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut kept = self.home.0.lock();
        kept.used -= memory.len();
        let total = kept.used + kept.free.iter().map(Vec::len).sum::<usize>();
        if kept.used == 0 {
            // Freed after the lock: that takes the kernel a while.
            let all = std::mem::take(&mut kept.free);
            drop(kept);
            drop((all, memory));
        } else if total + memory.len() <= MOST_KEPT {
            kept.free.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_while_anything_is_sent() {
        let buffers = SendBuffers::default();
        let held = buffers.take(1);
        let first = buffers.take(4096);
        let at = first.as_ref().as_ptr();
        drop(first.freeze());
        let again = buffers.take(1000);
        assert_eq!((again.as_ref().as_ptr(), again.as_ref().len()), (at, 1000));
        drop(again);
        let whole = buffers.take(4096);
        assert_eq!(whole.as_ref().as_ptr(), at, "less of it was used meanwhile");
        drop(whole);
        assert_eq!(buffers.0.lock().free.len(), 1);
        drop(held);
        let kept = buffers.0.lock();
        assert_eq!((kept.free.len(), kept.used), (0, 0));
    }

    #[test]
    fn what_is_small_leaves_what_is_large_to_others() {
        let buffers = SendBuffers::default();
        let held = buffers.take(1);
        let (large, small) = (buffers.take(4096), buffers.take(100));
        let at = small.as_ref().as_ptr();
        drop((large, small));
        assert_eq!(buffers.take(50).as_ref().as_ptr(), at);
        drop(held);
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let buffers = SendBuffers::default();
        let all: Vec<_> = (0..5).map(|_| buffers.take(MOST_KEPT / 4 + 1)).collect();
        let held = buffers.take(1);
        drop(all);
        assert_eq!(buffers.0.lock().free.len(), 3);
        drop(held);
    }

    #[test]
    fn a_slice_of_what_is_sent_keeps_its_bytes() {
        let buffers = SendBuffers::default();
        let _held = buffers.take(1);
        let mut buffer = buffers.take(3);
        buffer.as_mut().copy_from_slice(b"abc");
        let slice = buffer.freeze().slice(1..);
        let mut other = buffers.take(3);
        other.as_mut().copy_from_slice(b"xyz");
        assert_eq!(slice, "bc");
    }
}
