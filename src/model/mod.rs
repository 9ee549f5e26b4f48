//! What keys, entries and the index are: pure values, no input or output.

pub mod compare;
pub mod content_hash;
pub mod entry;
pub mod fingerprint;
pub mod identity;
pub mod index;
mod index_parts;
pub mod internal_name;
pub mod key;
pub mod lock_body;
pub mod lock_name;
pub mod namespace;
mod raw_json;
pub mod shard;
pub mod sidecar;
pub mod special;
pub mod timestamp;
pub mod version;
