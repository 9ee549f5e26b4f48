//! What time it is where the bucket is: the `Date` of an answer.
//!
//! Whether an object is old can only be judged by the clock that also wrote its time.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use parking_lot::Mutex;

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
        *self.0.lock() = context.response().headers().get("date").and_then(parse);
        Ok(())
    }
}

fn parse(text: &str) -> Option<SystemTime> {
    let date = DateTime::from_str(text.trim(), DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(date).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_a_time_and_nonsense_is_none() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(expected));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(ServerTime::default().noted(), None);
    }
}
