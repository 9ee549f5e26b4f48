//! What time it is where the bucket is: the `Date` of an answer.
//!
//! Whether an object is old can only be judged by the clock that also wrote its time.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use parking_lot::Mutex;

use super::http_date;

/// Notes the server's time when the answer to a request comes in.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTime(Arc<Mutex<Option<SystemTime>>>);

impl ServerTime {
    /// Returns the time that the answer named, if it named one.
    pub(super) fn noted(&self) -> Option<SystemTime> {
        *self.0.lock()
    }
}

impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "ServerTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock() = context.response().headers().get("date").and_then(http_date::parse);
        Ok(())
    }
}
