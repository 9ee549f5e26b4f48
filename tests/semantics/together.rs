//! Two machines that change the same few names at random.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::person::{Person, wait_until, write_synced};
use crate::world::{BUSY, World, read};

const FILES: [&str; 7] = ["a", "b", "c", "d/x", "d/e/y", "f/x", "f/g/z"];
const FOLDERS: [&str; 5] = ["d", "d/e", "f", "f/g", "n"];
const CHANGES: usize = 300;

/// Throws that can be repeated (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        usize::try_from((z ^ (z >> 27)) >> 33).unwrap() % sides
    }

    fn one<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.throw(names.len())]
    }
}

/// Shows tree-11.
#[test]
fn machines_that_change_the_same_names_end_with_the_same_tree() {
    for seed in [1, 2, 3] {
        let world = World::new(&[("a", b"base"), ("d/x", b"base")], &BUSY);
        let machines = [&world.here, &world.another(&BUSY)];
        let mut dice = Dice(seed);
        for number in 0..CHANGES {
            let machine = machines[dice.throw(2)];
            // What cannot be done at this moment is not done.
            change(machine, &mut dice, number).ok();
        }
        let mut last = Vec::new();
        wait_until(&format!("both are the same (seed {seed})"), || {
            for machine in machines {
                let said = machine.run(&["sync", &machine.path("mnt")]);
                // What the other one does at the same time may leave something for the next time.
                assert!([0, 5, 6].contains(&said.code), "{said:?}");
            }
            last = machines.iter().map(|machine| files(&machine.mnt(""))).collect();
            last[0] == last[1] && machines.iter().all(|machine| machine.status()["state"] == "clean")
        });
        for (path, bytes) in &last[0] {
            assert_eq!(world.object(path).as_ref(), Some(bytes), "{path} (seed {seed})");
        }
        let index = world.index().unwrap();
        let named: Vec<&String> = index["entries"].as_object().unwrap().keys().collect();
        assert_eq!(named.len(), last[0].len(), "{named:?} (seed {seed})");
    }
}

#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn change(machine: &Person, dice: &mut Dice, number: usize) -> std::io::Result<()> {
    let path = machine.mnt(dice.one(&FILES));
    let text = format!("change {number}");
    match dice.throw(9) {
        0 | 1 => File::create(path)?.write_all(&text.repeat(dice.throw(500)).into_bytes()),
        2 => OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes()),
        3 => write_synced(path, text.as_bytes()),
        4 => fs::remove_file(path),
        5 => fs::rename(path, machine.mnt(dice.one(&FILES))),
        6 => fs::create_dir_all(machine.mnt(dice.one(&FOLDERS))),
        7 => fs::rename(machine.mnt(dice.one(&FOLDERS)), machine.mnt(dice.one(&FOLDERS))),
        _ => fs::remove_dir(machine.mnt(dice.one(&FOLDERS))),
    }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        // What the other machine removes this moment is not the same yet.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                // It may be replaced this moment; then both are not the same yet.
                found.insert(name, read(path).unwrap_or_default());
            }
        }
    }
    found
}
