//! What can be wrong with what the program is given: each is one clear sentence with the way
//! out and its exit code, and nothing is lost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use bayou_test_server::{Action, Fault, KeyPair, Options, Refusal, S3Server};

use crate::person::{Person, write, write_synced};

const SOURCE: &str = "s3://bucket/data";
/// "Read-only file system".
const EROFS: i32 = 30;

#[track_caller]
fn refuses(person: &Person, source: &str, code: i32, words: &[&str]) {
    person.run(&["mount", source, &person.path("mnt"), "--timeout=3s"]).fails_with(code, words);
    assert!(!person.is_mounted());
}

#[test]
fn a_bucket_that_does_not_exist() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    refuses(&person, "s3://nowhere/data", 7, &["s3://nowhere/data does not exist", "create it"]);
    person.run(&["sync", "s3://nowhere/data"]).fails_with(7, &["does not exist"]);
}

#[test]
fn a_server_that_does_not_answer() {
    let mut person = Person::at(&S3Server::start(Options::default()));
    person.set("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    refuses(&person, SOURCE, 7, &["s3://bucket/data cannot be reached", "--endpoint-url"]);
    person.run(&["sync", SOURCE, "--timeout=2s"]).fails_with(7, &["cannot be reached"]);
}

#[test]
fn h_11_no_credentials() {
    let server = S3Server::start(Options::default());
    let mut person = Person::new();
    person.set("AWS_ENDPOINT_URL_S3", &server.url());
    refuses(&person, SOURCE, 8, &["s3://bucket/data", "AWS_ACCESS_KEY_ID", "--no-sign-request"]);
}

#[test]
fn h_11_a_machine_whose_cloud_does_not_answer_is_not_waited_for() {
    let (server, silent) = (S3Server::start(Options::default()), S3Server::start(Options::default()));
    silent.fault(Fault::on_any(Action::Stall));
    let mut person = Person::new();
    person.set("AWS_ENDPOINT_URL_S3", &server.url());
    person.set("AWS_EC2_METADATA_DISABLED", "false");
    person.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &silent.url());
    let begun = SystemClock.instant();
    person
        .run(&["sync", SOURCE])
        .fails_with(8, &["s3://bucket/data", "Datastore session expired or without credentials"]);
    let waited = SystemClock.instant() - begun;
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!(server.count_all(), 0);
}

#[test]
fn wrong_credentials() {
    let server = S3Server::start(Options::default());
    let mut person = Person::at(&server);
    person.set("AWS_SECRET_ACCESS_KEY", "wrong");
    refuses(&person, SOURCE, 8, &["does not accept the credentials"]);
    person.set("AWS_ACCESS_KEY_ID", "unknown");
    refuses(&person, SOURCE, 8, &["does not accept the credentials"]);
}

#[test]
fn a_public_bucket_that_is_not() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    let said = person.run(&["mount", SOURCE, &person.path("mnt"), "--no-sign-request"]);
    said.fails_with(8, &["does not let you in"]);
}

#[test]
fn a_wrong_region() {
    let server = S3Server::start(Options { region: Some("eu-west-1".to_owned()), ..Options::default() });
    let mut person = Person::at(&server);
    person.set("AWS_REGION", "us-west-2");
    refuses(&person, SOURCE, 1, &["--region eu-west-1"]);
}

#[test]
fn a_mountpoint_that_is_missing_or_a_file_or_taken() {
    let person = Person::new();
    let source = person.source();
    let missing = person.path("missing");
    person
        .run(&["mount", &source, &missing])
        .fails_with(32, &["does not exist", &format!("mkdir -p {missing}")]);
    write(person.path("file"), b"");
    person.run(&["mount", &source, &person.path("file")]).fails_with(32, &["not a directory"]);
    person.mount(&source, &[]);
    fs::create_dir(person.path("bucket2")).unwrap();
    let said = person.run(&["mount", &person.path("bucket2"), &person.path("mnt")]);
    said.fails_with(32, &["already mounted", "bayou umount"]);
    person.umount().says(&[]);
}

#[test]
fn a_cache_that_cannot_be_written() {
    let person = Person::new();
    write(person.path("file"), b"");
    for cache in [person.path("file"), "/proc/cache".to_owned()] {
        let said = person.run(&["mount", &person.source(), &person.path("mnt"), "--cache-dir", &cache]);
        said.fails_with(2, &[&cache, "--cache-dir"]);
    }
    assert!(!person.is_mounted());
}

#[test]
fn a_cache_whose_disk_is_full() {
    let person = Person::new();
    let disk = Disk::full(&person.path("disk"));
    let said = person.run(&["mount", &person.source(), &person.path("mnt"), "--cache-dir", &disk.0]);
    said.fails_with(2, &["make room", "--cache-dir"]);
    assert!(!person.is_mounted());
}

/// A disk without a free byte.
struct Disk(String);

impl Disk {
    fn full(path: &str) -> Self {
        fs::create_dir(path).unwrap();
        as_root(&["mount", "-t", "tmpfs", "-o", "size=4k,mode=1777", "full", path]);
        let disk = Self(path.to_owned());
        write(Path::new(path).join("filling"), &[0; 4096]);
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root(&["umount", "-l", &self.0]);
    }
}

fn as_root(words: &[&str]) {
    let words = if fs::metadata("/root/.").is_ok_and(|_| fs::read_dir("/root").is_ok()) {
        words.to_vec()
    } else {
        [&["sudo", "-n"], words].concat()
    };
    assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{words:?}");
}

/// Shows readonly-2.
#[test]
fn credentials_that_may_only_read() {
    let readers = KeyPair::new("reader", "reader-secret");
    let server = S3Server::start(Options { read_only_keys: Some(readers), ..Options::default() });
    server.put_object("bucket", "data/a", "readable");
    let mut person = Person::at(&server);
    person.set("AWS_ACCESS_KEY_ID", "reader");
    person.set("AWS_SECRET_ACCESS_KEY", "reader-secret");
    person.mount(SOURCE, &[]);
    assert_eq!(fs::read(person.mnt("a")).unwrap(), b"readable");
    let refused = fs::File::create(person.mnt("b")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(EROFS));
    person.run(&["status", &person.path("mnt")]).says(&[": read-only", "may only read"]);
    person.umount().says(&[]);
}

#[test]
fn credentials_that_lose_the_right_to_write() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    server.fault(Fault::on_writes(Action::Refuse(Refusal::access_denied())));
    write_synced(person.mnt("b"), b"kept").expect_err("what is not in the bucket is not synced");
    let later = fs::File::create(person.mnt("c")).expect_err("changes after the refusal are refused");
    assert_eq!(later.raw_os_error(), Some(EROFS));
    assert_eq!(fs::read(person.mnt("b")).unwrap(), b"kept");
    let status = person.status();
    assert_eq!(status["dirty"], serde_json::json!({"files": 1, "bytes": 4}));
    assert!(status["read_only_reason"].is_string(), "{status}");
    person.umount().fails_with(5, &["1 file (4 bytes)", person.cache().to_str().unwrap()]);
    server.clear_faults();
    person.run(&["sync", SOURCE]).says(&["Pushed 1 file (4 bytes)"]);
}

#[test]
fn an_index_that_is_damaged() {
    let server = S3Server::start(Options::default());
    server.put_object("bucket", "data/a", "x");
    server.put_object("bucket", "data/.datastore-index.json", "{\"version\": 1, \"entries\": {");
    let person = Person::at(&server);
    refuses(
        &person,
        SOURCE,
        2,
        &["The index .datastore-index.json in", "cannot be read", "`bayou index rebuild`"],
    );
    let kept = server.object("bucket", "data/.datastore-index.json").unwrap();
    assert_eq!(kept.body.as_ref(), b"{\"version\": 1, \"entries\": {");
}

/// Shows tree-8.
#[test]
fn an_index_with_a_path_that_leaves_the_mount() {
    let server = S3Server::start(Options::default());
    server.put_object("bucket", "data/a", "x");
    let entry = |key: &str| {
        format!(r#""{key}":{{"key":"{key}","size":1,"lastModified":"2026-01-01T00:00:00.000Z"}}"#)
    };
    let index = format!(
        r#"{{"version":1,"lastPulled":"2026-01-01T00:00:00.000Z","entries":{{{},{}}}}}"#,
        entry("a"),
        entry("../x")
    );
    server.put_object("bucket", "data/.datastore-index.json", index);
    let person = Person::at(&server);
    person.mount(SOURCE, &[]);
    let names: Vec<_> =
        fs::read_dir(person.path("mnt")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
    assert!(!Path::new(&person.path("x")).exists());
    assert_eq!(person.status()["refused_keys"], 1);
    write_synced(person.mnt("b"), b"y").unwrap();
    let index = server.object("bucket", "data/.datastore-index.json").unwrap();
    assert!(String::from_utf8_lossy(&index.body).contains("\"../x\""), "what we refuse, others keep");
    person.umount().says(&[]);
}

#[test]
fn a_sidecar_and_a_catalog_that_are_damaged() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    write_synced(person.mnt("a"), b"in the bucket").unwrap();
    write(person.mnt("b"), b"only here");
    person.kill_daemon();
    let state = person.cache().join("state");
    write(state.join(".datastore-sync-state.json"), b"{");
    write(state.join("catalog.db"), b"not a database, as long as a page may be");
    person.mount(SOURCE, &[]);
    assert_eq!(fs::read(person.mnt("a")).unwrap(), b"in the bucket");
    let names: Vec<String> = fs::read_dir(person.path("mnt"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let kept = names.iter().find(|name| fs::read(person.mnt(name)).unwrap() == b"only here");
    assert!(kept.is_some_and(|name| name.starts_with('b')), "{names:?}");
    person.umount().says(&[]);
}
