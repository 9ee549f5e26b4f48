//! `bayou index`: showing, checking, repairing, rebuilding and migrating an index.

use std::fs;

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
    person.run(&["index", "migrate", &source]).says(&["1 shards, commit 1"]);
    person.run(&["index", "show", &source]).says(&["shards (1, commit 1), 2 entries"]);
    person.run(&["index", "migrate", &source]).fails_with(2, &["sharded already"]);
    person.mount(&source, &[]);
    write(person.mnt("audit/c"), b"more");
    person.umount().says(&[]);
    let shown = json(&person, &["index", "show", &source, "--json"]);
    assert_eq!((&shown["entries"], &shown["commit_seq"]), (&3.into(), &2.into()));
}
