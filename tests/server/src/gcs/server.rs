//! The running GCS server, and a test's direct access to what it holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::access::Door;
use super::accounts::Accounts;
use super::object::{Attributes, GcsObject};
use super::options::{Access, GcsOptions};
use super::problem::Outcome;
use super::resumable::Stage;
use super::service::{Service, Shared};
use super::store::{Content, Place, State, Store, shown};
use super::tokens::Tokens;
use crate::faults::{Fault, FaultHandle, Faults};
use crate::host::Host;
use crate::operation::Op;
use crate::request_log::{Recorded, RequestLog};
use crate::wire::Cutter;

/// A GCS server on 127.0.0.1. It stops when dropped.
#[derive(Debug)]
pub struct GcsServer {
    host: Host,
    shared: Shared,
}

impl GcsServer {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Panics
    /// If the port cannot be had.
    pub fn start(options: GcsOptions) -> Self {
        let accounts = Arc::new(Accounts::default());
        let shared = Shared {
            store: Arc::new(Store::new(&options)),
            log: Arc::new(RequestLog::default()),
            faults: Arc::new(Faults::default()),
            door: Arc::new(Door::new(options.access, Arc::clone(&accounts))),
            tokens: Arc::new(Tokens::default()),
            accounts,
        };
        let served = shared.clone();
        let host = Host::start("gcs-server", options.port, move |listener| serve(listener, served));
        Self { host, shared }
    }

    /// Returns the endpoint of both protocols, such as `http://127.0.0.1:40000`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host.address())
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// Returns the endpoint that gives access tokens.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url())
    }

    /// Changes whom the server lets in.
    pub fn set_access(&self, access: Access) {
        self.shared.door.set(access);
    }

    /// Makes a service account and returns its key file, in JSON.
    pub fn service_account(&self) -> String {
        self.shared.accounts.service(&self.token_url())
    }

    /// Makes a user who has logged in and returns their credentials file, in JSON.
    pub fn authorized_user(&self) -> String {
        self.shared.accounts.user(&self.token_url())
    }

    /// Makes all tokens that `/token` gave worthless, as if they had run out.
    pub fn expire_tokens(&self) {
        self.shared.door.expire_all();
    }

    /// Makes `/token` answer 400 with this error, such as `invalid_grant`, or grant again.
    pub fn refuse_tokens(&self, error: Option<&str>) {
        self.shared.tokens.refuse(error);
    }

    /// Puts a fault in force.
    pub fn fault(&self, fault: Fault) -> FaultHandle {
        self.shared.faults.add(fault)
    }

    /// Takes all faults out of force. Requests that already stall go on stalling.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Returns all requests since the start or the last [`GcsServer::reset_counts`].
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
    pub fn object(&self, bucket: &str, key: &str) -> Option<GcsObject> {
        self.state(bucket, |state| state.live(&Place::new(bucket, key)).map(Option::<&_>::cloned))
    }

    /// Returns all names in a bucket, in byte order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.state(bucket, |state| Ok(state.bucket(bucket)?.objects.keys().cloned().collect()))
    }

    /// Returns the names of the resumable uploads that were begun and not ended, in byte order.
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        self.state(bucket, |state| {
            let open =
                state.sessions.values().filter(|one| one.stage == Stage::Open && one.place.bucket == bucket);
            let mut names: Vec<_> = open.map(|session| session.place.name.clone()).collect();
            names.sort_unstable();
            Ok(names)
        })
    }

    /// Writes an object, as another client would, and returns its generation.
    pub fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> i64 {
        self.put_object_with(bucket, key, body, &[])
    }

    /// Writes an object with custom metadata and returns its generation.
    pub fn put_object_with(
        &self,
        bucket: &str,
        key: &str,
        body: impl Into<Bytes>,
        meta: &[(&str, &str)],
    ) -> i64 {
        let meta: BTreeMap<_, _> = meta.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let attributes = Attributes { meta, ..Attributes::default() };
        let content = Content { body: body.into(), attributes, components: None };
        let place = Place::new(bucket, key);
        self.state(bucket, |state| state.put(&place, content)).generation
    }

    /// Deletes an object; returns whether there was one.
    pub fn delete_object(&self, bucket: &str, key: &str) -> bool {
        self.state(bucket, |state| Ok(state.bucket_mut(bucket)?.objects.remove(key).is_some()))
    }

    /// Changes when an object was last modified (in milliseconds).
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_modified(&self, bucket: &str, key: &str, time: SystemTime) {
        self.state(bucket, |state| {
            let object = state.bucket_mut(bucket)?.objects.get_mut(key).expect("the object exists");
            (object.created, object.updated) = (shown(time), shown(time));
            Ok(())
        });
    }

    /// Forgets a bucket with all that is in it.
    pub fn delete_bucket(&self, bucket: &str) {
        self.shared.store.lock().buckets.remove(bucket);
    }

    fn state<T>(&self, bucket: &str, act: impl FnOnce(&mut State) -> Outcome<T>) -> T {
        act(&mut self.shared.store.lock()).unwrap_or_else(|problem| panic!("Bucket {bucket}: {problem}"))
    }
}

async fn serve(listener: TcpListener, shared: Shared) {
    let address = listener.local_addr().expect("the listener is bound");
    let url: Arc<str> = format!("http://{address}").into();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let cutter = Cutter::default();
        let service = Service { shared: shared.clone(), url: Arc::clone(&url), cutter: cutter.clone() };
        let no_delay = stream.set_nodelay(true);
        debug_assert!(no_delay.is_ok(), "loopback takes the option");
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http1().timer(TokioTimer::new());
            server.http2().timer(TokioTimer::new());
            let connection = server.serve_connection(TokioIo::new(stream), service);
            // A client that goes away, or a cut on purpose, ends the connection: nothing to do.
            tokio::select! {
                ended = connection => drop(ended),
                () = cutter.wait() => {}
            }
        });
    }
}
