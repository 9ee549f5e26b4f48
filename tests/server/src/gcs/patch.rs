//! Changes of an object's metadata over HTTP.

use bytes::Bytes;
use hyper::Response;
use serde_json::Value;

use super::conditions::Preconditions;
use super::json::{Request, resource};
use super::object::Attributes;
use super::problem::{Outcome, Problem};
use super::store::{Place, Store};

pub(crate) fn update(
    store: &Store,
    request: &Request,
    place: &Place,
    generation: i64,
    when: &Preconditions,
) -> Outcome<Response<Bytes>> {
    let change: Value = serde_json::from_slice(&request.body).map_err(|_| Problem::invalid("Parse Error"))?;
    let object = store.lock().update(place, generation, when, |attributes| patch(attributes, &change))?;
    Ok(resource(place, &object))
}

/// Applies a patch: what is named is set, what is `null` is cleared.
fn patch(attributes: &mut Attributes, change: &Value) -> Outcome {
    for (name, field) in [
        ("contentType", &mut attributes.content_type),
        ("contentEncoding", &mut attributes.content_encoding),
        ("contentDisposition", &mut attributes.content_disposition),
        ("contentLanguage", &mut attributes.content_language),
        ("cacheControl", &mut attributes.cache_control),
    ] {
        if let Some(value) = change.get(name) {
            *field = value.as_str().map(str::to_owned);
        }
    }
    match change.get("metadata") {
        Some(Value::Null) => attributes.meta.clear(),
        Some(Value::Object(pairs)) => {
            for (name, value) in pairs {
                match value.as_str() {
                    Some(text) => drop(attributes.meta.insert(name.clone(), text.to_owned())),
                    None => drop(attributes.meta.remove(name)),
                }
            }
        }
        _ => {}
    }
    Ok(())
}
