//! Kill -9 at any moment, again and again, with several programs at work.
//!
//! A program runs on every kill with what was acknowledged to it. `scripts/crash N SEED` runs
//! many cycles; the test alone runs a few.

use std::thread;
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use bayou::os::crash_point::Step;

use crate::actor::Actor;
use crate::chaos::act;
use crate::check;
use crate::daemon::{Daemon, Place, Start, pause, was_killed};
use crate::dice::Dice;

/// How many cycles a test alone runs.
const CYCLES: usize = 30;
/// How many programs are at work.
const ACTORS: usize = 3;

/// A mount that is killed again and again.
struct Life {
    place: Place,
    dice: Dice,
    actors: Vec<Actor>,
    cache: String,
    cycle: usize,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_whenever_the_mount_is_killed() {
    let seed = number("BAYOU_CRASH_SEED").unwrap_or_else(some_seed);
    let cycles = number("BAYOU_CRASH_CYCLES").map_or(CYCLES, |cycles| usize::try_from(cycles).unwrap());
    eprintln!("{cycles} cycles with seed {seed}");
    let mut life = Life::begin(seed);
    for cycle in 0..cycles {
        life.cycle = cycle;
        life.run_cycle();
    }
    life.verify();
    eprintln!("{cycles} cycles with seed {seed}: nothing was lost");
}

fn some_seed() -> u64 {
    let now = SystemClock.now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}

/// Works until the mount is gone.
fn act_on(actor: &mut Actor, mut dice: Dice) {
    while act(actor, &mut dice).is_ok() {}
}

impl Life {
    fn begin(seed: u64) -> Self {
        let place = Place::new();
        let actors = (0..ACTORS).map(|n| Actor::new(&place.mnt(), &format!("p{n}"))).collect();
        let mut life = Self { place, dice: Dice::new(seed), actors, cache: "cache".to_owned(), cycle: 0 };
        let daemon = life.start(None).unwrap();
        life.actors.iter_mut().for_each(|actor| actor.begin().unwrap());
        life.sync();
        daemon.stop();
        life
    }

    fn start(&mut self, crash_at: Option<String>) -> Option<Daemon> {
        let small = self.dice.once_in(3);
        let size = if small { "400KiB" } else { "1GiB" };
        let flags = ["--write-back", "100ms", "--refresh", "100ms", "--cache-size", size];
        let start = Start { cache: &self.cache, flags: &flags, crash_at };
        match Daemon::start(&self.place, &start) {
            Ok(daemon) => Some(daemon),
            Err(ended) => {
                assert!(was_killed(ended) && start.crash_at.is_some(), "{ended}\n{}", self.place.logs());
                None
            }
        }
    }

    /// Mounts, checks what is there, works, is killed, and checks the bucket.
    fn run_cycle(&mut self) {
        let crash_at = self.dice.once_in(2).then(|| self.some_step());
        eprintln!("cycle {}: {}", self.cycle, crash_at.as_deref().unwrap_or("any moment"));
        if let Some(mut daemon) = self.start(crash_at) {
            if self.check_mount() {
                self.work(&mut daemon);
            }
            daemon.kill();
        }
        let actors: Vec<&mut Actor> = self.actors.iter_mut().collect();
        check::bucket_after_crash(&self.place, &self.cache, &actors);
        if self.dice.once_in(5) {
            self.verify();
        }
        self.place.forget_logs();
    }

    fn some_step(&mut self) -> String {
        let step = self.dice.pick(Step::ALL).unwrap().label();
        let nth = 1 + self.dice.below(8);
        format!("{step}:{nth}")
    }

    /// Compares the mount with what was acknowledged, unless it dies under that.
    fn check_mount(&mut self) -> bool {
        let place = &self.place;
        let mut actors: Vec<&mut Actor> = self.actors.iter_mut().collect();
        check::mount(place, &mut actors)
    }

    fn work(&mut self, daemon: &mut Daemon) {
        let time = if self.dice.once_in(6) { 1500 } else { 300 };
        let time = Duration::from_millis(10 + self.dice.below(time) as u64);
        let dices: Vec<Dice> = self.actors.iter().map(|_| self.dice.split()).collect();
        let place = &self.place;
        thread::scope(|scope| {
            let begin = |(actor, dice)| scope.spawn(move || act_on(actor, dice));
            let workers: Vec<_> = self.actors.iter_mut().zip(dices).map(begin).collect();
            pause(time);
            daemon.kill();
            let failed = workers.into_iter().filter_map(|worker| worker.join().err()).count();
            assert_eq!(failed, 0, "Programs went wrong; the log of the mount:\n{}", place.logs());
        });
        check::no_request_failed(place);
    }

    fn sync(&mut self) {
        let mut actors: Vec<&mut Actor> = self.actors.iter_mut().collect();
        check::sync(&self.place, &mut actors);
    }

    /// Mounts once more, brings all to the bucket and compares again from an empty cache.
    fn verify(&mut self) {
        let mut daemon = self.start(None).unwrap();
        let alive = self.check_mount();
        assert!(alive, "{}", self.place.logs());
        self.sync();
        daemon.kill();
        let actors: Vec<&mut Actor> = self.actors.iter_mut().collect();
        check::fresh_machine(&self.place, &actors);
        if self.dice.once_in(3) {
            // Another machine goes on: all its content is still in the bucket only.
            self.cache = format!("cache-{}", self.cycle);
        }
    }
}
