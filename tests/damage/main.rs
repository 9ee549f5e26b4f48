//! What a cache folder or a bucket says when something in it was deleted, cut short, garbled or
//! replaced by an older copy.
//!
//! A mount was killed with changes that are not in the bucket; then something is damaged. Nobody
//! panics, every changed byte that was not itself damaged is kept, and what is found is said in
//! words.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/bucket_view.rs"]
mod bucket_view;
#[path = "../support/daemon.rs"]
#[expect(dead_code, reason = "the crash tests do more with it")]
mod daemon;
#[path = "../support/file_tree.rs"]
#[expect(dead_code, reason = "the crash tests compare more")]
mod file_tree;
mod matrix;
mod remote;
mod state;
mod wreck;
