//! The exam of a real bucket, for whoever has one: `scripts/test-cloud s3://BUCKET` or `gs://BUCKET`.
//!
//! Every question is put below a new prefix, which is removed afterwards, whatever happened.

use std::sync::Arc;

use bayou::os::clock::SystemClock;
use bayou::store::access::Access;
use bayou::store::prefix::Prefixed;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::store::url::Source;
use bayou::store::{Condition, SharedStore};
use futures::TryStreamExt;

use super::*;

/// The variable that names the bucket.
const BUCKET: &str = "BAYOU_CLOUD_BUCKET";

/// Opens a part of the bucket that nobody has used.
async fn open(source: &Source) -> SharedStore {
    let access = Access { endpoint_url: Access::default().endpoint(source).await, ..Access::default() };
    let bucket = access.open(source, &SystemClock::shared()).await.unwrap();
    let retrying = RetryingStore::new(bucket, SystemClock::shared(), RetryPolicy::default());
    let part = format!("{}/bayou-exam-{}", source.prefix(), uuid::Uuid::new_v4());
    Arc::new(Prefixed::new(Arc::new(retrying), part.trim_start_matches('/')))
}

fn part_of(source: &Source, store: &SharedStore, question: usize) -> Candidate {
    let part = format!("{question}");
    // The prefix that was made by `open`, at most, and this.
    let prefix_bytes = source.prefix().len() + 64;
    let is_gcs = matches!(source, Source::Gcs { .. });
    let store: SharedStore = Arc::new(Prefixed::new(Arc::clone(store), &part));
    Candidate { reads_tell_the_time: !is_gcs, prefix_bytes, ..Candidate::able(store, ()) }
}

async fn remove_all(store: &SharedStore) {
    let pages: Vec<_> = store.list("", None).try_collect().await.unwrap();
    for listed in pages.into_iter().flatten() {
        store.delete(&listed.key, &Condition::Always).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_bucket_sits_the_exam() {
    let named = std::env::var(BUCKET).unwrap_or_else(|_| panic!("{BUCKET} names no bucket"));
    let source = Source::parse(&named).unwrap();
    let store = open(&source).await;
    let mut failed = Vec::new();
    let mut asked = 0;
    macro_rules! ask_all {
        (; $($room:ident :: $question:ident),+) => {
            $(
                let question = stringify!($question);
                let candidate = part_of(&source, &store, asked);
                let answer = tokio::spawn(async move { $room::$question(&candidate).await });
                match answer.await {
                    Ok(()) => eprintln!("ok      {question}"),
                    Err(wrong) => {
                        eprintln!("FAILED  {question}: {wrong}");
                        failed.push(question);
                    }
                }
                asked += 1;
            )+
        };
    }
    with_the_questions! { ask_all, }
    remove_all(&store).await;
    assert_eq!((failed, asked), (vec![], 21), "every question was put and answered");
}
