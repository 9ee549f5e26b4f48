//! The JSON API: each request is answered from the state, in the forms of HTTP.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::object::{GcsObject, base64, rfc3339};
use super::params::Params;
use super::problem::{Kind, Outcome, Problem};
use super::resource::Resource;
use super::route::{Route, Upload};
use super::store::{Place, Store};
use super::{copies, listing, media, patch, resumable, uploads};

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
            store.lock().delete(place, generation, &when)?;
            Ok(status(StatusCode::NO_CONTENT))
        }
        Route::Update(place) => patch::update(store, request, place, generation, &when),
        Route::List(bucket) => list(store, bucket, params),
        Route::Rewrite { from, to } | Route::Copy { from, to } => copies::copy(store, request, from, to),
        Route::Compose(place) => copies::compose(store, request, place, when),
        Route::Insert(place, Upload::Resumable) => uploads::start(store, request, place, when),
        Route::Insert(place, kind) => uploads::insert(store, request, place, *kind, &when),
        Route::Piece(_, id) | Route::Status(_, id) => uploads::piece(store, request, id),
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

pub(crate) fn resource(place: &Place, object: &GcsObject) -> Response<Bytes> {
    shown(&object.to_json(&place.bucket, &place.name))
}

pub(crate) fn shown(value: &Value) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(value.to_string()));
    answer.headers_mut().insert(header::CONTENT_TYPE, JSON);
    answer
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

pub(crate) fn status(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}
