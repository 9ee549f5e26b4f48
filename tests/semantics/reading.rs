//! Reading: what is fetched, when, and how often.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use bayou_test_server::{Action, Fault, Gate, Op, Recorded};

use crate::person::{wait_until, write, write_synced};
use crate::world::{QUIET, SOURCE, World, errno, noise, read};

const MIB: u64 = 1 << 20;

/// Shows read-1.
#[test]
fn a_few_bytes_cost_one_request_of_at_most_a_mebibyte() {
    let bytes = noise(20 << 20);
    let world = World::new(&[("large", &bytes)], &QUIET);
    world.server.reset_counts();
    let file = File::open(world.path("large")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 20 * MIB);
    assert_eq!(world.server.count_all(), 0);
    let mut part = [0; 10];
    file.read_exact_at(&mut part, 10 * MIB + 7).unwrap();
    assert_eq!(part, bytes[(10 << 20) + 7..(10 << 20) + 17]);
    let sent = world.sent(Op::GetObject, "large");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].bytes_out <= MIB, "{sent:?}");
    assert_eq!(world.server.count_all(), 1);
}

/// Shows read-2.
#[test]
fn two_readers_of_the_same_bytes_cost_one_request() {
    let world = World::new(&[("a", b"bytes")], &QUIET);
    let gate = Gate::new();
    world.server.fault(Fault::on(Op::GetObject, Action::Hold(gate.clone())).key("data/a"));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| read(world.path("a")).unwrap())).collect();
        gate.wait_for_blocking(1);
        gate.open();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), b"bytes");
        }
    });
    assert_eq!(world.sent(Op::GetObject, "a").len(), 1);
}

/// Shows read-3.
#[test]
fn what_was_read_is_there_after_a_remount() {
    let bytes = noise(3 << 20);
    let world = World::new(&[("a", &bytes)], &QUIET);
    assert!(read(world.path("a")).unwrap() == bytes);
    world.here.umount().says(&[]);
    world.here.mount(SOURCE, &QUIET);
    world.server.reset_counts();
    assert!(read(world.path("a")).unwrap() == bytes);
    assert_eq!(world.server.count_all(), 0);
}

/// Shows read-4.
#[test]
fn an_open_file_never_mixes_two_versions() {
    let (old, new) = (noise(12 << 20), vec![b'n'; 12 << 20]);
    let world = World::new(&[("a", &old)], &QUIET);
    let file = File::open(world.path("a")).unwrap();
    let mut part = [0; 10];
    file.read_exact_at(&mut part, 0).unwrap();
    assert_eq!(part, old[..10]);
    write_synced(world.another(&QUIET).mnt("a"), &new).unwrap();
    assert_eq!(errno(file.read_exact_at(&mut part, 10 * MIB)), libc::ESTALE);
    file.read_exact_at(&mut part, 0).unwrap();
    assert_eq!(part, old[..10]);
    world.sync();
    assert!(read(world.path("a")).unwrap() == new);
}

/// Shows read-5.
#[test]
fn bytes_that_do_not_match_are_never_seen() {
    let world = World::new(&[], &QUIET);
    write_synced(world.path("a"), b"right bytes").unwrap();
    write_synced(world.path("b"), b"right bytes").unwrap();
    let wrong = world.server.fault(Fault::on(Op::GetObject, Action::CorruptBody(3)).key("data/a"));
    let hash = "0".repeat(64);
    world.edit_index(|index| index["entries"]["b"]["sha256"] = hash.into());
    let other = world.another(&["--timeout=3s"]);
    assert_eq!(errno(read(other.mnt("a"))), libc::EIO);
    assert_eq!(errno(read(other.mnt("b"))), libc::EIO);
    assert!(wrong.fired() > 0);
    wrong.remove();
    assert_eq!(read(other.mnt("a")).unwrap(), b"right bytes");
}

/// Shows read-6.
#[test]
fn reading_changes_nothing() {
    let world = World::new(&[("a", b"1"), ("b/c", &noise(2 << 20))], &QUIET);
    world.server.reset_counts();
    read(world.path("a")).unwrap();
    read(world.path("b/c")).unwrap();
    assert_eq!(fs::read_dir(world.path("b")).unwrap().count(), 1);
    assert_eq!(world.here.status()["state"], "clean");
    world.here.umount().says(&["everything was in"]);
    assert_eq!(world.writes(), []);
}

/// Shows read-7.
#[test]
fn clean_content_stays_within_its_limit_and_dirty_content_stays() {
    let bytes = noise(2 << 20);
    let objects: Vec<(String, &[u8])> = (0..6).map(|n| (format!("clean{n}"), bytes.as_slice())).collect();
    let objects: Vec<(&str, &[u8])> = objects.iter().map(|(key, body)| (key.as_str(), *body)).collect();
    let world = World::new(&objects, &[&QUIET[..], &["--cache-size=5MiB"]].concat());
    write(world.path("dirty"), &bytes);
    for n in 0..6 {
        assert!(read(world.path(&format!("clean{n}"))).unwrap() == bytes);
    }
    let most = (5 << 20) + bytes.len() as u64;
    wait_until("what was read first is dropped", || {
        world.here.status()["cached_bytes"].as_u64().unwrap() <= most
    });
    assert_eq!(world.object("dirty"), None);
    world.server.fault(Fault::on_any(Action::Cut));
    assert!(read(world.path("dirty")).unwrap() == bytes);
}

/// Shows read-8.
#[test]
fn files_that_are_read_one_after_another_are_fetched_ahead() {
    let objects: Vec<(String, &[u8])> = (0..40).map(|n| (format!("f{n:02}"), &b"small"[..])).collect();
    let objects: Vec<(&str, &[u8])> = objects.iter().map(|(key, body)| (key.as_str(), *body)).collect();
    let world = World::new(&objects, &QUIET);
    let gate = Gate::new();
    for n in 2..6 {
        let held = Fault::on(Op::GetObject, Action::Hold(gate.clone()));
        world.server.fault(held.key(&format!("data/f{n:02}")));
    }
    for n in 0..2 {
        assert_eq!(read(world.path(&format!("f{n:02}"))).unwrap(), b"small");
    }
    gate.wait_for_blocking(4);
    let asked = || objects.iter().map(|(key, _)| world.sent(Op::GetObject, key).len()).collect::<Vec<_>>();
    assert_eq!(asked().iter().sum::<usize>(), 6, "the four that follow are under way at once");
    gate.open();
    for (key, _) in &objects[2..] {
        assert_eq!(read(world.path(key)).unwrap(), b"small");
    }
    assert_eq!(asked(), [1; 40]);
}

/// Shows read-9.
#[test]
fn a_file_that_is_read_on_and_on_is_fetched_ahead() {
    let bytes = noise(20 << 20);
    let world = World::new(&[("large", &bytes)], &QUIET);
    let mut part = vec![0; 4 << 20];
    let file = File::open(world.path("large")).unwrap();
    file.read_exact_at(&mut part, 0).unwrap();
    assert!(part == bytes[..4 << 20]);
    // The kernel alone reads on by little.
    let asked_to = |sent: &Recorded| sent.range.as_ref()?.rsplit_once('-')?.1.parse::<u64>().ok();
    let furthest = || world.sent(Op::GetObject, "large").iter().filter_map(asked_to).max();
    wait_until("what follows is asked for", || furthest() >= Some(10 * MIB - 1));
    assert!(read(world.path("large")).unwrap() == bytes);
    let sent: Vec<u64> = world.sent(Op::GetObject, "large").iter().map(|sent| sent.bytes_out).collect();
    assert_eq!(sent.iter().sum::<u64>(), 20 * MIB, "each byte once");
    assert!(sent.iter().all(|bytes| *bytes <= 8 * MIB), "{sent:?}");
}

/// Shows read-11.
#[test]
fn a_reader_is_answered_when_his_own_bytes_are_here() {
    let bytes = noise(20 << 20);
    let world = World::new(&[("large", &bytes)], &QUIET);
    let file = File::open(world.path("large")).unwrap();
    let mut part = [0; 4096];
    file.read_exact_at(&mut part, 0).unwrap();
    let gate = Gate::new();
    world.server.fault(Fault::on(Op::GetObject, Action::HoldBody(128 << 10, gate.clone())).key("data/large"));
    file.read_exact_at(&mut part, 10 * MIB).unwrap();
    assert!(part == bytes[10 << 20..(10 << 20) + 4096]);
    assert_eq!(world.sent(Op::GetObject, "large").len(), 2, "the rest was not waited for");
    gate.open();
    assert!(read(world.path("large")).unwrap() == bytes);
    let sent: u64 = world.sent(Op::GetObject, "large").iter().map(|sent| sent.bytes_out).sum();
    assert_eq!(sent, 20 * MIB, "each byte once");
}
