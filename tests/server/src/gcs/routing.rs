//! The metadata by which gRPC calls find their way: the service refuses calls without.

use hyper::HeaderMap;

use super::object::bucket_path;
use super::params::Params;
use super::problem::{Outcome, Problem};
use crate::operation::{Op, Target};
use crate::request_log::text;

/// Fails with `invalid` if a call does not say in `x-goog-request-params` which bucket it is on.
///
/// A call that makes a bucket names a project instead.
pub(crate) fn check(headers: &HeaderMap, target: &Target) -> Outcome {
    if target.op == Op::Other {
        return Ok(());
    }
    let sent = text(headers, "x-goog-request-params").filter(|sent| !sent.is_empty());
    let Some(sent) = sent else {
        return Err(Problem::invalid(
            "The metadata x-goog-request-params must be provided for this request.",
        ));
    };
    let params = Params::parse(&sent);
    match (params.get("bucket"), params.get("project")) {
        (Some(named), _) if named == bucket_path(&target.bucket) => Ok(()),
        (None, Some(_)) if target.op == Op::CreateBucket => Ok(()),
        _ => Err(Problem::invalid(format!(
            "Invalid bucket name found in x-goog-request-params metadata ({sent})."
        ))),
    }
}
