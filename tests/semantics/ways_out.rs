//! Every way out of a mount while data is on its way: all of it is in the bucket, or all of it is
//! kept, and a new mount on the same directory and cache goes on with it.

use std::fs;
use std::process::{Child, Command, Stdio};

use bayou_test_server::{Action, Fault, Gate, Op};
use rustix::process::Signal;

use crate::person::{is_alive, signal, wait_until, write};
use crate::world::{QUIET, SOURCE, World, read};

const FLAGS: [&str; 3] = ["--write-back=100ms", "--refresh=0", "--timeout=1s"];

/// What is changed before each way out, besides a file that is removed.
const CHANGED: [(&str, &[u8]); 4] =
    [("flying", b"on its way"), ("resting", b"not begun"), ("there", b"new"), ("d/named", b"moved")];

/// Where everything is when the process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Durable,
    Kept,
}

/// What the bucket does while the mount is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Answers,
    IsGone,
}

struct Way {
    name: &'static str,
    /// Where everything is if the bucket answers; otherwise it is kept.
    ends: Ends,
    /// Leaves the mount; returns a command that goes on.
    leave: fn(&World, i32) -> Option<Child>,
}

const WAYS: [Way; 10] = [
    Way { name: "bayou umount", ends: Ends::Durable, leave: |world, _| Some(umount_of_ours(world)) },
    Way { name: "umount", ends: Ends::Durable, leave: |world, _| unmount(world, &["umount", "-i"]) },
    Way { name: "umount -l", ends: Ends::Durable, leave: |world, _| unmount(world, &["umount", "-i", "-l"]) },
    Way {
        name: "fusermount3",
        ends: Ends::Durable,
        leave: |world, _| unmount(world, &["fusermount3", "-u"]),
    },
    Way { name: "SIGTERM", ends: Ends::Durable, leave: |_, pid| send(pid, Signal::TERM) },
    Way { name: "SIGHUP", ends: Ends::Durable, leave: |_, pid| send(pid, Signal::HUP) },
    Way { name: "Ctrl-C", ends: Ends::Durable, leave: |_, pid| send(pid, Signal::INT) },
    Way {
        name: "Ctrl-C twice",
        ends: Ends::Kept,
        leave: |world, pid| {
            signal(pid, Signal::INT);
            wait_until("it is detached", || !world.here.is_mounted());
            send(pid, Signal::INT)
        },
    },
    Way { name: "abort", ends: Ends::Kept, leave: |_, pid| send(pid, Signal::ABORT) },
    Way { name: "kill -9", ends: Ends::Kept, leave: |_, pid| send(pid, Signal::KILL) },
];

fn umount_of_ours(world: &World) -> Child {
    let mut command = world.here.command(&["umount", "--timeout=1s", &world.here.path("mnt")]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn unmount(world: &World, words: &[&str]) -> Option<Child> {
    let mnt = world.here.path("mnt");
    assert!(Command::new(words[0]).args(&words[1..]).arg(mnt).status().unwrap().success(), "{words:?}");
    None
}

fn send(pid: i32, what: Signal) -> Option<Child> {
    signal(pid, what);
    None
}

/// Shows unmount-3, crash-2, crash-3.
#[test]
fn every_way_out_brings_all_that_was_on_its_way_to_the_bucket_or_keeps_it() {
    at_once(&WAYS, |way| way_out(way, Bucket::Answers));
}

/// Shows unmount-4, crash-2, crash-3.
#[test]
fn every_way_out_of_a_bucket_that_cannot_be_reached_keeps_everything() {
    at_once(&WAYS, |way| way_out(way, Bucket::IsGone));
}

/// Tries each case in a thread of its own: most of the time they wait.
fn at_once<T: Sync>(cases: &[T], try_one: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| try_one(case));
        }
    });
}

fn way_out(way: &Way, bucket: Bucket) {
    let world = World::new(&[("there", b"1"), ("gone", b"1"), ("named", b"moved")], &FLAGS);
    let gate = Gate::new();
    let held = world.server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("data/flying"));
    change(&world, &gate);
    let pid = world.here.daemon();
    let dead = (bucket == Bucket::IsGone).then(|| world.server.fault(Fault::on_any(Action::Cut)));
    let asked = (way.leave)(&world, pid);
    let ends = if bucket == Bucket::IsGone { Ends::Kept } else { way.ends };
    if ends == Ends::Durable {
        held.remove();
        gate.open();
    }
    wait_until("the process has ended", || !is_alive(pid));
    if let Some(mut asked) = asked {
        let code = if ends == Ends::Durable { 0 } else { 5 };
        assert_eq!(asked.wait().unwrap().code(), Some(code), "{}", way.name);
    }
    match ends {
        Ends::Durable => is_in_the_bucket(&world, way.name),
        Ends::Kept => assert_eq!(world.object("flying"), None, "{}", way.name),
    }
    held.remove();
    if let Some(dead) = dead {
        dead.remove();
    }
    is_found_again(&world, way.name);
    gate.open();
}

/// Has a file on its way to the bucket, held at the gate, and everything else changed behind it.
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn change(world: &World, gate: &Gate) {
    write(world.path("flying"), b"on its way");
    gate.wait_for_blocking(1);
    write(world.path("resting"), b"not begun");
    write(world.path("there"), b"new");
    fs::create_dir(world.path("d")).unwrap();
    fs::rename(world.path("named"), world.path("d/named")).unwrap();
    fs::remove_file(world.path("gone")).unwrap();
}

fn is_in_the_bucket(world: &World, way: &str) {
    for (name, bytes) in CHANGED {
        assert_eq!(world.object(name).as_deref(), Some(bytes), "{way}: {name}");
        assert!(world.names(name), "{way}: {name}");
    }
    for name in ["gone", "named"] {
        assert!(world.object(name).is_none() && !world.names(name), "{way}: {name}");
    }
}

/// Mounts again with the same directory and cache; nothing is missing, and all of it gets into
/// the bucket.
fn is_found_again(world: &World, way: &str) {
    world.here.mount(SOURCE, &QUIET);
    for (name, bytes) in CHANGED {
        assert_eq!(read(world.path(name)).unwrap(), bytes, "{way}: {name}");
    }
    assert!(!world.path("gone").exists() && !world.path("named").exists(), "{way}");
    world.here.umount().says(&[]);
    assert!(!world.here.is_mounted(), "{way}");
    is_in_the_bucket(world, way);
}
