//! What two machines do to the same names before they hear of each other.
//!
//! Who pushes first made what the bucket has; the other one's changes meet it by the rules of
//! `docs/SEMANTICS.md`, "Conflicts", which are written down here once more, as simply as can be.

use std::collections::BTreeMap;
use std::fs;

use bayou::cache::listing::EntryKind;

use super::calls::Dice;
use super::seeds;
use crate::world::{Second, Turn, World};

const NAMES: [&str; 5] = ["k0", "k1", "d/k0", "d/k1.txt", "d/e/k0"];
const ROUNDS: usize = 12;

/// What each name has.
type Files = BTreeMap<&'static str, String>;

/// What one machine did to a name.
enum Done {
    Wrote(&'static str, String),
    Removed(&'static str),
}

/// What everybody has, and the versions that stand beside others.
#[derive(Default)]
struct Contest {
    files: Files,
    beside: Vec<(&'static str, String)>,
    written: usize,
    story: Vec<String>,
}

impl Contest {
    /// Draws what one machine does in a round.
    fn draw(&mut self, dice: &mut Dice, who: Turn) -> Vec<Done> {
        let mut files = self.files.clone();
        let mut all = Vec::new();
        for _ in 0..dice.below(5) {
            let name = NAMES[dice.below(NAMES.len() as u64) as usize];
            let done = if dice.below(3) == 0 && files.remove(name).is_some() {
                Done::Removed(name)
            } else {
                self.written += 1;
                let text = format!("<{}>{}", self.written, "-".repeat(dice.below(9000) as usize));
                files.insert(name, text.clone());
                Done::Wrote(name, text)
            };
            self.story.push(match &done {
                Done::Wrote(name, text) => format!("{who:?} writes {name} {}", short(text)),
                Done::Removed(name) => format!("{who:?} removes {name}"),
            });
            all.push(done);
        }
        all
    }

    /// Takes over what both did; `second` met what `first` had brought to the bucket.
    fn meet(&mut self, first: &[Done], second: &[Done]) {
        let base = std::mem::take(&mut self.files);
        let (first, second) = (after(&base, first), after(&base, second));
        for name in NAMES {
            let [was, theirs, ours] = [&base, &first, &second].map(|files| files.get(name).cloned());
            let has = match (theirs != was, ours != was) {
                (_, false) => theirs,
                (false, true) => ours,
                (true, true) => match (theirs, ours) {
                    (Some(theirs), Some(ours)) => {
                        self.beside.push((name, ours));
                        Some(theirs)
                    }
                    (theirs, ours) => ours.or(theirs),
                },
            };
            has.map(|text| self.files.insert(name, text));
        }
    }

    fn check(&self, who: &str, seen: BTreeMap<String, String>, seed: u64) {
        let (copies, files): (BTreeMap<_, _>, BTreeMap<_, _>) =
            seen.into_iter().partition(|(path, _)| path.contains(".conflict-"));
        let expected: BTreeMap<_, _> =
            self.files.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
        let told = |files: &BTreeMap<String, String>| {
            files.iter().map(|(path, text)| format!("{path}: {}", short(text))).collect::<Vec<_>>()
        };
        let story = || format!("seed {seed}, {who}\n{}", self.story.join("\n"));
        assert!(files == expected, "{:?} instead of {:?}: {}", told(&files), told(&expected), story());
        for (name, text) in &self.beside {
            let beside = name.split_once('.').map_or(*name, |(stem, _)| stem);
            let is_it = |(path, kept): (&String, &String)| path.starts_with(beside) && kept == text;
            assert!(copies.iter().any(is_it), "{} of {name} is lost: {}", short(text), story());
        }
        assert_eq!(copies.len(), self.beside.len(), "{:?}: {}", told(&copies), story());
    }
}

/// Returns what there is after somebody did this.
fn after(files: &Files, done: &[Done]) -> Files {
    let mut files = files.clone();
    for done in done {
        match done {
            Done::Wrote(name, text) => drop(files.insert(name, text.clone())),
            Done::Removed(name) => drop(files.remove(name)),
        }
    }
    files
}

fn short(text: &str) -> &str {
    text.split_once('>').map_or(text, |(stamp, _)| stamp)
}

/// Does it through the mount.
fn do_here(world: &World, done: &[Done]) {
    for done in done {
        match done {
            Done::Wrote(name, text) => {
                fs::create_dir_all(world.path(name).parent().unwrap()).unwrap();
                world.write(name, text.as_bytes());
            }
            Done::Removed(name) => fs::remove_file(world.path(name)).unwrap(),
        }
    }
}

fn do_there(world: &World, done: &[Done]) {
    for done in done {
        match done {
            Done::Wrote(name, text) => world.other().write(name, text.as_bytes()),
            Done::Removed(name) => world.other().remove(name),
        }
    }
}

/// Returns the files that the mount has.
fn seen_here(world: &World) -> BTreeMap<String, String> {
    let root = world.path("");
    let (mut seen, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                seen.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    seen
}

fn seen_there(world: &World) -> BTreeMap<String, String> {
    let files = world.seen_elsewhere().into_iter().filter(|(_, entry)| entry.0 == EntryKind::File);
    files.map(|(path, entry)| (path, String::from_utf8(entry.2).unwrap())).collect()
}

#[test]
fn what_two_machines_did_to_one_name_is_kept_by_the_rules() {
    for seed in seeds(0..12) {
        let world = World::new();
        let mut dice = Dice(seed);
        let mut contest = Contest::default();
        for _ in 0..ROUNDS {
            let [here, there] = [Turn::Here, Turn::There].map(|who| contest.draw(&mut dice, who));
            do_here(&world, &here);
            do_there(&world, &there);
            let first = if dice.below(2) == 0 { Turn::Here } else { Turn::There };
            let then = if dice.below(2) == 0 { Second::Pushes } else { Second::Pulls };
            contest.story.push(format!("{first:?} pushes first, the other {then:?}"));
            match first {
                Turn::Here => contest.meet(&here, &there),
                Turn::There => contest.meet(&there, &here),
            }
            world.meet(first, then);
            contest.check("here", seen_here(&world), seed);
            contest.check("there", seen_there(&world), seed);
        }
    }
}
