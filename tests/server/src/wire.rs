//! Bodies on their way: counted in both directions, and damaged where a fault says so.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use s3s::StdError;
use tokio::sync::Notify;

use crate::gate::Gate;
use crate::request_log::Progress;

/// A request's body; counts what arrives, and is damaged or broken off where it is told to.
///
/// Clones are the same body, so that what its handler left unread can still be read.
#[derive(Clone)]
pub(crate) struct Upload {
    state: Arc<Mutex<Arriving>>,
    progress: Arc<Progress>,
}

struct Arriving {
    inner: Incoming,
    left: Option<u64>,
    wrong: Option<u64>,
    came: u64,
}

impl Upload {
    pub(crate) fn new(inner: Incoming, progress: Arc<Progress>) -> Self {
        let state = Arriving { inner, left: None, wrong: None, came: 0 };
        Self { state: Arc::new(Mutex::new(state)), progress }
    }

    /// Makes the byte at this offset arrive wrong.
    pub(crate) fn corrupt(&self, at: u64) {
        self.state.lock().wrong = Some(at);
    }

    /// Returns the same body, which ends after so many bytes.
    pub(crate) fn limited(self, bytes: u64) -> Self {
        self.state.lock().left = Some(bytes);
        self
    }

    /// Reads all that comes. Returns it, and whether it came to its end unbroken.
    pub(crate) async fn receive(mut self) -> (Bytes, bool) {
        let mut received = BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            match frame.map(Frame::into_data) {
                Ok(data) => received.extend_from_slice(&data.unwrap_or_default()),
                Err(_) => return (received.freeze(), false),
            }
        }
        (received.freeze(), true)
    }

    /// Reads and drops up to `limit` bytes.
    pub(crate) async fn discard(self, limit: u64) {
        let mut limited = self.limited(limit);
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut limited).poll_frame(cx)).await {}
    }
}

impl Arriving {
    fn arrived(&mut self, frame: Frame<Bytes>, progress: &Progress) -> Frame<Bytes> {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return trailers,
        };
        progress.received(data.len());
        if let Some(left) = &mut self.left {
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= data.len() as u64;
        }
        let at = self.wrong.and_then(|at| at.checked_sub(self.came));
        self.came += data.len() as u64;
        Frame::data(corrupt(data, at))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let mut state = self.state.lock();
        if state.left == Some(0) {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut state.inner).poll_frame(cx);
        polled.map_ok(|frame| state.arrived(frame, &self.progress)).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.state.lock().inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.state.lock().inner.size_hint()
    }
}

/// Closes a connection at once, whatever else is under way on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cutter(Arc<Notify>);

impl Cutter {
    pub(crate) fn cut(&self) {
        self.0.notify_one();
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn wait(&self) {
        self.0.notified().await;
    }
}

/// What happens to an answer's body.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    None,
    /// The connection breaks after so many bytes.
    Cut(u64),
    /// Nothing more comes after so many bytes.
    Stall(u64),
    /// The bytes after so many come when the gate opens.
    Hold(u64, Gate),
    /// It ends after so many bytes.
    Short(u64),
    /// The byte at this offset is wrong.
    Corrupt(u64),
}

type Polled = Poll<Option<Result<Frame<Bytes>, StdError>>>;

/// An answer's body.
pub(crate) struct Answer {
    inner: s3s::Body,
    /// What came from `inner` and was not sent yet.
    unsent: Bytes,
    /// What follows the body.
    trailers: Option<HeaderMap>,
    /// How the connection is closed that shares its socket with other requests.
    cutter: Option<Cutter>,
    progress: Arc<Progress>,
    damage: Damage,
    sent: u64,
    flushed: bool,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Answer {
    pub(crate) fn new(inner: s3s::Body, progress: Arc<Progress>, damage: Damage) -> Self {
        Self {
            inner,
            unsent: Bytes::new(),
            trailers: None,
            cutter: None,
            progress,
            damage,
            sent: 0,
            flushed: false,
            waiting: None,
        }
    }

    /// Returns the answer of a gRPC call: with these trailers, on a connection of HTTP/2.
    pub(crate) fn of_call(self, trailers: HeaderMap, cutter: Cutter) -> Self {
        Self { trailers: Some(trailers), cutter: Some(cutter), ..self }
    }

    fn limit(&self) -> Option<u64> {
        match self.damage {
            Damage::Cut(limit) | Damage::Stall(limit) | Damage::Hold(limit, _) | Damage::Short(limit) => {
                Some(limit)
            }
            Damage::None | Damage::Corrupt(_) => None,
        }
    }

    /// Takes the next bytes to send off what came, at most up to the limit.
    fn take(&mut self) -> Bytes {
        let room = self.limit().map_or(u64::MAX, |limit| limit - self.sent);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let mut data = self.unsent.split_to(self.unsent.len().min(room));
        if let Damage::Corrupt(at) = self.damage {
            data = corrupt(data, at.checked_sub(self.sent));
        }
        self.sent += data.len() as u64;
        self.progress.sent(data.len());
        data
    }

    /// Does at the limit what the damage says.
    fn at_limit(&mut self, cx: &mut Context<'_>) -> Polled {
        match &self.damage {
            Damage::Stall(_) => Poll::Pending,
            Damage::Hold(_, gate) => {
                let gate = gate.clone();
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { gate.pass().await }));
                ready!(waiting.as_mut().poll(cx));
                self.damage = Damage::None;
                self.next(cx)
            }
            Damage::Cut(_) if self.flushed => match &self.cutter {
                Some(cutter) => {
                    cutter.cut();
                    Poll::Pending
                }
                None => Poll::Ready(Some(Err(broken()))),
            },
            Damage::Cut(_) => {
                // What was sent is in the connection's buffer: a pause lets it out first.
                self.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Damage::Short(_) => {
                Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Damage::None | Damage::Corrupt(_) => Poll::Ready(None),
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Polled {
        while self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => self.unsent = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.take()))))
    }
}

fn broken() -> StdError {
    Box::new(io::Error::new(io::ErrorKind::ConnectionReset, "the connection is cut on purpose"))
}

fn corrupt(data: Bytes, at: Option<u64>) -> Bytes {
    match at.and_then(|at| usize::try_from(at).ok()) {
        Some(at) if at < data.len() => {
            let mut changed = BytesMut::from(&data[..]);
            changed[at] ^= 0x55;
            changed.freeze()
        }
        _ => data,
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.limit() == Some(self.sent) { self.at_limit(cx) } else { self.next(cx) }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.damage, Damage::None)
            && self.trailers.is_none()
            && self.unsent.is_empty()
            && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(left) = self.inner.size_hint().exact().map(|left| left + self.unsent.len() as u64) else {
            return SizeHint::default();
        };
        match self.damage {
            Damage::Short(limit) => SizeHint::with_exact(left.min(limit - self.sent)),
            Damage::None | Damage::Cut(_) | Damage::Stall(_) | Damage::Hold(..) | Damage::Corrupt(_) => {
                SizeHint::with_exact(left)
            }
        }
    }
}
