//! Unmounting: what is waited for, and what is not. `ways_out.rs` has all ways in a table.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use bayou_test_server::{Action, Fault, Gate, Op};
use rustix::process::Signal;

use crate::person::{is_alive, signal, wait_until, write};
use crate::world::{QUIET, SOURCE, World, read};

/// Shows unmount-2.
#[test]
fn the_drain_after_a_flush_sends_no_request() {
    let world = World::new(&[("z", b"1")], &QUIET);
    let requests = |name: &str, leave: &dyn Fn()| {
        write(world.path(name), b"bytes");
        world.server.reset_counts();
        leave();
        let mut sent: Vec<_> = world.server.requests().into_iter().map(|sent| (sent.op, sent.key)).collect();
        sent.retain(|(_, key)| !key.ends_with(name));
        sent.sort_by_key(|(op, key)| (op.to_string(), key.clone()));
        sent
    };
    let push = || world.here.run(&["sync", "--push", &world.here.path("mnt")]).says(&["Pushed 1 file"]);
    requests("first", &push);
    let of_a_push = requests("second", &push);
    let of_an_unmount = requests("third", &|| world.here.umount().says(&["Flushed 1 file"]));
    assert_eq!(of_an_unmount, of_a_push);
    assert_eq!(world.sent(Op::PutObject, "third").len(), 1);
}

/// Shows unmount-3.
#[test]
fn ctrl_c_in_the_foreground_brings_everything_to_the_bucket() {
    let world = World::new(&[], &QUIET);
    world.here.umount().says(&[]);
    let mnt = world.here.path("mnt");
    let mut command = world.here.command(&["mount", "-f", SOURCE, &mnt, QUIET[0], QUIET[1]]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it is mounted", || world.here.is_mounted());
    write(world.path("a"), b"bytes");
    signal(i32::try_from(child.id()).unwrap(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.object("a").unwrap(), b"bytes");
}

/// Shows unmount-4.
#[test]
fn a_dead_server_does_not_hold_the_mount_and_the_next_mount_pushes() {
    let world = World::new(&[], &[&QUIET[..], &["--timeout=1s"]].concat());
    write(world.path("a"), b"kept");
    let pid = world.here.daemon();
    let dead = world.server.fault(Fault::on_any(Action::Cut));
    let said = world.here.run(&["umount", "--timeout=1s", &world.here.path("mnt")]);
    let cache = world.here.cache();
    said.fails_with(5, &["1 file (4 bytes)", SOURCE, cache.to_str().unwrap()]);
    assert!(!world.here.is_mounted() && !is_alive(pid));
    dead.remove();
    world.here.mount(SOURCE, &["--write-back=100ms"]);
    wait_until("what was kept is in the bucket", || world.names("a"));
    assert_eq!(world.object("a").unwrap(), b"kept");
}

/// Shows unmount-6.
#[test]
fn a_new_mount_takes_over_from_a_process_that_drains() {
    let world = World::new(&[], &QUIET);
    let gate = Gate::new();
    let held = world.server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("data/a"));
    write(world.path("a"), b"bytes");
    let draining = world.here.daemon();
    world.here.run(&["umount", "--lazy", &world.here.path("mnt")]).says(&["Detached"]);
    gate.wait_for_blocking(1);
    assert!(is_alive(draining));
    world.here.mount(SOURCE, &QUIET);
    assert!(!is_alive(draining));
    assert_eq!(read(world.path("a")).unwrap(), b"bytes");
    held.remove();
    gate.open();
    world.here.umount().says(&[]);
    assert_eq!(world.object("a").unwrap(), b"bytes");
    assert!(world.names("a"));
}

/// Shows unmount-8.
#[test]
fn a_mount_that_another_namespace_still_shows_is_unmounted_here_and_who_shows_it_is_said() {
    let world = World::new(&[("there", b"1")], &QUIET);
    let daemon = world.here.daemon();
    let other = Namespace::copied_now(&world);
    write(world.path("a"), b"bytes");
    let (pid, mnt) = (format!("pid {}", other.0.id()), world.here.path("mnt"));
    world.here.umount().fails_with(2, &["unmounted here", &pid, &mnt]);
    assert!(!world.here.is_mounted());
    assert!(is_alive(daemon), "others go on with it");
    assert_eq!(world.object("a").unwrap(), b"bytes");
    assert!(world.names("a"));
    assert_eq!(other.sees(&format!("{mnt}/there")), b"1");
    drop(other);
    wait_until("the process has ended", || !is_alive(daemon));
    world.here.mount(SOURCE, &QUIET);
    assert_eq!(read(world.path("a")).unwrap(), b"bytes");
}

/// Shows unmount-8.
#[test]
fn a_second_signal_ends_what_another_namespace_still_shows() {
    let world = World::new(&[], &QUIET);
    let daemon = world.here.daemon();
    let other = Namespace::copied_now(&world);
    write(world.path("a"), b"bytes");
    signal(daemon, Signal::TERM);
    wait_until("it is unmounted", || !world.here.is_mounted());
    assert!(is_alive(daemon), "others go on with it");
    signal(daemon, Signal::TERM);
    wait_until("the process has ended", || !is_alive(daemon));
    drop(other);
    world.here.mount(SOURCE, &QUIET);
    assert_eq!(read(world.path("a")).unwrap(), b"bytes");
    world.here.umount().says(&[]);
    assert_eq!(world.object("a").unwrap(), b"bytes");
}

/// A process that goes on seeing a mount, whatever is unmounted later; those of other tests it lets
/// go of.
struct Namespace(Child);

impl Namespace {
    fn copied_now(world: &World) -> Self {
        // At once: other tests must not find their own mounts kept.
        let script =
            "awk -v ours=\"$0\" '$3 == \"fuse.bayou\" && $2 != ours { print $2 }' /proc/self/mounts |
                xargs -r umount -l
            echo copied && read word";
        let user = if rustix::process::getuid().is_root() { "--mount" } else { "--map-root-user" };
        let mut command = Command::new("unshare");
        command.args(["--mount", user, "sh", "-c", script, &world.here.path("mnt")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "copied\n");
        Self(child)
    }

    fn sees(&self, path: &str) -> Vec<u8> {
        read(format!("/proc/{}/root{path}", self.0.id()).into()).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}
