//! Parts of a bucket on the command line: `--namespace` and `--under`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::thread::JoinHandle;

use bayou::control::place::{self, MountRecord};
use bayou::model::content_hash::ContentHash;
use bayou::session::folders::Folders;
use bayou_test_server::{Options, S3Server};

use serde_json::{Value, json};

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
    for (path, rule) in [
        ("../x", "has a part . or .."),
        ("/notes", "begins with a slash"),
        ("a//b", "has an empty part"),
        ("_index", "internal name"),
    ] {
        let said = person.run(&["mount", "s3://bucket", "/mnt", "--under", path]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(&format!("{path:?}")) && said.err.contains(rule), "{said:?}");
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

#[test]
fn what_is_no_model_is_refused() {
    let person = Person::new();
    for text in ["main", "/main", "vpc/", "a/../b"] {
        let said = person.run(&["sync", "s3://bucket", "--model", text]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("is not TYPE/ID"), "{said:?}");
    }
    person
        .run(&["sync", &person.source(), "--under", "/notes"])
        .fails_with(1, &["\"/notes\"", "begins with a slash"]);
    person.mount(&person.source(), &[]);
    let mnt = person.path("mnt");
    let elsewhere = format!("\"/notes\" is not in the mount on {mnt}");
    person.run(&["sync", &mnt, "--under", "/notes"]).fails_with(1, &[&elsewhere]);
}

#[test]
fn a_part_of_a_source_without_a_mount_is_synced_alone() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    server.put_object("bucket", "data/notes/a", "x");
    server.put_object("bucket", "data/else/b", "x");
    person.mount(SOURCE, &["--write-back=1h"]);
    write(person.mnt("notes/new"), b"x");
    person.kill_daemon();
    person.umount().says(&["had died"]);
    let said = person.run(&["sync", "--push", SOURCE, "--under=else"]);
    said.says(&["Pushed nothing", "Only else was looked at"]);
    let said = person.run(&["sync", "--push", SOURCE, "--under=notes"]);
    said.says(&["Pushed 1 file", "Only notes was looked at"]);
    assert!(server.object("bucket", "data/notes/new").is_some());
}

#[test]
fn what_a_killed_mount_below_a_path_left_is_pushed_by_a_sync_of_that_path() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--under=notes", "--write-back=1h"]);
    fs::create_dir(person.mnt("notes")).unwrap();
    write(person.mnt("notes/a"), b"x");
    person.kill_daemon();
    person.umount().says(&["had died", "with the same flags"]);
    person.run(&["sync", SOURCE, "--under=notes"]).says(&["Pushed 1 file", "Only notes was looked at"]);
    assert!(server.object("bucket", "data/notes/a").is_some());
}

/// Plays a mount that answers what it is asked with these words, and returns what it was asked.
fn play_mount(person: &Person, answers: &'static [&'static str]) -> JoinHandle<Vec<Value>> {
    let state = PathBuf::from(person.path("state/bayou"));
    let folders = Folders { runtime: vec![state.join("run")], state };
    let record = MountRecord {
        pid: std::process::id(),
        source: "s3://bucket".to_owned(),
        namespace: None,
        mountpoint: PathBuf::from(person.path("mnt")),
        cache_dir: "/nowhere".into(),
    };
    let (seat, listener) = place::take_seat(&folders, &record).unwrap();
    let play = move || {
        let _seat = seat;
        let mut heard = Vec::new();
        while heard.len() < answers.len() {
            let (stream, _) = listener.accept().unwrap();
            let mut writer = stream.try_clone().unwrap();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                heard.push(serde_json::from_str(&line).unwrap());
                writeln!(writer, "{}", answers[heard.len() - 1]).unwrap();
            }
        }
        heard
    };
    std::thread::Builder::new().name("mount".to_owned()).spawn(play).unwrap()
}

const NOT_UNDERSTOOD: &str =
    r#"{"response":"failed","kind":"usage","message":"The mount does not understand this request"}"#;
const PANICKED: &str = r#"{"response":"failed","kind":"system","message":"The mount failed"}"#;
const CANNOT: &str = r#"{"response":"done","answer":{"answer":"capabilities","scopedSync":false}}"#;
const OTHER: &str = r#"{"response":"done","answer":{"answer":"pong"}}"#;
const CAN: &str = r#"{"response":"done","answer":{"answer":"capabilities","scopedSync":true,"new":1}}"#;
const SYNCED: &str = r#"{"response":"done","answer":{"answer":"synced","source":"s3://bucket","pulled":1,"pushed":null,"deleted":0,"refused":0,"remaining":{"files":0,"bytes":0},"conflicts":[],"in_sync":true}}"#;

#[test]
fn k_13_only_a_mount_that_says_it_can_is_asked_for_less_than_everything() {
    let words = ["--pull", "--model=t/b", "--model=t/a", "--model=t/b", "--under=notes", "--under=notes/"];
    let deduplicated = json!({"models": ["t/a", "t/b"], "prefixes": ["notes"]});
    let cases: [(&[&str], Value); 5] = [
        (&[CAN, SYNCED], deduplicated),
        (&[CANNOT, SYNCED], Value::Null),
        (&[NOT_UNDERSTOOD, SYNCED], Value::Null),
        (&[PANICKED, SYNCED], Value::Null),
        (&[OTHER, SYNCED], Value::Null),
    ];
    for (answers, context) in cases {
        let person = Person::new();
        let mount = play_mount(&person, answers);
        let mnt = person.path("mnt");
        let said = person.run(&[&["sync", &mnt], &words[..]].concat());
        said.says(&["Pulled 1 changed entry"]);
        assert_eq!(said.err.contains("so all of it is synced"), context.is_null(), "{said:?}");
        let heard = mount.join().unwrap();
        assert_eq!(heard[0], json!({"request": "capabilities"}));
        assert_eq!((&heard[1]["request"], &heard[1]["context"]), (&json!("sync"), &context), "{answers:?}");
    }
}

#[test]
fn a_mount_is_not_asked_what_it_can_do_when_everything_is_wanted() {
    let person = Person::new();
    let mount = play_mount(&person, &[SYNCED]);
    person.run(&["sync", "--pull", &person.path("mnt")]).says(&["Both sides are the same"]);
    assert_eq!(mount.join().unwrap(), [json!({"request": "sync", "direction": "pull"})]);
}

#[test]
fn a_repair_of_a_namespace_keeps_what_old_clients_left_outside_of_it() {
    let person = Person::new();
    let entry =
        |body: &str| json!({"size": body.len(), "sha256": ContentHash::of(body.as_bytes()).to_string()});
    let entries = json!({"left behind": entry("content"), "gone": entry("content")});
    let index = json!({"version": 1, "lastPulled": "2026-08-01T09:31:12.500Z", "entries": entries});
    fs::create_dir(person.bucket("infra")).unwrap();
    write(person.bucket("infra/.datastore-index.json"), index.to_string().as_bytes());
    write(person.bucket("left behind"), b"content");
    let source = person.source();
    let said = person.run(&["index", "verify", &source, "--namespace=infra", "--repair"]);
    assert!(said.out.contains("left behind") && said.out.contains("gone"), "{said:?}");
    let index = fs::read(person.bucket("infra/.datastore-index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let names: Vec<&String> = index["entries"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["left behind"]);
    person.mount(&source, &["--namespace=infra", "--read-only"]);
    assert_eq!(fs::read(person.mnt("left behind")).unwrap(), b"content");
    assert_eq!(fs::read(person.bucket("left behind")).unwrap(), b"content");
}
