//! Caches on disks that are full or fail, with the kernel's own disks and mounts.
//!
//! What the bucket has can be read whatever the cache's disk does. A change is refused when there
//! is no room for it, before it is accepted; what was accepted is found again and pushed.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[path = "../support/bucket_view.rs"]
mod bucket_view;
#[path = "../support/daemon.rs"]
#[expect(dead_code, reason = "the crash tests do more with it")]
mod daemon;
mod disk;
mod failing;
mod full;
mod known;
