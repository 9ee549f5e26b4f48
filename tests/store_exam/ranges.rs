//! What reading gives: exact bytes, sizes, metadata, and a clear word when there is nothing.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::{Candidate, key, kind, pattern, put};
use bayou::os::clock::{Clock, SystemClock};
use bayou::store::{Condition, ErrorKind, Nonce, PutOptions};
use bytes::Bytes;

pub(crate) async fn a_range_gives_exactly_its_bytes_and_the_whole_size(candidate: &Candidate) {
    let store = &candidate.store;
    let body = pattern(100_000);
    let version = put(store, "object", body.clone()).await;
    let ranges: [Range<u64>; 9] = [
        0..1,
        0..100_000,
        1..2,
        99_999..100_000,
        50_000..70_000,
        99_990..200_000,
        100_000..100_001,
        500_000..600_000,
        10..10,
    ];
    for range in ranges {
        let fetched = store.get(&key("object"), Some(range.clone()), Some(&version)).await.unwrap();
        let start = usize::try_from(range.start.min(100_000)).unwrap();
        let end = usize::try_from(range.end.min(100_000)).unwrap();
        assert_eq!(fetched.body, body.slice(start..end), "{range:?}");
        assert_eq!(fetched.meta.size, 100_000, "{range:?}");
        assert_eq!(fetched.meta.version, version, "{range:?}");
    }
    let whole = store.get(&key("object"), None, None).await.unwrap();
    assert_eq!((whole.body, whole.meta.size), (body, 100_000));

    put(store, "empty", "").await;
    for range in [None, Some(0..10), Some(5..10)] {
        let nothing = store.get(&key("empty"), range.clone(), None).await.unwrap();
        assert_eq!((nothing.body, nothing.meta.size), (Bytes::new(), 0), "{range:?}");
    }
}

pub(crate) async fn an_absent_key_is_told_apart(candidate: &Candidate) {
    let store = &candidate.store;
    let version = put(store, "there", "x").await;
    let absent = key("there/not");
    assert_eq!(store.head(&absent).await.unwrap(), None);
    for range in [None, Some(0..10), Some(3..3)] {
        assert_eq!(
            kind(store.get(&absent, range.clone(), None).await),
            Some(ErrorKind::NotFound),
            "{range:?}"
        );
    }
    assert_eq!(kind(store.get(&absent, None, Some(&version)).await), Some(ErrorKind::NotFound));
    store.delete(&absent, &Condition::Always).await.unwrap();
}

pub(crate) async fn metadata_comes_back_as_it_was_written(candidate: &Candidate) {
    let store = &candidate.store;
    let mut options = PutOptions::when(Condition::IfAbsent);
    for (name, value) in [
        ("plain", "0644"),
        ("unicode", "naïve 日本 🦀"),
        ("percent", "100% %41"),
        ("blanks", "  two, and \"quotes\" = x  "),
        ("lines", "one\r\ntwo\ttab"),
        ("json", r#"{"user.x":"y"}"#),
    ] {
        options.meta.insert(name.to_owned(), value.to_owned());
    }
    let before = SystemClock.now() - Duration::from_secs(5);
    store.put(&key("object"), Bytes::from_static(b"body"), &options).await.unwrap();
    let meta = store.head(&key("object")).await.unwrap().unwrap();
    let got = store.get(&key("object"), Some(0..1), None).await.unwrap().meta;
    let (said, age) = (meta.answered.unwrap(), meta.age().unwrap());
    assert!(said > before && age < Duration::from_secs(30), "{said:?} {age:?}");
    assert_eq!((got.size, &got.version), (meta.size, &meta.version));
    let told = candidate.reads_tell_the_time.then_some(meta.modified);
    assert_eq!((got.modified, got.age.is_some()), (told, told.is_some()));
    assert!(meta.carries(&options.nonce) && !meta.carries(&Nonce::fresh()));
    let mut expected = options.meta.clone();
    expected.insert(Nonce::META.to_owned(), options.nonce.as_str().to_owned());
    assert_eq!(meta.user, expected);
    assert!(is_now(meta.modified, before), "{:?}", meta.modified);
}

fn is_now(time: SystemTime, before: SystemTime) -> bool {
    time >= before && time <= SystemClock.now() + Duration::from_secs(5)
}
