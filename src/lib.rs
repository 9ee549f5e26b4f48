//! bayou mounts a bucket (S3 or a plain folder) as an ordinary directory, hydrates it lazily
//! and never loses a byte.
//!
//! The floors, each of which imports only from those above it in this list:
//! [`os`] time and durable files, [`model`] keys and the index, [`store`] requests,
//! [`cache`] what this machine holds, [`sync`] index in the bucket and ours,
//! [`fs`] the kernel, [`session`] and [`control`] one running mount, [`cli`] people.
//! `docs/SEMANTICS.md` says what a user may rely on, `docs/ARCHITECTURE.md` how it is built.

pub mod os;

pub mod model;

pub mod store;

pub mod cache;

pub mod sync;

pub mod fs;
pub mod session;

pub mod control;

pub mod cli;
