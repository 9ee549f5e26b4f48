//! What is there after the process was killed, and after the power failed.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use bayou_test_server::{Action, Fault, Gate, Op};
use rustix::process::Signal;

use crate::person::{Said, is_alive, signal, wait_until, write, write_synced};
use crate::world::{QUIET, SOURCE, World, read};

/// Shows crash-1, crash-2, crash-3.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn what_had_returned_before_a_kill_is_not_lost() {
    let world = World::new(&[("old", b"old"), ("gone", b"gone"), ("part", b"0123456789")], &QUIET);
    write_synced(world.path("synced"), b"synced").unwrap();
    write(world.path("written"), b"written");
    fs::create_dir_all(world.path("d/empty")).unwrap();
    fs::rename(world.path("old"), world.path("d/new")).unwrap();
    fs::remove_file(world.path("gone")).unwrap();
    let file = fs::File::options().write(true).open(world.path("part")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"XY", 4).unwrap();
    world.here.kill_daemon();
    drop(file);
    assert_eq!(world.object("synced").unwrap(), b"synced");
    assert_eq!(world.object("written"), None);
    world.here.mount(SOURCE, &["--write-back=100ms"]);
    wait_until("all is in the bucket", || world.here.status()["state"] == "clean");
    world.here.umount().says(&[]);
    let other = world.another(&QUIET);
    for (name, bytes) in
        [("synced", &b"synced"[..]), ("written", b"written"), ("d/new", b"old"), ("part", b"0123XY6789")]
    {
        assert_eq!(read(other.mnt(name)).unwrap(), bytes, "{name}");
    }
    let there = ["d/empty", "gone", "old"].map(|name| other.mnt(name).exists());
    assert_eq!(there, [true, false, false], "{}", world.index().unwrap());
    assert_eq!(world.object("gone"), None);
    assert_eq!(world.object("old"), None);
}

/// Shows crash-4, crash-5, crash-6.
#[test]
fn what_was_synced_locally_is_found_after_a_power_failure() {
    let world = World::new(&[("c.txt", b"base")], &[&QUIET[..], &["--fsync=local"]].concat());
    for name in ["a", "b", "c.txt"] {
        write_synced(world.path(name), b"safe").unwrap();
    }
    File::options().append(true).open(world.path("b")).unwrap().write_all(b" and a tail").unwrap();
    File::options().write(true).open(world.path("c.txt")).unwrap().write_all(b"unsafe").unwrap();
    world.here.kill_daemon();
    after_another_boot(&world, &["sync", "--push", SOURCE]).says(&["Pushed 3 files"]);
    assert_eq!(world.object("a").unwrap(), b"safe");
    assert_eq!(world.object("b").unwrap(), b"safe");
    assert_eq!(world.object("c.txt").unwrap(), b"base");
    let index = world.index().unwrap();
    let names: Vec<&String> = index["entries"].as_object().unwrap().keys().collect();
    let aside = names.iter().find(|name| name.starts_with("c.recovered-") && name.ends_with(".txt"));
    assert_eq!(world.object(aside.unwrap()).unwrap(), b"unsafe", "{names:?}");
}

/// Shows crash-8.
#[test]
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn a_renamed_file_that_is_uncertain_has_its_old_name_again() {
    let world = World::new(&[("old.txt", b"base")], &QUIET);
    fs::rename(world.path("old.txt"), world.path("new.txt")).unwrap();
    File::options().write(true).open(world.path("new.txt")).unwrap().write_all(b"unsafe").unwrap();
    world.here.kill_daemon();
    after_another_boot(&world, &["sync", "--push", SOURCE]).says(&["Pushed 1 file"]);
    assert_eq!(world.object("old.txt").unwrap(), b"base");
    assert_eq!(world.object("new.txt"), None);
    let index = world.index().unwrap();
    let names: Vec<&String> = index["entries"].as_object().unwrap().keys().collect();
    let aside = names.iter().find(|name| name.starts_with("new.recovered-") && name.ends_with(".txt"));
    assert_eq!(world.object(aside.unwrap()).unwrap(), b"unsafe", "{names:?}");
}

/// Shows crash-7.
#[test]
fn what_was_written_some_time_before_a_power_failure_is_found() {
    let world = World::new(&[("a", b"old bytes")], &QUIET);
    write(world.path("a"), b"new");
    write(world.path("b"), b"made");
    let written = SystemClock.instant();
    let passed = || SystemClock.instant().duration_since(written);
    wait_until("5 seconds have passed", || passed() > Duration::from_secs(5));
    world.here.kill_daemon();
    after_another_boot(&world, &["sync", "--push", SOURCE]).says(&["Pushed 2 files"]);
    assert_eq!(world.object("a").unwrap(), b"new");
    assert_eq!(world.object("b").unwrap(), b"made");
}

/// Shows crash-3, crash-4.
#[test]
fn after_another_boot_the_same_directory_and_cache_serve_a_new_mount() {
    let flags = ["--write-back=100ms", "--refresh=0", "--fsync=local"];
    let world = World::new(&[("there", b"1")], &flags);
    let gate = Gate::new();
    let held = world.server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("data/flying"));
    write_synced(world.path("flying"), b"on its way").unwrap();
    gate.wait_for_blocking(1);
    write_synced(world.path("resting"), b"not begun").unwrap();
    world.here.kill_daemon();
    let mnt = world.here.path("mnt");
    // A boot leaves no dead mount behind.
    assert!(Command::new("umount").args(["-l", &mnt]).status().unwrap().success());
    held.remove();
    assert_eq!(world.object("flying"), None);
    after_another_boot(&world, &["mount", SOURCE, &mnt, "--write-back=100ms"]).says(&[]);
    let pid = world.here.daemon();
    for (name, bytes) in [("flying", &b"on its way"[..]), ("resting", b"not begun"), ("there", b"1")] {
        // Only that process and its like see its mount.
        assert_eq!(fs::read(format!("/proc/{pid}/root{mnt}/{name}")).unwrap(), bytes);
        wait_until("it is in the bucket", || world.names(name));
        assert_eq!(world.object(name).unwrap(), bytes);
    }
    signal(pid, Signal::TERM);
    wait_until("the process has ended", || !is_alive(pid));
    gate.open();
}

/// Runs the program as if the machine had been started anew: another boot id is put over the
/// kernel's, for this process alone. What others have mounted is not kept mounted for it.
pub(crate) fn after_another_boot(world: &World, words: &[&str]) -> Said {
    write(world.here.path("boot-id"), b"00000000-0000-4000-8000-000000000000\n");
    let script = "awk -v ours=\"$HOME/\" '$3 == \"fuse.bayou\" && index($2, ours) != 1 { print $2 }' \
            /proc/self/mounts | xargs -r umount -l
        mount --bind \"$HOME/boot-id\" /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    let user = if rustix::process::getuid().is_root() { "--mount" } else { "--map-root-user" };
    command.args(["--mount", user, "sh", "-c", script, env!("CARGO_BIN_EXE_bayou")]).args(words);
    world.here.dress(&mut command);
    Said::of(command.output().unwrap())
}
