//! A mistake of the program itself: what panics is one request, or one round of the work in the
//! background, and nothing that was acknowledged is lost.

use std::fs;
use std::path::PathBuf;

use bayou::os::crash_point::Step;
use bayou_test_server::{Action, Fault, Gate, Op};
use rustix::process::Signal;

use crate::person::{is_alive, signal, wait_until, write, write_synced};
use crate::world::{QUIET, SOURCE, World, errno, read};

const EIO: i32 = 5;
const QUICK: [&str; 2] = ["--write-back=100ms", "--refresh=100ms"];

/// Returns a bucket that is mounted by a process that will panic at a step, once.
fn mounted(step: Step, flags: &[&str]) -> World {
    let mut world = World::unmounted(&[("there", b"1"), ("gone", b"1")]);
    world.here.set("BAYOU_PANIC_AT", step.label());
    let log = format!("--log-file={}", log(&world).display());
    world.here.mount(SOURCE, &[flags, &[log.as_str()]].concat());
    world
}

/// Returns how many threads of the process wait for requests of the kernel.
fn threads_that_answer(world: &World) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", world.here.daemon())).unwrap();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("fuser-")).count()
}

fn log(world: &World) -> PathBuf {
    PathBuf::from(world.here.path("log"))
}

fn has_panicked(world: &World, step: Step) -> bool {
    fs::read_to_string(log(world)).unwrap().contains(&format!("A test asked for a panic at {}", step.label()))
}

/// Returns what the mount says went wrong last.
fn last_error(world: &World) -> Option<String> {
    world.here.status()["last_error"].as_str().map(str::to_owned)
}

/// Shows crash-9.
#[test]
fn a_panic_in_the_background_is_told_and_what_was_written_is_flushed_all_the_same() {
    let world = mounted(Step::ObjectPut, &QUICK);
    let gate = Gate::new();
    // Whoever pushes again looks what became of the upload that was under way.
    let held = world.server.fault(Fault::on(Op::HeadObject, Action::Hold(gate.clone())).key("data/first"));
    write(world.path("first"), b"before");
    gate.wait_for_blocking(1);
    assert!(has_panicked(&world, Step::ObjectPut));
    world.server.reset_counts();
    wait_until("the index was looked at", || world.sent(Op::HeadObject, "").len() > 1);
    let told = last_error(&world).unwrap();
    assert!(told.contains("panic") && told.contains("object-put"), "{told}");
    held.remove();
    gate.open();
    write(world.path("second"), b"after");
    wait_until("all is in the bucket", || world.names("first") && world.names("second"));
    wait_until("nothing is dirty", || world.here.status()["state"] == "clean");
    wait_until("the panic is forgotten", || last_error(&world).is_none());
    assert_eq!(world.object("first").unwrap(), b"before");
    assert_eq!(world.object("second").unwrap(), b"after");
    assert_eq!(world.sent(Op::PutObject, "first").len(), 0, "it was there already");
}

/// Shows crash-9.
#[test]
fn wherever_the_work_in_the_background_panics_it_goes_on() {
    let steps = [
        Step::UploadedNoted,
        Step::IndexCommitted,
        Step::CommitNoted,
        Step::ObjectDeleted,
        Step::BeforeSettle,
        Step::Settled,
        Step::LocallyDurable,
    ];
    at_once(&steps, goes_on_after);
}

fn goes_on_after(step: Step) {
    let world = mounted(step, &QUICK);
    write(world.path("first"), b"before");
    fs::remove_file(world.path("gone")).unwrap();
    wait_until("it panics", || has_panicked(&world, step));
    write(world.path("second"), b"after");
    write(world.path("there"), b"changed");
    let is_there = |name, bytes: &[u8]| world.names(name) && world.object(name).as_deref() == Some(bytes);
    wait_until("all is in the bucket", || is_there("first", b"before") && is_there("second", b"after"));
    wait_until("the change is in the bucket", || is_there("there", b"changed"));
    wait_until("what was removed is gone", || !world.names("gone") && world.object("gone").is_none());
    wait_until("nothing is dirty", || world.here.status()["state"] == "clean");
    wait_until("the panic is forgotten", || last_error(&world).is_none());
    assert_eq!(world.here.status()["uploading"]["files"], 0, "{step:?}");
    world.here.umount().says(&["everything was in"]);
}

/// Shows crash-9.
#[test]
fn a_panic_while_news_are_taken_over_loses_none_of_them() {
    let mut world = World::unmounted(&[("there", b"1")]);
    // The first time is that of the mount itself.
    world.here.set("BAYOU_PANIC_AT", "pull-applied:2");
    world.here.mount(SOURCE, &[&QUICK[..], &["--log-file", world.here.path("log").as_str()]].concat());
    let other = world.another(&QUIET);
    write_synced(other.mnt("news"), b"news").unwrap();
    wait_until("it panics", || has_panicked(&world, Step::PullApplied));
    wait_until("the news are here", || read(world.path("news")).is_ok_and(|bytes| bytes == b"news"));
    wait_until("the panic is forgotten", || last_error(&world).is_none());
    leaves_well(&world, Step::PullApplied);
}

/// Shows crash-9.
#[test]
fn a_panic_on_a_thread_that_answers_the_kernel_is_one_refused_request() {
    let world = mounted(Step::LinkNoted, &QUIET);
    write(world.path("before"), b"before");
    let threads = threads_that_answer(&world);
    assert!(threads > 1);
    assert_eq!(errno(fs::hard_link(world.path("there"), world.path("linked"))), EIO);
    assert_eq!(threads_that_answer(&world), threads, "none ended");
    leaves_well(&world, Step::LinkNoted);
}

/// Shows crash-9.
#[test]
fn a_panic_while_bytes_are_fetched_keeps_nobody_from_reading_them() {
    let world = mounted(Step::HydrateWritten, &QUIET);
    write(world.path("before"), b"before");
    // The kernel may ask again by itself.
    if let Err(refused) = read(world.path("there")) {
        assert_eq!(refused.raw_os_error(), Some(EIO));
    }
    assert!(has_panicked(&world, Step::HydrateWritten));
    assert_eq!(read(world.path("there")).unwrap(), b"1");
    leaves_well(&world, Step::HydrateWritten);
}

/// Shows crash-9.
#[test]
fn a_panic_in_an_fsync_is_an_error_of_that_fsync() {
    let world = mounted(Step::IndexCommitted, &QUIET);
    assert_eq!(errno(write_synced(world.path("before"), b"before")), EIO);
    write_synced(world.path("again"), b"again").unwrap();
    assert!(world.names("again"));
    leaves_well(&world, Step::IndexCommitted);
}

/// Shows crash-9.
#[test]
fn a_panic_while_the_rest_is_flushed_keeps_no_data_back() {
    let world = mounted(Step::ObjectPut, &QUIET);
    write(world.path("before"), b"before");
    leaves_well(&world, Step::ObjectPut);
}

/// Shows crash-9, unmount-7.
#[test]
fn an_unmount_whose_flush_panics_says_so_and_the_mount_goes_on() {
    let steps = [
        Step::ObjectPut,
        Step::UploadedNoted,
        Step::IndexCommitted,
        Step::CommitNoted,
        Step::ObjectDeleted,
        Step::BeforeSettle,
        Step::Settled,
    ];
    at_once(&steps, |step| {
        let world = mounted(step, &QUIET);
        change(&world);
        world.here.umount().fails_with(2, &["stays mounted", "panic", step.label()]);
        assert!(has_panicked(&world, step));
        assert!(world.here.is_mounted(), "{step:?}");
        let told = last_error(&world).unwrap();
        assert!(told.contains("panic") && told.contains(step.label()), "{told}");
        assert_eq!(read(world.path("first")).unwrap(), b"before");
        write(world.path("second"), b"after");
        world.here.umount().says(&[]);
        all_is_in_the_bucket(&world, step);
        assert_eq!(world.object("second").unwrap(), b"after", "{step:?}");
        assert!(world.names("second"), "{step:?}");
    });
}

/// Shows crash-9.
#[test]
fn a_process_that_panics_when_all_is_flushed_ends_as_if_it_had_not() {
    let steps = [Step::LockLeft, Step::LocallyDurable, Step::JournalRotated, Step::JournalFolded];
    at_once(&steps, |step| {
        let mut world = mounted(step, &QUIET);
        change(&world);
        world.here.umount().says(&[]);
        assert!(has_panicked(&world, step), "{step:?}");
        all_is_in_the_bucket(&world, step);
        world.here.set("BAYOU_PANIC_AT", "never");
        world.here.mount(SOURCE, &QUIET);
        assert_eq!(read(world.path("first")).unwrap(), b"before", "{step:?}");
        assert!(!world.path("gone").exists(), "{step:?}");
    });
}

/// Shows crash-9.
#[test]
fn a_sync_that_was_asked_for_and_panics_is_an_error_of_that_command() {
    // The first time that news are taken over is that of the mount itself.
    let steps = [(Step::ObjectPut, 1), (Step::IndexCommitted, 1), (Step::PullApplied, 2)];
    at_once(&steps, |(step, nth)| {
        let mut world = World::unmounted(&[("there", b"1"), ("gone", b"1")]);
        world.here.set("BAYOU_PANIC_AT", &format!("{}:{nth}", step.label()));
        world.here.mount(SOURCE, &QUIET);
        let other = world.another(&QUIET);
        write_synced(other.mnt("news"), b"news").unwrap();
        change(&world);
        let mnt = world.here.path("mnt");
        world.here.run(&["sync", &mnt]).fails_with(2, &["panic", step.label()]);
        assert_eq!(read(world.path("first")).unwrap(), b"before", "{step:?}");
        let said = world.here.run(&["sync", &mnt]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(read(world.path("news")).unwrap(), b"news", "{step:?}");
        all_is_in_the_bucket(&world, step);
        assert!(last_error(&world).is_none());
        world.here.umount().says(&["everything was in"]);
    });
}

/// Tries each case in a thread of its own: most of the time they wait.
fn at_once<T: Copy + Send>(cases: &[T], try_one: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for &case in cases {
            let try_one = &try_one;
            scope.spawn(move || try_one(case));
        }
    });
}

fn change(world: &World) {
    write(world.path("first"), b"before");
    write(world.path("there"), b"changed");
    fs::remove_file(world.path("gone")).unwrap();
}

fn all_is_in_the_bucket(world: &World, step: Step) {
    for (name, bytes) in [("first", &b"before"[..]), ("there", b"changed")] {
        assert_eq!(world.object(name).as_deref(), Some(bytes), "{step:?}: {name}");
        assert!(world.names(name), "{step:?}: {name}");
    }
    assert!(world.object("gone").is_none() && !world.names("gone"), "{step:?}");
}

/// Changes something, ends the mount, and finds all of it in the bucket and in the next mount.
fn leaves_well(world: &World, step: Step) {
    write(world.path("before"), b"before");
    write(world.path("after"), b"after");
    let pid = world.here.daemon();
    signal(pid, Signal::TERM);
    wait_until("the process has ended", || !is_alive(pid));
    assert!(!world.here.is_mounted());
    assert!(has_panicked(world, step));
    for (name, bytes) in [("before", &b"before"[..]), ("after", b"after")] {
        assert_eq!(world.object(name).unwrap(), bytes);
        assert!(world.names(name), "{name}");
    }
    world.here.mount(SOURCE, &QUIET);
    assert_eq!(read(world.path("after")).unwrap(), b"after");
    assert_eq!(read(world.path("there")).unwrap(), b"1");
}
