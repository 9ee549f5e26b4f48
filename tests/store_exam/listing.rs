//! Listings of more than one page.

use super::{Candidate, key, keys_below, put};
use futures::TryStreamExt;
use futures::future::join_all;

/// More than one page of 1,000.
const OBJECTS: usize = 1_105;

async fn fill(candidate: &Candidate) -> Vec<String> {
    let mut keys: Vec<String> = (0..OBJECTS).map(|n| format!("many/{n}/ö {n}")).collect();
    for batch in keys.chunks(50) {
        join_all(batch.iter().map(|name| put(&candidate.store, name, name.clone()))).await;
    }
    keys.sort_unstable();
    keys
}

pub(crate) async fn a_listing_has_every_key_once_in_order_from_any_start(candidate: &Candidate) {
    let store = &candidate.store;
    put(store, "before", "x").await;
    put(store, "zafter", "x").await;
    let keys = fill(candidate).await;
    let pages: Vec<_> = store.list("many/", None).try_collect().await.unwrap();
    let listed: Vec<_> = pages.into_iter().flatten().collect();
    assert!(listed.iter().map(|one| one.key.as_str()).eq(keys.iter().map(String::as_str)));
    for one in &listed {
        assert_eq!(one.size, one.key.as_str().len() as u64, "{}", one.key);
    }
    let last = listed.last().unwrap();
    let meta = store.head(&last.key).await.unwrap().unwrap();
    assert!(last.version.as_ref().is_none_or(|version| *version == meta.version));
    assert_eq!(keys_below(store, "many/77").await, keys_that_start(&keys, "many/77"));
    assert_eq!(keys_below(store, "nothing here").await, Vec::<String>::new());
    a_listing_can_start_after_any_key(candidate, &keys).await;
}

fn keys_that_start(keys: &[String], prefix: &str) -> Vec<String> {
    keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect()
}

async fn a_listing_can_start_after_any_key(candidate: &Candidate, keys: &[String]) {
    let store = &candidate.store;
    for at in [0, 1, 600, 1_000, OBJECTS - 2, OBJECTS - 1] {
        let pages: Vec<_> = store.list("many/", Some(&key(&keys[at]))).try_collect().await.unwrap();
        let listed: Vec<_> = pages.into_iter().flatten().map(|one| one.key.to_string()).collect();
        assert!(listed == keys[at + 1..], "after {:?}: {} keys", keys[at], listed.len());
    }
    let between = key(&format!("{}!", keys[7]));
    let pages: Vec<_> = store.list("many/", Some(&between)).try_collect().await.unwrap();
    assert_eq!(pages.into_iter().flatten().count(), OBJECTS - 8);
}
