//! The running server, and a test's direct access to what it holds.
//!
//! Dropping it closes every connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::bucket::{Bucket, Store, Stored, whole_seconds};
use crate::faults::{Fault, FaultHandle, Faults};
use crate::host::Host;
use crate::objects;
use crate::operation::Op;
use crate::options::{KeyPair, Options};
use crate::request_log::{Recorded, RequestLog};
use crate::service::{Service, Shared};

/// An S3 server on 127.0.0.1. It stops when dropped.
#[derive(Debug)]
pub struct S3Server {
    host: Host,
    keys: KeyPair,
    shared: Shared,
}

impl S3Server {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Panics
    /// If the port cannot be had.
    pub fn start(options: Options) -> Self {
        let shared = Shared {
            store: Arc::new(Store::new(&options)),
            log: Arc::new(RequestLog::default()),
            faults: Arc::new(Faults::default()),
        };
        let service = Service::new(&options, shared.clone());
        let host = Host::start("s3-server", options.port, move |listener| serve(listener, service));
        Self { host, keys: options.keys, shared }
    }

    /// Returns the endpoint, such as `http://127.0.0.1:40000`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host.address())
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// Returns the access key that may do everything.
    pub fn access_key(&self) -> &str {
        &self.keys.access_key
    }

    /// Returns the secret of [`S3Server::access_key`].
    pub fn secret_key(&self) -> &str {
        &self.keys.secret_key
    }

    /// Puts a fault in force.
    pub fn fault(&self, fault: Fault) -> FaultHandle {
        self.shared.faults.add(fault)
    }

    /// Takes all faults out of force. Requests that already stall go on stalling.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Returns all requests since the start or the last [`S3Server::reset_counts`].
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// Returns how many requests of this operation have arrived.
    pub fn count(&self, op: Op) -> usize {
        self.shared.log.count(op)
    }

    /// Returns how many requests of any operation have arrived.
    pub fn count_all(&self) -> usize {
        self.shared.log.all().len()
    }

    /// Forgets all requests so far.
    pub fn reset_counts(&self) {
        self.shared.log.clear();
    }

    /// Returns an object, or `None` if there is none.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Stored> {
        self.bucket(bucket, |bucket| bucket.objects.get(key).cloned())
    }

    /// Returns all keys of a bucket, in byte order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.bucket(bucket, |bucket| bucket.objects.keys().cloned().collect())
    }

    /// Returns the keys of the multipart uploads that were begun and not ended, in byte order.
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        let mut keys: Vec<_> =
            self.bucket(bucket, |bucket| bucket.uploads.values().map(|upload| upload.key.clone()).collect());
        keys.sort_unstable();
        keys
    }

    /// Writes an object, as another client would, and returns its ETag.
    pub fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> String {
        self.put_object_with(bucket, key, body, &[])
    }

    /// Writes an object with user metadata and returns its ETag.
    pub fn put_object_with(
        &self,
        bucket: &str,
        key: &str,
        body: impl Into<Bytes>,
        meta: &[(&str, &str)],
    ) -> String {
        let meta: BTreeMap<_, _> = meta.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let object = objects::direct(&self.shared.store, body.into(), meta);
        let etag = object.etag.clone();
        self.bucket(bucket, |bucket| bucket.objects.insert(key.to_owned(), object));
        etag
    }

    /// Deletes an object; returns whether there was one.
    pub fn delete_object(&self, bucket: &str, key: &str) -> bool {
        self.bucket(bucket, |bucket| bucket.objects.remove(key).is_some())
    }

    /// Changes when an object was last modified (in whole seconds).
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_modified(&self, bucket: &str, key: &str, time: SystemTime) {
        self.bucket(bucket, |bucket| {
            let object = bucket.objects.get_mut(key).expect("the object exists");
            object.modified = whole_seconds(time);
        });
    }

    fn bucket<T>(&self, name: &str, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let done = self.shared.store.with(name, |bucket| Ok(act(bucket)));
        done.unwrap_or_else(|error| panic!("Bucket {name}: {error}"))
    }
}

async fn serve(listener: TcpListener, service: Service) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = service.clone();
        let no_delay = stream.set_nodelay(true);
        debug_assert!(no_delay.is_ok(), "loopback takes the option");
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away, or a cut on purpose, ends the connection: nothing to do.
            drop(connection.await);
        });
    }
}
