//! The body of an answer, taken piece by piece, and kept or handed on.
//!
//! It is as long as was announced or it is an error. One that breaks off carries what had
//! arrived, so that the rest can be asked for.

use std::error::Error;
use std::ops::ControlFlow;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::stream::{Stream, StreamExt};

use super::causes::causes;
use super::patience::Patience;
use super::{ErrorKind, Fetched, FetchedMeta, ObjectMeta, Result, StoreError, Taker, Version};

/// How much room is made for a body on the word of the server.
const ROOM_BYTES: usize = 16 * 1024 * 1024;

/// What was asked for.
pub(super) struct Expected<'a> {
    /// The object's key, for errors.
    pub(super) key: &'a str,
    /// What the answer said of the object.
    pub(super) meta: FetchedMeta,
    /// How long the body is to be.
    pub(super) bytes: u64,
}

impl Expected<'_> {
    /// Takes a body in its pieces.
    pub(super) async fn take<E, S>(self, patience: &Patience, pieces: S) -> Result<Fetched>
    where
        E: Error + Send + Sync + 'static,
        S: Stream<Item = std::result::Result<Bytes, E>> + Send,
    {
        let room = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(ROOM_BYTES);
        let mut taken = BytesMut::with_capacity(room);
        let mut keep = |piece: &[u8]| {
            taken.extend_from_slice(piece);
            ControlFlow::Continue(())
        };
        let arrived = self.hand_over(patience, pieces, &mut keep).await;
        // A whole body that is refused is damaged: none of it is to be trusted.
        let is_beginning = (taken.len() as u64) < self.bytes;
        let fetched = Fetched { body: taken.freeze(), meta: self.meta };
        match arrived {
            Ok(()) => Ok(fetched),
            Err(broken) if is_beginning => Err(broken.partial(fetched)),
            Err(refused) => Err(refused),
        }
    }

    /// Hands a body to `taker` in its pieces, until it has all or wants no more.
    pub(super) async fn hand_over<E, S>(&self, patience: &Patience, pieces: S, taker: Taker<'_>) -> Result<()>
    where
        E: Error + Send + Sync + 'static,
        S: Stream<Item = std::result::Result<Bytes, E>> + Send,
    {
        let mut pieces = pin!(pieces);
        let mut arrived = 0;
        loop {
            match patience.wait(pieces.next()).await {
                Ok(Some(Ok(piece))) => {
                    arrived += piece.len() as u64;
                    if arrived > self.bytes {
                        return Err(self.error(ErrorKind::Unsupported).detail("the server ignores ranges"));
                    }
                    if taker(&piece).is_break() {
                        return Ok(());
                    }
                }
                Ok(None) if arrived == self.bytes => return Ok(()),
                Ok(None) => {
                    let detail = format!("the body has {arrived} bytes instead of {}", self.bytes);
                    return Err(self.corrupt(detail));
                }
                Ok(Some(Err(error))) => return Err(self.corrupt(causes(&error)).caused_by(error)),
                Err(silent) => {
                    let error = self.error(ErrorKind::Unreachable);
                    return Err(error.detail(silent.to_string()).caused_by(silent));
                }
            }
        }
    }

    fn error(&self, kind: ErrorKind) -> StoreError {
        StoreError::at(kind, "get", self.key)
    }

    fn corrupt(&self, detail: String) -> StoreError {
        self.error(ErrorKind::Corrupt).detail(detail)
    }
}

/// Answers a get of no bytes of the object that `meta` describes: a range that is empty, or that
/// the server refused because it begins at `start`, beyond the end.
pub(super) fn nothing(
    key: &str,
    meta: Option<ObjectMeta>,
    start: Option<u64>,
    if_version: Option<&Version>,
) -> Result<Fetched> {
    let error = |kind| StoreError::at(kind, "get", key);
    let meta = meta.ok_or_else(|| error(ErrorKind::NotFound))?;
    if if_version.is_some_and(|version| *version != meta.version) {
        return Err(error(ErrorKind::Changed));
    }
    if start.is_some_and(|start| start < meta.size) {
        return Err(error(ErrorKind::Corrupt).detail("the object grew while it was read"));
    }
    Ok(Fetched { body: Bytes::new(), meta: meta.into() })
}
