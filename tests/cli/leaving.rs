//! Leaving: `bayou umount`, and every other way out.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};

use bayou_test_server::{Action, Fault, Op, Options, Refusal, S3Server};

use rustix::process::Signal;

use crate::person::{Person, Said, Stopped, is_alive, signal, wait_until, write};

const SOURCE: &str = "s3://bucket/data";

/// Shows unmount-1.
#[test]
fn umount_says_what_it_flushed_and_waits_for_the_process() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    let pid = person.daemon();
    write(person.mnt("a"), &[b'a'; 1024]);
    write(person.mnt("b"), &[b'b'; 2048]);
    let said = person.umount();
    said.says(&[&format!("Flushed 2 files (3.0 KiB) to {}\n", person.source())]);
    assert_eq!(said.out.lines().count(), 1, "{said:?}");
    assert!(!is_alive(pid) && !person.is_mounted());
    assert_eq!(fs::read(person.bucket("b")).unwrap(), [b'b'; 2048]);
    person.umount().fails_with(3, &["Nothing of bayou is mounted"]);
}

#[test]
fn umount_with_nothing_to_flush_says_so() {
    let person = Person::new();
    person.mount(&person.source(), &[]);
    person.umount().says(&["everything was in file://"]);
}

#[test]
fn k_9_the_flush_before_and_the_drain_after_are_one_push() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    write(person.mnt("a"), b"x");
    server.reset_counts();
    person.umount().says(&["Flushed 1 file (1 byte) to s3://bucket/data"]);
    let puts = |key: &str| {
        let of_key =
            |request: &&bayou_test_server::Recorded| request.op == Op::PutObject && request.key == key;
        server.requests().iter().filter(of_key).count()
    };
    assert_eq!(puts("data/a"), 1);
    assert_eq!(puts("data/.datastore-index.json"), 1);
}

/// Shows unmount-5.
#[test]
fn a_busy_mount_stays_and_says_who_holds_it() {
    let person = Person::new();
    write(person.bucket("a"), b"x");
    person.mount(&person.source(), &[]);
    let open = fs::File::open(person.mnt("a")).unwrap();
    let said = person.umount();
    said.fails_with(2, &["is in use", &format!("pid {}", std::process::id()), "--lazy"]);
    assert!(person.is_mounted());
    assert_eq!(fs::read(person.mnt("a")).unwrap(), b"x");
    drop(open);
    person.umount().says(&[]);
}

/// Shows unmount-5.
#[test]
fn a_lazy_umount_detaches_a_busy_mount_and_the_process_flushes() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    let pid = person.daemon();
    write(person.mnt("a"), b"x");
    let open = fs::File::open(person.mnt("a")).unwrap();
    person.run(&["umount", "--lazy", &person.path("mnt")]).says(&["Detached"]);
    assert!(!person.is_mounted());
    drop(open);
    wait_until("the process has ended", || !is_alive(pid));
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"x");
}

#[test]
fn a_process_that_hangs_is_named_and_can_be_left() {
    let person = Person::new();
    person.mount(&person.source(), &[]);
    let pid = person.daemon();
    let stopped = Stopped::stop(pid);
    let said = person.run(&["status", &person.path("mnt")]);
    said.fails_with(2, &[&person.path("mnt"), "does not answer", &format!("`kill -CONT {pid}`")]);
    person.run(&["umount", "--lazy", &person.path("mnt")]).says(&["Detached"]);
    assert!(!person.is_mounted());
    stopped.go_on();
    wait_until("the process has ended", || !is_alive(pid));
}

#[test]
fn a_process_that_takes_no_connection_any_more_holds_no_command() {
    let person = Person::new();
    person.mount(&person.source(), &[]);
    let (pid, mnt) = (person.daemon(), person.path("mnt"));
    let stopped = Stopped::stop(pid);
    fill_queue(&person.socket_of(pid));
    let silent = format!("The mount on {mnt} does not answer: its process {pid} is stopped");
    person.run(&["status", &mnt]).fails_with(2, &[&silent]);
    let all = person.run(&["status", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&all.out).unwrap();
    assert!(report["silent"].as_array().unwrap().contains(&mnt.clone().into()), "{all:?}");
    assert!(all.err.contains(&silent), "{all:?}");
    assert!(!person.run(&["status"]).out.contains("Nothing is mounted"));
    person.umount().fails_with(2, &[&silent]);
    fs::create_dir(person.path("other")).unwrap();
    let second = person.run(&["mount", &person.source(), &person.path("other")]);
    second.fails_with(2, &[&format!("process {pid}")]);
    stopped.go_on();
    wait_until("it takes connections", || person.run(&["status", &mnt]).code == 0);
    person.umount().says(&["everything was in"]);
    wait_until("the process has ended", || !is_alive(pid));
}

/// Connects to a socket until the kernel lets no more connections wait.
fn fill_queue(socket: &Path) {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let connect = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::connect(&stream, &SocketAddrUnix::new(socket).unwrap())
    };
    let full = (0..100_000).find_map(|_| connect().err());
    assert_eq!(full, Some(rustix::io::Errno::AGAIN));
}

#[test]
fn the_systems_own_umount_is_followed_by_a_flush() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    let pid = person.daemon();
    write(person.mnt("a"), b"x");
    let by_system = Command::new("umount")
        .args(["-i", &person.path("mnt")])
        .status()
        .is_ok_and(|status| status.success());
    assert!(
        by_system
            || Command::new("fusermount3").args(["-u", &person.path("mnt")]).status().unwrap().success()
    );
    wait_until("the process has ended", || !is_alive(pid));
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"x");
}

/// Shows crash-3.
#[test]
fn a_new_mount_takes_over_from_one_that_drains() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    write(person.mnt("a"), b"kept");
    let pid = person.daemon();
    let fault = server.fault(Fault::on(Op::PutObject, Action::Stall).key("data/a"));
    person.run(&["umount", "--lazy", &person.path("mnt")]).says(&["Detached"]);
    wait_until("the upload hangs", || fault.fired() > 0);
    assert!(is_alive(pid));
    fault.remove();
    person.mount(SOURCE, &[]);
    assert!(!is_alive(pid), "the draining process has ended");
    assert_eq!(fs::read(person.mnt("a")).unwrap(), b"kept");
    person.umount().says(&[]);
    assert!(server.object("bucket", "data/a").is_some());
}

#[test]
fn a_second_signal_ends_the_waiting_and_says_what_is_kept() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    let mnt = person.path("mnt");
    let log = person.path("log");
    let words = ["mount", "-f", SOURCE, &mnt, "--write-back=1h", "--log-file", &log];
    let child = person.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    wait_until("it is mounted", || person.is_mounted());
    write(person.mnt("a"), b"kept");
    let fault = server.fault(Fault::on(Op::PutObject, Action::Stall).key("data/a"));
    signal(pid, Signal::INT);
    wait_until("the upload hangs", || fault.fired() > 0);
    signal(pid, Signal::INT);
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("kept in"), "{said:?}");
    fault.remove();
    person.run(&["sync", SOURCE]).says(&["Pushed 1 file (4 bytes)"]);
}

#[test]
fn fusermount_is_followed_by_a_flush() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    let pid = person.daemon();
    write(person.mnt("a"), b"x");
    assert!(Command::new("fusermount3").args(["-u", &person.path("mnt")]).status().unwrap().success());
    wait_until("the process has ended", || !is_alive(pid));
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"x");
}

#[test]
fn a_mount_whose_process_died_is_cleaned_up() {
    let person = Person::new();
    person.mount(&person.source(), &["--write-back=1h"]);
    write(person.mnt("a"), b"x");
    person.kill_daemon();
    assert!(person.is_mounted());
    let source = person.source();
    person.umount().says(&["had died", "cleaned up", &format!("bayou sync {source}")]);
    assert!(!person.is_mounted());
    person.run(&["sync", &source]).says(&["Pushed 1 file (1 byte)"]);
    assert_eq!(fs::read(person.bucket("a")).unwrap(), b"x");
}

/// Shows unmount-4.
#[test]
fn a_bucket_that_cannot_be_reached_does_not_hold_the_mount_and_nothing_is_lost() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h", "--timeout=2s"]);
    write(person.mnt("a"), b"kept");
    let fault = server.fault(Fault::on_writes(Action::Stall));
    let said = person.run(&["umount", "--timeout=3s", &person.path("mnt")]);
    let cache = person.cache();
    said.fails_with(5, &["1 file (4 bytes)", SOURCE, cache.to_str().unwrap(), "bayou sync"]);
    assert!(!person.is_mounted());
    assert_eq!(server.object("bucket", "data/a"), None);
    fault.remove();
    person.mount(SOURCE, &[]);
    assert_eq!(fs::read(person.mnt("a")).unwrap(), b"kept");
    person.umount().says(&[]);
    assert!(server.object("bucket", "data/a").is_some());
}

#[test]
fn work_in_the_background_that_hangs_does_not_hold_an_umount_that_gives_up() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=100ms"]);
    let fault = server.fault(Fault::on(Op::PutObject, Action::Stall).key("data/a"));
    write(person.mnt("a"), b"kept");
    wait_until("the upload hangs", || fault.fired() > 0);
    let start = SystemClock.instant();
    person.run(&["umount", "--timeout=1s", &person.path("mnt")]).fails_with(5, &["1 file (4 bytes)"]);
    assert!(
        SystemClock.instant().duration_since(start) < Duration::from_secs(18),
        "less than one request may take"
    );
    fault.remove();
    person.run(&["sync", SOURCE]).says(&["Pushed 1 file (4 bytes)"]);
}

#[test]
fn an_upload_that_moves_is_waited_for_longer_than_the_timeout() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    // Eight parts at a time, from the first that is written: three rounds.
    server.fault(Fault::on(Op::UploadPart, Action::Delay(Duration::from_secs(2))));
    write(person.mnt("large"), &vec![7; 192 << 20]);
    let start = SystemClock.instant();
    let said = person.run(&["umount", "--timeout=3s", &person.path("mnt")]);
    said.says(&["Flushed 1 file (192.0 MiB)"]);
    assert!(SystemClock.instant().duration_since(start) > Duration::from_secs(3), "{said:?}");
    assert!(said.err.contains("uploading: 0 of 1 file, "), "{said:?}");
}

#[test]
fn a_bucket_that_refuses_writes_does_not_hold_the_mount_and_nothing_is_lost() {
    let server = S3Server::start(Options::default());
    let person = Person::at(&server);
    person.mount(SOURCE, &["--write-back=1h"]);
    write(person.mnt("a"), b"kept");
    let fault = server.fault(Fault::on_writes(Action::Refuse(Refusal::access_denied())));
    person.umount().fails_with(5, &["1 file (4 bytes)", "stay in"]);
    assert!(!person.is_mounted());
    fault.remove();
    person.run(&["sync", "--push", SOURCE]).says(&["Pushed 1 file (4 bytes) to s3://bucket/data"]);
    assert!(server.object("bucket", "data/a").is_some());
}
