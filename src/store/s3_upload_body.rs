//! The body of an upload to S3, whose progress is seen.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::patience::Progress;

/// Sends the body of a request so that its progress is seen.
///
/// The body is exchanged after it was signed: until then the SDK must see that it is in
/// memory, or it would send it in chunks with trailers, which some stores refuse.
#[derive(Debug)]
pub(super) struct CountedUpload {
    body: Bytes,
    progress: Progress,
}

impl CountedUpload {
    pub(super) fn new(body: &Bytes, progress: &Progress) -> Self {
        Self { body: body.clone(), progress: progress.clone() }
    }
}

impl Intercept for CountedUpload {
    fn name(&self) -> &'static str {
        "CountedUpload"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let counted = Counted { rest: self.body.clone(), progress: self.progress.clone() };
        *context.request_mut().body_mut() = SdkBody::from_body_1_x(counted);
        Ok(())
    }
}

struct Counted {
    rest: Bytes,
    progress: Progress,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Counted { rest, progress } = &mut *self;
        Poll::Ready(progress.step(rest).map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
