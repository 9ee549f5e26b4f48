//! Copies on the server.

use super::{Candidate, body_of, key, kind, pattern, put};
use bayou::store::{
    Component, Condition, ErrorKind, PartSource, PutOptions, Result, SharedStore, UploadId, Version,
};
use bytes::Bytes;
use std::ops::Range;

async fn copy(
    store: &SharedStore,
    from: &str,
    version: &Version,
    to: &str,
    options: &PutOptions,
) -> Result<Version> {
    store.copy(&key(from), version, &key(to), options).await
}

pub(crate) async fn a_copy_has_the_bytes_of_its_source_and_its_own_metadata(candidate: &Candidate) {
    let store = &candidate.store;
    let mut written = PutOptions::when(Condition::Always);
    written.meta.insert("old".to_owned(), "of the source".to_owned());
    let source = store.put(&key("from here"), pattern(5000), &written).await.unwrap();
    let mut options = PutOptions::when(Condition::IfAbsent);
    options.meta.insert("new".to_owned(), "of the cöpy".to_owned());
    let version = copy(store, "from here", &source, "to/there", &options).await.unwrap();

    let copied = store.get(&key("to/there"), None, None).await.unwrap();
    assert_eq!(copied.body, pattern(5000));
    assert_eq!(copied.meta.version, version);
    let meta = store.head(&key("to/there")).await.unwrap().unwrap();
    assert!(meta.carries(&options.nonce));
    assert_eq!(meta.user.get("new").map(String::as_str), Some("of the cöpy"));
    assert_eq!(meta.user.get("old"), None);
    assert_eq!(store.head(&key("from here")).await.unwrap().unwrap().version, source);
}

pub(crate) async fn a_copy_of_another_version_is_refused(candidate: &Candidate) {
    let store = &candidate.store;
    let stale = put(store, "from", "one").await;
    let current = put(store, "from", "two").await;
    let options = PutOptions::when(Condition::Always);
    let refused = copy(store, "not there", &current, "to", &options).await;
    assert_eq!(kind(refused), Some(ErrorKind::NotFound));
    assert_eq!(store.head(&key("to")).await.unwrap(), None);
    let absent_target = PutOptions::when(Condition::IfAbsent);
    let refused = copy(store, "not there", &current, "to", &absent_target).await;
    assert_eq!(kind(refused), Some(ErrorKind::NotFound), "it is the source that is missing");
    let target = put(store, "target", "target").await;
    let replace = PutOptions::when(Condition::IfVersion(target));
    let refused = copy(store, "not there", &current, "target", &replace).await;
    assert_eq!(kind(refused), Some(ErrorKind::NotFound), "it is the source that is missing");
    if candidate.copies_conditionally {
        let refused = copy(store, "from", &stale, "to", &absent_target).await;
        assert_eq!(kind(refused), Some(ErrorKind::Changed), "it is the source that changed");
    }
    let expected = candidate.copies_conditionally.then_some(ErrorKind::Changed);
    assert_eq!(kind(copy(store, "from", &stale, "to", &options).await), expected);
    assert_eq!(store.head(&key("to")).await.unwrap().is_none(), candidate.copies_conditionally);
    copy(store, "from", &current, "to", &options).await.unwrap();
    assert_eq!(body_of(store, "to").await, "two");
}

pub(crate) async fn the_condition_of_a_copy_is_that_of_its_target(candidate: &Candidate) {
    let store = &candidate.store;
    let source = put(store, "from", "source").await;
    let target = put(store, "to", "target").await;
    let create = PutOptions::when(Condition::IfAbsent);
    if !candidate.copies_conditionally {
        // The declared difference is real: if the store learns conditions, this says so.
        assert!(copy(store, "from", &source, "to", &create).await.is_ok());
        return;
    }
    let refused = copy(store, "from", &source, "to", &create).await;
    assert_eq!(kind(refused), Some(ErrorKind::Exists));
    assert_eq!(body_of(store, "to").await, "target");

    let newer = put(store, "to", "newer").await;
    let stale = PutOptions::when(Condition::IfVersion(target));
    let refused = copy(store, "from", &source, "to", &stale).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));
    let replace = PutOptions::when(Condition::IfVersion(newer));
    copy(store, "from", &source, "to", &replace).await.unwrap();
    assert_eq!(body_of(store, "to").await, "source");

    store.delete(&key("to"), &Condition::Always).await.unwrap();
    let refused = copy(store, "from", &source, "to", &replace).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed), "the target is gone");
}

fn part_of(name: &str, version: &Version, range: Range<u64>) -> PartSource {
    PartSource { key: key(name), version: version.clone(), range }
}

pub(crate) async fn a_copied_part_has_the_bytes_of_its_range(candidate: &Candidate) {
    let store = &candidate.store;
    let least = usize::try_from(store.abilities().min_part_bytes).unwrap().max(1024);
    let original = pattern(2 * least + 99);
    let version = put(store, "from here", original.clone()).await;
    let options = PutOptions::when(Condition::Always);
    let upload = store.begin_upload(&key("to/there"), 3 * least as u64, &options).await.unwrap();
    let at = |range: Range<usize>| part_of("from here", &version, range.start as u64..range.end as u64);
    let copied = store.copy_part(&key("to/there"), &upload, 1, &at(7..least + 7)).await;
    if !store.abilities().copies_parts {
        assert_eq!(kind(copied), Some(ErrorKind::Unsupported));
        return;
    }
    let sent = pattern(3 * least).slice(2 * least..);
    let parts = [
        copied.unwrap(),
        store.upload_part(&key("to/there"), &upload, 2, sent.clone()).await.unwrap(),
        store.copy_part(&key("to/there"), &upload, 3, &at(2 * least..2 * least + 99)).await.unwrap(),
    ];
    store.complete_upload(&key("to/there"), &upload, &parts, &options).await.unwrap();
    let expected = [original.slice(7..least + 7), sent, original.slice(2 * least..)].concat();
    let body = body_of(store, "to/there").await;
    assert!(body == expected, "{} bytes instead of {}", body.len(), expected.len());
    assert!(store.head(&key("to/there")).await.unwrap().unwrap().carries(&options.nonce));
}

pub(crate) async fn a_part_is_copied_of_the_version_that_was_meant_or_not_at_all(candidate: &Candidate) {
    let store = &candidate.store;
    if !store.abilities().copies_parts {
        return;
    }
    let stale = put(store, "from", "one").await;
    let current = put(store, "from", "two").await;
    let options = PutOptions::when(Condition::Always);
    let upload = store.begin_upload(&key("to"), 3, &options).await.unwrap();
    let copy = async |name: &str, version: &Version, upload: &UploadId| {
        store.copy_part(&key("to"), upload, 1, &part_of(name, version, 0..3)).await
    };
    let expected = candidate.copies_conditionally.then_some(ErrorKind::Changed);
    assert_eq!(kind(copy("from", &stale, &upload).await), expected);
    assert_eq!(kind(copy("not there", &current, &upload).await), Some(ErrorKind::NotFound));
    let part = copy("from", &current, &upload).await.unwrap();
    store.complete_upload(&key("to"), &upload, &[part], &options).await.unwrap();
    assert_eq!(body_of(store, "to").await, Bytes::from_static(b"two"));
    assert!(kind(copy("from", &current, &upload).await).is_some(), "that upload is over");
}

pub(crate) async fn objects_are_put_together_in_their_order_or_not_at_all(candidate: &Candidate) {
    let store = &candidate.store;
    let (one, two) = (put(store, "one", "first, ").await, put(store, "two", "second").await);
    let compose = async |parts: [(&str, &Version); 2], to: &str, options: &PutOptions| {
        let parts = parts.map(|(name, version)| Component { key: key(name), version: version.clone() });
        store.compose(&parts, &key(to), options).await
    };
    let mut options = PutOptions::when(Condition::IfAbsent);
    options.meta.insert("note".to_owned(), "größer".to_owned());
    let composed = compose([("one", &one), ("two", &two)], "to/both", &options).await;
    if store.abilities().most_components == 0 {
        assert_eq!(kind(composed), Some(ErrorKind::Unsupported));
        return;
    }
    assert_eq!(body_of(store, "to/both").await, "first, second");
    let meta = store.head(&key("to/both")).await.unwrap().unwrap();
    assert_eq!((&meta.version, &*meta.user["note"]), (&composed.unwrap(), "größer"));
    assert!(meta.carries(&options.nonce));
    // It may replace one of them, and the other stays.
    let grown = PutOptions::when(Condition::IfVersion(one.clone()));
    let longer = compose([("one", &one), ("two", &two)], "one", &grown).await.unwrap();
    assert_eq!(body_of(store, "one").await, "first, second");
    assert_eq!(body_of(store, "two").await, "second");
    let refused = [
        (Condition::IfAbsent, "one", &longer, ErrorKind::Exists),
        (Condition::IfVersion(one.clone()), "one", &longer, ErrorKind::Changed),
        (Condition::Always, "one", &one, ErrorKind::NotFound),
        (Condition::Always, "not there", &longer, ErrorKind::NotFound),
    ];
    for (condition, name, version, expected) in refused {
        let outcome = compose([(name, version), ("two", &two)], "one", &PutOptions::when(condition)).await;
        assert_eq!(kind(outcome), Some(expected), "{name} {version}");
    }
    assert_eq!(body_of(store, "one").await, "first, second");
}
