//! The crash promises, with the built program and the kernel's own mount.
//!
//! After kill -9 every byte that was made safe is in the bucket, every other acknowledged change
//! is found again, nothing is torn, and clean is said only of what is clean.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

mod actor;
mod beside_reader;
#[path = "../support/bucket_view.rs"]
mod bucket_view;
mod chaos;
mod check;
#[path = "../support/daemon.rs"]
mod daemon;
mod dice;
#[path = "../support/file_tree.rs"]
mod file_tree;
mod history;
mod layout;
mod random;
mod steps;
