//! A strict in-memory GCS server: JSON over HTTP/1.1 and gRPC over h2c on one port.

mod access;
mod calls;
mod compose;
mod conditions;
mod grpc;
mod insert;
mod json;
mod listing;
mod media;
mod names;
mod object;
mod options;
mod params;
mod problem;
mod resumable;
mod rewrite;
mod route;
mod server;
mod service;
mod store;
mod tokens;

pub use object::{Attributes, GcsObject};
pub use options::{Access, GcsOptions, WriteRate};
pub use server::GcsServer;
