//! The official client against the GCS server, and requests as they are on the wire: what GCS
//! answers, the server answers.
//!
//! One program for all of it, because linking the client takes longer than the tests do.

#![expect(clippy::unwrap_used, reason = "a step that fails has failed the test")]

mod access;
mod calls;
mod faults;
mod json;
mod objects;
mod raw;
mod resumable;
mod support;
mod tokens;
mod uploads;
