//! The official client against the GCS server: what GCS answers, the server answers.
//!
//! One program for all of it, because linking the client takes longer than the tests do.

#![expect(clippy::unwrap_used, reason = "a step that fails has failed the test")]

mod objects;
mod support;
