//! The kernel: mounting, unmounting, and answering its requests from the cache.
//!
//! We mount ourselves and hand the device to `fuser`, because its own teardown can unmount a
//! stranger's filesystem. Requests that memory or the local disk can answer are answered where
//! they arrive; what needs the network moves to tokio together with its reply. Nothing that
//! must be correct depends on `release` or `destroy`, which the kernel does not promise.

pub mod busy;
pub mod errno;
mod fusermount;
pub mod invalidate;
pub mod mount;
pub mod mount_table;
pub mod mountpoint;
