//! The same program on Google Cloud Storage: the story of the quick start, every way to say how
//! the bucket is reached, and what is said when it is not.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use bayou_test_server::{Access, GcsOptions, GcsServer, Op};

use crate::person::{Person, Said, write, write_synced};

const SOURCE: &str = "gs://bucket/data";

fn start() -> GcsServer {
    GcsServer::start(GcsOptions::default())
}

/// Returns somebody for whom the server is Google's emulator.
fn person_at(server: &GcsServer) -> Person {
    let mut person = Person::new();
    person.set("STORAGE_EMULATOR_HOST", &server.address().to_string());
    person
}

fn body(server: &GcsServer, key: &str) -> Option<String> {
    let object = server.object("bucket", &format!("data/{key}"))?;
    Some(String::from_utf8(object.body.to_vec()).unwrap())
}

#[test]
fn the_story_of_the_quick_start() {
    let server = start();
    server.put_object("bucket", "data/notes/one.txt", "needle");
    let person = person_at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    server.reset_counts();
    assert_eq!(fs::read_dir(person.mnt("notes")).unwrap().count(), 1);
    assert_eq!(server.count_all(), 0, "looking costs no request");
    assert_eq!(fs::read_to_string(person.mnt("notes/one.txt")).unwrap(), "needle");
    assert_eq!((server.count_all(), server.count(Op::GetObject)), (1, 1), "a cold read is one");
    write_synced(person.mnt("hello.txt"), b"hello").unwrap();
    assert_eq!(body(&server, "hello.txt").as_deref(), Some("hello"), "fsync waits for the bucket");
    assert!(body(&server, ".datastore-index.json").unwrap().contains("\"hello.txt\""));
    write(person.mnt("later.txt"), b"later");
    person.run(&["sync", &person.path("mnt")]).says(&[]);
    assert_eq!(body(&server, "later.txt").as_deref(), Some("later"));
    person.umount().says(&[]);
    person.run(&["index", "verify", SOURCE]).says(&[]);
    person.run(&["index", "show", SOURCE]).says(&["monolith, 3 entries"]);
    person.run(&["lock", "status", SOURCE]).says(&["nobody holds the lock"]);
    person.run(&["sync", SOURCE]).says(&[]);
}

#[test]
fn a_lock_that_somebody_holds_is_shown_with_its_age_and_can_be_broken() {
    let server = start();
    let lock = r#"{"holder":"alice@build-3","hostname":"build-3","pid":4711,"acquiredAt":"2026-08-01T09:31:12.500Z","ttlMs":30000,"nonce":"n"}"#;
    server.put_object("bucket", "data/.datastore.lock", lock);
    let person = person_at(&server);
    person.run(&["lock", "status", SOURCE]).says(&["alice@build-3"]);
    person.run(&["lock", "release", SOURCE, "--force"]).says(&["Broke the lock"]);
    assert_eq!(body(&server, ".datastore.lock"), None);
}

#[test]
fn the_bucket_is_reached_as_options_of_fstab_and_settings_say() {
    let server = start();
    server.set_access(Access::Issued);
    let mut person = Person::new();
    write(person.path("key.json"), server.authorized_user().as_bytes());
    let (key, mnt) = (person.path("key.json"), person.path("mnt"));
    let list = format!("rw,_netdev,endpoint_url={},key_file={key}", server.url());
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayou"));
    command.arg0("/sbin/mount.fuse.bayou").args([SOURCE, &mnt, "-o", &list]);
    person.dress(&mut command);
    Said::of(command.output().unwrap()).says(&[]);
    write(person.mnt("a"), b"x");
    person.umount().says(&[]);
    assert_eq!(body(&server, "a").as_deref(), Some("x"));

    person.configure(&format!("endpoint-url = \"{}\"\nkey-file = \"{key}\"\n", server.url()));
    person.run(&["index", "show", SOURCE]).says(&["1"]);
    person.configure("");
    person.set("BAYOU_ENDPOINT_URL", &server.url());
    person.set("BAYOU_KEY_FILE", "key.json");
    person.run(&["index", "show", SOURCE]).says(&["1"]);
    server.set_access(Access::Open);
    person.run(&["index", "show", SOURCE, "--no-sign-request"]).says(&["1"]);
    assert!(server.requests().last().unwrap().bearer.is_none());
}

#[track_caller]
fn refuses(person: &Person, source: &str, code: i32, words: &[&str]) {
    person.run(&["mount", source, &person.path("mnt"), "--timeout=3s"]).fails_with(code, words);
    assert!(!person.is_mounted());
}

#[test]
fn what_is_wrong_is_one_sentence_with_the_way_out() {
    let server = start();
    let mut person = person_at(&server);
    refuses(&person, "gs://nowhere/data", 7, &["gs://nowhere/data does not exist", "bucket's name"]);
    refuses(&person, "gs://Bad_/data", 1, &["cannot be the name of a GCS bucket"]);
    server.set_access(Access::Denied);
    refuses(&person, SOURCE, 8, &["does not let you in", "Datastore credentials rejected by GCS"]);
    server.set_access(Access::Bearer("another".to_owned()));
    refuses(
        &person,
        SOURCE,
        8,
        &["does not accept the credentials", "gcloud auth application-default login"],
    );
    server.refuse_tokens(Some("invalid_grant"));
    write(person.path("key.json"), server.authorized_user().as_bytes());
    let said =
        person.run(&["sync", SOURCE, "--key-file=key.json", "--endpoint-url", &server.url(), "--timeout=3s"]);
    said.fails_with(8, &["Datastore session expired", "`gcloud auth application-default login`"]);
    person.run(&["sync", SOURCE, "--key-file=none.json"]).fails_with(8, &["none.json", "cannot be read"]);
    person.set("STORAGE_EMULATOR_HOST", "127.0.0.1:9");
    refuses(&person, SOURCE, 7, &["gs://bucket/data cannot be reached", "--endpoint-url"]);
}

#[test]
fn credentials_that_the_environment_names_and_nobody_has_are_missed_at_once() {
    let mut person = Person::new();
    person.set("GOOGLE_APPLICATION_CREDENTIALS", &person.path("none.json"));
    refuses(&person, SOURCE, 8, &["none.json", "gcloud auth application-default login"]);
}
