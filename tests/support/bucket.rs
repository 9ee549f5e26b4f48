//! The buckets that programs are tried on, and what another client reads in them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use bayou_test_server::{GcsOptions, GcsServer, Options, S3Server};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use tempfile::TempDir;

use crate::moto::Moto;

/// The bucket of the servers.
const NAME: &str = "bucket";

/// A bucket that can be mounted.
pub(crate) enum Bucket {
    /// A folder.
    Folder(TempDir),
    /// The strict S3 server, over HTTP.
    Strict(S3Server),
    /// The strict server of Google Cloud Storage, over HTTP and gRPC.
    Gcs(Box<GcsServer>),
    /// The S3 server that we did not write, over HTTP.
    Moto(Moto),
}

impl Bucket {
    pub(crate) fn folder() -> Self {
        Self::Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn strict() -> Self {
        Self::Strict(S3Server::start(Options::default()))
    }

    pub(crate) fn gcs() -> Self {
        Self::Gcs(Box::new(GcsServer::start(GcsOptions::default())))
    }

    pub(crate) fn moto() -> Self {
        Self::Moto(Moto::start(NAME))
    }

    /// Returns the address that it is mounted by.
    pub(crate) fn source(&self) -> String {
        match self {
            Self::Folder(folder) => format!("file://{}", folder.path().canonicalize().unwrap().display()),
            Self::Strict(_) | Self::Moto(_) => format!("s3://{NAME}/some/prefix"),
            Self::Gcs(_) => format!("gs://{NAME}/some/prefix"),
        }
    }

    /// Returns what stands in the environment of those who use it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let (url, access, secret) = match self {
            Self::Folder(_) => return Vec::new(),
            Self::Gcs(server) => return vec![("STORAGE_EMULATOR_HOST", server.address().to_string())],
            Self::Strict(server) => {
                (server.url(), server.access_key().to_owned(), server.secret_key().to_owned())
            }
            Self::Moto(moto) => (moto.url(), "any".to_owned(), "any".to_owned()),
        };
        let region = "us-east-1".to_owned();
        vec![
            ("AWS_ENDPOINT_URL_S3", url),
            ("AWS_ACCESS_KEY_ID", access),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", region),
        ]
    }

    /// Returns what another client reads under a key, below the prefix that is mounted.
    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        match self {
            Self::Folder(folder) => fs::read(folder.path().join(key)).ok(),
            Self::Strict(server) => {
                server.object(NAME, &format!("some/prefix/{key}")).map(|object| object.body.to_vec())
            }
            Self::Gcs(server) => {
                let name = key.replace('\n', "\u{240a}");
                server.object(NAME, &format!("some/prefix/{name}")).map(|object| object.body.to_vec())
            }
            Self::Moto(moto) => get(&moto.url(), &format!("/{NAME}/some/prefix/{key}")),
        }
    }
}

/// What moto takes for a signature: it looks for one and does not check it.
const SIGNED: &str = "authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// What the path of a request cannot hold as it is, besides all that is not ASCII.
const SPACE: &AsciiSet = &AsciiSet::EMPTY.add(b' ');

/// Sends the plainest of requests and returns the body of the answer, if it is a good one.
fn get(url: &str, path: &str) -> Option<Vec<u8>> {
    let host = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    let path = utf8_percent_encode(path, SPACE);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{SIGNED}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.starts_with(b"HTTP/1.1 200 ").then(|| answer.split_off(head + 4))
}
