//! The kernel: mounting, unmounting, and answering its requests from the cache.
//!
//! We mount ourselves and hand the device to `fuser`, because its own teardown can unmount a
//! stranger's filesystem. Requests that memory or the local disk can answer are answered where
//! they arrive; what needs the network moves to tokio together with its reply. Nothing that
//! must be correct depends on `release` or `destroy`, which the kernel does not promise.

mod adapter;
mod attributes;
pub mod busy;
mod change_tree;
mod copying;
mod durability;
pub mod errno;
pub mod error;
mod file_io;
pub mod front;
mod fuse;
mod fusermount;
mod holes;
pub mod invalidate;
mod lookup;
pub mod mount;
pub mod mount_table;
pub mod mountpoint;
mod name;
mod negotiate;
pub mod notify;
mod own_xattr;
pub mod passthrough;
mod readdir;
pub mod requests;
pub mod serve;
mod xattr;
