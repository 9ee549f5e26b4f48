//! `bayou lock`: who holds it, and breaking it.

use std::fs;
use std::time::Duration;

use bayou_test_server::{Action, Fault, Op, Options, S3Server};
use serde_json::Value;

use crate::person::{Person, write, write_synced};

/// "Input/output error".
const EIO: i32 = 5;

const THEIRS: &str = "{\n  \"holder\": \"alice@build-3\",\n  \"hostname\": \"build-3\",\n  \"pid\": 4711,\n  \
    \"acquiredAt\": \"2026-08-01T09:31:12.500Z\",\n  \"ttlMs\": 30000,\n  \"nonce\": \"n-1\"\n}";

fn put(person: &Person, key: &str, body: &str) {
    let path = person.bucket(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(path, body.as_bytes());
}

#[test]
fn a_lock_is_shown_and_broken_only_by_force() {
    let person = Person::new();
    let source = person.source();
    person.run(&["lock", "status", &source]).says(&["nobody holds the lock .datastore.lock"]);
    person.run(&["lock", "release", &source, "--force"]).says(&["Nothing to break"]);

    put(&person, ".datastore.lock", THEIRS);
    person.run(&["lock", "status", &source]).says(&["held by alice@build-3 (pid 4711)", "counts for"]);
    let way_out = format!("`bayou lock release {source} --force`");
    let refused = person.run(&["lock", "release", &source]);
    refused.fails_with(1, &["held by alice@build-3 (pid 4711)", "two write at once", &way_out]);
    assert_eq!(fs::read_to_string(person.bucket(".datastore.lock")).unwrap(), THEIRS);
    person.run(&["lock", "release", &source, "--force"]).says(&["Broke the lock", "alice@build-3"]);
    assert!(!person.bucket(".datastore.lock").exists());
}

#[test]
fn a_lock_as_json_has_stable_keys_and_no_lock_is_no_failure() {
    let person = Person::new();
    let source = person.source();
    let status = || -> Value {
        let said = person.run(&["lock", "status", &source, "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    };
    assert_eq!((&status()["held"], &status()["holder"]), (&false.into(), &Value::Null));
    put(&person, ".datastore.lock", THEIRS);
    let held = status();
    assert_eq!((&held["held"], &held["pid"]), (&true.into(), &4711.into()));
    assert_eq!((&held["ttl_ms"], &held["nonce"]), (&30_000.into(), &"n-1".into()));
    let said = person.run(&["lock", "release", &source, "--force", "--json"]);
    let released: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&released["released"], &released["previous"]["nonce"]), (&true.into(), &"n-1".into()));
}

#[test]
fn a_lock_that_cannot_be_read_has_a_way_out_too() {
    let person = Person::new();
    let source = person.source();
    put(&person, ".datastore.lock", "not json");
    person.run(&["lock", "status", &source]).says(&["nothing that can be read", "never lapses", "--force"]);
    person.run(&["lock", "release", &source, "--force"]).says(&["Broke the lock"]);
    assert!(!person.bucket(".datastore.lock").exists());
}

#[test]
fn each_lock_has_its_flags() {
    let person = Person::new();
    let source = person.source();
    for (key, flags) in [
        (".locks/infra.lock", &["--namespace=infra"][..]),
        ("data/aws/ec2/vpc/m-1/.lock", &["--model=aws/ec2/vpc/m-1"]),
        ("infra/data/probe/m-2/.lock", &["--namespace=infra", "--model=probe/m-2"]),
    ] {
        put(&person, key, THEIRS);
        let words = [&["lock", "release", &source][..], flags].concat();
        let said = person.run(&words);
        said.fails_with(1, &[key]);
        // The way out is taken at its word.
        let told = said.err.split('`').nth(1).unwrap().to_owned();
        let way_out: Vec<&str> = told.split_whitespace().skip(1).collect();
        person.run(&way_out).says(&["Broke the lock", key]);
        assert!(!person.bucket(key).exists());
    }
    person.run(&["lock", "status", &source, "--model=m"]).fails_with(1, &["\"m\" names no model", "TYPE/ID"]);
    assert_eq!(person.run(&["lock", "status", &source, "--namespace=A/b"]).code, 1);
}

#[test]
fn a_lock_is_below_the_prefix_and_a_bucket_that_is_not_there_is_named() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    server.put_object("bucket", "team/a/.datastore.lock", THEIRS);
    server.put_object("bucket", ".datastore.lock", THEIRS);
    person.run(&["lock", "release", "s3://bucket/team/a", "--force"]).says(&["s3://bucket/team/a"]);
    assert_eq!(server.keys("bucket"), [".datastore.lock"]);
    person.run(&["lock", "status", "s3://nowhere"]).fails_with(7, &["s3://nowhere does not exist"]);
    assert_eq!(person.run(&["lock"]).code, 1);
}

#[test]
fn fsync_waits_for_another_holder_then_fails_and_the_log_names_it() {
    let person = Person::new();
    let source = person.source();
    person.mount(&source, &["--timeout=3s", "--write-back=1h", "--refresh=0"]);
    put(&person, ".datastore.lock", &THEIRS.replace("30000", "3600000"));
    let refused = write_synced(person.mnt("f"), b"ours").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(EIO));
    let log = fs::read_to_string(person.cache().join("state/bayou.log")).unwrap();
    assert!(log.contains("alice@build-3 (pid 4711)"), "{log}");
    assert_eq!(person.status()["dirty"]["files"], 1);

    person.run(&["lock", "release", &source, "--force"]).says(&["Broke the lock"]);
    person.run(&["sync", &source]).says(&["Pushed 1 file"]);
    assert_eq!(fs::read(person.bucket("f")).unwrap(), b"ours");
    assert_eq!(person.umount().code, 0);
    assert!(!person.bucket(".datastore.lock").exists(), "no lock is left behind");
}

#[test]
fn who_ends_has_given_the_lock_back() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    let slow = Action::Delay(Duration::from_millis(500));
    server.fault(Fault::on(Op::DeleteObject, slow).key(".datastore.lock"));
    let has_lock = || server.keys("bucket").iter().any(|key| key.ends_with(".datastore.lock"));
    person.mount("s3://bucket/data", &["--write-back=1h"]);
    write(person.mnt("a"), b"x");
    person.run(&["sync", "s3://bucket/data"]).says(&["1 file"]);
    write(person.mnt("b"), b"x");
    assert_eq!(person.umount().code, 0);
    assert!(!has_lock(), "after umount");
    person.mount("s3://bucket/data", &["--write-back=1h"]);
    write(person.mnt("c"), b"x");
    person.kill_daemon();
    person.umount().says(&["had died"]);
    person.run(&["sync", "s3://bucket/data"]).says(&["1 file"]);
    assert!(!has_lock(), "after a sync of its own");
}
