//! Resumable uploads: sessions that take an object piece by piece.

use bytes::BytesMut;
use uuid::Uuid;

use super::conditions::Preconditions;
use super::object::{Attributes, Expected, GcsObject};
use super::problem::{Kind, Outcome, Problem};
use super::store::{Content, Place, Store};

/// All pieces but the last are a multiple of so many bytes.
pub(crate) const QUANTUM: u64 = 256 * 1024;

/// An upload that was started.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) place: Place,
    pub(crate) stage: Stage,
    start: Start,
    received: BytesMut,
}

/// How far a session has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    Finalized(Box<GcsObject>),
    /// It failed at its end: nothing more can be made of it.
    Failed,
    Cancelled,
}

/// What an upload is started with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) attributes: Attributes,
    pub(crate) when: Preconditions,
    pub(crate) expected: Expected,
}

/// A piece of an upload, or the question how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The offset of the first byte; `None` if there are no bytes.
    pub(crate) first: Option<u64>,
    /// The size of the object, once it is known.
    pub(crate) total: Option<u64>,
}

/// What a piece comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// So many bytes are kept; there is more to come.
    Kept(u64),
    /// This is the object, and where it is.
    Finalized(Place, Box<GcsObject>),
}

/// Starts an upload and returns its id.
pub(crate) fn start(store: &Store, place: Place, start: Start) -> Outcome<String> {
    let mut state = store.lock();
    start.attributes.check()?;
    state.may_write(&place, &start.when)?;
    let id = Uuid::new_v4().simple().to_string();
    let session = Session { place, stage: Stage::Open, start, received: BytesMut::new() };
    state.sessions.insert(id.clone(), session);
    Ok(id)
}

/// Takes a piece; `whole` says whether all of its bytes came.
pub(crate) fn advance(
    store: &Store,
    id: &str,
    piece: Piece,
    body: &[u8],
    whole: bool,
    sums: &Expected,
) -> Outcome<Advance> {
    let mut state = store.lock();
    let session = state.sessions.get_mut(id).ok_or_else(unknown)?;
    match &session.stage {
        Stage::Finalized(object) => {
            return Ok(Advance::Finalized(session.place.clone(), object.clone()));
        }
        Stage::Failed => return Err(Problem::new(Kind::Gone, "The upload session has failed.")),
        Stage::Cancelled => return Err(Problem::new(Kind::Cancelled, "The upload session was cancelled.")),
        Stage::Open => {}
    }
    session.take(piece, body, whole)?;
    let kept = session.received.len() as u64;
    if !whole || piece.total != Some(kept) {
        return Ok(Advance::Kept(kept));
    }
    session.stage = Stage::Failed;
    let (place, start, body) =
        (session.place.clone(), session.start.clone(), session.received.split().freeze());
    start.expected.verify(&body)?;
    sums.verify(&body)?;
    let content = Content { body, attributes: start.attributes, components: None };
    let object = Box::new(state.write(&place, content, &start.when)?);
    if let Some(session) = state.sessions.get_mut(id) {
        session.stage = Stage::Finalized(object.clone());
    }
    Ok(Advance::Finalized(place, object))
}

/// Gives an upload up.
pub(crate) fn cancel(store: &Store, id: &str) -> Outcome {
    let mut state = store.lock();
    let session = state.sessions.get_mut(id).ok_or_else(unknown)?;
    if session.stage == Stage::Open {
        session.stage = Stage::Cancelled;
        session.received = BytesMut::new();
    }
    Ok(())
}

fn unknown() -> Problem {
    Problem::new(Kind::NotFound, "No such upload session.")
}

impl Session {
    /// Keeps the bytes of a piece that are new.
    fn take(&mut self, piece: Piece, body: &[u8], whole: bool) -> Outcome {
        let Some(first) = piece.first else { return Ok(()) };
        let kept = self.received.len() as u64;
        if first > kept {
            let message = format!(
                "The offset of the piece is {first}, which is beyond the {kept} bytes that are kept."
            );
            return Err(Problem::new(Kind::Gap, message));
        }
        let end = first + body.len() as u64;
        if piece.total.is_some_and(|total| end > total) {
            return Err(Problem::invalid("The piece goes beyond the size of the object."));
        }
        let is_last = whole && piece.total == Some(end);
        if whole && !is_last && (body.len() as u64) < QUANTUM {
            let found = body.len();
            return Err(Problem::invalid(format!(
                "All pieces but the last must have {QUANTUM} bytes or more, not {found}."
            )));
        }
        // Before the end, only whole quanta are kept.
        let end = if is_last { end } else { first.max(end - end % QUANTUM) };
        let index = |offset: u64| usize::try_from(offset).expect("the piece is in memory");
        let known = index(kept - first).min(body.len());
        let end = index(end - first).max(known);
        self.received.extend_from_slice(&body[known..end]);
        Ok(())
    }
}
