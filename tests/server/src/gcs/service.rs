//! The way of a request through the server: recorded, struck by faults, handled, answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, Version};
use s3s::{Body, StdError};

use super::access::{Door, bearer};
use super::accounts::Accounts;
use super::errors;
use super::grpc::{self, Call};
use super::json;
use super::params::Params;
use super::problem::{Outcome, code_of};
use super::route::Route;
use super::routing;
use super::store::Store;
use super::tokens::{self, Tokens};
use crate::faults::{Action, Faults, Refusal};
use crate::operation::Target;
use crate::request_log::{Progress, Recorded, RequestLog, text};
use crate::strike::{After, Before, after, before, cut};
use crate::wire::{Answer, Cutter, Damage, Upload};

/// Everything that requests share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<RequestLog>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) door: Arc<Door>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) accounts: Arc<Accounts>,
}

/// Handles the requests of one connection.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) shared: Shared,
    /// The server's own URL.
    pub(crate) url: Arc<str>,
    pub(crate) cutter: Cutter,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Answer>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, StdError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let answered = if is_call(&request) {
                service.clone().handle_call(request).await
            } else {
                service.clone().handle_http(request).await
            };
            if answered.is_err() {
                // An error would end one stream of HTTP/2; a broken connection ends them all.
                service.cutter.cut();
            }
            answered
        })
    }
}

fn is_call(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Service {
    /// An error closes the connection without an answer.
    async fn handle_http(self, request: Request<Incoming>) -> Result<Response<Answer>, StdError> {
        let (head, body) = request.into_parts();
        let params = Params::of(&head.uri);
        let route = Route::of(&head.method, &head.uri, &head.headers);
        let target = route.target();
        let recorded = Recorded {
            prefix: params.get("prefix").map(str::to_owned),
            range: text(&head.headers, "range"),
            if_generation_match: params.number("ifGenerationMatch").unwrap_or_default(),
            ..recorded(&target, &head.headers)
        };
        let progress = self.shared.log.begin(recorded);
        let actions = self.shared.faults.strike(&target);
        let upload = Upload::new(body, Arc::clone(&progress));
        let piece = cut_piece(&route, &actions);
        let upload = match piece {
            Some(limit) => upload.limited(limit),
            None => match before(&actions, upload).await {
                Before::Handle(upload) => upload,
                Before::Refuse(refusal) => return Ok(refused(&route, refusal, &progress)),
                Before::Cut => return Err(cut()),
            },
        };
        let (body, ended) = upload.receive().await;
        let whole = ended && piece.is_none();
        let (url, route) = (self.url.to_string(), route);
        let request = json::Request { route, params, headers: head.headers, body, whole, url };
        if !whole && !matches!(request.route, Route::Piece(..)) {
            return Err(cut());
        }
        let answer = self.answer(&request);
        if !whole {
            return Err(cut());
        }
        let route = request.route;
        match after(&actions).await {
            After::Answer(damage) => Ok(finish(answer, &progress, damage)),
            After::Refuse(refusal) => Ok(refused(&route, refusal, &progress)),
            After::Cut => Err(cut()),
        }
    }

    fn answer(&self, request: &json::Request) -> Response<Bytes> {
        if request.route == Route::Token {
            let Shared { tokens, door, accounts, .. } = &self.shared;
            let granted =
                tokens.grant(accounts, &format!("{}/token", self.url), &request.headers, &request.body);
            return tokens::answer(granted, door);
        }
        let answered = self
            .shared
            .door
            .judge(request.route.target().op, &request.headers)
            .and_then(|()| json::answer(&self.shared.store, request));
        answered.unwrap_or_else(|problem| errors::failure(&request.route, &problem))
    }

    /// Handles a gRPC call: its message says what it is on, so it is read first.
    async fn handle_call(self, request: Request<Incoming>) -> Result<Response<Answer>, StdError> {
        let (head, body) = request.into_parts();
        let progress = Arc::new(Progress::default());
        let upload = Upload::new(body, Arc::clone(&progress));
        let (body, ended) = upload.clone().receive().await;
        if !ended {
            return Err(cut());
        }
        let call = Call::read(head.uri.path(), &body);
        let target = call.target();
        let recorded = Recorded {
            prefix: call.prefix(),
            if_generation_match: call.if_generation_match(),
            rpc: true,
            ..recorded(&target, &head.headers)
        };
        self.shared.log.record(recorded, Arc::clone(&progress));
        let actions = self.shared.faults.strike(&target);
        match before(&actions, upload).await {
            Before::Handle(_) => {}
            Before::Refuse(refusal) => return Ok(self.refused_call(refusal, &progress)),
            Before::Cut => return Err(cut()),
        }
        let let_in = routing::check(&head.headers, &target)
            .and_then(|()| self.shared.door.judge(target.op, &head.headers));
        let answer = let_in.and_then(|()| call.answer(&self.shared.store));
        match after(&actions).await {
            After::Answer(damage) => Ok(self.finish_call(answer, &progress, damage)),
            After::Refuse(refusal) => Ok(self.refused_call(refusal, &progress)),
            After::Cut => Err(cut()),
        }
    }

    fn finish_call(
        &self,
        answer: Outcome<Bytes>,
        progress: &Arc<Progress>,
        damage: Damage,
    ) -> Response<Answer> {
        let (status, body, trailers) = match answer {
            Ok(body) => (200, body, grpc::trailers(0, "")),
            Err(problem) => (problem.kind.status(), Bytes::new(), grpc::failure(&problem)),
        };
        progress.answered(status);
        self.called(body, trailers, progress, damage)
    }

    fn refused_call(&self, refusal: &Refusal, progress: &Arc<Progress>) -> Response<Answer> {
        progress.answered(refusal.status);
        let trailers = grpc::trailers(code_of(refusal.status), "On purpose");
        self.called(Bytes::new(), trailers, progress, Damage::None)
    }

    fn called(
        &self,
        body: Bytes,
        trailers: HeaderMap,
        progress: &Arc<Progress>,
        damage: Damage,
    ) -> Response<Answer> {
        let answer = Answer::new(Body::from(body), Arc::clone(progress), damage);
        let mut answer = Response::new(answer.of_call(trailers, self.cutter.clone()));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        answer
    }
}

/// Returns after how many bytes a piece of a resumable upload breaks off, if it is to: what came
/// of it may be kept.
fn cut_piece(route: &Route, actions: &[Action]) -> Option<u64> {
    let is_piece = matches!(route, Route::Piece(..));
    actions.iter().filter(|_| is_piece).find_map(|action| match action {
        Action::CutUpload(bytes) => Some(*bytes),
        _ => None,
    })
}

fn recorded(target: &Target, headers: &HeaderMap) -> Recorded {
    Recorded {
        op: target.op,
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        prefix: None,
        part: None,
        range: None,
        if_match: None,
        if_none_match: None,
        body_is_signed: false,
        access_key: None,
        bearer: bearer(headers),
        if_generation_match: None,
        rpc: false,
        status: None,
        bytes_in: 0,
        bytes_out: 0,
    }
}

fn finish(answer: Response<Bytes>, progress: &Arc<Progress>, damage: Damage) -> Response<Answer> {
    progress.answered(answer.status().as_u16());
    answer.map(|body| Answer::new(Body::from(body), Arc::clone(progress), damage))
}

/// Returns an error as it is told to be, in the form that the request's errors have.
fn refused(route: &Route, refusal: &Refusal, progress: &Arc<Progress>) -> Response<Answer> {
    let mut answer = match route {
        Route::Token => tokens::failure(refusal.status, &refusal.code, "On purpose"),
        route => {
            errors::refusal(refusal.status, &reason(refusal), "On purpose", matches!(route, Route::Media(_)))
        }
    };
    if let Some(seconds) = refusal.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    finish(answer, progress, Damage::None)
}

/// Returns the reason of a refusal; a code of S3's becomes what GCS says with the same status.
fn reason(refusal: &Refusal) -> String {
    if refusal.code.starts_with(char::is_lowercase) {
        return refusal.code.clone();
    }
    let reason = match refusal.status {
        401 => "authError",
        403 => "forbidden",
        404 => "notFound",
        409 => "conflict",
        412 => "conditionNotMet",
        429 => "rateLimitExceeded",
        500 => "internalError",
        503 => "backendError",
        _ => "invalid",
    };
    reason.to_owned()
}
