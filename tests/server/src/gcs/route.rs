//! Which request of the JSON API a request line is.

use hyper::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;

use super::params::Params;
use super::store::Place;
use crate::operation::{Op, Target};

/// A request of the JSON API, or of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    GetBucket(String),
    CreateBucket,
    List(String),
    Media(Place),
    Metadata(Place),
    Update(Place),
    Delete(Place),
    Rewrite {
        from: Place,
        to: Place,
    },
    Copy {
        from: Place,
        to: Place,
    },
    Compose(Place),
    /// A new object, whose name may be in the body; the kind of upload.
    Insert(Place, Upload),
    /// A piece of the upload of this id.
    Piece(Place, String),
    /// The question how far the upload of this id has come.
    Status(Place, String),
    Cancel(Place, String),
    Token,
    Unknown,
}

/// How an object is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upload {
    Media,
    Multipart,
    Resumable,
}

impl Route {
    /// Returns what is asked for.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let parts: Vec<String> = uri.path().split('/').skip(1).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let params = Params::of(uri);
        match parts.as_slice() {
            ["token"] if *method == Method::POST => Self::Token,
            ["upload", "storage", "v1", "b", bucket, "o"] => upload(method, bucket, &params, headers),
            ["download", "storage", "v1", "b", bucket, "o", name] if *method == Method::GET => {
                Self::Media(Place::new(*bucket, *name))
            }
            ["storage", "v1", rest @ ..] => resource(method, rest, &params),
            _ => Self::Unknown,
        }
    }

    /// Returns the operation, and what it is on.
    pub(crate) fn target(&self) -> Target {
        let on = |op, place: &Place| Target { op, bucket: place.bucket.clone(), key: place.name.clone() };
        let bucket = |op, name: &String| Target { op, bucket: name.clone(), key: String::new() };
        match self {
            Self::GetBucket(name) => bucket(Op::HeadBucket, name),
            Self::List(name) => bucket(Op::ListObjectsV2, name),
            Self::CreateBucket => bucket(Op::CreateBucket, &String::new()),
            Self::Media(place) => on(Op::GetObject, place),
            Self::Metadata(place) => on(Op::HeadObject, place),
            Self::Update(place) => on(Op::UpdateObject, place),
            Self::Delete(place) => on(Op::DeleteObject, place),
            Self::Rewrite { to, .. } | Self::Copy { to, .. } => on(Op::CopyObject, to),
            Self::Compose(place) => on(Op::ComposeObject, place),
            Self::Insert(place, Upload::Resumable) => on(Op::StartResumable, place),
            Self::Insert(place, Upload::Media | Upload::Multipart) => on(Op::PutObject, place),
            Self::Piece(place, _) => on(Op::UploadChunk, place),
            Self::Status(place, _) => on(Op::QueryResumable, place),
            Self::Cancel(place, _) => on(Op::CancelResumable, place),
            Self::Token => bucket(Op::Token, &String::new()),
            Self::Unknown => bucket(Op::Other, &String::new()),
        }
    }
}

fn decode(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn resource(method: &Method, parts: &[&str], params: &Params) -> Route {
    let place = |bucket: &&str, name: &&str| Place::new(*bucket, *name);
    match (method.as_str(), parts) {
        ("POST", ["b"]) => Route::CreateBucket,
        ("GET", ["b", bucket]) => Route::GetBucket((*bucket).to_owned()),
        ("GET", ["b", bucket, "o"]) => Route::List((*bucket).to_owned()),
        ("GET", ["b", bucket, "o", name]) if params.get("alt") == Some("media") => {
            Route::Media(place(bucket, name))
        }
        ("GET", ["b", bucket, "o", name]) => Route::Metadata(place(bucket, name)),
        ("PATCH", ["b", bucket, "o", name]) => Route::Update(place(bucket, name)),
        ("DELETE", ["b", bucket, "o", name]) => Route::Delete(place(bucket, name)),
        ("POST", ["b", bucket, "o", name, "compose"]) => Route::Compose(place(bucket, name)),
        ("POST", ["b", bucket, "o", name, "rewriteTo", "b", to_bucket, "o", to_name]) => {
            Route::Rewrite { from: place(bucket, name), to: place(to_bucket, to_name) }
        }
        ("POST", ["b", bucket, "o", name, "copyTo", "b", to_bucket, "o", to_name]) => {
            Route::Copy { from: place(bucket, name), to: place(to_bucket, to_name) }
        }
        _ => Route::Unknown,
    }
}

fn upload(method: &Method, bucket: &str, params: &Params, headers: &HeaderMap) -> Route {
    let place = Place::new(bucket, params.text("name"));
    let id = params.get("upload_id").map(str::to_owned);
    let asks = headers.get(header::CONTENT_RANGE).is_some_and(|range| range.as_bytes() == b"bytes */*");
    match (method.as_str(), params.get("uploadType"), id) {
        ("POST", Some("media"), None) => Route::Insert(place, Upload::Media),
        ("POST", Some("multipart"), None) => Route::Insert(place, Upload::Multipart),
        ("POST", Some("resumable"), None) => Route::Insert(place, Upload::Resumable),
        ("PUT", _, Some(id)) if asks => Route::Status(place, id),
        ("PUT" | "POST", _, Some(id)) => Route::Piece(place, id),
        ("DELETE", _, Some(id)) => Route::Cancel(place, id),
        _ => Route::Unknown,
    }
}
