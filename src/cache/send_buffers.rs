//! Memory for bytes that are sent, used again while anything is sent.
//!
//! A part has megabytes, and memory that is new costs the kernel as much as the copy into it. When
//! nothing is sent any more all of it is given back.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// What is kept for the next at most, in bytes.
const MOST_KEPT: usize = 64 << 20;

/// The memory of one cache.
#[derive(Debug, Default, Clone)]
pub(super) struct SendBuffers(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    free: Vec<Vec<u8>>,
    bytes: usize,
    in_use: usize,
}

/// Memory that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct SendBuffer {
    bytes: Vec<u8>,
    home: SendBuffers,
}

impl SendBuffers {
    /// Returns memory of this size; what is in it is of no meaning.
    pub(super) fn take(&self, len: usize) -> SendBuffer {
        let mut kept = self.0.lock();
        kept.in_use += 1;
        let fitting = kept.free.iter().position(|bytes| bytes.len() >= len);
        let found = fitting.map(|at| kept.free.swap_remove(at));
        if let Some(found) = &found {
            kept.bytes -= found.capacity();
        }
        drop(kept);
        let mut bytes = found.unwrap_or_else(|| vec![0; len]);
        bytes.truncate(len);
        SendBuffer { bytes, home: self.clone() }
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
        &self.bytes
    }
}

impl AsMut<[u8]> for SendBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for SendBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut kept = self.home.0.lock();
        kept.in_use -= 1;
        if kept.in_use == 0 {
            // Freed after the lock: that takes the kernel a while.
            let all = std::mem::take(&mut *kept);
            drop(kept);
            drop((all, bytes));
        } else if kept.bytes + bytes.capacity() <= MOST_KEPT {
            kept.bytes += bytes.capacity();
            kept.free.push(bytes);
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
        assert_eq!(buffers.0.lock().free.len(), 1);
        drop(held);
        let kept = buffers.0.lock();
        assert_eq!((kept.free.len(), kept.bytes, kept.in_use), (0, 0, 0));
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
