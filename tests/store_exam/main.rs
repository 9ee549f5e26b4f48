//! The exam that every backend sits: the same questions, the same right answers.
//!
//! What a store cannot do is passed in as a [`Candidate`]'s declared difference, never found
//! out by a test that looks away. Each backend sits it bare and wrapped.

#![expect(clippy::unwrap_used, reason = "a question that cannot be asked has failed")]

mod conditions;
mod copies;
mod keys;
mod listing;
#[path = "../support/moto.rs"]
mod moto;
mod ranges;
mod uploads;

use bayou::model::key::ObjectKey;
use bayou::os::clock::SystemClock;
use bayou::store::folder::FolderStore;
use bayou::store::gcs::GcsStore;
use bayou::store::gcs_options::GcsOptions;
use bayou::store::prefix::Prefixed;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::store::s3::S3Store;
use bayou::store::s3_options::{S3Options, StaticKeys};
use bayou::store::{Condition, ErrorKind, PutOptions, Result, SharedStore, StoreError, Version};
use bayou_test_server::{Etags, GcsServer, Options, S3Server};
use bytes::Bytes;
use futures::TryStreamExt;
use moto::Moto;
use std::any::Any;
use std::sync::Arc;

/// A store that sits the exam, and where it is known to differ.
struct Candidate {
    /// The store.
    store: SharedStore,
    /// Whether the completion of an upload honours conditions.
    completes_conditionally: bool,
    /// Whether a copy honours the conditions on its source and its target.
    copies_conditionally: bool,
    /// What completing an upload that is gone fails with.
    missing_upload: ErrorKind,
    /// Whether keys may contain line breaks.
    takes_line_breaks: bool,
    /// Whether the answer to a get tells when the object was written.
    reads_tell_the_time: bool,
    /// How many bytes of a key the wrapper's prefix takes.
    prefix_bytes: usize,
    /// What must outlive the store: its server or its folder.
    _home: Box<dyn Any + Send + Sync>,
}

impl Candidate {
    /// Returns a candidate that can do everything.
    fn able(store: SharedStore, home: impl Any + Send + Sync) -> Self {
        Self {
            store,
            completes_conditionally: true,
            copies_conditionally: true,
            missing_upload: ErrorKind::NotFound,
            takes_line_breaks: true,
            reads_tell_the_time: true,
            prefix_bytes: 0,
            _home: Box::new(home),
        }
    }

    /// Returns the same candidate with our wrappers around the store.
    fn wrapped(mut self) -> Self {
        let prefix = "team/ä b";
        self.prefix_bytes = prefix.len() + 1;
        let prefixed = Arc::new(Prefixed::new(self.store, prefix));
        let clock = SystemClock::shared();
        self.store = Arc::new(RetryingStore::new(prefixed, clock, RetryPolicy::default()));
        self
    }
}

/// Returns a strict S3 server's bucket.
async fn strict_s3(options: Options) -> Candidate {
    let server = S3Server::start(options);
    let keys =
        StaticKeys { access_key: server.access_key().to_owned(), secret_key: server.secret_key().to_owned() };
    let options = S3Options { endpoint_url: Some(server.url()), keys: Some(keys), ..S3Options::default() };
    let store = S3Store::connect("bucket", &options, SystemClock::shared()).await.unwrap();
    Candidate::able(Arc::new(store), server)
}

/// Returns a bucket of a strict server of Google Cloud Storage.
async fn strict_gcs() -> Candidate {
    let server = GcsServer::start(bayou_test_server::GcsOptions::default());
    let options = GcsOptions { endpoint_url: Some(server.url()), ..GcsOptions::default() };
    let store = GcsStore::connect("bucket", &options, SystemClock::shared()).await.unwrap();
    Candidate { reads_tell_the_time: false, ..Candidate::able(Arc::new(store), server) }
}

/// Returns a folder's bucket.
fn folder() -> Candidate {
    let home = tempfile::tempdir().unwrap();
    let store = FolderStore::open(home.path()).unwrap();
    Candidate::able(Arc::new(store), home)
}

/// Hands the questions of the exam to a macro, behind what else it wants to know.
macro_rules! with_the_questions {
    ($macro:ident, $($given:tt)*) => {
        $macro! {
            $($given)*;
            keys::hostile_keys_are_kept_apart_and_come_back_exactly,
            keys::keys_that_differ_only_in_unicode_form_are_two_keys,
            ranges::a_range_gives_exactly_its_bytes_and_the_whole_size,
            ranges::an_absent_key_is_told_apart,
            ranges::metadata_comes_back_as_it_was_written,
            conditions::a_put_is_refused_when_its_condition_is_not_met,
            conditions::of_sixteen_racers_exactly_one_wins,
            conditions::of_sixteen_racers_to_replace_exactly_one_wins,
            conditions::a_get_of_a_version_never_gives_another,
            conditions::a_delete_of_a_version_spares_every_other,
            conditions::the_probe_finds_what_was_declared_and_leaves_nothing,
            uploads::parts_become_one_object_only_when_completed,
            uploads::an_upload_that_was_given_up_is_gone,
            uploads::the_condition_of_an_upload_is_judged_when_it_completes,
            copies::a_copy_has_the_bytes_of_its_source_and_its_own_metadata,
            copies::a_copy_of_another_version_is_refused,
            copies::the_condition_of_a_copy_is_that_of_its_target,
            copies::a_copied_part_has_the_bytes_of_its_range,
            copies::a_part_is_copied_of_the_version_that_was_meant_or_not_at_all,
            copies::objects_are_put_together_in_their_order_or_not_at_all,
            listing::a_listing_has_every_key_once_in_order_from_any_start
        }
    };
}

// Behind the questions, which it puts to a real bucket.
#[cfg(feature = "cloud-exam")]
mod cloud;

/// Makes each question a test of one backend, which is new for each.
macro_rules! sits_the_exam {
    ($backend:ident, $candidate:expr) => {
        with_the_questions! { sits_the_exam, @tests $backend, $candidate }
    };
    (@tests $backend:ident, $candidate:expr; $($room:ident :: $question:ident),+) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $question() {
                    $room::$question(&$candidate).await;
                }
            )+
        }
    };
}

sits_the_exam!(folder, folder());
sits_the_exam!(folder_wrapped, folder().wrapped());
sits_the_exam!(s3, strict_s3(Options::default()).await);
sits_the_exam!(s3_wrapped, strict_s3(Options::default()).await.wrapped());
sits_the_exam!(s3_with_unique_etags, strict_s3(Options { etags: Etags::Unique, ..Options::default() }).await);

sits_the_exam!(gcs, strict_gcs().await);
sits_the_exam!(gcs_wrapped, strict_gcs().await.wrapped());

/// The judge that we did not write. It is slow to start, so all questions are put to one, each
/// below a prefix of its own; the first, which fills it with hostile keys, to the bare bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto_sits_the_exam() {
    let moto = Moto::start("bucket");
    let keys = StaticKeys { access_key: "any".to_owned(), secret_key: "any".to_owned() };
    let options = S3Options { endpoint_url: Some(moto.url()), keys: Some(keys), ..S3Options::default() };
    let store: SharedStore =
        Arc::new(S3Store::connect("bucket", &options, SystemClock::shared()).await.unwrap());
    let below = |prefix: &str| Candidate {
        completes_conditionally: false,
        copies_conditionally: false,
        missing_upload: ErrorKind::Unreachable,
        takes_line_breaks: false,
        prefix_bytes: prefix.len(),
        ..Candidate::able(Arc::new(Prefixed::new(Arc::clone(&store), prefix)), ())
    };
    let mut asked = 0;
    macro_rules! ask_all {
        (; $($room:ident :: $question:ident),+) => {
            $(
                let prefix = if asked == 0 { String::new() } else { format!("question {asked}") };
                eprintln!("{}", stringify!($question));
                $room::$question(&below(&prefix)).await;
                asked += 1;
            )+
        };
    }
    with_the_questions! { ask_all, }
    assert_eq!(asked, 21, "every question was put");
}

/// Returns the key with this text.
fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text)
}

/// Writes an object without a condition.
async fn put(store: &SharedStore, name: &str, body: impl Into<Bytes>) -> Version {
    put_when(store, name, body, Condition::Always).await.unwrap()
}

/// Writes an object with a condition.
async fn put_when(
    store: &SharedStore,
    name: &str,
    body: impl Into<Bytes>,
    condition: Condition,
) -> Result<Version> {
    store.put(&key(name), body.into(), &PutOptions::when(condition)).await
}

/// Returns an object's bytes.
async fn body_of(store: &SharedStore, name: &str) -> Bytes {
    store.get(&key(name), None, None).await.unwrap().body
}

/// Returns all keys below a prefix, in the order of the listing.
async fn keys_below(store: &SharedStore, prefix: &str) -> Vec<String> {
    let pages: Vec<_> = store.list(prefix, None).try_collect().await.unwrap();
    pages.into_iter().flatten().map(|listed| listed.key.to_string()).collect()
}

/// Returns the kind of failure.
fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error: StoreError| error.kind)
}

/// Returns a body of this length whose bytes differ from place to place.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()).collect()
}
