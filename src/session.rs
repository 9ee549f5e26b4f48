//! One of everything, once: what a mount or a sync is made of.
//!
//! [`options`] is what people can ask for, already parsed; [`folders`] is where it is kept;
//! [`failures`] is how what goes wrong below is said to people; [`bucket_lock`] shows the lock of a
//! bucket and breaks it. [`mount`] returns when the
//! mount is gone and drained; [`sync`] brings both sides together once, without a mount.

use std::sync::Arc;

pub mod bucket_lock;
pub mod failures;
pub mod folders;
pub mod index_upkeep;
pub mod options;

mod answers;
mod bucket;
mod mounted;
mod opened;
mod progress;
mod single_sync;

pub use mounted::mount;
pub use single_sync::sync;

/// Who hears what a session tells.
pub type Listener = Arc<dyn Fn(options::Event) + Send + Sync>;
