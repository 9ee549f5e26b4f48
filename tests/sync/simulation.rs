//! Machines, their network and time, all decided by one seed.
//!
//! Everything runs on one thread. When nobody can go on, the seed decides what happens next: a
//! request takes effect, or not, or its answer is lost, or it takes effect long after whoever
//! asked has given up; time passes; somebody changes, pushes, pulls or fsyncs something; a
//! machine dies and starts again on what is on its disk. The same seed is the same story.

mod bucket;
mod changes;
mod clock;
mod machine;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bayou::store::ErrorKind;
use futures::FutureExt;
use tokio::sync::Notify;

use super::model::{Dice, Ledger, seeds};
use clock::SimClock;
use machine::{Machine, Task};
use network::{Fate, Network};

const MACHINES: usize = 3;
const STEPS: usize = 220;
const PATHS: [&str; 6] = ["a", "b", "c", "d/a", "d/b", "e/a"];
/// Most tasks of one machine at a time.
const TASKS: usize = 3;
/// A story that takes more than so many steps to its end hangs.
const MOST_STEPS: usize = 200_000;

/// One story under way.
struct Sim {
    idle: Arc<Notify>,
    clock: SimClock,
    network: Arc<Network>,
    machines: Vec<Machine>,
    ledger: Ledger,
    dice: Dice,
    steps: usize,
}

impl Sim {
    async fn begin(seed: u64, idle: Arc<Notify>, home: &std::path::Path) -> Self {
        let clock = SimClock::new();
        let network = Network::new(clock.clone());
        let machines = (0..MACHINES).map(|n| Machine::start(n, &home.join(n.to_string()), &network, &clock));
        let machines = machines.collect();
        Self { idle, clock, network, machines, ledger: Ledger::default(), dice: Dice(seed), steps: 0 }
    }

    /// Returns when no task can go on by itself.
    async fn idle(&mut self) {
        self.steps += 1;
        assert!(self.steps < MOST_STEPS, "something hangs\n{}", self.story());
        self.idle.notified().now_or_never();
        self.idle.notified().await;
        // Nothing dangles at any moment.
        self.named();
        self.take_ended();
        self.check_clean();
    }

    fn story(&self) -> String {
        self.ledger.log.join("\n")
    }

    fn note(&mut self, text: String) {
        self.ledger.note(text);
    }

    /// Looks at what came of the tasks that have ended.
    fn take_ended(&mut self) {
        for n in 0..self.machines.len() {
            for mut task in self.machines[n].take_ended() {
                let outcome = task.outcome();
                self.note(format!("{n} has ended {}: {outcome:?}", task.what));
                if let (Ok(_), Some(content)) = (outcome, &task.fsynced) {
                    self.check_fsynced(n, content, &task.what);
                }
            }
        }
    }

    /// What was fsynced is in an object that the index names, unless somebody gave it up.
    fn check_fsynced(&self, n: usize, content: &str, what: &str) {
        // Another machine may have given it a second name after this one gave it up.
        let own = format!("{n} wrote ");
        if self.ledger.live.get(content).is_some_and(|note| note.starts_with(&own)) {
            let named = self.named();
            assert!(named.contains(content), "{what}: {content} is not in {named:?}\n{}", self.story());
        }
    }

    /// Returns the contents of all objects that the index names; each name must have one.
    fn named(&self) -> BTreeSet<String> {
        let bucket = self.network.bucket.lock();
        let index = bucket.objects.get(super::world::INDEX);
        let Some(index) = index else { return BTreeSet::new() };
        let index: serde_json::Value = serde_json::from_slice(&index.body).unwrap();
        let entries = index["entries"].as_object().unwrap();
        let body = |key: &String| {
            let object = bucket.objects.get(key);
            let object = object.unwrap_or_else(|| panic!("{key} dangles\n{}", self.story()));
            String::from_utf8(object.body.to_vec()).unwrap()
        };
        entries.keys().map(body).collect()
    }

    /// Who says clean has nothing that is not in the bucket.
    fn check_clean(&self) {
        let bucket = self.network.bucket.lock();
        let stored: BTreeSet<&[u8]> = bucket.objects.values().map(|object| &object.body[..]).collect();
        for machine in self.machines.iter().filter(|machine| machine.peer().is_clean()) {
            let own = format!("{} wrote ", machine.number);
            // Others may have fetched it, given it another name and not pushed that yet.
            let is_lost = |(content, note): &(&String, &String)| {
                let is_stored = stored.contains(content.as_bytes());
                note.starts_with(&own) && !is_stored && !self.is_dirty_elsewhere(content)
            };
            let lost = self.ledger.live.iter().find(is_lost);
            assert!(lost.is_none(), "{} is clean without {lost:?}\n{}", machine.number, self.story());
        }
    }

    /// Returns whether a machine that is dirty holds this.
    fn is_dirty_elsewhere(&self, content: &str) -> bool {
        let holds = |machine: &Machine| {
            let held = |path: String| machine.held(&path).flatten();
            machine.peer().files().into_iter().filter_map(held).any(|held| held == content)
        };
        self.machines.iter().any(|machine| !machine.peer().is_clean() && holds(machine))
    }

    /// Lets something happen.
    async fn step(&mut self) {
        self.idle().await;
        let n = self.dice.roll(MACHINES);
        match self.dice.roll(100) {
            0..60 if self.network.under_way() > 0 => self.deliver(),
            0..66 => self.pass_time(),
            66..82 => self.change(n),
            82..97 => self.begin_task(n),
            97 | 98 => self.advance(),
            _ => self.crash(n).await,
        }
    }

    fn deliver(&mut self) {
        let number = self.dice.roll(self.network.under_way());
        let fate = match self.dice.roll(20) {
            0 | 1 => Fate::AnswerLost,
            2 => Fate::Refused,
            3 => Fate::Late,
            _ => Fate::Answered,
        };
        let what = self.network.decide(number, fate);
        self.note(format!("{what}: {fate:?}"));
    }

    fn pass_time(&mut self) {
        let woken = self.clock.wake_next();
        self.note(format!("time passes: {woken}"));
    }

    fn advance(&mut self) {
        let seconds = self.dice.roll(40) as u64;
        self.clock.advance(Duration::from_secs(seconds));
        self.note(format!("{seconds} s pass"));
    }

    fn begin_task(&mut self, n: usize) {
        if self.machines[n].tasks.len() >= TASKS {
            return;
        }
        let task = match self.dice.roll(5) {
            0 => Task::pull(self.machines[n].shared()),
            1 | 2 => Task::push(self.machines[n].shared()),
            _ => {
                let path = PATHS[self.dice.roll(PATHS.len())];
                let Ok(ino) = self.machines[n].peer().find(path) else { return };
                // What others wrote they may not have named yet.
                let own = format!("{n} wrote ");
                let is_own = |content: &String| {
                    self.ledger.live.get(content).is_some_and(|note| note.starts_with(&own))
                };
                let content = self.machines[n].held(path).flatten().filter(is_own);
                Task::fsync(self.machines[n].shared(), path, ino, content)
            }
        };
        self.note(format!("{n} begins {}", task.what));
        self.machines[n].tasks.push(task);
    }

    async fn crash(&mut self, n: usize) {
        self.note(format!("{n} dies"));
        self.machines[n].kill();
        self.idle.notified().now_or_never();
        self.idle.notified().await;
        self.machines[n].restart(&self.network, &self.clock);
        let start = Task::start(self.machines[n].shared());
        self.machines[n].tasks.push(start);
    }

    /// Nothing fails any more; returns when nobody does anything.
    async fn finish_tasks(&mut self) {
        loop {
            self.idle().await;
            if self.network.under_way() > 0 {
                let what = self.network.decide(0, Fate::Answered);
                self.note(what);
            } else if self.machines.iter().all(|machine| machine.tasks.is_empty()) {
                return;
            } else {
                assert!(self.clock.wake_next(), "a task waits for nothing\n{}", self.story());
            }
        }
    }

    /// Brings all machines together.
    async fn converge(&mut self) {
        for _ in 0..5 {
            for n in 0..MACHINES {
                for task in [Task::pull, Task::push] {
                    let task = task(self.machines[n].shared());
                    self.machines[n].tasks.push(task);
                    self.finish_tasks().await;
                }
            }
            self.clock.advance(Duration::from_secs(61));
        }
    }

    /// Returns what a machine sees, all of it fetched.
    async fn seen(&mut self, n: usize) -> BTreeMap<String, String> {
        for path in self.machines[n].peer().files() {
            let task = Task::read(self.machines[n].shared(), &path);
            self.machines[n].tasks.push(task);
            self.finish_tasks().await;
        }
        let machine = &self.machines[n];
        let held = |path: String| machine.held(&path).flatten().map(|content| (path, content));
        machine.peer().files().into_iter().filter_map(held).collect()
    }

    async fn check_end(&mut self) {
        self.finish_tasks().await;
        self.converge().await;
        for n in 0..MACHINES {
            // Who reads an object that is ahead of its entry has the next commit bring it up.
            self.seen(n).await;
        }
        self.converge().await;
        let truth = self.named();
        for (content, note) in &self.ledger.live {
            assert!(truth.contains(content), "{content} is lost: {note}\n{truth:?}\n{}", self.story());
        }
        let first = self.seen(0).await;
        assert_eq!(first.values().cloned().collect::<BTreeSet<_>>(), truth, "{}", self.story());
        for n in 0..MACHINES {
            assert_eq!(self.seen(n).await, first, "machine {n} sees something else\n{}", self.story());
            assert_eq!(self.machines[n].peer().pending(), [""; 0], "machine {n}\n{}", self.story());
            assert!(self.machines[n].peer().is_clean(), "machine {n} does not settle\n{}", self.story());
        }
        let index: BTreeSet<String> = first.into_keys().collect();
        assert_eq!(self.data_keys(), index, "{}", self.story());
    }

    fn data_keys(&self) -> BTreeSet<String> {
        let machinery = |key: &str| key.starts_with(".datastore") || key.starts_with("_control/");
        let bucket = self.network.bucket.lock();
        bucket.objects.keys().filter(|key| !machinery(key)).cloned().collect()
    }
}

/// Returns where folders cost no disk, if there is such a place.
fn home() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Plays the story of a seed to its end and returns it.
fn play(seed: u64) -> Vec<String> {
    let idle = Arc::new(Notify::new());
    let parked = Arc::clone(&idle);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || parked.notify_one())
        .build()
        .unwrap();
    let home = home();
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut sim = Sim::begin(seed, idle, home.path()).await;
            for n in 0..MACHINES {
                let start = Task::start(sim.machines[n].shared());
                sim.machines[n].tasks.push(start);
            }
            for _ in 0..STEPS {
                sim.step().await;
            }
            sim.check_end().await;
            sim.ledger.log
        })
    }));
    told.unwrap_or_else(|failed| {
        eprintln!("Seed {seed}: repeat it with BAYOU_SEEDS={seed}+1");
        std::panic::resume_unwind(failed)
    })
}

/// How many stories are told at once.
const AT_ONCE: usize = 2;

#[test]
fn whatever_a_seed_decides_nothing_is_lost_and_nothing_hangs() {
    let all = seeds(1000);
    std::thread::scope(|scope| {
        for turn in 0..AT_ONCE {
            let some = all.clone().skip(turn).step_by(AT_ONCE);
            scope.spawn(move || some.for_each(|seed| drop(play(seed))));
        }
    });
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in seeds(10) {
        let (once, again) = (play(seed), play(seed));
        let differs = once.iter().zip(&again).position(|(a, b)| a != b);
        assert!(once == again, "seed {seed}, step {differs:?}: {:?}", differs.map(|n| (&once[n], &again[n])));
    }
}

/// The simulated bucket refuses what a bucket refuses.
#[test]
fn a_write_that_reached_the_bucket_late_meets_the_condition_that_it_carries() {
    let clock = SimClock::new();
    let network = Network::new(clock);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let door = machine::door(0, &network);
        let key = bayou::model::key::ObjectKey::new("k");
        let absent = bayou::store::PutOptions::when(bayou::store::Condition::IfAbsent);
        let put = |text: &'static str| {
            let (door, key, absent) = (Arc::clone(&door), key.clone(), absent.clone());
            tokio::spawn(async move { door.put(&key, text.into(), &absent).await })
        };
        let (late, second) = (put("late"), put("second"));
        tokio::task::yield_now().await;
        network.decide(0, Fate::Late);
        assert_eq!(late.await.unwrap().unwrap_err().kind, ErrorKind::Unreachable);
        network.decide(0, Fate::Answered);
        second.await.unwrap().unwrap();
        network.decide(0, Fate::Answered);
        assert_eq!(&network.bucket.lock().objects["k"].body[..], b"second");
    });
}
