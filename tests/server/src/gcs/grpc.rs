//! The gRPC API: unary calls, framed and dispatched by hand on the published messages.

use bytes::{BufMut, Bytes, BytesMut};
use googleapis_tonic_google_storage_v2::google::storage::v2 as proto;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use super::calls;
use super::problem::{Kind, Outcome, Problem};
use super::store::Store;
use crate::operation::{Op, Target};

/// The service whose calls are answered.
const SERVICE: &str = "/google.storage.v2.Storage/";

/// A call with its message.
#[derive(Debug)]
pub(crate) enum Call {
    GetObject(Box<proto::GetObjectRequest>),
    DeleteObject(Box<proto::DeleteObjectRequest>),
    ListObjects(Box<proto::ListObjectsRequest>),
    RewriteObject(Box<proto::RewriteObjectRequest>),
    ComposeObject(Box<proto::ComposeObjectRequest>),
    UpdateObject(Box<proto::UpdateObjectRequest>),
    GetBucket(Box<proto::GetBucketRequest>),
    CreateBucket(Box<proto::CreateBucketRequest>),
    /// A call that is not answered, or whose message cannot be read.
    Unknown(Problem),
}

impl Call {
    /// Reads a call. `body` holds one message in a frame.
    pub(crate) fn read(path: &str, body: &Bytes) -> Self {
        let read = || -> Outcome<Self> {
            let message = unframe(body)?;
            Ok(match path.strip_prefix(SERVICE).unwrap_or_default() {
                "GetObject" => Self::GetObject(decode(message)?),
                "DeleteObject" => Self::DeleteObject(decode(message)?),
                "ListObjects" => Self::ListObjects(decode(message)?),
                "RewriteObject" => Self::RewriteObject(decode(message)?),
                "ComposeObject" => Self::ComposeObject(decode(message)?),
                "UpdateObject" => Self::UpdateObject(decode(message)?),
                "GetBucket" => Self::GetBucket(decode(message)?),
                "CreateBucket" => Self::CreateBucket(decode(message)?),
                _ => return Err(Problem::not_implemented(path)),
            })
        };
        read().unwrap_or_else(Self::Unknown)
    }

    /// Returns the operation, and what it is on.
    pub(crate) fn target(&self) -> Target {
        let on = |op, bucket: &str, key: &str| Target {
            op,
            bucket: bucket.strip_prefix("projects/_/buckets/").unwrap_or(bucket).to_owned(),
            key: key.to_owned(),
        };
        let object = |op, object: &Option<proto::Object>| match object {
            Some(object) => on(op, &object.bucket, &object.name),
            None => on(op, "", ""),
        };
        match self {
            Self::GetObject(call) => on(Op::HeadObject, &call.bucket, &call.object),
            Self::DeleteObject(call) => on(Op::DeleteObject, &call.bucket, &call.object),
            Self::ListObjects(call) => on(Op::ListObjectsV2, &call.parent, ""),
            Self::RewriteObject(call) => on(Op::CopyObject, &call.destination_bucket, &call.destination_name),
            Self::ComposeObject(call) => object(Op::ComposeObject, &call.destination),
            Self::UpdateObject(call) => object(Op::UpdateObject, &call.object),
            Self::GetBucket(call) => on(Op::HeadBucket, &call.name, ""),
            Self::CreateBucket(call) => on(Op::CreateBucket, &call.bucket_id, ""),
            Self::Unknown(_) => on(Op::Other, "", ""),
        }
    }

    /// Returns the generation that the object must have, if the call says so.
    pub(crate) fn if_generation_match(&self) -> Option<i64> {
        match self {
            Self::GetObject(call) => call.if_generation_match,
            Self::DeleteObject(call) => call.if_generation_match,
            Self::RewriteObject(call) => call.if_generation_match,
            Self::ComposeObject(call) => call.if_generation_match,
            Self::UpdateObject(call) => call.if_generation_match,
            Self::ListObjects(_) | Self::GetBucket(_) | Self::CreateBucket(_) | Self::Unknown(_) => None,
        }
    }

    /// Returns the prefix that is listed.
    pub(crate) fn prefix(&self) -> Option<String> {
        match self {
            Self::ListObjects(call) => Some(call.prefix.clone()),
            _ => None,
        }
    }

    /// Answers the call with a message in a frame.
    pub(crate) fn answer(self, store: &Store) -> Outcome<Bytes> {
        match self {
            Self::GetObject(call) => calls::get_object(store, &call).map(|found| frame(&found)),
            Self::DeleteObject(call) => calls::delete_object(store, &call).map(|()| frame(&())),
            Self::ListObjects(call) => calls::list_objects(store, *call).map(|page| frame(&page)),
            Self::RewriteObject(call) => calls::rewrite_object(store, *call).map(|done| frame(&done)),
            Self::ComposeObject(call) => calls::compose_object(store, *call).map(|made| frame(&made)),
            Self::UpdateObject(call) => calls::update_object(store, *call).map(|object| frame(&object)),
            Self::GetBucket(call) => calls::get_bucket(store, &call).map(|bucket| frame(&bucket)),
            Self::CreateBucket(call) => calls::create_bucket(store, &call).map(|bucket| frame(&bucket)),
            Self::Unknown(problem) => Err(problem),
        }
    }
}

/// Takes the one message out of a body.
fn unframe(body: &Bytes) -> Outcome<Bytes> {
    let malformed = || Problem::invalid("The body is not one uncompressed message.");
    let (flag, length) = match body.get(..5) {
        Some([flag, length @ ..]) => (*flag, u32::from_be_bytes(length.try_into().map_err(|_| malformed())?)),
        _ => return Err(malformed()),
    };
    let message = body.slice(5..);
    if flag != 0 || usize::try_from(length) != Ok(message.len()) {
        return Err(malformed());
    }
    Ok(message)
}

fn decode<M: Message + Default>(message: Bytes) -> Outcome<Box<M>> {
    M::decode(message).map(Box::new).map_err(|error| Problem::invalid(format!("Malformed message: {error}")))
}

fn frame(message: &impl Message) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).expect("messages are below 4 GiB"));
    message.encode(&mut body).expect("memory can be written to");
    body.freeze()
}

/// Returns the trailers that end a call with this status.
pub(crate) fn trailers(code: u32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(code));
    if !message.is_empty() {
        let encoded = percent_encoding::utf8_percent_encode(message, MESSAGE).to_string();
        let encoded = HeaderValue::try_from(encoded).expect("what is not text is encoded");
        trailers.insert(HeaderName::from_static("grpc-message"), encoded);
    }
    trailers
}

/// What the protocol wants encoded in a message.
const MESSAGE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// Returns the trailers that end a failed call.
pub(crate) fn failure(problem: &Problem) -> HeaderMap {
    let code = match problem.kind {
        Kind::NotImplemented => 12,
        kind => kind.code(),
    };
    trailers(code, &problem.message)
}
