//! A strict in-memory GCS server: JSON over HTTP/1.1 and gRPC over h2c on one port.

mod access;
mod accounts;
mod calls;
mod compose;
mod conditions;
mod copies;
mod errors;
mod grpc;
mod json;
mod listing;
mod mask;
mod media;
mod multipart;
mod names;
mod object;
mod options;
mod params;
mod patch;
mod problem;
mod resource;
mod resumable;
mod rewrite;
mod route;
mod routing;
mod server;
mod service;
mod store;
mod tokens;
mod uploads;

pub use object::{Attributes, GcsObject};
pub use options::{Access, GcsOptions, WriteRate};
pub use server::GcsServer;
