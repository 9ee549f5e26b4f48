//! The conformance rows of swamp and its known weaknesses, each a test named by its number.
//!
//! Each runs over a folder used as a bucket and, where requests matter, over a strict S3 server
//! that counts them. Rows that are shown better elsewhere (single requests in
//! `tests/store_faults`, documents in `tests/swamp_documents.rs`) have their number there; rows
//! that do not apply to us are in `docs/CONFORMANCE.md`. `coverage` holds all three together.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

#[macro_use]
#[path = "../support/both_stores.rs"]
mod both_stores;
#[path = "../support/pace.rs"]
#[expect(dead_code, reason = "requests wait elsewhere")]
mod pace;
#[path = "../support/peer.rs"]
#[expect(dead_code, reason = "machines do more elsewhere")]
mod peer;
#[path = "../support/swamp/mod.rs"]
#[expect(dead_code, reason = "the rude neighbour does more elsewhere")]
mod swamp;
#[path = "../support/world.rs"]
#[expect(dead_code, reason = "the tests of sync do more with it")]
mod world;

mod boundary;
mod coverage;
mod deletions;
mod fast_path;
mod gating;
mod golden;
mod hash;
mod lazy;
mod locks;
mod mark_dirty;
mod merge;
mod migration;
mod namespaces;
mod neighbour;
mod partitions;
mod requests;
mod retries;
mod scopes;
mod shards;
mod two_phase;
mod weaknesses;

use peer::Peer;
use world::World;

/// Returns a machine that brought `data/a` into the bucket and is clean.
async fn clean_peer(world: &World) -> Peer {
    let peer = world.peer().await;
    peer.write("data/a", "one");
    assert!(peer.push().await.settled);
    peer.forget_requests();
    peer
}

/// Returns the requests among these that upload something other than the index.
fn uploads(requests: &[String]) -> Vec<&str> {
    let is_upload = |one: &&str| {
        let key = one.strip_prefix("put ").or_else(|| one.strip_prefix("copy "));
        key.is_some_and(|key| key != world::INDEX && !key.starts_with("_index/") && !key.ends_with(".lock"))
    };
    requests.iter().map(String::as_str).filter(is_upload).collect()
}
