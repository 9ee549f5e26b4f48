//! One large file that many have open in every way at once: the kernel takes every answer, and
//! all see the same bytes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;

use rustix::fs::copy_file_range;

use super::lent::{MIB, are_equal, bytes_of, is_refusal, read_once, sent, writable};
use super::mapping::{Descriptor, Mapping};
use super::world::{Step, World};

const SEEDS: u64 = 4;
const CALLS: u64 = 120;
const MOST_BYTES: u64 = 2 * MIB as u64;
/// Nothing is cut below this, and nothing stored above it.
const LEAST_BYTES: u64 = MIB as u64 + 4096;

/// Draws the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

struct Mix {
    world: World,
    dice: Dice,
    bytes: Vec<u8>,
    readers: Vec<File>,
    writers: Vec<File>,
    mappings: Vec<Mapping>,
}

impl Mix {
    fn new(seed: u64) -> Self {
        let bytes = bytes_of(seed, MOST_BYTES as usize);
        let world = read_once(&[("f", &bytes)]);
        let (readers, writers, mappings) = (Vec::new(), Vec::new(), Vec::new());
        Self { world, dice: Dice(seed), bytes, readers, writers, mappings }
    }

    fn call(&mut self) {
        let path = self.world.path("f");
        let (at, value) = (self.dice.below(LEAST_BYTES - 9000), self.dice.below(256) as u8);
        let len = 1 + self.dice.below(9000);
        match self.dice.below(27) {
            0..4 => self.readers.push(File::open(path).unwrap()),
            4..6 => self.writers.push(writable(&path)),
            6 => self.mappings.push(Mapping::of(&path, Descriptor::Closed)),
            7..9 => drop(self.readers.pop()),
            9..11 => drop(self.writers.pop()),
            11 => drop(self.mappings.pop()),
            12..15 => {
                writable(&path).write_all_at(&vec![value; len as usize], at).unwrap();
                self.fill(at, len, value);
            }
            15..18 => {
                if let Some(mapping) = self.mappings.last_mut() {
                    mapping.store(at as usize, value, len as usize);
                    self.fill(at, len, value);
                }
            }
            18 => {
                let size = LEAST_BYTES + self.dice.below(MOST_BYTES - LEAST_BYTES);
                writable(&path).set_len(size).unwrap();
                self.bytes.resize(size as usize, 0);
            }
            19..21 => self.world.sync_now(Step::Push),
            21 => self.world.sync_now(Step::Pull),
            22 => self.world.cache.durable_point().unwrap(),
            23..25 => self.copy(at, len),
            25 => self.begin_anew(),
            _ => drop(self.world.cache.evict(u64::MAX)),
        }
    }

    /// Copies a range to where nothing else is written.
    fn copy(&mut self, from: u64, len: u64) {
        let to = LEAST_BYTES - 9000;
        let (file, len) = (writable(&self.world.path("f")), len.min(to - from) as usize);
        let (mut at, mut end) = (from, to);
        while end < to + len as u64 {
            let left = len - (end - to) as usize;
            assert!(copy_file_range(&file, Some(&mut at), &file, Some(&mut end), left).unwrap() > 0);
        }
        self.bytes.copy_within(from as usize..from as usize + len, to as usize);
    }

    fn fill(&mut self, at: u64, len: u64, value: u8) {
        self.bytes[at as usize..(at + len) as usize].fill(value);
    }

    fn check(&mut self) {
        let at = self.dice.below(LEAST_BYTES - 9000) as usize;
        let mut part = vec![0; 9000];
        for file in self.readers.iter().chain(&self.writers) {
            file.read_exact_at(&mut part, at as u64).unwrap();
            are_equal(&part, &self.bytes[at..at + 9000]);
            assert_eq!(file.metadata().unwrap().len(), self.bytes.len() as u64);
        }
        let senders = self.readers.iter().map(|file| (file, false));
        for (file, may_refuse) in senders.chain(self.writers.iter().map(|file| (file, true))) {
            match sent(file, at as u64, 9000) {
                Ok(sent) => are_equal(&sent, &self.bytes[at..at + 9000]),
                Err(refused) => assert!(may_refuse && is_refusal(refused), "{refused}"),
            }
        }
        if self.dice.below(4) == 0 {
            are_equal(&fs::read(self.world.path("f")).unwrap(), &self.bytes);
        }
    }

    /// Has all close it, and pushes it: who opens it next has it lent.
    fn begin_anew(&mut self) {
        self.readers.clear();
        self.writers.clear();
        self.mappings.clear();
        while !self.world.push() {
            thread::yield_now();
        }
        are_equal(&fs::read(self.world.path("f")).unwrap(), &self.bytes);
        self.world.until_closed("f");
        self.readers.push(File::open(self.world.path("f")).unwrap());
    }

    fn end(mut self) -> u64 {
        self.begin_anew();
        self.readers.clear();
        are_equal(&self.world.published()["f"].2, &self.bytes);
        are_equal(&fs::read(self.world.path("f")).unwrap(), &self.bytes);
        self.world.passthrough.opens()
    }
}

#[test]
fn who_reads_writes_and_maps_one_file_at_once_sees_the_same() {
    let mut lent = 0;
    for seed in 1..=SEEDS {
        eprintln!("Seed {seed}");
        let mut mix = Mix::new(seed);
        for _ in 0..CALLS {
            mix.call();
            mix.check();
        }
        lent += mix.end();
    }
    assert!(lent > SEEDS * 25, "only {lent} opens were lent");
}
