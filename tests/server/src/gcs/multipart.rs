//! Uploads of metadata and bytes in one body: `multipart/related`.

use bytes::Bytes;
use hyper::{HeaderMap, header};
use memchr::memmem;

use super::problem::{Outcome, Problem};
use super::resource::Resource;

/// Takes an upload apart: a resource, the bytes, and perhaps checksums behind them.
pub(crate) fn parse(headers: &HeaderMap, body: &Bytes) -> Outcome<(Resource, Bytes)> {
    let parts = parts(&boundary(headers)?, body)?;
    let (metadata, media, trailer) = match parts.as_slice() {
        [metadata, media] => (metadata, media, None),
        [metadata, media, trailer] => (metadata, media, Some(trailer)),
        _ => return Err(malformed()),
    };
    let mut resource = Resource::parse(&metadata.body)?;
    if resource.attributes.content_type.is_none() {
        resource.attributes.content_type.clone_from(&media.content_type);
    }
    if let Some(trailer) = trailer {
        resource.add_checksums(&trailer.body)?;
    }
    Ok((resource, media.body.clone()))
}

fn malformed() -> Problem {
    Problem::invalid("Malformed multipart body.")
}

fn boundary(headers: &HeaderMap) -> Outcome<Vec<u8>> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    let boundary = parameters.split(';').find_map(|one| one.trim().strip_prefix("boundary="));
    match boundary {
        Some(boundary) if kind.trim().eq_ignore_ascii_case("multipart/related") => {
            Ok(format!("--{}", boundary.trim_matches(['"', '\''])).into_bytes())
        }
        _ => Err(Problem::invalid("Bad content-type, expected multipart/related with a boundary.")),
    }
}

struct Part {
    content_type: Option<String>,
    body: Bytes,
}

fn parts(boundary: &[u8], body: &Bytes) -> Outcome<Vec<Part>> {
    if !body.starts_with(boundary) {
        return Err(malformed());
    }
    let delimiter = [b"\r\n", boundary].concat();
    let mut from = boundary.len();
    let mut parts = Vec::new();
    loop {
        let rest = body.slice(from..);
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let rest = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
        let rest = body.slice_ref(rest);
        let end = memmem::find(&rest, &delimiter).ok_or_else(malformed)?;
        parts.push(part(&rest.slice(..end))?);
        from = body.len() - rest.len() + end + delimiter.len();
    }
}

fn part(bytes: &Bytes) -> Outcome<Part> {
    // A part without headers begins with the empty line.
    if let Some(body) = bytes.strip_prefix(b"\r\n") {
        return Ok(Part { content_type: None, body: bytes.slice_ref(body) });
    }
    let end = memmem::find(bytes, b"\r\n\r\n").ok_or_else(malformed)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
    let content_type =
        head.split("\r\n").filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
    Ok(Part { content_type, body: bytes.slice(end + 4..) })
}
