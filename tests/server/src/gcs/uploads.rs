//! Uploads over HTTP: in one request, or piece by piece.

use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::conditions::Preconditions;
use super::json::{Request, resource, status};
use super::media::value;
use super::multipart;
use super::problem::{Outcome, Problem};
use super::resource::{self, Resource};
use super::resumable::{self, Advance, Piece, Start};
use super::route::Upload;
use super::store::{Content, Place, Store};

pub(crate) fn insert(
    store: &Store,
    request: &Request,
    place: &Place,
    kind: Upload,
    when: &Preconditions,
) -> Outcome<Response<Bytes>> {
    let (written, body) = match kind {
        Upload::Multipart => multipart::parse(&request.headers, &request.body)?,
        Upload::Media | Upload::Resumable => (Resource::default(), request.body.clone()),
    };
    let mut attributes = written.attributes;
    if kind == Upload::Media {
        let kind = request.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        attributes.content_type = kind.map(str::to_owned);
    }
    let place = named(place, written.name)?;
    store.lock().may_write(&place, when)?;
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

pub(crate) fn start(
    store: &Store,
    request: &Request,
    place: &Place,
    when: Preconditions,
) -> Outcome<Response<Bytes>> {
    let written = Resource::parse(&request.body)?;
    let place = named(place, written.name)?;
    let mut attributes = written.attributes;
    if attributes.content_type.is_none() {
        let kind = request.headers.get("x-upload-content-type").and_then(|kind| kind.to_str().ok());
        attributes.content_type = kind.map(str::to_owned);
    }
    let id = resumable::start(store, place.clone(), Start { attributes, when, expected: written.expected })?;
    let name = utf8_percent_encode(&place.name, NON_ALPHANUMERIC);
    let location = format!(
        "{}/upload/storage/v1/b/{}/o?uploadType=resumable&name={name}&upload_id={id}",
        request.url, place.bucket
    );
    let mut answer = status(StatusCode::OK);
    answer.headers_mut().insert(header::LOCATION, value(&location));
    answer.headers_mut().insert("x-guploader-uploadid", value(&id));
    Ok(answer)
}

pub(crate) fn piece(store: &Store, request: &Request, id: &str) -> Outcome<Response<Bytes>> {
    let sums = resource::header_checksums(&request.headers)?;
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
    if (last, total) == (None, None) {
        // The end of the body is the end of the object.
        return Ok(Piece { first: Some(first), total: whole.then_some(first + bytes) });
    }
    let announced = last.map(|last| (last + 1).saturating_sub(first));
    if whole && announced.is_some_and(|announced| announced != bytes) {
        return Err(Problem::invalid(format!("Content-Range does not agree with a body of {bytes} bytes.")));
    }
    Ok(Piece { first: Some(first), total })
}
