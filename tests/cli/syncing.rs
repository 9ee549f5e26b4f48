//! `bayou sync` and `bayou status`: one push per command, honest counts.

use std::fs;

use bayou_test_server::{Action, Fault, Op, Options, Recorded, Refusal, S3Server};

use crate::person::{Person, wait_until, write, write_synced};

const SOURCE: &str = "s3://bucket/data";

fn is_put_of(key: &'static str) -> impl Fn(&Recorded) -> bool {
    move |request| request.op == Op::PutObject && request.key == key
}

#[test]
fn status_tells_dirty_from_clean_for_the_mount_and_for_each_file() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    assert_eq!(person.status()["state"], "clean");
    write(person.mnt("a"), b"four");
    let status = person.status();
    assert_eq!(status["state"], "dirty");
    assert_eq!(status["dirty"], serde_json::json!({"files": 1, "bytes": 4}));
    let file = person.mnt("a");
    person.run(&["status", file.to_str().unwrap()]).says(&["a: dirty", "4 bytes of 4 bytes"]);
    person.run(&["status", &person.path("mnt")]).says(&["not in the bucket yet  1 file (4 bytes)"]);
    person.run(&["sync", &person.path("mnt")]).says(&["Pushed 1 file (4 bytes)", "Both sides are the same"]);
    assert_eq!(person.status()["state"], "clean");
    assert_eq!(person.status()["dirty"]["files"], 0);
}

#[test]
fn a_folder_that_is_no_mount_may_be_meant_as_a_bucket() {
    let person = Person::new();
    let said = person.run(&["sync", "bucket"]);
    said.fails_with(
        3,
        &["is not in a mount of bayou", &format!("if it is a bucket, name it {}", person.source())],
    );
    let said = person.run(&["sync"]);
    said.fails_with(3, &["is not in a mount of bayou"]);
    assert!(!said.err.contains("if it is a bucket"), "{said:?}");
}

#[test]
fn a_mount_is_synced_from_inside_without_naming_it() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    write(person.mnt("a"), b"x");
    fs::create_dir(person.mnt("dir")).unwrap();
    let said = person.command(&["sync", "--push", "--json"]).current_dir(person.mnt("dir")).output().unwrap();
    let said = crate::Said::of(said);
    said.says(&["\"pushed\": {"]);
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"x");
}

#[test]
fn a_source_that_is_mounted_is_synced_through_its_mount() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    write(person.mnt("a"), b"x");
    person.run(&["sync", &person.source()]).says(&["Pushed 1 file (1 byte)"]);
    assert_eq!(person.status()["state"], "clean");
}

#[test]
fn pull_takes_no_lock_and_writes_nothing() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h", "--refresh=0"]);
    write_synced(person.mnt("first"), b"1").unwrap();
    let lock = || server.object("bucket", "data/.datastore.lock");
    wait_until("the lock of the fsync is given back", || lock().is_none());
    write(person.mnt("dirty"), b"2");
    server.reset_counts();
    let said = person.run(&["sync", "--pull", &person.path("mnt")]);
    said.says(&["Pulled nothing new from s3://bucket/data\n"]);
    assert!(!said.out.contains("Pushed") && !said.out.contains("same"), "{said:?}");
    let writes: Vec<Recorded> =
        server.requests().into_iter().filter(|request| request.op.is_write()).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(person.status()["dirty"]["files"], 1);
}

#[test]
fn push_downloads_no_content() {
    let server = S3Server::start(Options::default());
    for number in 0..5 {
        server.put_object("bucket", &format!("data/old/{number}"), "content");
    }
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    write(person.mnt("new"), b"x");
    server.reset_counts();
    person.run(&["sync", "--push", &person.path("mnt")]).says(&["Pushed 1 file (1 byte)"]);
    let is_content = |request: &Recorded| request.op == Op::GetObject && request.key.starts_with("data/old/");
    assert!(!server.requests().iter().any(is_content));
}

#[test]
fn a_push_that_is_refused_is_tried_once_and_claims_nothing() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    write(person.mnt("a"), b"x");
    server.reset_counts();
    server.fault(Fault::on_writes(Action::Refuse(Refusal::access_denied())));
    let said = person.run(&["sync", "--push", &person.path("mnt")]);
    said.fails_with(8, &["s3://bucket/data", "policy"]);
    assert_eq!(server.requests().iter().filter(|request| is_put_of("data/a")(request)).count(), 1);
    assert_eq!(person.status()["dirty"]["files"], 1);
}

#[test]
fn k_9_a_source_without_a_mount_is_synced_too() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    server.put_object("bucket", "data/a", "x");
    person.run(&["sync", "--pull", SOURCE]).says(&["Pulled 1 changed entry from s3://bucket/data"]);
    person.run(&["sync", "--pull", SOURCE]).says(&["Pulled nothing new"]);
    person.run(&["sync", SOURCE]).says(&["Pushed nothing to s3://bucket/data"]);
}

#[test]
fn a_conflict_is_listed_and_decides_the_exit_code() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h", "--refresh=0"]);
    write_synced(person.mnt("a.txt"), b"base").unwrap();
    let mut other = Person::at(&server);
    other.set("BAYOU_WRITE_BACK", "1h");
    other.mount(SOURCE, &[]);
    write_synced(other.mnt("a.txt"), b"theirs, and longer").unwrap();
    write(person.mnt("a.txt"), b"ours");
    let said = person.run(&["sync", &person.path("mnt")]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.out.contains("Changed here and elsewhere: a.conflict-"), "{said:?}");
    assert_eq!(fs::read(person.mnt("a.txt")).unwrap(), b"theirs, and longer");
    let kept = person.status()["conflicts"][0].as_str().unwrap().to_owned();
    assert_eq!(fs::read(person.mnt(&kept)).unwrap(), b"ours");
}
