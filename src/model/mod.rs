//! What keys, entries and the index are: pure values, no input or output.

pub mod internal_name;
pub mod key;
