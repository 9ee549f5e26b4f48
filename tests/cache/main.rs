//! The cache floor by itself: no kernel, no network, a folder as the bucket.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

mod ahead;
mod calls;
mod changes;
mod content;
mod crash;
mod locks;
mod lost_notes;
mod model;
#[expect(dead_code, reason = "shared with the tests that mount")]
#[path = "../support/pace.rs"]
mod pace;
#[path = "../support/paced_store.rs"]
mod paced_store;
mod power_cut;
mod reference;
mod rig;
mod watched;
mod watermark_orders;
