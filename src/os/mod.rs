//! The ground floor: time, durable replacement of small files, ownership of a folder,
//! and the labelled steps at which the crash tests stop. No knowledge of buckets.

pub mod clock;
pub mod crash_point;
pub mod durable_file;
pub mod folder_lock;
pub mod host;
pub mod open_files;
pub mod panics;
