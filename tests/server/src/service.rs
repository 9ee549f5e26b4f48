//! The way of a request through the server: recorded, struck by faults, handled, answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, StdError};

use crate::access::{Keys, Policy};
use crate::backend::Backend;
use crate::bucket::Store;
use crate::faults::{Faults, Refusal};
use crate::operation::Target;
use crate::options::Options;
use crate::request_log::{Progress, RequestLog, describe};
use crate::strike::{After, Before, POLITE_BYTES, after, before, cut};
use crate::wire::{Answer, Damage, Upload};

/// Everything that requests share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<RequestLog>,
    pub(crate) faults: Arc<Faults>,
}

/// Handles requests of all connections.
#[derive(Clone)]
pub(crate) struct Service {
    s3: S3Service,
    shared: Shared,
}

impl Service {
    pub(crate) fn new(options: &Options, shared: Shared) -> Self {
        let backend = Backend::new(Arc::clone(&shared.store), options.region.clone());
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(Keys::new(options));
        builder.set_access(Policy::new(options));
        Self { s3: builder.build(), shared }
    }

    /// An error closes the connection without an answer.
    async fn handle(self, request: Request<Incoming>) -> Result<Response<Answer>, StdError> {
        let target = Target::of(request.method(), request.uri(), request.headers());
        let progress = self.shared.log.begin(describe(&request, &target));
        let actions = self.shared.faults.strike(&target);
        let (parts, body) = request.into_parts();
        let upload = Upload::new(body, Arc::clone(&progress));
        let upload = match before(&actions, upload).await {
            Before::Handle(upload) => upload,
            Before::Refuse(refusal) => return Ok(finish(refused(refusal), &progress, Damage::None)),
            Before::Cut => return Err(cut()),
        };
        let request = Request::from_parts(parts, Body::http_body_unsync(upload.clone()));
        let answer = self.s3.call(request).await.map_err(StdError::from)?;
        upload.discard(POLITE_BYTES).await;
        match after(&actions).await {
            After::Answer(damage) => Ok(finish(answer, &progress, damage)),
            After::Refuse(refusal) => Ok(finish(refused(refusal), &progress, Damage::None)),
            After::Cut => Err(cut()),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Answer>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, StdError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().handle(request))
    }
}

fn finish(mut answer: Response<Body>, progress: &Arc<Progress>, damage: Damage) -> Response<Answer> {
    progress.answered(answer.status().as_u16());
    if matches!(damage, Damage::Short(_)) {
        // The length is announced anew, from the body as it is now.
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
    answer.map(|body| Answer::new(body, Arc::clone(progress), damage))
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>On purpose</Message></Error>",
        refusal.code
    );
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/xml"));
    if let Some(seconds) = refusal.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    }
    answer
}
