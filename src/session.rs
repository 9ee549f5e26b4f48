//! One of everything, once: what a mount or a sync is made of.
//!
//! [`options`] is what people can ask for, already parsed; [`folders`] is where it is kept;
//! [`failures`] is how what goes wrong below is said to people.
//!
//! The command line calls, from inside a tokio runtime and with plain values only:
//! `mount(MountOptions, Folders, Listener, SharedClock) -> Result<(), Failure>`, which returns
//! when the mount is gone and drained, and
//! `sync(SessionOptions, Folders, Direction, ProgressSink, SharedClock) -> Result<SyncSummary, Failure>`.

pub mod failures;
pub mod folders;
pub mod options;
