//! What each call of the gRPC API means, in the terms of the store.

use googleapis_tonic_google_storage_v2::google::storage::v2 as proto;
use std::time::SystemTime;

use super::compose::{self, Composition, Source};
use super::conditions::Preconditions;
use super::listing;
use super::mask;
use super::object::{Attributes, Expected, bucket_path};
use super::problem::{Outcome, Problem};
use super::rewrite::{self, Rewritten};
use super::store::{Place, Store};

/// Returns the conditions that a request carries in its fields.
macro_rules! preconditions {
    ($request:expr) => {
        Preconditions {
            generation: $request.if_generation_match,
            not_generation: $request.if_generation_not_match,
            metageneration: $request.if_metageneration_match,
            not_metageneration: $request.if_metageneration_not_match,
        }
    };
}

pub(crate) fn get_object(store: &Store, call: &proto::GetObjectRequest) -> Outcome<proto::Object> {
    if call.soft_deleted() {
        return Err(Problem::not_implemented("Soft deletion"));
    }
    let place = place(&call.bucket, &call.object)?;
    let state = store.lock();
    let object = state.read(&place, call.generation, &preconditions!(call))?;
    let mask = call.read_mask.as_ref().map(|mask| mask.paths.as_slice());
    mask::apply(mask, object.to_proto(&place.bucket, &place.name))
}

pub(crate) fn delete_object(store: &Store, call: &proto::DeleteObjectRequest) -> Outcome {
    let place = place(&call.bucket, &call.object)?;
    store.lock().delete(&place, call.generation, &preconditions!(call))
}

pub(crate) fn list_objects(
    store: &Store,
    call: proto::ListObjectsRequest,
) -> Outcome<proto::ListObjectsResponse> {
    if call.versions || call.soft_deleted || !call.match_glob.is_empty() || !call.filter.is_empty() {
        return Err(Problem::not_implemented("A listing of versions or by a pattern"));
    }
    let bucket = bucket_name(&call.parent)?.to_owned();
    let query = listing::Query {
        bucket: bucket.clone(),
        prefix: call.prefix,
        delimiter: call.delimiter,
        with_markers: call.include_trailing_delimiter,
        start: call.lexicographic_start,
        end: call.lexicographic_end,
        page_size: call.page_size.into(),
        page_token: call.page_token,
    };
    let page = listing::list(store, &query)?;
    let mask = call.read_mask.as_ref().map(|mask| mask.paths.as_slice());
    let shown = page.objects.iter().map(|(name, object)| mask::apply(mask, object.to_proto(&bucket, name)));
    Ok(proto::ListObjectsResponse {
        objects: shown.collect::<Outcome<_>>()?,
        prefixes: page.prefixes,
        next_page_token: page.next,
    })
}

pub(crate) fn rewrite_object(
    store: &Store,
    call: proto::RewriteObjectRequest,
) -> Outcome<proto::RewriteResponse> {
    let when = preconditions!(call);
    let from_when = Preconditions {
        generation: call.if_source_generation_match,
        not_generation: call.if_source_generation_not_match,
        metageneration: call.if_source_metageneration_match,
        not_metageneration: call.if_source_metageneration_not_match,
    };
    let to = place(&call.destination_bucket, &call.destination_name)?;
    let max_bytes = u64::try_from(call.max_bytes_rewritten_per_call)
        .map_err(|_| Problem::invalid("Invalid value for max_bytes_rewritten_per_call."))?;
    let call = rewrite::Call {
        from: place(&call.source_bucket, &call.source_object)?,
        from_generation: call.source_generation,
        from_when,
        to: to.clone(),
        when,
        attributes: call.destination.map(attributes),
        expected: expected(call.object_checksums)?,
        token: call.rewrite_token,
        max_bytes,
    };
    let count = |bytes: u64| i64::try_from(bytes).expect("no object is that large");
    Ok(match rewrite::rewrite(store, call)? {
        Rewritten::Wholly(object) => proto::RewriteResponse {
            total_bytes_rewritten: object.size(),
            object_size: object.size(),
            done: true,
            rewrite_token: String::new(),
            resource: Some(object.to_proto(&to.bucket, &to.name)),
        },
        Rewritten::Partly { done, size, token } => proto::RewriteResponse {
            total_bytes_rewritten: count(done),
            object_size: count(size),
            done: false,
            rewrite_token: token,
            resource: None,
        },
    })
}

pub(crate) fn compose_object(store: &Store, call: proto::ComposeObjectRequest) -> Outcome<proto::Object> {
    let deletes = call.delete_source_objects();
    let destination = call.destination.ok_or_else(|| Problem::required("destination"))?;
    let to = place(&destination.bucket, &destination.name)?;
    let source = |one: proto::compose_object_request::SourceObject| Source {
        name: one.name,
        generation: one.generation,
        when: Preconditions {
            generation: one.object_preconditions.and_then(|when| when.if_generation_match),
            ..Preconditions::default()
        },
    };
    let composition = Composition {
        to: to.clone(),
        sources: call.source_objects.into_iter().map(source).collect(),
        when: Preconditions {
            generation: call.if_generation_match,
            metageneration: call.if_metageneration_match,
            ..Preconditions::default()
        },
        attributes: attributes(destination),
        expected: expected(call.object_checksums)?,
        deletes,
    };
    Ok(compose::compose(store, composition)?.to_proto(&to.bucket, &to.name))
}

pub(crate) fn update_object(store: &Store, call: proto::UpdateObjectRequest) -> Outcome<proto::Object> {
    let when = preconditions!(call);
    let object = call.object.ok_or_else(|| Problem::required("object"))?;
    let mask = call.update_mask.unwrap_or_default().paths;
    if mask.is_empty() {
        return Err(Problem::required("update_mask"));
    }
    let (place, generation) = (place(&object.bucket, &object.name)?, object.generation);
    let said = attributes(object);
    let change = |old: &mut Attributes| mask.iter().try_for_each(|path| assign(old, &said, path));
    let updated = store.lock().update(&place, generation, &when, change)?;
    Ok(updated.to_proto(&place.bucket, &place.name))
}

/// Sets the field that a path of an update mask names.
fn assign(old: &mut Attributes, said: &Attributes, path: &str) -> Outcome {
    match path {
        "*" => old.clone_from(said),
        "metadata" => old.meta.clone_from(&said.meta),
        "content_type" => old.content_type.clone_from(&said.content_type),
        "content_encoding" => old.content_encoding.clone_from(&said.content_encoding),
        "content_disposition" => old.content_disposition.clone_from(&said.content_disposition),
        "content_language" => old.content_language.clone_from(&said.content_language),
        "cache_control" => old.cache_control.clone_from(&said.cache_control),
        path => match path.strip_prefix("metadata.") {
            Some(name) => match said.meta.get(name) {
                Some(value) => drop(old.meta.insert(name.to_owned(), value.clone())),
                None => drop(old.meta.remove(name)),
            },
            None => return Err(Problem::invalid(format!("Invalid update_mask path: {path}"))),
        },
    }
    Ok(())
}

pub(crate) fn get_bucket(store: &Store, call: &proto::GetBucketRequest) -> Outcome<proto::Bucket> {
    let name = bucket_name(&call.name)?;
    let state = store.lock();
    Ok(bucket(name, state.bucket(name)?.created))
}

pub(crate) fn create_bucket(store: &Store, call: &proto::CreateBucketRequest) -> Outcome<proto::Bucket> {
    if call.parent != "projects/_"
        || !call.bucket.as_ref().is_some_and(|b| b.project.starts_with("projects/"))
    {
        return Err(Problem::invalid("The parent must be projects/_ and the bucket must name its project."));
    }
    let mut state = store.lock();
    state.create_bucket(&call.bucket_id)?;
    Ok(bucket(&call.bucket_id, state.bucket(&call.bucket_id)?.created))
}

fn bucket(name: &str, created: SystemTime) -> proto::Bucket {
    proto::Bucket {
        name: bucket_path(name),
        bucket_id: name.to_owned(),
        project: "projects/1".to_owned(),
        metageneration: 1,
        location: "US".to_owned(),
        location_type: "multi-region".to_owned(),
        storage_class: "STANDARD".to_owned(),
        create_time: Some(created.into()),
        update_time: Some(created.into()),
        ..Default::default()
    }
}

/// Returns where an object is; fails if its bucket or it has no proper name.
fn place(bucket: &str, name: &str) -> Outcome<Place> {
    if name.is_empty() {
        return Err(Problem::required("object"));
    }
    Ok(Place::new(bucket_name(bucket)?, name))
}

fn bucket_name(path: &str) -> Outcome<&str> {
    match path.strip_prefix("projects/_/buckets/") {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(Problem::invalid(format!("Invalid bucket name: '{path}'"))),
    }
}

fn attributes(object: proto::Object) -> Attributes {
    let said = |text: String| (!text.is_empty()).then_some(text);
    Attributes {
        meta: object.metadata.into_iter().collect(),
        content_type: said(object.content_type),
        content_encoding: said(object.content_encoding),
        content_disposition: said(object.content_disposition),
        content_language: said(object.content_language),
        cache_control: said(object.cache_control),
        storage_class: said(object.storage_class),
    }
}

fn expected(sums: Option<proto::ObjectChecksums>) -> Outcome<Expected> {
    let Some(sums) = sums else { return Ok(Expected::default()) };
    let md5 = match sums.md5_hash.len() {
        0 => None,
        _ => Some(sums.md5_hash.as_ref().try_into().map_err(|_| Problem::invalid("Invalid MD5 hash."))?),
    };
    Ok(Expected { crc32c: sums.crc32c.map(u32::to_be_bytes), md5 })
}
