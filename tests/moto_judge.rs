//! Our S3 store before a judge that we did not write: what it refuses and what it keeps.

#![expect(clippy::unwrap_used, reason = "a question that cannot be asked has failed")]

#[path = "support/moto.rs"]
mod moto;

use std::sync::Arc;

use bayou::model::key::ObjectKey;
use bayou::os::clock::SystemClock;
use bayou::store::s3::S3Store;
use bayou::store::s3_options::{S3Options, StaticKeys};
use bayou::store::{Condition, ErrorKind, ObjectStore, PutOptions};
use bytes::Bytes;
use futures::TryStreamExt;
use moto::Moto;

async fn store(moto: &Moto) -> S3Store {
    let keys = StaticKeys { access_key: "any".to_owned(), secret_key: "any".to_owned() };
    let options = S3Options {
        endpoint_url: Some(moto.url()),
        region: Some("us-east-1".to_owned()),
        keys: Some(keys),
        ..S3Options::default()
    };
    S3Store::connect("bucket", &options, SystemClock::shared()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_writers_of_a_new_key_one_wins() {
    let moto = Moto::start("bucket");
    let store = Arc::new(store(&moto).await);
    let key = ObjectKey::new("index");
    let racers: Vec<_> = (0..16_u8)
        .map(|n| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                store.put(&key, Bytes::from(vec![n]), &PutOptions::when(Condition::IfAbsent)).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(version) => winners.push(version),
            Err(error) => assert_eq!(error.kind, ErrorKind::Exists, "{error}"),
        }
    }
    let kept = store.get(&key, None, None).await.unwrap();
    assert_eq!(winners, [kept.meta.version]);
}

#[tokio::test]
async fn odd_keys_are_kept_byte_by_byte() {
    let moto = Moto::start("bucket");
    let store = store(&moto).await;
    let mut keys =
        ["a", "a/b", "a//b", "ü/ñ/日本", "a b+c", "a%2Fb", "q?x=1&y#z", "..", "back\\slash", "dir/"]
            .map(str::to_owned);
    for key in &keys {
        let options = PutOptions::when(Condition::Always);
        store.put(&ObjectKey::new(key.as_str()), Bytes::from(key.clone()), &options).await.unwrap();
    }
    keys.sort();
    let pages: Vec<_> = store.list("", None).try_collect().await.unwrap();
    let listed: Vec<_> = pages.concat().into_iter().map(|entry| entry.key.as_str().to_owned()).collect();
    assert_eq!(listed, keys);
    for key in &keys {
        let got = store.get(&ObjectKey::new(key.as_str()), None, None).await.unwrap();
        assert_eq!(got.body, key.as_bytes());
    }
}
