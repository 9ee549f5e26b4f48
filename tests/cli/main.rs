//! The built program as people meet it: help, wrong words, settings, exit codes.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

mod bad_input;
mod google;
mod index;
mod leaving;
mod locking;
mod mounting;
mod parts;
#[path = "../support/person.rs"]
mod person;
mod syncing;

use person::{Person, Said};

#[test]
fn help_of_every_command_ends_with_an_example() {
    let person = Person::new();
    for name in ["mount", "umount", "status", "sync", "lock", "completions", "man"] {
        let said = person.run(&[name, "--help"]);
        assert_eq!(said.code, 0);
        let last = said.out.trim_end().lines().last().unwrap().trim();
        assert!(last.starts_with(&format!("bayou {name}")), "{last:?}");
        assert!(said.out.contains("Example:"));
    }
}

#[test]
fn wrong_words_exit_with_1_and_help_with_0() {
    let person = Person::new();
    for words in [
        &[][..],
        &["mount"],
        &["mount", "s3://bucket"],
        &["dance"],
        &["status", "--loud"],
        &["sync", "--pull", "--push"],
        &["mount", "s3://bucket", "/m", "--cache-size", "many"],
        &["mount", "s3://bucket", "/m", "--fsync", "never"],
        &["mount", "s3://bucket", "/m", "--timeout", "0"],
    ] {
        let said = person.run(words);
        assert_eq!(said.code, 1, "{words:?}: {said:?}");
        assert!(!said.err.is_empty() && said.out.is_empty(), "{words:?}: {said:?}");
    }
    assert_eq!(person.run(&["--help"]).code, 0);
    assert_eq!(person.run(&["--version"]).out, concat!("bayou ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_source_that_is_none_is_refused_with_the_accepted_ones() {
    let person = Person::new();
    for (source, word) in [
        ("ftp://bucket", "Unknown scheme \"ftp\""),
        ("s3://", "it is empty"),
        ("s3://No_Bucket", "lower-case"),
        ("file:///no/such/folder", "no such folder"),
    ] {
        let said = person.run(&["mount", source, "/mnt"]);
        said.fails_with(1, &[word]);
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
        person.run(&["sync", source]).fails_with(1, &[word]);
    }
}

#[test]
fn what_is_not_mounted_exits_with_3() {
    let person = Person::new();
    let home = person.path("");
    for words in [&["umount", &home][..], &["umount", "/no/such/dir"], &["umount", "--lazy", &home]] {
        person.run(words).fails_with(3, &[]);
    }
    for words in [&["status", &home][..], &["sync", &home], &["sync"], &["status", "missing", "--json"]] {
        person.run(words).fails_with(3, &["not in a mount"]);
    }
}

#[test]
fn a_mount_option_that_nobody_knows_is_named() {
    let person = Person::new();
    person.run(&["mount", "s3://bucket", "/m", "-o", "ro,cash_size=1"]).fails_with(1, &["\"cash_size=1\""]);
}

#[test]
fn settings_are_shown_with_their_origin_and_the_strongest_wins() {
    let person = Person::new();
    person.configure("cache-size = \"1GiB\"\nrefresh = \"1m\"\nwrite_back = \"${PAUSE}\"\n");
    let mut command =
        person.command(&["mount", "s3://bucket", "/m", "-o", "ro", "--cache-size=3GiB", "--print-config"]);
    let said = Said::of(command.env("PAUSE", "9s").env("BAYOU_REFRESH", "2m").output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let file = person.path("config/bayou/bayou.toml");
    for line in [
        "cache-size = \"3GiB\"  # command line".to_owned(),
        "refresh = \"2m\"  # environment BAYOU_REFRESH".to_owned(),
        format!("write-back = \"9s\"  # file {file}"),
        "read-only = \"true\"  # command line".to_owned(),
        "fsync = \"remote\"  # default".to_owned(),
    ] {
        assert!(said.out.lines().any(|shown| shown == line), "{line} is not in {}", said.out);
    }
}

#[test]
fn a_configuration_file_that_is_wrong_is_named_with_what_is_wrong() {
    let person = Person::new();
    let file = person.path("config/bayou/bayou.toml");
    for (text, word) in [
        ("cash-size = 1", "\"cash-size\""),
        ("refresh = ", "not valid TOML"),
        ("refresh = \"${NOWHERE}\"", "\"NOWHERE\""),
        ("cache-size = \"many\"", "'many'"),
    ] {
        person.configure(text);
        person.run(&["mount", "s3://bucket", "/m", "--print-config"]).fails_with(1, &[word, &file]);
    }
    for words in [&["status", "/no/such/mount"][..], &["umount", "/no/such/mount"]] {
        let said = person.run(words);
        assert!(said.err.contains("many") || !said.err.contains("cache-size"), "{said:?}");
        assert_ne!(said.code, 1, "a mount can be left with any configuration: {said:?}");
    }
    person.configure("cash-size = 1");
    for command in [&["sync"][..], &["lock", "status"], &["index", "verify"]] {
        person.run(&[command, &[&person.source()]].concat()).fails_with(1, &["\"cash-size\"", &file]);
    }
    let said = person.run(&["umount", "/no/such/mount"]);
    assert_eq!(said.code, 3, "a mount can be left with any configuration: {said:?}");
    assert!(said.err.contains("cash-size"), "{said:?}");
    person.configure("cache-size = \"many\"");
    let said = person.run(&["mount", "s3://bucket", "/m", "--print-config", "--cache-size=1"]);
    assert_eq!(said.code, 0, "the command line beats the file: {said:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let person = Person::new();
    let script = format!("{} man | true; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_bayou"));
    let output = Command::new("bash").args(["-c", &script]).env("HOME", person.path("")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn completions_and_the_manual_name_every_command() {
    let person = Person::new();
    let bash = person.run(&["completions", "bash"]).out;
    let man = person.run(&["man"]).out;
    for name in ["mount", "umount", "status", "sync", "lock"] {
        assert!(bash.contains(name));
        assert!(man.contains(&format!("bayou {name}")) || man.contains(&format!("bayou\\-{name}")), "{name}");
    }
    for name in ["lock status", "lock release"] {
        assert!(man.contains(&format!("bayou {name}")), "{name}");
    }
}

#[test]
fn the_exit_codes_of_the_readme_are_those_of_the_help() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let help = Person::new().run(&["--help"]).out.replace('\n', " ");
    let codes =
        readme.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse::<u8>().ok());
    let codes: Vec<u8> = codes.collect();
    assert_eq!(codes, [0, 1, 2, 3, 5, 6, 7, 8, 32]);
    for code in codes {
        assert!(help.contains(&format!(" {code} ")), "{code} is not in {help}");
    }
}
