//! A rude neighbour: swamp as it really is works on the bucket at random, beside two machines of
//! ours. Whatever it does, nothing is lost that it did not itself write over or delete, what it
//! dropped from the index is published again, and the index is true in the end.
//!
//! `BAYOU_NEIGHBOUR_SEED` and `BAYOU_NEIGHBOUR_STEPS` change what is played.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../crash/dice.rs"]
#[expect(dead_code, reason = "the crash tests throw more")]
mod dice;
mod ledger;
mod machines;
#[macro_use]
mod named;
mod left_behind;
mod neighbour;
#[path = "../support/pace.rs"]
mod pace;
#[path = "../support/paced_store.rs"]
mod paced_store;
#[path = "../support/peer.rs"]
#[expect(dead_code, reason = "the tests of sync do more with it")]
mod peer;
mod random;
#[path = "../support/swamp/mod.rs"]
#[expect(dead_code, reason = "it does more where it is compared with swamp")]
mod swamp;
mod verdict;
#[path = "../support/world.rs"]
#[expect(dead_code, reason = "the tests of sync do more with it")]
mod world;
