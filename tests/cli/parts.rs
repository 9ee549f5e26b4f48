//! Parts of a bucket on the command line: `--namespace` and `--under`.

use std::fs;

use bayou_test_server::{Options, S3Server};

use crate::person::{Person, write};

const SOURCE: &str = "s3://bucket/data";

#[test]
fn a_name_that_no_namespace_has_is_refused_with_the_rule() {
    let person = Person::new();
    for (name, rule) in [
        ("Infra", "only lower-case letters, digits and hyphens are allowed"),
        ("-a", "begin and end with a letter or a digit"),
        ("a/b", "only lower-case"),
        ("", "it is empty"),
    ] {
        for command in [&["mount", "s3://bucket", "/mnt"][..], &["sync", "s3://bucket"]] {
            let flag = format!("--namespace={name}");
            let said = person.run(&[command, &[&flag]].concat());
            assert_eq!(said.code, 1, "{said:?}");
            assert!(
                said.err.contains("cannot be the name of a namespace") && said.err.contains(rule),
                "{said:?}"
            );
        }
    }
}

#[test]
fn a_path_that_is_none_is_refused_with_the_rule() {
    let person = Person::new();
    for (path, rule) in
        [("../x", "has a part . or .."), ("/notes", "has an empty part"), ("_index", "internal name")]
    {
        let said = person.run(&["mount", "s3://bucket", "/mnt", "--under", path]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("cannot be a path below the mount") && said.err.contains(rule), "{said:?}");
    }
}

#[test]
fn a_namespace_is_named_by_flag_option_environment_or_file() {
    let mut person = Person::new();
    let shown = |person: &Person, more: &[&str]| {
        let words = [&["mount", "s3://bucket", "/m", "--print-config"], more].concat();
        let said = person.run(&words);
        said.out.lines().find(|line| line.contains("namespace")).unwrap_or_default().to_owned()
    };
    assert_eq!(shown(&person, &[]), "# namespace is not set");
    person.configure("namespace = \"from-file\"");
    let file = person.path("config/bayou/bayou.toml");
    assert_eq!(shown(&person, &[]), format!("namespace = \"from-file\"  # file {file}"));
    person.set("BAYOU_NAMESPACE", "from-env");
    assert_eq!(shown(&person, &[]), "namespace = \"from-env\"  # environment BAYOU_NAMESPACE");
    for words in [&["--namespace=flag"][..], &["-o", "ro,namespace=flag"]] {
        assert_eq!(shown(&person, words), "namespace = \"flag\"  # command line");
    }
    let bash = person.run(&["completions", "bash"]).out;
    assert!(bash.contains("--namespace") && bash.contains("--under"));
}

#[test]
fn what_is_mounted_is_said_with_its_part() {
    let person = Person::new();
    let said = person.mount(&person.source(), &["--namespace=infra", "--under=notes", "--write-back=1h"]);
    said.says(&[&format!("Namespace infra of {} is mounted at", person.source())]);
    fs::create_dir(person.mnt("notes")).unwrap();
    write(person.mnt("notes/a"), b"four");
    let status = person.run(&["status", &person.path("mnt")]);
    status.says(&["namespace              infra", "only below             notes"]);
    person.umount().says(&["Flushed 1 file"]);
    assert_eq!(fs::read(person.bucket("infra/notes/a")).unwrap(), b"four");
}

#[test]
fn a_namespace_that_is_mounted_is_synced_through_its_mount_and_by_its_name_only() {
    let person = Person::new();
    person.mount(&person.source(), &["--namespace=infra", "--write-back=1h"]);
    write(person.mnt("a"), b"x");
    person.run(&["sync", &person.source()]).says(&["Pushed nothing"]);
    assert!(!person.bucket("infra/a").exists(), "the whole bucket is another cache");
    let source = person.source();
    person.run(&["sync", &source, "--namespace=infra"]).says(&["Pushed 1 file (1 byte)"]);
    assert_eq!(fs::read(person.bucket("infra/a")).unwrap(), b"x");
}

#[test]
fn c_90_a_mount_of_one_namespace_is_never_asked_for_another() {
    let person = Person::new();
    person.mount(&person.source(), &["--namespace=infra", "--write-back=1h"]);
    write(person.mnt("a"), b"x");
    let said = person.run(&["sync", &person.path("mnt"), "--namespace=team-b"]);
    said.fails_with(1, &["\"infra\"", "\"team-b\""]);
    assert!(!person.bucket("infra/a").exists() && !person.bucket("team-b").exists());
    person.run(&["sync", &person.path("mnt"), "--namespace=infra"]).says(&["Pushed 1 file"]);
}

#[test]
fn what_a_killed_mount_of_a_namespace_left_is_pushed_by_a_sync_of_it() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--namespace=infra", "--write-back=1h"]);
    write(person.mnt("a"), b"x");
    person.kill_daemon();
    person.umount().says(&["had died", "with the same flags"]);
    person
        .run(&["sync", SOURCE, "--namespace=infra"])
        .says(&["Pushed 1 file (1 byte) to s3://bucket/data/infra"]);
    assert_eq!(&*server.object("bucket", "data/infra/a").unwrap().body, b"x");
}
