//! What a cache folder or a bucket says when something in it was deleted, cut short or garbled.
//!
//! A mount was killed with changes that are not in the bucket; then something is damaged. The
//! next mount never panics, keeps every changed byte that was not itself damaged, and says in
//! words what it found.

mod remote;
mod state;
mod wreck;
