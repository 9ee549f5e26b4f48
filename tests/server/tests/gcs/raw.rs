//! Requests as they are on the wire, for what the client would never send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bayou_test_server::GcsServer;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use crate::support::BUCKET;

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns a header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Returns the status and reason of an error, in the JSON form.
    pub(crate) fn error(&self) -> (u16, String) {
        let error = &self.json()["error"];
        assert_eq!(error["code"], self.status);
        assert!(error["message"].is_string() && error["errors"][0]["domain"] == "global");
        (self.status, error["errors"][0]["reason"].as_str().unwrap().to_owned())
    }
}

/// Sends a request on a connection of its own. `path` may be a whole URL of the server.
pub(crate) fn send(server: &GcsServer, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let path = path.strip_prefix(&server.url()).unwrap_or(path);
    let mut connection = TcpStream::connect(server.address()).unwrap();
    // As the official client sends it: without the port.
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    Answer { status: head[9..12].parse().unwrap(), head, body }
}

/// A connection of HTTP/2.
pub(crate) struct Connection<'s> {
    server: &'s GcsServer,
    sender: SendRequest<Full<Bytes>>,
}

impl<'s> Connection<'s> {
    pub(crate) async fn to(server: &'s GcsServer) -> Self {
        let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { server, sender }
    }

    /// Calls a method of the storage service. Fails if the connection breaks.
    pub(crate) async fn call(
        &self,
        method: &str,
        metadata: &[(&str, &str)],
        message: &[u8],
    ) -> Result<Called, hyper::Error> {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap());
        body.extend_from_slice(message);
        let url = format!("{}/google.storage.v2.Storage/{method}", self.server.url());
        let mut request =
            Request::post(url).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.freeze())).unwrap();
        let answer = self.sender.clone().send_request(request).await?;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let answer = answer.into_body().collect().await?;
        let trailers = answer.trailers().unwrap().clone();
        let code = trailers["grpc-status"].to_str().unwrap().parse().unwrap();
        let text = trailers.get("grpc-message").map(|text| text.to_str().unwrap().to_owned());
        Ok(Called { code, text: text.unwrap_or_default(), message: answer.to_bytes() })
    }
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Called {
    /// The status code of gRPC.
    pub(crate) code: u32,
    /// What it says.
    pub(crate) text: String,
    /// The answer in its frame.
    pub(crate) message: Bytes,
}

/// The message of a GetObject of the object `k` in the bucket `bucket`: fields 1 and 2.
pub(crate) fn get_object() -> Vec<u8> {
    [&[0x0a, 25], BUCKET.as_bytes(), &[0x12, 1], b"k"].concat()
}

/// The metadata that a call on the bucket `bucket` needs.
pub(crate) const ROUTED: [(&str, &str); 1] =
    [("x-goog-request-params", "bucket=projects%2F_%2Fbuckets%2Fbucket")];
