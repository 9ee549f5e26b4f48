//! Uploads in parts.

use super::{Candidate, body_of, key, keys_below, kind, pattern, put};
use bayou::store::{Condition, ErrorKind, PutOptions, SharedStore, UploadId, UploadedPart};
use bytes::Bytes;

/// Begins an upload and sends these parts, the last first where they may come so.
async fn upload(
    store: &SharedStore,
    name: &str,
    bodies: &[Bytes],
    options: &PutOptions,
) -> (UploadId, Vec<UploadedPart>) {
    let size: usize = bodies.iter().map(Bytes::len).sum();
    let upload = store.begin_upload(&key(name), size as u64, options).await.unwrap();
    let mut parts = Vec::new();
    let mut numbered: Vec<_> = (1..).zip(bodies).collect();
    if !store.abilities().parts_in_order {
        numbered.reverse();
    }
    for (number, body) in numbered {
        parts.push(store.upload_part(&key(name), &upload, number, body.clone()).await.unwrap());
    }
    parts.sort_by_key(|part| part.number);
    (upload, parts)
}

pub(crate) async fn parts_become_one_object_only_when_completed(candidate: &Candidate) {
    let store = &candidate.store;
    let least = usize::try_from(store.abilities().min_part_bytes).unwrap().max(1024);
    let whole = pattern(2 * least + 17);
    let bodies = [whole.slice(..least), whole.slice(least..2 * least), whole.slice(2 * least..)];
    put(store, "big", "before").await;
    let mut options = PutOptions::when(Condition::Always);
    options.meta.insert("note".to_owned(), "größer".to_owned());
    let (upload, parts) = upload(store, "big", &bodies, &options).await;
    assert_eq!(body_of(store, "big").await, "before");
    assert_eq!(keys_below(store, "").await, ["big"]);

    let version = store.complete_upload(&key("big"), &upload, &parts, &options).await.unwrap();
    let fetched = store.get(&key("big"), None, Some(&version)).await.unwrap();
    assert!(fetched.body == whole, "{} bytes instead of {}", fetched.body.len(), whole.len());
    let meta = store.head(&key("big")).await.unwrap().unwrap();
    assert!(meta.carries(&options.nonce));
    assert_eq!(meta.user["note"], "größer");
    let start = least as u64 - 5;
    let across = store.get(&key("big"), Some(start..start + 10), Some(&version)).await.unwrap();
    assert_eq!(across.body, whole.slice(least - 5..least + 5));
}

pub(crate) async fn an_upload_that_was_given_up_is_gone(candidate: &Candidate) {
    let store = &candidate.store;
    let options = PutOptions::when(Condition::Always);
    let (upload, parts) = upload(store, "never", &[pattern(100)], &options).await;
    store.abort_upload(&key("never"), &upload).await.unwrap();
    let refused = store.complete_upload(&key("never"), &upload, &parts, &options).await;
    assert_eq!(kind(refused), Some(candidate.missing_upload));
    assert_eq!(store.head(&key("never")).await.unwrap(), None);
    store.abort_upload(&key("never"), &upload).await.unwrap();
}

pub(crate) async fn the_condition_of_an_upload_is_judged_when_it_completes(candidate: &Candidate) {
    if !candidate.completes_conditionally {
        return the_condition_is_ignored(candidate).await;
    }
    let store = &candidate.store;
    let create = PutOptions::when(Condition::IfAbsent);
    let (late, late_parts) = upload(store, "big", &[pattern(100)], &create).await;
    let version = put(store, "big", "first").await;
    let refused = store.complete_upload(&key("big"), &late, &late_parts, &create).await;
    assert_eq!(kind(refused), Some(ErrorKind::Exists));

    let replace = PutOptions::when(Condition::IfVersion(version));
    let (good, good_parts) = upload(store, "big", &[pattern(200)], &replace).await;
    store.complete_upload(&key("big"), &good, &good_parts, &replace).await.unwrap();
    assert_eq!(body_of(store, "big").await, pattern(200));
    let (stale, stale_parts) = upload(store, "big", &[pattern(300)], &replace).await;
    let refused = store.complete_upload(&key("big"), &stale, &stale_parts, &replace).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));

    store.delete(&key("big"), &Condition::Always).await.unwrap();
    let (orphan, orphan_parts) = upload(store, "big", &[pattern(300)], &replace).await;
    let refused = store.complete_upload(&key("big"), &orphan, &orphan_parts, &replace).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed), "the key is gone");
    assert_eq!(store.head(&key("big")).await.unwrap(), None);
}

/// The declared difference is real: if a store learns conditions, this says so.
async fn the_condition_is_ignored(candidate: &Candidate) {
    let store = &candidate.store;
    let stale = put(store, "big", "first").await;
    put(store, "big", "second").await;
    let replace = PutOptions::when(Condition::IfVersion(stale));
    let (upload, parts) = upload(store, "big", &[pattern(100)], &replace).await;
    assert!(store.complete_upload(&key("big"), &upload, &parts, &replace).await.is_ok());
}
