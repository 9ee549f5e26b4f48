//! `bayou index`: showing, checking, repairing, rebuilding and migrating an index.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use bayou_test_server::{Options, S3Server};
use serde_json::Value;

use crate::person::{Person, write};

fn with_two_files() -> Person {
    let person = Person::new();
    fs::create_dir_all(person.bucket("audit")).unwrap();
    write(person.bucket("audit/a"), b"one");
    write(person.bucket("audit/b"), b"three");
    person.run(&["sync", &person.source()]).says(&[]);
    person
}

fn json(person: &Person, words: &[&str]) -> Value {
    let said = person.run(words);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[test]
fn an_index_is_shown_whole_and_by_path() {
    let person = with_two_files();
    let source = person.source();
    person.run(&["index", "show", &source]).says(&["monolith, 2 entries, 8 bytes"]);
    let shown = json(&person, &["index", "show", &source, "--json"]);
    assert_eq!(
        (&shown["layout"], &shown["entries"], &shown["bytes"]),
        (&"monolith".into(), &2.into(), &8.into())
    );
    let entries = json(&person, &["index", "show", &source, "audit", "--json"]);
    assert_eq!((&entries[1]["key"], &entries[1]["size"]), (&"audit/b".into(), &5.into()));
    person.run(&["index", "show", &source, "nothing"]).fails_with(2, &["names neither \"nothing\""]);
}

#[test]
fn an_index_that_is_not_true_is_told_and_repaired() {
    let person = with_two_files();
    let source = person.source();
    person.run(&["index", "verify", &source]).says(&["The index is true"]);
    fs::remove_file(person.bucket("audit/a")).unwrap();
    let untrue = person.run(&["index", "verify", &source]);
    assert_eq!(untrue.code, 2, "{untrue:?}");
    assert!(untrue.err.contains("is not true; `bayou index verify"), "{untrue:?}");
    assert!(untrue.out.contains("entries whose objects are gone: 1\n  audit/a\n"), "{untrue:?}");
    let found = json(&person, &["index", "verify", &source, "--json"]);
    assert_eq!(found["findings"][0]["problem"], "dangling");
    person.run(&["index", "verify", &source, "--repair"]).says(&["Repaired"]);
    person.run(&["index", "verify", &source]).says(&["The index is true"]);
    assert!(!person.bucket(".datastore.lock").exists(), "the lock is given back");
}

#[test]
fn a_damaged_index_is_rebuilt() {
    let person = with_two_files();
    let source = person.source();
    write(person.bucket(".datastore-index.json"), b"{");
    person.run(&["index", "show", &source]).fails_with(2, &["cannot be read", "is damaged at line 1"]);
    let verified = person.run(&["index", "verify", &source]);
    assert_eq!(verified.code, 2, "{verified:?}");
    assert!(
        verified.out.contains("documents of the index that cannot be read: 1\n  .datastore-index.json\n"),
        "{verified:?}"
    );
    assert!(verified.err.contains(&format!("`bayou index rebuild {source}` makes it so")), "{verified:?}");
    let refused = person.run(&["index", "verify", &source, "--repair"]);
    refused.fails_with(2, &["cannot be read", "`bayou index rebuild`"]);
    person.run(&["index", "rebuild", &source]).says(&["2 entries"]);
    person.run(&["index", "verify", &source]).says(&["The index is true"]);
}

#[test]
fn a_monolith_is_migrated_once() {
    let person = with_two_files();
    let source = person.source();
    person.run(&["index", "migrate", &source]).says(&["1 shard, commit 1"]);
    person.run(&["index", "show", &source]).says(&["shards (1, commit 1), 2 entries"]);
    person.run(&["index", "migrate", &source]).fails_with(2, &["sharded already"]);
    person.mount(&source, &[]);
    write(person.mnt("audit/c"), b"more");
    person.umount().says(&[]);
    let shown = json(&person, &["index", "show", &source, "--json"]);
    assert_eq!((&shown["entries"], &shown["commit_seq"]), (&3.into(), &2.into()));
}

#[test]
fn who_leaves_a_migrated_bucket_leaves_no_old_monolith_that_misleads() {
    let person = with_two_files();
    let source = person.source();
    person.run(&["index", "migrate", &source]).says(&[]);
    let monolith = || fs::read_to_string(person.bucket(".datastore-index.json")).unwrap();
    person.mount(&source, &["--write-back=1h"]);
    write(person.mnt("audit/umounted"), b"x");
    person.umount().says(&["Flushed 1 file"]);
    person.run(&["index", "verify", &source]).says(&["The index is true"]);
    assert!(monolith().contains("audit/umounted"));
    person.mount(&source, &["--write-back=1h"]);
    write(person.mnt("audit/synced"), b"x");
    person.kill_daemon();
    person.umount().says(&["had died"]);
    person.run(&["sync", &source]).says(&["Pushed 1 file"]);
    person.run(&["index", "verify", &source]).says(&["The index is true"]);
    assert!(monolith().contains("audit/synced"));
}

#[test]
fn a_mount_that_reads_little_of_the_index_knows_how_many_entries_it_has() {
    let person = with_two_files();
    let source = person.source();
    fs::create_dir(person.bucket("logs")).unwrap();
    write(person.bucket("logs/a"), b"one");
    // What is new may be about to be named by its writer.
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(person.bucket("logs/a")).unwrap().set_modified(long_ago).unwrap();
    person.run(&["index", "verify", &source, "--repair"]).says(&["Repaired"]);
    person.run(&["index", "migrate", &source]).says(&["2 shards"]);
    for entries in 3..5 {
        person.mount(&source, &["--write-back=1h"]);
        assert_eq!(person.status()["index_entries"], entries);
        write(person.mnt(&format!("audit/{entries}")), b"x");
        assert_eq!(person.status()["index_entries"], entries, "it is not in the index yet");
        person.run(&["sync", &person.path("mnt")]).says(&["Pushed 1 file"]);
        assert_eq!(person.status()["index_entries"], entries + 1);
        person.umount().says(&[]);
    }
    person.mount(&source, &["--write-back=1h"]);
    fs::remove_file(person.mnt("logs/a")).unwrap();
    assert_eq!(person.status()["index_entries"], 5, "it is in the index still");
    person.run(&["sync", &person.path("mnt")]).says(&["Removed 1 file"]);
    assert_eq!(person.status()["index_entries"], 4);
    person.umount().says(&[]);
}

#[test]
fn every_command_works_on_an_s3_bucket_as_well() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    let source = "s3://bucket/data";
    for key in ["audit/a", "src/main.rs", "infra/audit/b"] {
        server.put_object("bucket", &format!("data/{key}"), "x");
    }
    person.run(&["index", "show", source]).says(&["s3://bucket/data: no index"]);
    person.run(&["index", "rebuild", source]).says(&["objects that no entry names: 3", "3 entries"]);
    person.run(&["index", "verify", source]).says(&["The index is true"]);
    server.put_object("bucket", "data/audit/a", "changed");
    let untrue = person.run(&["index", "verify", source]);
    assert_eq!(untrue.code, 2, "{untrue:?}");
    assert!(untrue.out.contains("entries of an older version than the object: 1\n  audit/a\n"), "{untrue:?}");
    person.run(&["index", "verify", source, "--repair"]).says(&["Repaired"]);
    person.run(&["index", "migrate", source]).fails_with(2, &["infra/audit/b, src/main.rs", "--keep-beside"]);
    person.run(&["index", "migrate", source, "--keep-beside"]).says(&["2 files are seen by bayou only"]);
    person.run(&["index", "show", source]).says(&["shards (1, commit 1), 3 entries"]);
    person.run(&["index", "verify", source]).says(&["The index is true"]);
    let part = &[source, "--namespace", "infra"];
    person.run(&[&["index", "show"], &part[..]].concat()).says(&["s3://bucket/data/infra: no index"]);
    let untrue = person.run(&[&["index", "verify"], &part[..]].concat());
    assert!(
        untrue.err.contains("`bayou index verify s3://bucket/data --namespace infra --repair`"),
        "{untrue:?}"
    );
    person.run(&[&["index", "verify", "--repair"], &part[..]].concat()).says(&["1 entry", "Repaired"]);
}

#[test]
fn a_bucket_without_an_index_gets_one_when_it_is_repaired() {
    let person = Person::new();
    let source = person.source();
    person.run(&["index", "verify", &source]).says(&["no index", "The index is true"]);
    person.run(&["index", "verify", &source, "--repair"]).says(&["no index", "The index is true"]);
    write(person.bucket("a"), b"x");
    let repaired = person.run(&["index", "verify", &source, "--repair"]);
    repaired.says(&["1 entry", "objects that no entry names: 1\n  a\n", "Repaired"]);
    person.run(&["index", "verify", &source]).says(&["1 entry", "The index is true"]);
}

#[test]
fn what_is_shown_is_named_as_people_name_files() {
    let person = with_two_files();
    let source = person.source();
    for words in [["audit", "audit/a"], ["audit/", "audit/b"]] {
        person.run(&[&["index", "show", &source], &words[..]].concat()).says(&["audit/a\n", "audit/b\n"]);
    }
    for missing in ["aud", "audit/a/", "/audit"] {
        let said = person.run(&["index", "show", &source, "audit/b", missing]);
        said.fails_with(2, &[&format!("names neither {missing:?} nor anything below it")]);
    }
}
