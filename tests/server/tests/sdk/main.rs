//! The real SDK against the server: what S3 answers, the server answers.
//!
//! One program for all of it, because linking the SDK takes longer than the tests do.

#![expect(clippy::unwrap_used, reason = "a step that fails has failed the test")]

mod access;
mod checksums;
mod faults;
mod listing;
mod multipart;
mod requests;
mod support;
