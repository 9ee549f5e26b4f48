//! Failed requests over HTTP: JSON, or plain text where bytes were asked for and where an
//! upload does not follow what is kept.

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::json::shown;
use super::problem::{Kind, Problem};
use super::route::Route;

/// Returns the answer of a failed request. Reads of bytes fail in plain text.
pub(crate) fn failure(route: &Route, problem: &Problem) -> Response<Bytes> {
    let (code, reason) = (problem.kind.status(), problem.kind.reason());
    let plain = matches!(route, Route::Media(_)) || problem.kind == Kind::Gap;
    let mut answer = refusal(code, reason, &problem.message, plain);
    if matches!(problem.kind, Kind::NotModified | Kind::Cancelled) {
        *answer.body_mut() = Bytes::new();
    }
    if problem.kind == Kind::Gap {
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    if problem.kind == Kind::Unauthorized {
        let challenge = HeaderValue::from_static("Bearer realm=\"https://accounts.google.com/\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

/// Returns an error in the form of the JSON API, or as plain text.
pub(crate) fn refusal(code: u16, reason: &str, message: &str, plain: bool) -> Response<Bytes> {
    let mut answer = if plain {
        let mut answer = Response::new(Bytes::from(message.to_owned()));
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
        answer
    } else {
        shown(&json!({"error": {
            "code": code, "message": message,
            "errors": [{"message": message, "domain": "global", "reason": reason}],
        }}))
    };
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}
