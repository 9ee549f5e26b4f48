//! The cache floor by itself: no kernel, no network, a folder as the bucket.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

mod calls;
mod changes;
mod content;
mod crash;
mod locks;
mod lost_notes;
mod model;
mod power_cut;
mod reference;
mod rig;
mod watermark_orders;
