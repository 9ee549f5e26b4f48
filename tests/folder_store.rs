//! What only the folder store promises: plain files, hostile keys, races between processes,
//! versions that outlive restarts and notice other programs.

#![expect(clippy::unwrap_used, reason = "a preparation that fails has failed the test")]
#![expect(clippy::disallowed_methods, reason = "here the tests are the other program")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use bayou::model::key::ObjectKey;
use bayou::store::folder::FolderStore;
use bayou::store::{
    Condition, ErrorKind, Listed, Nonce, ObjectStore, PutOptions, StoreError, UploadId, UploadedPart, Version,
};
use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;
use tempfile::TempDir;

struct Bucket {
    folder: TempDir,
    store: FolderStore,
}

fn bucket() -> Bucket {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    Bucket { folder, store }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text)
}

fn always() -> PutOptions {
    PutOptions::when(Condition::Always)
}

impl Bucket {
    fn path(&self, below: &str) -> std::path::PathBuf {
        self.folder.path().join(below)
    }

    async fn put(&self, name: &str, body: &str) -> Version {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.store.put(&key(name), body, &always()).await.unwrap()
    }

    async fn text(&self, name: &str) -> Result<String, ErrorKind> {
        let fetched = self.store.get(&key(name), None, None).await.map_err(|error| error.kind)?;
        Ok(String::from_utf8(fetched.body.to_vec()).unwrap())
    }

    async fn version(&self, name: &str) -> Option<Version> {
        self.store.head(&key(name)).await.unwrap().map(|meta| meta.version)
    }

    async fn pages(&self, prefix: &str, after: Option<&str>) -> Vec<Vec<Listed>> {
        let after = after.map(key);
        self.store.list(prefix, after.as_ref()).try_collect().await.unwrap()
    }

    async fn names(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let pages = self.pages(prefix, after).await;
        pages.iter().flatten().map(|listed| listed.key.as_str().to_owned()).collect()
    }

    fn reopened(&self) -> FolderStore {
        FolderStore::open(self.folder.path()).unwrap()
    }
}

#[tokio::test]
async fn an_ordinary_key_is_an_ordinary_file_at_its_path() {
    let bucket = bucket();
    bucket.put("a/ü b/c.txt", "hello").await;
    assert_eq!(fs::read_to_string(bucket.path("a/ü b/c.txt")).unwrap(), "hello");
    fs::create_dir(bucket.path("made")).unwrap();
    fs::write(bucket.path("made/by hand"), "hi").unwrap();
    assert_eq!(bucket.text("made/by hand").await.unwrap(), "hi");
    assert_eq!(bucket.names("", None).await, ["a/ü b/c.txt", "made/by hand"]);
}

#[tokio::test]
async fn opening_and_reading_change_nothing() {
    let bucket = bucket();
    fs::write(bucket.path("x"), "x").unwrap();
    bucket.text("x").await.unwrap();
    bucket.names("", None).await;
    bucket.store.delete(&key("absent"), &Condition::Always).await.unwrap();
    let names: Vec<_> = fs::read_dir(bucket.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["x"]);
}

#[tokio::test]
async fn conditions_are_judged_against_what_is_there() {
    let bucket = bucket();
    let put = |condition| {
        let options = PutOptions::when(condition);
        async move { options }
    };
    let kind = |outcome: Result<Version, StoreError>| outcome.map_err(|error| error.kind);
    let if_absent = put(Condition::IfAbsent).await;
    let first = bucket.store.put(&key("a"), "1".into(), &if_absent).await.unwrap();
    let again = bucket.store.put(&key("a"), "2".into(), &if_absent).await;
    assert_eq!(kind(again), Err(ErrorKind::Exists));
    let if_first = put(Condition::IfVersion(first.clone())).await;
    let second = bucket.store.put(&key("a"), "3".into(), &if_first).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(kind(bucket.store.put(&key("a"), "4".into(), &if_first).await), Err(ErrorKind::Changed));
    assert_eq!(kind(bucket.store.put(&key("gone"), "4".into(), &if_first).await), Err(ErrorKind::Changed));
    assert_eq!(bucket.text("a").await.unwrap(), "3");

    let wrong = bucket.store.delete(&key("a"), &Condition::IfVersion(first)).await;
    assert_eq!(wrong.unwrap_err().kind, ErrorKind::Changed);
    bucket.store.delete(&key("a"), &Condition::IfVersion(second)).await.unwrap();
    assert_eq!(bucket.text("a").await, Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn ranges_are_cut_at_the_end_and_belong_to_the_version_asked_for() {
    let bucket = bucket();
    let old = bucket.put("a", "0123456789").await;
    for (range, bytes) in [(2..5, "234"), (8..20, "89"), (10..12, ""), (99..100, ""), (3..3, "")] {
        let fetched = bucket.store.get(&key("a"), Some(range), Some(&old)).await.unwrap();
        assert_eq!((fetched.body, fetched.meta.size), (Bytes::from(bytes), 10));
    }
    bucket.put("a", "abcdefghij").await;
    let mixed = bucket.store.get(&key("a"), Some(0..1), Some(&old)).await;
    assert_eq!(mixed.unwrap_err().kind, ErrorKind::Changed);
}

#[tokio::test]
async fn user_metadata_is_kept_with_its_version_and_not_after_a_foreign_edit() {
    let bucket = bucket();
    let mut options = always();
    options.meta.insert("note".into(), "ünï\n\"x\"".into());
    bucket.store.put(&key("a"), "1".into(), &options).await.unwrap();
    let meta = bucket.store.head(&key("a")).await.unwrap().unwrap();
    assert!(meta.carries(&options.nonce));
    assert_eq!(meta.user["note"], "ünï\n\"x\"");
    assert_eq!(meta.user.len(), 2);

    fs::write(bucket.path("a"), "edited").unwrap();
    let edited = bucket.store.head(&key("a")).await.unwrap().unwrap();
    assert!(edited.user.is_empty(), "a file edited by others must not carry our nonce");
    options.meta.insert("big".into(), "x".repeat(5000));
    let refused = bucket.store.put(&key("a"), "1".into(), &options).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn every_put_makes_a_version_that_the_key_never_had() {
    let bucket = bucket();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        assert!(seen.insert(bucket.put("a", "same").await));
    }
    let future = fs::File::options().write(true).open(bucket.path("a")).unwrap();
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5_000_000_000);
    future.set_modified(later).unwrap();
    let from_the_future = bucket.version("a").await.unwrap();
    let after = bucket.put("a", "same").await;
    assert_ne!(after, from_the_future);
    assert!(fs::metadata(bucket.path("a")).unwrap().modified().unwrap() > later);
    assert_eq!(bucket.version("a").await, Some(after), "the answer of put is what head says");
}

#[tokio::test]
async fn versions_survive_reopening_and_copying_with_attributes() {
    let bucket = bucket();
    let options = always();
    let version = bucket.store.put(&key("d/a"), "1".into(), &options).await.unwrap();
    let odd = bucket.put("d//a", "2").await;
    let again = bucket.reopened();
    assert_eq!(again.head(&key("d/a")).await.unwrap().unwrap().version, version);

    let copied = tempfile::tempdir().unwrap();
    let from = format!("{}/.", bucket.folder.path().display());
    assert!(Command::new("cp").arg("-a").arg(from).arg(copied.path()).status().unwrap().success());
    let copy = FolderStore::open(copied.path()).unwrap();
    let meta = copy.head(&key("d/a")).await.unwrap().unwrap();
    assert!(meta.version == version && meta.carries(&options.nonce));
    assert_eq!(copy.head(&key("d//a")).await.unwrap().unwrap().version, odd);
}

#[tokio::test]
async fn an_edit_by_another_program_changes_the_version() {
    let bucket = bucket();
    let before = bucket.put("a", "12345").await;
    fs::write(bucket.path("a"), "12345").unwrap();
    assert_ne!(bucket.version("a").await.unwrap(), before);
    let stale = bucket.store.get(&key("a"), None, Some(&before)).await;
    assert_eq!(stale.unwrap_err().kind, ErrorKind::Changed);
}

/// Keys that S3 allows and that no file of this path can have.
const HOSTILE: [&str; 17] = [
    "/",
    "//",
    "/etc/passwd",
    "a//b",
    "dir/",
    "dir//",
    ".",
    "..",
    "../x",
    "a/../../x",
    "a/./b",
    "a\0b",
    ".bayou-folder",
    ".bayou-folder/locks/0",
    ".bayou-folder/odd/x",
    "%2F",
    "-rf *",
];

#[tokio::test]
async fn hostile_keys_are_kept_under_their_true_names_and_escape_nowhere() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("bucket");
    fs::create_dir(&root).unwrap();
    let store = FolderStore::open(&root).unwrap();
    let long = "x".repeat(256);
    let longest = format!("{}/", "y".repeat(1023));
    let keys: Vec<&str> = HOSTILE.into_iter().chain([&*long, &*longest, "plain"]).collect();
    for name in &keys {
        let body = Bytes::copy_from_slice(name.as_bytes());
        store.put(&key(name), body, &PutOptions::when(Condition::IfAbsent)).await.unwrap();
    }
    let again = FolderStore::open(&root).unwrap();
    for name in &keys {
        assert_eq!(again.get(&key(name), None, None).await.unwrap().body, name.as_bytes(), "{name:?}");
    }
    let pages: Vec<Vec<Listed>> = again.list("", None).try_collect().await.unwrap();
    let listed: Vec<&str> = pages.iter().flatten().map(|listed| listed.key.as_str()).collect();
    let mut expected = keys.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "something escaped");
    for name in &keys {
        again.delete(&key(name), &Condition::Always).await.unwrap();
        assert!(again.head(&key(name)).await.unwrap().is_none(), "{name:?}");
    }
    assert!(root.join(".bayou-folder/locks").exists(), "the machinery is not an object");
}

#[tokio::test]
async fn keys_that_no_bucket_accepts_are_invalid() {
    let bucket = bucket();
    for name in ["", &"x".repeat(1025)] {
        let error = bucket.store.put(&key(name), Bytes::new(), &always()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(bucket.store.head(&key(name)).await.unwrap_err().kind, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_name_that_is_both_file_and_folder_keeps_both() {
    let bucket = bucket();
    bucket.put("a", "file").await;
    bucket.put("a/b", "below").await;
    bucket.put("c/d", "below").await;
    bucket.put("c", "file").await;
    for (name, body) in [("a", "file"), ("a/b", "below"), ("c/d", "below"), ("c", "file")] {
        assert_eq!(bucket.text(name).await.unwrap(), body, "{name}");
    }
    assert_eq!(bucket.names("", None).await, ["a", "a/b", "c", "c/d"]);
    assert_eq!(bucket.names("a/", None).await, ["a/b"]);
    assert_eq!(bucket.names("", Some("a/b")).await, ["c", "c/d"]);
}

#[tokio::test]
async fn when_the_clash_is_gone_both_stay_readable_and_a_put_moves_home() {
    let bucket = bucket();
    bucket.put("a", "file").await;
    let odd = bucket.put("a/b", "1").await;
    bucket.store.delete(&key("a"), &Condition::Always).await.unwrap();
    assert_eq!(bucket.text("a/b").await.unwrap(), "1");
    assert_eq!(bucket.names("", None).await, ["a/b"]);
    let options = PutOptions::when(Condition::IfVersion(odd));
    bucket.store.put(&key("a/b"), "2".into(), &options).await.unwrap();
    assert_eq!(fs::read_to_string(bucket.path("a/b")).unwrap(), "2");
    assert_eq!(bucket.text("a/b").await.unwrap(), "2");
    assert_eq!(bucket.names("", None).await, ["a/b"]);
    bucket.store.delete(&key("a/b"), &Condition::Always).await.unwrap();
    assert_eq!(bucket.text("a/b").await, Err(ErrorKind::NotFound));
    assert!(!bucket.path("a").exists());
}

#[tokio::test]
async fn a_key_in_both_places_is_one_object_and_is_deleted_as_one() {
    let bucket = bucket();
    bucket.put("a/b", "x").await;
    bucket.put("a", "aside").await;
    fs::remove_dir_all(bucket.path("a")).unwrap();
    fs::write(bucket.path("a"), "by hand").unwrap();
    assert_eq!(bucket.text("a").await.unwrap(), "aside");
    assert_eq!(bucket.names("", None).await, ["a"]);
    bucket.store.delete(&key("a"), &Condition::Always).await.unwrap();
    assert_eq!(bucket.names("", None).await, Vec::<String>::new());
}

#[tokio::test]
async fn links_and_special_files_are_neither_listed_nor_followed() {
    let bucket = bucket();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path(), bucket.path("linked")).unwrap();
    symlink(outside.path().join("secret"), bucket.path("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bucket.path("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(bucket.path("fifo")).status().unwrap().success());
    let odd_name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
    fs::write(bucket.folder.path().join(odd_name), "not UTF-8").unwrap();
    fs::create_dir(bucket.path("empty")).unwrap();
    assert_eq!(bucket.names("", None).await, Vec::<String>::new());
    let mut bodies = BTreeMap::new();
    for name in ["link", "linked/secret", "socket", "fifo", "empty"] {
        assert_eq!(bucket.text(name).await, Err(ErrorKind::NotFound), "{name}");
        bucket.put(name, name).await;
        bodies.insert(name, bucket.text(name).await.unwrap());
    }
    assert!(bodies.iter().all(|(name, body)| name == body));
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "s");
    assert!(bucket.path("link").is_symlink() && bucket.path("fifo").symlink_metadata().is_ok());
    assert_eq!(bucket.names("", None).await, ["empty", "fifo", "link", "linked/secret", "socket"]);
}

#[tokio::test]
async fn listings_are_in_byte_order_in_pages_and_resume_after_a_key() {
    let bucket = bucket();
    let mut expected = Vec::new();
    for at in 0..1100 {
        expected.push(format!("d{}/f{at}", at % 7));
    }
    for name in ["a", "a-b", "a.txt", "a0", "b/c/d", "b/c.d", "b/c0", "zoë", "zz", "\u{10ffff}", "\u{e000}"]
    {
        expected.push(name.to_owned());
    }
    for name in &expected {
        let path = bucket.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    for odd in ["a/", "b//", "d3/f3/", "~/../x"] {
        bucket.put(odd, "odd").await;
        expected.push(odd.to_owned());
    }
    expected.sort_unstable();
    let pages = bucket.pages("", None).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000, expected.len() - 1000]);
    assert_eq!(bucket.names("", None).await, expected);
    for after in ["", "a", "a-", "b/c", "b/c.d", "d3", "d3/", "d3/f3", "d3/f30", "d9", "zz", "\u{10ffff}"] {
        let rest: Vec<_> = expected.iter().filter(|name| name.as_str() > after).cloned().collect();
        assert_eq!(bucket.names("", Some(after)).await, rest, "after {after:?}");
    }
    for prefix in ["a", "b/", "b/c", "b/c/", "d3/f1", "d3/f3/", "no", "b//", "/", "..", "d3/../", "zo"] {
        let below: Vec<_> = expected.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        assert_eq!(bucket.names(prefix, None).await, below, "prefix {prefix:?}");
    }
}

#[tokio::test]
async fn what_a_listing_says_is_what_head_says() {
    let bucket = bucket();
    bucket.put("a", "12345").await;
    bucket.put("x//y", "123").await;
    for listed in bucket.pages("", None).await.concat() {
        let meta = bucket.store.head(&listed.key).await.unwrap().unwrap();
        assert_eq!(
            (listed.size, listed.version, listed.modified),
            (meta.size, Some(meta.version), meta.modified)
        );
    }
}

#[tokio::test]
async fn torn_temporary_files_are_never_listed_and_abandoned_ones_go() {
    let bucket = bucket();
    bucket.put("a", "1").await;
    let torn = bucket.path(".bayou-folder/tmp/torn");
    fs::write(&torn, "half").unwrap();
    let old = bucket.path(".bayou-folder/tmp/old");
    fs::write(&old, "half").unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let again = bucket.reopened();
    again.put(&key("b"), "2".into(), &always()).await.unwrap();
    assert_eq!(bucket.names("", None).await, ["a", "b"]);
    assert!(torn.exists() && !old.exists());
    assert_eq!(bucket.text(".bayou-folder/tmp/torn").await, Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_refused_put_leaves_nothing_behind() {
    let bucket = bucket();
    bucket.put("a", "1").await;
    let refused =
        bucket.store.put(&key("a"), "2".into(), &PutOptions::when(Condition::IfAbsent)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Exists);
    assert_eq!(fs::read_dir(bucket.path(".bayou-folder/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn deleting_removes_the_folders_that_become_empty_and_no_other() {
    let bucket = bucket();
    bucket.put("a/b/c/d", "1").await;
    bucket.put("a/e", "2").await;
    bucket.store.delete(&key("a/b/c/d"), &Condition::Always).await.unwrap();
    assert!(!bucket.path("a/b").exists() && bucket.path("a").exists());
    bucket.store.delete(&key("a/e"), &Condition::Always).await.unwrap();
    assert!(!bucket.path("a").exists() && bucket.folder.path().exists());
}

#[tokio::test]
async fn a_copy_is_of_the_version_asked_for_and_carries_its_own_metadata() {
    let bucket = bucket();
    let old = bucket.put("a", "old").await;
    let new = bucket.put("a", "new").await;
    let options = PutOptions::when(Condition::IfAbsent);
    let stale = bucket.store.copy(&key("a"), &old, &key("b"), &options).await.unwrap_err();
    assert_eq!((stale.kind, stale.key.as_str()), (ErrorKind::Changed, "a"));
    let version = bucket.store.copy(&key("a"), &new, &key("b"), &options).await.unwrap();
    let meta = bucket.store.head(&key("b")).await.unwrap().unwrap();
    assert!(meta.version == version && meta.carries(&options.nonce));
    assert_eq!(bucket.text("b").await.unwrap(), "new");
    let again = bucket.store.copy(&key("a"), &new, &key("b"), &options).await.unwrap_err();
    assert_eq!((again.kind, again.key.as_str()), (ErrorKind::Exists, "b"));
    let gone = bucket.store.copy(&key("none"), &new, &key("c"), &options).await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
}

async fn upload(bucket: &Bucket, name: &str, parts: &[&str]) -> (UploadId, Vec<UploadedPart>) {
    let id = bucket.store.begin_upload(&key(name), 0, &always()).await.unwrap();
    let mut done = Vec::new();
    for (body, number) in parts.iter().zip(1..) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        done.push(bucket.store.upload_part(&key(name), &id, number, body).await.unwrap());
    }
    (id, done)
}

#[tokio::test]
async fn parts_become_one_object_when_the_upload_completes() {
    let bucket = bucket();
    let (id, parts) = upload(&bucket, "big/one", &["first ", "second ", "third"]).await;
    assert_eq!(bucket.names("", None).await, Vec::<String>::new());
    let options = PutOptions::when(Condition::IfAbsent);
    let again = bucket.reopened();
    let version = again.complete_upload(&key("big/one"), &id, &parts, &options).await.unwrap();
    assert_eq!(bucket.text("big/one").await.unwrap(), "first second third");
    assert_eq!(bucket.version("big/one").await, Some(version));
    assert_eq!(fs::read_dir(bucket.path(".bayou-folder/uploads")).unwrap().count(), 0);
    let late = again.complete_upload(&key("big/one"), &id, &parts, &options).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn an_upload_with_wrong_parts_or_an_unmet_condition_changes_nothing() {
    let bucket = bucket();
    let (id, parts) = upload(&bucket, "a", &["1", "2"]).await;
    let complete = |parts: Vec<UploadedPart>, options: PutOptions| {
        let (store, id) = (bucket.store.clone(), id.clone());
        async move { store.complete_upload(&key("a"), &id, &parts, &options).await.map_err(|e| e.kind) }
    };
    let mut wrong_tag = parts.clone();
    wrong_tag[1].tag = "x".into();
    let backwards = parts.iter().rev().cloned().collect();
    let unknown = vec![UploadedPart { number: 9, tag: "x".into() }];
    for bad in [wrong_tag, backwards, unknown, vec![]] {
        assert_eq!(complete(bad, always()).await, Err(ErrorKind::Invalid));
    }
    assert_eq!(bucket.text("a").await, Err(ErrorKind::NotFound));
    bucket.put("a", "meanwhile").await;
    let refused = complete(parts.clone(), PutOptions::when(Condition::IfAbsent)).await;
    assert_eq!(refused, Err(ErrorKind::Exists));
    assert_eq!(bucket.text("a").await.unwrap(), "meanwhile");
    complete(parts, always()).await.unwrap();
    assert_eq!(bucket.text("a").await.unwrap(), "12");
}

#[tokio::test]
async fn an_upload_belongs_to_its_key_and_can_be_given_up_twice() {
    let bucket = bucket();
    let (id, parts) = upload(&bucket, "a", &["1"]).await;
    let stolen = bucket.store.complete_upload(&key("b"), &id, &parts, &always()).await.unwrap_err();
    assert_eq!(stolen.kind, ErrorKind::NotFound);
    for hostile in ["../odd", "", "."] {
        bucket.store.abort_upload(&key("a"), &UploadId(hostile.into())).await.unwrap();
    }
    for _ in 0..2 {
        bucket.store.abort_upload(&key("a"), &id).await.unwrap();
    }
    let late = bucket.store.upload_part(&key("a"), &id, 2, "x".into()).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_instances_that_create_one_key_exactly_one_wins() {
    let bucket = bucket();
    for round in 0..10 {
        let name = format!("d/{round}");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, name) = (bucket.reopened(), key(&name));
            let options = PutOptions::when(Condition::IfAbsent);
            tasks.spawn(async move { store.put(&name, "x".into(), &options).await.map(|_| options.nonce) });
        }
        let outcomes = tasks.join_all().await;
        let winners: Vec<Nonce> = outcomes.iter().filter_map(|o| o.as_ref().ok().cloned()).collect();
        let losers = outcomes.iter().filter(|o| o.as_ref().is_err_and(|e| e.kind == ErrorKind::Exists));
        assert_eq!((winners.len(), losers.count()), (1, 7));
        assert!(bucket.store.head(&key(&name)).await.unwrap().unwrap().carries(&winners[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creating_and_deleting_in_one_folder_at_once_loses_nothing() {
    let bucket = bucket();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let store = bucket.reopened();
        tasks.spawn(async move {
            for _ in 0..50 {
                let name = key(&format!("shared/deep/{task}"));
                store.put(&name, "x".into(), &always()).await.unwrap();
                assert!(store.head(&name).await.unwrap().is_some());
                store.delete(&name, &Condition::Always).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert!(!bucket.path("shared").exists());
}

/// One thing that somebody does to a bucket.
#[derive(Debug, Clone)]
enum Act {
    Put(&'static str),
    PutIfAbsent(&'static str),
    Delete(&'static str),
    Copy(&'static str, &'static str),
    /// Another program writes a file, if nothing is in the way.
    Foreign(&'static str),
}

fn any_act() -> impl Strategy<Value = Act> {
    let name = || proptest::sample::select(vec!["a", "a/b", "a/b/c", "a/", "a//b", "d"]);
    prop_oneof![
        3 => name().prop_map(Act::Put),
        1 => name().prop_map(Act::PutIfAbsent),
        3 => name().prop_map(Act::Delete),
        1 => (name(), name()).prop_map(|(from, to)| Act::Copy(from, to)),
        1 => proptest::sample::select(vec!["a", "a/b", "d"]).prop_map(Act::Foreign),
    ]
}

/// Does the act to the bucket and to the model of it.
async fn act(bucket: &Bucket, model: &mut BTreeMap<String, String>, act: &Act, body: &str) {
    let if_absent = PutOptions::when(Condition::IfAbsent);
    let written = |name: &str| (name.to_owned(), body.to_owned());
    match act {
        Act::Put(name) => {
            bucket.put(name, body).await;
            model.extend([written(name)]);
        }
        Act::PutIfAbsent(name) => {
            let put = bucket.store.put(&key(name), body.to_owned().into(), &if_absent).await;
            assert_eq!(put.is_ok(), !model.contains_key(*name));
            model.extend(put.is_ok().then(|| written(name)));
        }
        Act::Delete(name) => {
            bucket.store.delete(&key(name), &Condition::Always).await.unwrap();
            model.remove(*name);
        }
        Act::Copy(from, to) => {
            let Some(version) = bucket.version(from).await else { return };
            bucket.store.copy(&key(from), &version, &key(to), &always()).await.unwrap();
            model.extend([((*to).to_owned(), model[*from].clone())]);
        }
        Act::Foreign(name) => {
            // Behind an object that is kept aside the file of another program stays hidden.
            let is_aside = model.contains_key(*name) && !bucket.path(name).is_file();
            if !is_aside && fs::write(bucket.path(name), body).is_ok() {
                model.extend([written(name)]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn names_that_clash_in_any_way_behave_as_in_a_bucket(acts in proptest::collection::vec(any_act(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bucket = bucket();
            let mut model = BTreeMap::new();
            for (at, one) in acts.iter().enumerate() {
                act(&bucket, &mut model, one, &format!("body {at}")).await;
                let listed = bucket.names("", None).await;
                assert!(listed.iter().eq(model.keys()), "after {one:?}: {listed:?}, not {model:?}");
            }
            for (name, body) in &model {
                assert_eq!(&bucket.text(name).await.unwrap(), body, "{name}");
            }
        });
    }
}

const RACE_FOLDER: &str = "BAYOU_TEST_RACE_FOLDER";
const RACE_KEYS: usize = 150;

/// Does nothing by itself: `of_two_processes…` starts it in processes of its own.
#[tokio::test]
async fn one_process_of_the_race() {
    let Ok(folder) = std::env::var(RACE_FOLDER) else { return };
    let store = FolderStore::open(Path::new(&folder)).unwrap();
    let body = Bytes::from(std::process::id().to_string());
    let mut won = 0;
    for at in 0..RACE_KEYS {
        let options = PutOptions::when(Condition::IfAbsent);
        match store.put(&key(&format!("race/{at}")), body.clone(), &options).await {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind, ErrorKind::Exists),
        }
    }
    fs::write(Path::new(&folder).join(format!("won-{}", std::process::id())), won.to_string()).unwrap();
}

#[tokio::test]
async fn of_two_processes_that_create_one_key_exactly_one_wins() {
    let bucket = bucket();
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_process_of_the_race"])
            .env(RACE_FOLDER, bucket.folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let children = [child(), child(), child()];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut claimed = 0;
    for name in bucket.names("won-", None).await {
        let won: usize = bucket.text(&name).await.unwrap().parse().unwrap();
        let pid = name.strip_prefix("won-").unwrap();
        let mut owned = 0;
        for at in 0..RACE_KEYS {
            owned += usize::from(bucket.text(&format!("race/{at}")).await.unwrap() == pid);
        }
        assert_eq!(won, owned, "process {pid}");
        claimed += won;
    }
    assert_eq!(claimed, RACE_KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_never_sees_a_mixture_of_two_puts() {
    let bucket = bucket();
    let body = |at: u8| Bytes::from(vec![b'a' + at % 26; 100_000]);
    bucket.store.put(&key("a"), body(0), &always()).await.unwrap();
    let store = bucket.reopened();
    let writer = tokio::spawn(async move {
        for at in 0..60 {
            store.put(&key("a"), body(at), &always()).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let seen = bucket.store.get(&key("a"), None, None).await.unwrap().body;
        assert!(seen.len() == 100_000 && seen.iter().all(|byte| *byte == seen[0]));
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_missing_folder_is_no_bucket_and_a_file_is_none_either() {
    let outer = tempfile::tempdir().unwrap();
    let missing = FolderStore::open(&outer.path().join("none")).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NoBucket);
    fs::write(outer.path().join("file"), "").unwrap();
    assert_eq!(FolderStore::open(&outer.path().join("file")).unwrap_err().kind, ErrorKind::NoBucket);
}

#[tokio::test]
async fn a_folder_that_is_removed_is_no_bucket_and_not_an_empty_one() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("bucket");
    fs::create_dir(&root).unwrap();
    let store = FolderStore::open(&root).unwrap();
    fs::remove_dir(&root).unwrap();
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind, ErrorKind::NoBucket);
    assert_eq!(store.get(&key("a"), None, None).await.unwrap_err().kind, ErrorKind::NoBucket);
    assert_eq!(store.put(&key("a"), "x".into(), &always()).await.unwrap_err().kind, ErrorKind::NoBucket);
    let listed: Result<Vec<_>, _> = store.list("", None).try_collect().await;
    assert_eq!(listed.unwrap_err().kind, ErrorKind::NoBucket);
}

#[tokio::test]
async fn a_filesystem_without_user_attributes_is_refused_with_the_reason() {
    let error = FolderStore::open(Path::new("/proc")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.to_string().contains("extended attributes"), "{error}");
}

/// Runs work on threads that are nobody's, because root may write everywhere.
fn as_nobody<F: Future<Output = ()>>(work: impl FnOnce() -> F) {
    let nobody = || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().on_thread_start(nobody).build().unwrap();
    runtime.block_on(work());
}

#[test]
fn a_folder_that_may_not_be_written_is_denied_and_still_read() {
    let bucket = bucket();
    fs::write(bucket.path("a"), "1").unwrap();
    fs::set_permissions(bucket.folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    as_nobody(|| async {
        let put = bucket.store.put(&key("b"), "2".into(), &always()).await;
        assert_eq!(put.unwrap_err().kind, ErrorKind::Denied);
        let delete = bucket.store.delete(&key("a"), &Condition::Always).await;
        assert_eq!(delete.unwrap_err().kind, ErrorKind::Denied);
        assert_eq!(bucket.text("a").await.unwrap(), "1");
        assert_eq!(bucket.names("", None).await, ["a"]);
    });
    fs::set_permissions(bucket.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(bucket.path("a"), fs::Permissions::from_mode(0o000)).unwrap();
    as_nobody(|| async { assert_eq!(bucket.text("a").await, Err(ErrorKind::Denied)) });
}

#[tokio::test]
async fn the_address_names_the_folder() {
    let bucket = bucket();
    let path = bucket.folder.path().canonicalize().unwrap();
    assert_eq!(bucket.store.address(), format!("file://{}", path.display()));
}
