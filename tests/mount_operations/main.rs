//! What programs do to a mount, through the kernel: every call, with its errors.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

mod attributes;
mod content;
mod durability;
mod holes;
mod kernel_caches;
#[path = "../support/kernel_wait.rs"]
mod kernel_wait;
mod lent;
mod lent_mix;
mod links;
mod locks;
mod machine;
mod mapped;
#[path = "../support/mapping.rs"]
mod mapping;
mod model;
mod names;
mod overtaken;
#[path = "../support/pace.rs"]
#[expect(dead_code, reason = "the tests of sync stand still as well")]
mod pace;
#[path = "../support/paced_store.rs"]
mod paced_store;
mod prefetch;
mod remote;
mod room;
mod setup;
mod unlinked;
mod world;
mod xattrs;

/// Returns the errno with which a call was refused.
#[track_caller]
fn errno<T>(outcome: std::io::Result<T>) -> i32 {
    match outcome {
        Ok(_) => panic!("the call was not refused"),
        Err(refused) => refused.raw_os_error().unwrap(),
    }
}

/// Returns the errno with which a call of rustix's was refused.
#[track_caller]
fn sys_errno<T>(outcome: rustix::io::Result<T>) -> i32 {
    errno(outcome.map_err(std::io::Error::from))
}
