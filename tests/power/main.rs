//! What is left after the power failed, with the built program on a disk that is recorded.
//!
//! The disk is a filesystem of the test: it sees every write, rename and sync of the program and
//! of its database, so that whatever an outage may leave can be built and started from.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/bucket_view.rs"]
mod bucket_view;
#[path = "../support/daemon.rs"]
#[expect(dead_code, reason = "the crash tests do more with it")]
mod daemon;
#[path = "../crash/dice.rs"]
mod dice;
mod disk;
#[path = "../support/file_tree.rs"]
#[expect(dead_code, reason = "the crash tests do more with it")]
mod file_tree;
#[path = "../crash/history.rs"]
#[expect(dead_code, reason = "the crash tests do more with it")]
mod history;
mod outage;
mod program;
mod promises;
mod random;
mod serving;
