//! The sync floor without a kernel: machines that pull and push, over a folder used as a bucket
//! and over real HTTP against a strict S3 server with faults, gates and request counters.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[macro_use]
#[path = "../support/both_stores.rs"]
mod both_stores;
#[path = "../support/peer.rs"]
mod peer;
#[path = "../support/world.rs"]
mod world;

mod appends;
mod busy;
mod came_late;
mod conflicts;
mod discovery;
mod durability;
mod edits;
mod failures;
mod layouts;
mod links;
mod model;
mod moves;
mod names;
mod one_step;
mod overtaken;
mod parted_links;
mod races;
mod requests;
mod round_trips;
mod seeds;
mod simulation;
mod streams;
mod taken_back;
mod upkeep;
