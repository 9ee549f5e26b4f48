//! Each sentence of docs/SEMANTICS.md, through a real mount.
//!
//! A test says above itself which sentences it shows; some are shown by the tests of the
//! command line, of programs and of crashes. [`page`] checks that none is forgotten.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/person.rs"]
#[expect(dead_code, reason = "people do more elsewhere")]
mod person;

mod close;
mod conflicts;
mod crashes;
mod fsync;
mod lent;
mod limits;
mod links;
#[path = "../support/mapping.rs"]
mod mapping;
mod offline;
mod page;
mod panics;
mod parts;
mod reading;
mod together;
mod tree;
mod unmounting;
mod ways_out;
mod world;
mod writing;
