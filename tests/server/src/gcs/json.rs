//! The JSON API: each request is answered from the state, in the forms of HTTP.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::compose::{self, Composition, Source};
use super::conditions::Preconditions;
use super::insert::{self, Resource};
use super::listing;
use super::media::{self, value};
use super::object::{Attributes, GcsObject, base64, rfc3339};
use super::params::Params;
use super::problem::{Kind, Outcome, Problem};
use super::resumable::{self, Advance, Piece, Start};
use super::rewrite::{self, Rewritten};
use super::route::{Route, Upload};
use super::store::{Content, Place, Store};

/// A request that has arrived.
pub(crate) struct Request {
    pub(crate) route: Route,
    pub(crate) params: Params,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether all of the body came.
    pub(crate) whole: bool,
    /// The server's own URL: clients send it without the port.
    pub(crate) url: String,
}

/// Answers a request.
pub(crate) fn answer(store: &Store, request: &Request) -> Outcome<Response<Bytes>> {
    let (params, when) = (&request.params, request.params.preconditions()?);
    let generation = params.number("generation")?.unwrap_or(0);
    match &request.route {
        Route::Media(place) => {
            let object = store.lock().read(place, generation, &when)?.clone();
            media::answer(&object, &request.headers)
        }
        Route::Metadata(place) => {
            let object = store.lock().read(place, generation, &when)?.clone();
            Ok(resource(place, &object))
        }
        Route::Delete(place) => {
            store.take_turn(place)?;
            store.lock().delete(place, generation, &when)?;
            Ok(status(StatusCode::NO_CONTENT))
        }
        Route::Update(place) => update(store, request, place, generation, &when),
        Route::List(bucket) => list(store, bucket, params),
        Route::Rewrite { from, to } | Route::Copy { from, to } => copy(store, request, from, to),
        Route::Compose(place) => compose(store, request, place, when),
        Route::Insert(place, Upload::Resumable) => start(store, request, place, when),
        Route::Insert(place, kind) => insert(store, request, place, *kind, &when),
        Route::Piece(_, id) | Route::Status(_, id) => piece(store, request, id),
        Route::Cancel(_, id) => {
            resumable::cancel(store, id)?;
            Err(Problem::new(Kind::Cancelled, ""))
        }
        Route::GetBucket(name) => {
            let state = store.lock();
            Ok(shown(&bucket(name, state.bucket(name)?.created)))
        }
        Route::CreateBucket => create_bucket(store, request),
        Route::Token | Route::Unknown => Err(Problem::new(Kind::NotFound, "Not Found")),
    }
}

fn list(store: &Store, bucket: &str, params: &Params) -> Outcome<Response<Bytes>> {
    if params.get("versions") == Some("true") || params.get("matchGlob").is_some() {
        return Err(Problem::not_implemented("A listing of versions or by a pattern"));
    }
    let query = listing::Query {
        bucket: bucket.to_owned(),
        prefix: params.text("prefix"),
        delimiter: params.text("delimiter"),
        with_markers: params.get("includeTrailingDelimiter") == Some("true"),
        start: params.text("startOffset"),
        end: params.text("endOffset"),
        page_size: params.number("maxResults")?.unwrap_or(0),
        page_token: params.text("pageToken"),
    };
    let page = listing::list(store, &query)?;
    let mut body = Map::from_iter([("kind".to_owned(), json!("storage#objects"))]);
    if !page.objects.is_empty() {
        let items = page.objects.iter().map(|(name, object)| object.to_json(bucket, name));
        body.insert("items".to_owned(), items.collect());
    }
    if !page.prefixes.is_empty() {
        body.insert("prefixes".to_owned(), json!(page.prefixes));
    }
    if !page.next.is_empty() {
        body.insert("nextPageToken".to_owned(), json!(page.next));
    }
    Ok(shown(&Value::Object(body)))
}

fn insert(
    store: &Store,
    request: &Request,
    place: &Place,
    kind: Upload,
    when: &Preconditions,
) -> Outcome<Response<Bytes>> {
    let (written, body) = match kind {
        Upload::Multipart => insert::multipart(&request.headers, &request.body)?,
        Upload::Media | Upload::Resumable => (Resource::default(), request.body.clone()),
    };
    let mut attributes = written.attributes;
    if kind == Upload::Media {
        let kind = request.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        attributes.content_type = kind.map(str::to_owned);
    }
    let place = named(place, written.name)?;
    store.lock().may_write(&place, when)?;
    store.take_turn(&place)?;
    written.expected.verify(&body)?;
    let object = store.lock().write(&place, Content { body, attributes, components: None }, when)?;
    Ok(resource(&place, &object))
}

/// Returns the place with the name that the query or the body gives.
fn named(place: &Place, in_body: Option<String>) -> Outcome<Place> {
    match in_body {
        Some(name) if place.name.is_empty() => Ok(Place { name, ..place.clone() }),
        Some(name) if name != place.name => {
            Err(Problem::invalid("Value in the query does not agree with value in the body."))
        }
        _ if place.name.is_empty() => Err(Problem::required("name")),
        _ => Ok(place.clone()),
    }
}

fn start(store: &Store, request: &Request, place: &Place, when: Preconditions) -> Outcome<Response<Bytes>> {
    let written = Resource::parse(&request.body)?;
    let place = named(place, written.name)?;
    let mut attributes = written.attributes;
    if attributes.content_type.is_none() {
        let kind = request.headers.get("x-upload-content-type").and_then(|kind| kind.to_str().ok());
        attributes.content_type = kind.map(str::to_owned);
    }
    let id = resumable::start(store, place.clone(), Start { attributes, when, expected: written.expected })?;
    let name = percent_encoding::utf8_percent_encode(&place.name, percent_encoding::NON_ALPHANUMERIC);
    let location = format!(
        "{}/upload/storage/v1/b/{}/o?uploadType=resumable&name={name}&upload_id={id}",
        request.url, place.bucket
    );
    let mut answer = status(StatusCode::OK);
    answer.headers_mut().insert(header::LOCATION, value(&location));
    answer.headers_mut().insert("x-guploader-uploadid", value(&id));
    Ok(answer)
}

fn piece(store: &Store, request: &Request, id: &str) -> Outcome<Response<Bytes>> {
    let sums = insert::header_checksums(&request.headers)?;
    let piece = content_range(&request.headers, request.body.len(), request.whole)?;
    match resumable::advance(store, id, piece, &request.body, request.whole, &sums)? {
        Advance::Finalized(place, object) => Ok(resource(&place, &object)),
        Advance::Kept(kept) => {
            let mut answer = status(StatusCode::PERMANENT_REDIRECT);
            if kept > 0 {
                answer.headers_mut().insert(header::RANGE, value(&format!("bytes=0-{}", kept - 1)));
            }
            Ok(answer)
        }
    }
}

/// Reads what a `Content-Range` says of a piece of so many bytes.
fn content_range(headers: &HeaderMap, bytes: usize, whole: bool) -> Outcome<Piece> {
    let bytes = bytes as u64;
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        return Ok(Piece { first: Some(0), total: whole.then_some(bytes) });
    };
    let invalid = || Problem::invalid("Failed to parse Content-Range header.");
    let number = |text: &str| text.parse::<u64>().map_err(|_| invalid());
    let known = |text: &str| if text == "*" { Ok(None) } else { number(text).map(Some) };
    let text = range.to_str().ok().and_then(|range| range.strip_prefix("bytes ")).ok_or_else(invalid)?;
    let (range, total) = text.split_once('/').ok_or_else(invalid)?;
    let total = known(total)?;
    if range == "*" {
        return Ok(Piece { first: None, total });
    }
    let (first, last) = range.split_once('-').ok_or_else(invalid)?;
    let (first, last) = (number(first)?, known(last)?);
    let announced = last.map(|last| (last + 1).saturating_sub(first));
    if whole && announced.is_some_and(|announced| announced != bytes) {
        return Err(Problem::invalid(format!("Content-Range does not agree with a body of {bytes} bytes.")));
    }
    Ok(Piece { first: Some(first), total })
}

fn update(
    store: &Store,
    request: &Request,
    place: &Place,
    generation: i64,
    when: &Preconditions,
) -> Outcome<Response<Bytes>> {
    let change: Value = serde_json::from_slice(&request.body).map_err(|_| Problem::invalid("Parse Error"))?;
    store.take_turn(place)?;
    let object = store.lock().update(place, generation, when, |attributes| patch(attributes, &change))?;
    Ok(resource(place, &object))
}

/// Applies a patch: what is named is set, what is `null` is cleared.
fn patch(attributes: &mut Attributes, change: &Value) -> Outcome {
    let said = Resource::of(change)?.attributes;
    let named = |name: &str| change.get(name).is_some();
    for (name, field, value) in [
        ("contentType", &mut attributes.content_type, said.content_type),
        ("contentEncoding", &mut attributes.content_encoding, said.content_encoding),
        ("contentDisposition", &mut attributes.content_disposition, said.content_disposition),
        ("contentLanguage", &mut attributes.content_language, said.content_language),
        ("cacheControl", &mut attributes.cache_control, said.cache_control),
    ] {
        if named(name) {
            *field = value;
        }
    }
    match change.get("metadata") {
        Some(Value::Null) => attributes.meta.clear(),
        Some(Value::Object(pairs)) => {
            for (name, value) in pairs {
                match value.as_str() {
                    Some(text) => drop(attributes.meta.insert(name.clone(), text.to_owned())),
                    None => drop(attributes.meta.remove(name)),
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn copy(store: &Store, request: &Request, from: &Place, to: &Place) -> Outcome<Response<Bytes>> {
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
    if call.token.is_empty() {
        store.take_turn(to)?;
    }
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

fn compose(store: &Store, request: &Request, to: &Place, when: Preconditions) -> Outcome<Response<Bytes>> {
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
    store.take_turn(to)?;
    let object = compose::compose(store, composition)?;
    Ok(resource(to, &object))
}

fn create_bucket(store: &Store, request: &Request) -> Outcome<Response<Bytes>> {
    if request.params.get("project").is_none() {
        return Err(Problem::required("project"));
    }
    let name = Resource::parse(&request.body)?.name.ok_or_else(|| Problem::required("name"))?;
    let mut state = store.lock();
    state.create_bucket(&name)?;
    Ok(shown(&bucket(&name, state.bucket(&name)?.created)))
}

fn bucket(name: &str, created: std::time::SystemTime) -> Value {
    json!({
        "kind": "storage#bucket", "id": name, "name": name, "projectNumber": "1", "metageneration": "1",
        "location": "US", "locationType": "multi-region", "storageClass": "STANDARD",
        "etag": base64(b"1"), "timeCreated": rfc3339(created), "updated": rfc3339(created),
    })
}

fn resource(place: &Place, object: &GcsObject) -> Response<Bytes> {
    shown(&object.to_json(&place.bucket, &place.name))
}

fn shown(value: &Value) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(value.to_string()));
    answer.headers_mut().insert(header::CONTENT_TYPE, JSON);
    answer
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

fn status(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

/// Returns the answer of a failed request. Reads of bytes fail in plain text.
pub(crate) fn failure(route: &Route, problem: &Problem) -> Response<Bytes> {
    let (code, reason) = (problem.kind.status(), problem.kind.reason());
    let plain = matches!(route, Route::Media(_));
    let mut answer = refusal(code, reason, &problem.message, plain);
    if matches!(problem.kind, Kind::NotModified | Kind::Cancelled) {
        *answer.body_mut() = Bytes::new();
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
