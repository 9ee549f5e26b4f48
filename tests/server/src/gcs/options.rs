//! How a GCS server is started.

use std::time::Duration;

use crate::options::{Conditions, Listing};

/// Whom the server lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody, with any token or none.
    Open,
    /// Who shows this token; others are answered 401.
    Bearer(String),
    /// Who shows a token that `/token` gave, or that a service account of the server signed, and
    /// that did not run out; others are answered 401.
    Issued,
    /// Anybody, but not to write: 403.
    ReadOnly,
    /// Nobody: 403.
    Denied,
}

/// How often one object may be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WriteRate {
    /// As often as one likes.
    #[default]
    Unlimited,
    /// Once in this time, which is a second with the real service; above that 429.
    OncePer(Duration),
}

/// How to start a [`GcsServer`](crate::GcsServer).
#[derive(Debug, Clone)]
pub struct GcsOptions {
    /// The buckets that exist from the start.
    pub buckets: Vec<String>,
    /// Whom the server lets in.
    pub access: Access,
    /// How often one object may be written.
    pub write_rate: WriteRate,
    /// Whether objects may be listed. If not, who looks for one in vain is answered 403, not 404.
    pub listing: Listing,
    /// What becomes of conditions on writes and deletes.
    pub conditions: Conditions,
    /// Most bytes that one call of a rewrite copies, if the call does not say less.
    pub rewrite_bytes_per_call: u64,
    /// The TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
}

impl Default for GcsOptions {
    fn default() -> Self {
        Self {
            buckets: vec!["bucket".to_owned()],
            access: Access::Open,
            write_rate: WriteRate::Unlimited,
            listing: Listing::Allowed,
            conditions: Conditions::Honoured,
            rewrite_bytes_per_call: 4 * 1024 * 1024,
            port: 0,
        }
    }
}
