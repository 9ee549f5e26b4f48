//! Conditions: judged by the server, at one moment, or not at all.

use super::{Candidate, body_of, key, keys_below, kind, pattern, put, put_when};
use bayou::store::probe::{Conditions, PROBE_PREFIX, probe};
use bayou::store::{Condition, ErrorKind, SharedStore, Version};
use futures::future::join_all;
use std::sync::Arc;

pub(crate) async fn a_put_is_refused_when_its_condition_is_not_met(candidate: &Candidate) {
    let store = &candidate.store;
    let first = put_when(store, "object", "one", Condition::IfAbsent).await.unwrap();
    let refused = put_when(store, "object", "two", Condition::IfAbsent).await;
    assert_eq!(kind(refused), Some(ErrorKind::Exists));
    assert_eq!(body_of(store, "object").await, "one");

    let second = put_when(store, "object", "two", Condition::IfVersion(first.clone())).await.unwrap();
    assert_ne!(first, second);
    let refused = put_when(store, "object", "three", Condition::IfVersion(first)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));
    assert_eq!(body_of(store, "object").await, "two");

    store.delete(&key("object"), &Condition::Always).await.unwrap();
    let gone = put_when(store, "object", "four", Condition::IfVersion(second)).await;
    assert_eq!(kind(gone), Some(ErrorKind::Changed), "the key is gone");
    assert_eq!(store.head(&key("object")).await.unwrap(), None);
}

pub(crate) async fn of_sixteen_racers_exactly_one_wins(candidate: &Candidate) {
    let store = &candidate.store;
    for round in 0..4 {
        let name = format!("race {round}");
        let won = race(store, &name, &Condition::IfAbsent, ErrorKind::Exists).await;
        assert_eq!(body_of(store, &name).await, won);
    }
}

pub(crate) async fn of_sixteen_racers_to_replace_exactly_one_wins(candidate: &Candidate) {
    let store = &candidate.store;
    let mut version = put(store, "race", "start").await;
    for _ in 0..4 {
        let won = race(store, "race", &Condition::IfVersion(version), ErrorKind::Changed).await;
        assert_eq!(body_of(store, "race").await, won);
        version = store.head(&key("race")).await.unwrap().unwrap().version;
    }
}

/// Lets sixteen tasks put at once; returns the body of the only one that succeeded.
async fn race(store: &SharedStore, name: &str, condition: &Condition, loss: ErrorKind) -> String {
    let racers = (0..16).map(|racer| {
        let (store, name, condition) = (Arc::clone(store), name.to_owned(), condition.clone());
        tokio::spawn(async move {
            let body = format!("racer {racer} of {name} {condition:?}");
            loop {
                match put_when(&store, &name, body.clone(), condition.clone()).await {
                    Ok(_) => return Some(body),
                    Err(lost) if lost.kind == loss => return None,
                    // S3 may ask the losers of a close race to come again.
                    Err(conflict) if conflict.kind == ErrorKind::Throttled => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    let winners: Vec<String> =
        join_all(racers).await.into_iter().filter_map(|racer| racer.unwrap()).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners[0].clone()
}

pub(crate) async fn a_get_of_a_version_never_gives_another(candidate: &Candidate) {
    let store = &candidate.store;
    let first = put(store, "object", pattern(1000)).await;
    let second = put(store, "object", pattern(2000)).await;
    for range in [None, Some(0..10), Some(1500..1600), Some(3000..3001), Some(7..7)] {
        let refused = store.get(&key("object"), range.clone(), Some(&first)).await;
        assert_eq!(kind(refused), Some(ErrorKind::Changed), "{range:?}");
        assert!(store.get(&key("object"), range, Some(&second)).await.is_ok());
    }
}

pub(crate) async fn a_delete_of_a_version_spares_every_other(candidate: &Candidate) {
    let store = &candidate.store;
    let first = put(store, "object", "one").await;
    let second = put(store, "object", "two").await;
    let delete = |version: &Version| {
        let condition = Condition::IfVersion(version.clone());
        async move { store.delete(&key("object"), &condition).await }
    };
    assert_eq!(kind(delete(&first).await), Some(ErrorKind::Changed));
    assert_eq!(body_of(store, "object").await, "two");
    delete(&second).await.unwrap();
    assert_eq!(store.head(&key("object")).await.unwrap(), None);
    delete(&second).await.unwrap();
    store.delete(&key("object"), &Condition::Always).await.unwrap();
}

pub(crate) async fn the_probe_finds_what_was_declared_and_leaves_nothing(candidate: &Candidate) {
    let declared = Conditions {
        put: true,
        complete: candidate.completes_conditionally,
        copy: candidate.copies_conditionally,
        delete: true,
        get: true,
    };
    assert_eq!(probe(candidate.store.as_ref()).await.unwrap(), declared);
    assert_eq!(keys_below(&candidate.store, PROBE_PREFIX).await, Vec::<String>::new());
}
