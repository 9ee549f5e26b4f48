//! Compositions: one object out of up to 32 of the same bucket.

use bytes::BytesMut;

use super::conditions::Preconditions;
use super::object::{Attributes, Expected, GcsObject};
use super::problem::{Outcome, Problem};
use super::store::{Content, Place, Store};

/// Most sources of one composition.
const MAX_SOURCES: usize = 32;

/// One of the objects that are put together.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// 0 takes the live generation.
    pub(crate) generation: i64,
    pub(crate) when: Preconditions,
}

/// A composition.
#[derive(Debug, Clone)]
pub(crate) struct Composition {
    pub(crate) to: Place,
    pub(crate) sources: Vec<Source>,
    pub(crate) when: Preconditions,
    pub(crate) attributes: Attributes,
    pub(crate) expected: Expected,
    /// Whether the sources are deleted with it.
    pub(crate) deletes: bool,
}

/// Puts objects together and returns what they became.
pub(crate) fn compose(store: &Store, composition: Composition) -> Outcome<GcsObject> {
    let Composition { to, sources, when, attributes, expected, deletes } = composition;
    if sources.is_empty() {
        return Err(Problem::required("sourceObjects"));
    }
    if sources.len() > MAX_SOURCES {
        let count = sources.len();
        return Err(Problem::invalid(format!(
            "The number of source components provided ({count}) exceeds the maximum ({MAX_SOURCES})"
        )));
    }
    let mut state = store.lock();
    state.may_write(&to, &when)?;
    let (mut body, mut components) = (BytesMut::new(), 0);
    for source in &sources {
        let place = Place::new(&to.bucket, &source.name);
        let object = state.live(&place)?.ok_or_else(|| state.missing(&place))?;
        if source.generation != 0 && source.generation != object.generation {
            return Err(state.missing(&place));
        }
        state.judge(&source.when, Some(object))?;
        body.extend_from_slice(&object.body);
        components += object.components.unwrap_or(1);
    }
    let body = body.freeze();
    expected.verify(&body)?;
    let made = state.write(&to, Content { body, attributes, components: Some(components) }, &when)?;
    if deletes {
        let bucket = state.bucket_mut(&to.bucket)?;
        for source in sources.iter().filter(|source| source.name != to.name) {
            bucket.objects.remove(&source.name);
        }
    }
    Ok(made)
}
