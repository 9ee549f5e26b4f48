//! What faults do to a request: before it is handled, and between that and its answer.

use std::io;
use std::time::Duration;

use s3s::StdError;

use crate::faults::{Action, Refusal};
use crate::wire::{Damage, Upload};

/// An upload that nobody wants is still read up to this size: a connection that is closed with
/// bytes unread may lose the answer.
pub(crate) const POLITE_BYTES: u64 = 256 * 1024 * 1024;

/// What is left to do with a request before it is handled.
pub(crate) enum Before<'a> {
    Handle(Upload),
    Refuse(&'a Refusal),
    Cut,
}

/// Applies what happens to a request before it is handled.
pub(crate) async fn before(actions: &[Action], upload: Upload) -> Before<'_> {
    for action in actions {
        match action {
            Action::Delay(time) => pause(*time).await,
            Action::Hold(gate) => gate.pass().await,
            Action::Refuse(refusal) => {
                upload.discard(POLITE_BYTES).await;
                return Before::Refuse(refusal);
            }
            Action::Stall => std::future::pending().await,
            Action::Cut => return Before::Cut,
            Action::CutUpload(bytes) => {
                upload.discard(*bytes).await;
                return Before::Cut;
            }
            Action::CorruptUpload(offset) => upload.corrupt(*offset),
            Action::HoldAnswer(_)
            | Action::ApplyThenCut
            | Action::ApplyThenRefuse(_)
            | Action::ApplyThenStall
            | Action::CutBody(_)
            | Action::StallBody(_)
            | Action::HoldBody(..)
            | Action::ShortBody(_)
            | Action::CorruptBody(_) => {}
        }
    }
    Before::Handle(upload)
}

/// What is left to do with a request after it was handled.
pub(crate) enum After<'a> {
    Answer(Damage),
    Refuse(&'a Refusal),
    Cut,
}

/// Applies what happens to a request after it was handled.
pub(crate) async fn after(actions: &[Action]) -> After<'_> {
    let mut damage = Damage::None;
    for action in actions {
        match action {
            Action::HoldAnswer(gate) => gate.pass().await,
            Action::ApplyThenCut => return After::Cut,
            Action::ApplyThenRefuse(refusal) => return After::Refuse(refusal),
            Action::ApplyThenStall => std::future::pending().await,
            Action::CutBody(bytes) => damage = Damage::Cut(*bytes),
            Action::StallBody(bytes) => damage = Damage::Stall(*bytes),
            Action::HoldBody(bytes, gate) => damage = Damage::Hold(*bytes, gate.clone()),
            Action::ShortBody(bytes) => damage = Damage::Short(*bytes),
            Action::CorruptBody(offset) => damage = Damage::Corrupt(*offset),
            Action::Delay(_)
            | Action::Hold(_)
            | Action::Refuse(_)
            | Action::Stall
            | Action::Cut
            | Action::CutUpload(_)
            | Action::CorruptUpload(_) => {}
        }
    }
    After::Answer(damage)
}

/// Returns the error that closes a connection without an answer.
pub(crate) fn cut() -> StdError {
    Box::new(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection is cut on purpose"))
}

#[expect(clippy::disallowed_methods, reason = "the delay is what the test asked for")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
