//! The hot paths of bayou, ready to be run again and again without a kernel or a bucket.
//!
//! Each is asked through the same doors as the kernel's adapter uses. `benches/hot_paths.rs`
//! measures their time, the program `hot-paths` runs one of them for a tool that counts
//! instructions.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared cannot be measured")]

pub mod counted;
pub mod index_document;
pub mod machine;
