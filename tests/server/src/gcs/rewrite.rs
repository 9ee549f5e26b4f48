//! Rewrites: copies that may take several calls, each with the token that the last one gave.

use std::cmp::min;

use uuid::Uuid;

use super::conditions::Preconditions;
use super::object::{Attributes, Expected, GcsObject};
use super::problem::{Outcome, Problem};
use super::store::{Content, Place, Store};

/// The quantum of `maxBytesRewrittenPerCall`.
const MIB: u64 = 1024 * 1024;

/// One call of a rewrite.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) from: Place,
    /// The generation of the source; 0 takes the live one.
    pub(crate) from_generation: i64,
    pub(crate) from_when: Preconditions,
    pub(crate) to: Place,
    pub(crate) when: Preconditions,
    /// The metadata of the copy; `None` takes the source's.
    pub(crate) attributes: Option<Attributes>,
    pub(crate) expected: Expected,
    /// The token of the call before; empty on the first.
    pub(crate) token: String,
    /// Most bytes that this call may copy; 0 leaves it to the server.
    pub(crate) max_bytes: u64,
}

/// A rewrite that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    from: Place,
    from_generation: i64,
    to: Place,
    max_bytes: u64,
    done: u64,
}

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum Rewritten {
    /// There is more to copy.
    Partly { done: u64, size: u64, token: String },
    /// This is the copy.
    Wholly(Box<GcsObject>),
}

/// Copies as much of an object as one call may.
pub(crate) fn rewrite(store: &Store, call: Call) -> Outcome<Rewritten> {
    if !call.max_bytes.is_multiple_of(MIB) {
        return Err(Problem::invalid("maxBytesRewrittenPerCall must be an integral multiple of 1 MiB."));
    }
    let mut state = store.lock();
    let source = state.live(&call.from)?.ok_or_else(|| state.missing(&call.from))?;
    if call.from_generation != 0 && call.from_generation != source.generation {
        return Err(state.missing(&call.from));
    }
    state.judge(&call.from_when, Some(source))?;
    let source = source.clone();
    state.may_write(&call.to, &call.when)?;
    let before = match call.token.as_str() {
        "" => 0,
        token => {
            let progress = state.rewrites.get(token).filter(|progress| progress.is_of(&call, &source));
            progress.ok_or_else(|| Problem::invalid("The rewriteToken is invalid."))?.done
        }
    };
    let size = source.body.len() as u64;
    let room = if call.max_bytes == 0 { u64::MAX } else { call.max_bytes };
    let done = min(size, before + min(room, store.rewrite_bytes_per_call));
    if done < size {
        let token = Uuid::new_v4().simple().to_string();
        let progress = Progress {
            from: call.from,
            from_generation: source.generation,
            to: call.to,
            max_bytes: call.max_bytes,
            done,
        };
        state.rewrites.insert(token.clone(), progress);
        return Ok(Rewritten::Partly { done, size, token });
    }
    call.expected.verify(&source.body)?;
    let attributes = call.attributes.unwrap_or(source.attributes);
    let content = Content { body: source.body, attributes, components: source.components };
    let copy = state.write(&call.to, content, &call.when)?;
    state.rewrites.remove(&call.token);
    Ok(Rewritten::Wholly(Box::new(copy)))
}

impl Progress {
    /// Returns whether a call goes on with this rewrite.
    fn is_of(&self, call: &Call, source: &GcsObject) -> bool {
        self.from == call.from
            && self.from_generation == source.generation
            && self.to == call.to
            && self.max_bytes == call.max_bytes
    }
}
