//! Rewrites, copies and compositions over HTTP.

use bytes::Bytes;
use hyper::Response;
use serde_json::{Value, json};

use super::compose::{self, Composition, Source};
use super::conditions::Preconditions;
use super::json::{Request, resource, shown};
use super::problem::{Outcome, Problem};
use super::resource::Resource;
use super::rewrite::{self, Rewritten};
use super::route::Route;
use super::store::{Place, Store};

pub(crate) fn copy(store: &Store, request: &Request, from: &Place, to: &Place) -> Outcome<Response<Bytes>> {
    let params = &request.params;
    let replaces = !request.body.iter().all(u8::is_ascii_whitespace);
    let written = Resource::parse(&request.body)?;
    let bytes = params.number("maxBytesRewrittenPerCall")?.unwrap_or(0);
    let max_bytes =
        u64::try_from(bytes).map_err(|_| Problem::invalid("Invalid value for maxBytesRewrittenPerCall."))?;
    let mut call = rewrite::Call {
        from: from.clone(),
        from_generation: params.number("sourceGeneration")?.unwrap_or(0),
        from_when: params.source_preconditions()?,
        to: to.clone(),
        when: params.preconditions()?,
        attributes: replaces.then_some(written.attributes),
        expected: written.expected,
        token: params.text("rewriteToken"),
        max_bytes,
    };
    let whole = matches!(request.route, Route::Copy { .. });
    loop {
        match rewrite::rewrite(store, call.clone())? {
            Rewritten::Wholly(object) if whole => return Ok(resource(to, &object)),
            Rewritten::Wholly(object) => {
                let size = object.size().to_string();
                return Ok(shown(&json!({
                    "kind": "storage#rewriteResponse", "done": true, "objectSize": size,
                    "totalBytesRewritten": size, "resource": object.to_json(&to.bucket, &to.name),
                })));
            }
            Rewritten::Partly { token, .. } if whole => call.token = token,
            Rewritten::Partly { done, size, token } => {
                return Ok(shown(&json!({
                    "kind": "storage#rewriteResponse", "done": false, "objectSize": size.to_string(),
                    "totalBytesRewritten": done.to_string(), "rewriteToken": token,
                })));
            }
        }
    }
}

pub(crate) fn compose(
    store: &Store,
    request: &Request,
    to: &Place,
    when: Preconditions,
) -> Outcome<Response<Bytes>> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| Problem::invalid("Parse Error"))?;
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let source = |one: &Value| Source {
        name: one["name"].as_str().unwrap_or_default().to_owned(),
        generation: number(&one["generation"]).unwrap_or(0),
        when: Preconditions {
            generation: number(&one["objectPreconditions"]["ifGenerationMatch"]),
            ..Preconditions::default()
        },
    };
    let written = Resource::of(&body["destination"])?;
    let composition = Composition {
        to: to.clone(),
        sources: body["sourceObjects"]
            .as_array()
            .map(|all| all.iter().map(source).collect())
            .unwrap_or_default(),
        when,
        attributes: written.attributes,
        expected: written.expected,
        deletes: body["deleteSourceObjects"] == json!(true),
    };
    let object = compose::compose(store, composition)?;
    Ok(resource(to, &object))
}
