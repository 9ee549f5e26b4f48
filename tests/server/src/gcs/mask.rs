//! Read masks: which fields of an object an answer of gRPC carries.

use googleapis_tonic_google_storage_v2::google::storage::v2 as proto;

use super::problem::{Outcome, Problem};

/// Returns the object with no more than the fields that a mask names; no mask names all.
pub(crate) fn apply(mask: Option<&[String]>, object: proto::Object) -> Outcome<proto::Object> {
    let Some(paths) = mask.filter(|paths| !paths.iter().any(|path| path == "*")) else { return Ok(object) };
    let mut shown = proto::Object::default();
    paths.iter().try_for_each(|path| copy(path, &object, &mut shown))?;
    Ok(shown)
}

/// Copies one field. Fails with `invalid` if an object has no such field.
fn copy(path: &str, from: &proto::Object, to: &mut proto::Object) -> Outcome {
    match path {
        "name" => to.name.clone_from(&from.name),
        "bucket" => to.bucket.clone_from(&from.bucket),
        "etag" => to.etag.clone_from(&from.etag),
        "generation" => to.generation = from.generation,
        "metageneration" => to.metageneration = from.metageneration,
        "storage_class" => to.storage_class.clone_from(&from.storage_class),
        "size" => to.size = from.size,
        "content_type" => to.content_type.clone_from(&from.content_type),
        "content_encoding" => to.content_encoding.clone_from(&from.content_encoding),
        "content_disposition" => to.content_disposition.clone_from(&from.content_disposition),
        "content_language" => to.content_language.clone_from(&from.content_language),
        "cache_control" => to.cache_control.clone_from(&from.cache_control),
        "metadata" => to.metadata.clone_from(&from.metadata),
        "component_count" => to.component_count = from.component_count,
        "checksums" => to.checksums.clone_from(&from.checksums),
        "create_time" => to.create_time = from.create_time,
        "finalize_time" => to.finalize_time = from.finalize_time,
        "update_time" => to.update_time = from.update_time,
        _ => return Err(Problem::invalid(format!("Invalid read_mask path: {path}"))),
    }
    Ok(())
}
