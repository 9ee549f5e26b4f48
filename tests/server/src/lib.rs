//! Strict in-memory servers for tests, started in-process on loopback: S3 and GCS.
//!
//! [`S3Server`] verifies signatures and checksums, judges conditions atomically and keeps keys
//! byte by byte, as S3 does. [`GcsServer`] does the same as Google Cloud Storage does it: JSON
//! and gRPC on one port, generations, resumable uploads, a token endpoint. A test can make
//! either misbehave on chosen requests ([`Fault`]), count what was asked of it, and play another
//! client by touching the objects directly. What other stores do differently is a field of
//! their options.
//!
//! ```
//! use bayou_test_server::{Action, Fault, GcsOptions, GcsServer, Op, Options, S3Server};
//!
//! let server = S3Server::start(Options::default());
//! let lost = server.fault(Fault::on(Op::PutObject, Action::ApplyThenCut).key("index").first(1));
//! // A client at `server.url()` now puts an index, and never learns that it has.
//! server.put_object("bucket", "index", "what another client wrote");
//! assert_eq!(lost.fired(), 0);
//! assert_eq!(server.count(Op::PutObject), 0);
//!
//! let server = GcsServer::start(GcsOptions::default());
//! let first = server.put_object("bucket", "index", "what another client wrote");
//! assert!(server.put_object("bucket", "index", "what it wrote next") > first);
//! ```

mod access;
mod backend;
mod bucket;
mod checksums;
mod complete;
mod conditions;
mod faults;
mod gate;
mod gcs;
mod host;
mod listing;
mod multipart;
mod objects;
mod operation;
mod options;
mod request_log;
mod server;
mod service;
mod strike;
mod upload_listing;
mod wire;

pub use bucket::Stored;
pub use faults::{Action, Fault, FaultHandle, Refusal};
pub use gate::Gate;
pub use gcs::{Access, Attributes, GcsObject, GcsOptions, GcsServer, WriteRate};
pub use operation::Op;
pub use options::{Anonymous, Conditions, Etags, KeyPair, Listing, Options, PartChecksums, Trailers};
pub use request_log::Recorded;
pub use server::S3Server;
