//! Mounting: what `bayou mount` leaves behind, and what it refuses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use bayou_test_server::{Action, Fault, Gate, Options, S3Server};
use rustix::process::Signal;

use crate::person::{Person, Said, is_alive, signal, wait_until, write, write_synced};

#[test]
fn mount_returns_when_the_mount_answers_and_leaves_a_daemon_behind() {
    let person = Person::new();
    write(person.bucket("a.txt"), b"hello");
    let said = person.mount(&person.source(), &[]);
    said.says(&[&format!("{} is mounted at {}\n", person.source(), person.path("mnt"))]);
    assert_eq!(said.out.lines().count(), 1);
    assert_eq!(said.err, "");
    assert_eq!(fs::read(person.mnt("a.txt")).unwrap(), b"hello");
    let pid = person.daemon();
    assert!(is_alive(pid));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), std::path::Path::new("/"));
    assert!(person.cache().join("state/bayou.log").is_file());
    person.umount().says(&[]);
    assert!(!is_alive(pid));
}

#[test]
fn the_mount_shows_its_source_and_type() {
    let person = Person::new();
    person.mount(&person.source(), &["--read-only"]);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(&person.path("mnt"))).unwrap();
    assert!(line.starts_with(&format!("{} ", person.source())), "{line}");
    assert!(line.contains(" fuse.bayou ro,") && line.contains("nosuid") && line.contains("nodev"), "{line}");
    assert_eq!(person.status()["state"], "read-only");
}

#[test]
fn in_the_foreground_it_says_when_it_is_ready_and_ctrl_c_flushes() {
    let person = Person::new();
    let mnt = person.path("mnt");
    let mut child = person
        .command(&["mount", "-f", &person.source(), &mnt, "--write-back=1h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with(&format!(" is mounted at {mnt}")));
    write(person.mnt("a"), b"not flushed yet");
    assert!(!person.bucket("a").exists());
    signal(i32::try_from(child.id()).unwrap(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!person.is_mounted());
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"not flushed yet");
}

#[test]
fn a_daemon_that_is_told_to_stop_flushes_first() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    write(person.mnt("a"), b"not flushed yet");
    let pid = person.daemon();
    signal(pid, Signal::TERM);
    wait_until("the process has ended", || !is_alive(pid));
    assert!(!person.is_mounted());
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"not flushed yet");
}

#[test]
fn the_service_manager_hears_when_it_is_ready_and_when_it_stops() {
    let mut person = Person::new();
    let address = person.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&address).unwrap();
    person.set("NOTIFY_SOCKET", &address);
    let mnt = person.path("mnt");
    let mut child = person
        .command(&["mount", "-f", &person.source(), &mnt])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hears = |word: &str| {
        let mut heard = [0; 4096];
        loop {
            let length = socket.recv(&mut heard).unwrap();
            if String::from_utf8_lossy(&heard[..length]).lines().any(|line| line == word) {
                return true;
            }
        }
    };
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    assert!(hears("READY=1"));
    signal(i32::try_from(child.id()).unwrap(), Signal::TERM);
    assert!(hears("STOPPING=1"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_is_mounted_as_the_system_calls_its_helper() {
    let person = Person::new();
    let mnt = person.path("mnt");
    let source = person.source();
    let helper = |name: &str, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayou"));
        command.arg0(format!("/sbin/{name}")).args(words);
        person.dress(&mut command);
        Said::of(command.output().unwrap())
    };
    helper("mount.fuse.bayou", &[&source, &mnt, "-o", "rw,_netdev,nofail,write_back=1h", "-t", "fuse.bayou"])
        .says(&[]);
    write(person.mnt("a"), b"x");
    helper("umount.fuse.bayou", &[&mnt, "-n"]).says(&["Flushed 1 file (1 byte)"]);
    assert!(person.bucket("a").is_file());
}

#[test]
fn a_second_mount_of_the_same_cache_is_refused_and_names_the_first() {
    let person = Person::new();
    person.mount(&person.source(), &[]);
    let pid = person.daemon();
    fs::create_dir(person.path("other")).unwrap();
    let said = person.run(&["mount", &person.source(), &person.path("other")]);
    said.fails_with(2, &[&format!("in use by process {pid};"), "bayou umount", "--cache-dir"]);
    assert!(is_alive(pid));
}

/// Shows crash-1, crash-2, crash-3.
#[test]
fn a_mount_that_died_is_cleaned_up_by_the_next_mount_and_nothing_is_lost() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    write_synced(person.mnt("synced"), b"in the bucket").unwrap();
    write(person.mnt("written"), b"only here");
    person.kill_daemon();
    assert!(fs::read_dir(person.path("mnt")).is_err());
    person.run(&["status", &person.path("mnt")]).fails_with(3, &["has died", "bayou umount"]);
    let all = person.run(&["status", "--json"]);
    assert!(all.out.contains(&person.path("mnt")), "{all:?}");
    person.mount(&person.source(), &[]);
    assert_eq!(fs::read(person.mnt("synced")).unwrap(), b"in the bucket");
    assert_eq!(fs::read(person.mnt("written")).unwrap(), b"only here");
    person.umount().says(&[]);
    assert_eq!(fs::read(person.bucket("written")).unwrap(), b"only here");
}

#[test]
fn a_mount_whose_command_was_interrupted_does_not_stay() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    let mnt = person.path("mnt");
    let gate = Gate::new();
    server.fault(Fault::on_any(Action::Hold(gate.clone())));
    let mut command = person.command(&["mount", "s3://bucket/data", &mnt]).spawn().unwrap();
    gate.wait_for_blocking(1);
    assert_eq!(processes_with(&mnt).len(), 2, "the command and the one that is to stay behind");
    signal(i32::try_from(command.id()).unwrap(), Signal::INT);
    command.wait().unwrap();
    gate.open();
    wait_until("nothing is left of it", || processes_with(&mnt).into_iter().all(|pid| !is_alive(pid)));
    assert!(!person.is_mounted());
}

/// Returns the processes that have this word on their command line.
fn processes_with(word: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let has_word = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
    };
    pids.filter(has_word).collect()
}

#[test]
fn no_log_holds_a_secret_however_much_is_logged() {
    let server = S3Server::start(Options::default());
    let mut person = Person::at(&server);
    person.set("BAYOU_LOG", "trace");
    person.mount("s3://bucket/data", &["-vv"]);
    write_synced(person.mnt("a"), b"x").unwrap();
    person.umount().says(&[]);
    let log = fs::read_to_string(person.cache().join("state/bayou.log")).unwrap();
    assert!(log.contains("bayou::"), "something was logged: {log}");
    assert!(!log.contains(server.secret_key()) && !log.contains("Signature="), "{log}");
}

#[test]
fn the_log_is_where_it_was_asked_to_be_and_in_the_format_asked_for() {
    let person = Person::new();
    let log = person.path("logs/mount.log");
    person.mount(&person.source(), &["-v", "--log-file", &log, "--log-format=json"]);
    person.umount().says(&[]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() > 0);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["level"].is_string(), "{line}");
    }
}
