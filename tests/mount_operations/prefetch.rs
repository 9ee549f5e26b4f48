//! What is fetched before anybody asks for it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;

use super::world::World;

const MIB: usize = 1 << 20;

/// Waits for requests that nobody waits for.
#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..5_000_000 {
        if is_so() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("nobody asked for it");
}

fn names(files: usize) -> Vec<String> {
    (0..files).map(|n| format!("d{}/f{n:03}", n / 40)).collect()
}

fn world_of(names: &[String]) -> World {
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    World::with(&files)
}

fn check(world: &World, name: &str) {
    assert_eq!(fs::read(world.path(name)).unwrap(), name.as_bytes());
}

#[test]
fn files_that_are_read_in_order_are_asked_for_before_they_are_read_and_once() {
    let names = names(300);
    let world = world_of(&names);
    check(&world, &names[0]);
    assert_eq!(world.gets(), 1, "one file is no sequence");
    check(&world, &names[1]);
    until(|| world.gets() >= 6);
    assert_eq!(world.gets(), 6);
    names[2..].iter().for_each(|name| check(&world, name));
    assert_eq!(world.gets(), 300);
}

#[test]
fn files_that_are_read_as_they_are_listed_are_fetched_ahead_too() {
    let names = names(40);
    let (even, odd) = (names.iter().step_by(2), names.iter().skip(1).step_by(2));
    let mut listed: Vec<String> = even.chain(odd).cloned().collect();
    // Inode numbers, and with them listings, follow the order in which files became known.
    let world = World::new();
    for name in &listed {
        world.elsewhere(|other| other.write(name, name.as_bytes()));
    }
    let seen: Vec<String> = fs::read_dir(world.path("d0"))
        .unwrap()
        .map(|entry| format!("d0/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    assert_eq!(seen, listed);
    let tail = listed.split_off(2);
    listed.iter().for_each(|name| check(&world, name));
    until(|| world.gets() >= 6);
    assert_eq!(world.gets(), 6);
    tail.iter().for_each(|name| check(&world, name));
    assert_eq!(world.gets(), 40);
}

#[test]
fn files_that_are_read_in_no_order_are_fetched_alone() {
    let names = names(200);
    let world = world_of(&names);
    // Each is far from the ones before it.
    (0..200).step_by(2).for_each(|n| check(&world, &names[n * 73 % 200]));
    assert_eq!(world.gets(), 100);
}

#[test]
fn nothing_is_dropped_for_what_may_be_read() {
    let mib = vec![7; MIB];
    let names = names(70);
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), mib.as_slice())).collect();
    let world = World::with(&files);
    names.iter().for_each(|name| assert_eq!(fs::read(world.path(name)).unwrap(), mib));
    assert_eq!(world.gets(), 70, "what was fetched and not read yet was dropped");
}

#[test]
fn a_large_file_is_asked_for_ahead_of_its_reader_and_each_byte_once() {
    let bytes: Vec<u8> = (0..40 * MIB as u32 / 4).flat_map(u32::to_le_bytes).collect();
    let world = World::with(&[("large", &bytes)]);
    let mut file = File::open(world.path("large")).unwrap();
    let mut read = vec![0; 4 * MIB];
    file.read_exact(&mut read).unwrap();
    until(|| world.asked("large").iter().any(|range| range.end >= 10 * MIB as u64));
    file.read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    let mut asked = world.asked("large");
    asked.sort_by_key(|range| range.start);
    assert_eq!(asked.first().unwrap().start, 0);
    assert_eq!(asked.last().unwrap().end, bytes.len() as u64);
    assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "{asked:?}");
    assert!(asked.iter().all(|range| range.end - range.start <= 8 * MIB as u64), "{asked:?}");
}

#[test]
fn a_read_in_the_middle_of_a_large_file_is_one_small_request() {
    let bytes = vec![3; 40 * MIB];
    let world = World::with(&[("large", &bytes)]);
    let mut block = [0; 4096];
    File::open(world.path("large")).unwrap().read_exact_at(&mut block, 20 * MIB as u64).unwrap();
    let [asked] = world.asked("large").try_into().unwrap();
    assert!(asked.end - asked.start <= MIB as u64, "{asked:?}");
}
