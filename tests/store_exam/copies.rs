//! Copies on the server.

use super::{Candidate, body_of, key, kind, pattern, put};
use bayou::store::{Condition, ErrorKind, PutOptions, Result, SharedStore, Version};

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
