//! The thread that a server lives on.
//!
//! A server has a thread and a runtime of its own, so that it answers while the test's runtime
//! is blocked. Dropping its host closes every connection.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A thread that serves a port of 127.0.0.1 until it is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts a thread that runs `serve`; the port (0 takes a free one) is bound when this returns.
    ///
    /// # Panics
    /// If the port cannot be had.
    pub(crate) fn start<S, F>(name: &str, port: u16, serve: S) -> Self
    where
        S: FnOnce(TcpListener) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let (started, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
                let address = listener.local_addr().expect("the listener is bound");
                started.send(address).expect("the starter waits for the address");
                tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        let thread = thread.expect("a thread can be started");
        let address = address.recv().expect("the server's thread is listening");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the address that the thread serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server's thread panicked");
        }
    }
}
