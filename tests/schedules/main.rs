//! The locks of the cache under every schedule, or under many: the very text of the watermark
//! and of the table of flights, compiled against the locks of shuttle, which decides who goes on
//! at every step, tries another order each time, and says when nobody can go on.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

// What the searched files call `parking_lot` is what is below.
extern crate self as parking_lot;

mod cache;
mod locks;
mod os;
mod search;

use bayou::model;
use locks::Mutex;
