//! Kill -9 at any moment, again and again, with several programs at work.
//!
//! A program runs on every kill with what was acknowledged to it. `scripts/crash N SEED` runs
//! many cycles; the test alone runs a few. With an odd seed the bucket's index has shards.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use bayou::os::crash_point::Step;

use crate::actor::Actor;
use crate::chaos::act;
use crate::check;
use crate::daemon::{Daemon, Place, Start, was_killed};
use crate::dice::Dice;
use crate::layout::Index;

/// How many cycles a test alone runs.
const CYCLES: usize = 40;
/// After how many cycles all is compared with an empty cache.
const BETWEEN_COMPARISONS: usize = 10;
/// How many programs are at work.
const ACTORS: usize = 3;

/// A mount that is killed again and again.
struct Life {
    place: Place,
    dice: Dice,
    actors: Vec<Actor>,
    cache: String,
    cycle: usize,
    tally: Tally,
}

/// What happened in all cycles.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Of them, at a labelled step.
    at_a_step: usize,
    /// Of them, while something that was acknowledged was not in the bucket.
    dirty: usize,
    /// Names that were compared with what was acknowledged, in a mount after a kill.
    compared: usize,
    /// Names that were compared with a mount that has an empty cache, and how often.
    compared_afresh: usize,
    fresh_machines: usize,
    /// How long each part of the cycles took.
    spent: BTreeMap<&'static str, Duration>,
}

impl Tally {
    fn line(&self, seed: u64, actors: &[Actor], took: Duration) -> String {
        let calls: usize = actors.iter().map(|actor| actor.acknowledged).sum();
        let fsyncs: usize = actors.iter().map(|actor| actor.fsyncs).sum();
        let Self { kills, at_a_step, dirty, compared, compared_afresh, fresh_machines, .. } = self;
        format!(
            "Tally: seed {seed}, {kills} kills ({at_a_step} at a step, {dirty} with dirty data) in {} s, \
             {calls} acknowledged calls, {fsyncs} fsyncs; compared {compared} names after a kill and \
             {compared_afresh} on {fresh_machines} fresh machines: nothing was lost",
            took.as_secs()
        )
    }

    /// Says how long a cycle took, and what of that each part.
    fn pace(&self, took: Duration) -> String {
        let each = |time: Duration| format!("{} ms", time.as_millis() / self.kills.max(1) as u128);
        let parts: Vec<String> =
            self.spent.iter().map(|(part, time)| format!("{part} {}", each(*time))).collect();
        format!("A cycle took {}: {}", each(took), parts.join(", "))
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_whenever_the_mount_is_killed() {
    let seed = number("BAYOU_CRASH_SEED").unwrap_or_else(some_seed);
    let cycles = number("BAYOU_CRASH_CYCLES").map_or(CYCLES, |cycles| usize::try_from(cycles).unwrap());
    eprintln!("{cycles} cycles with seed {seed}");
    let began = SystemClock.instant();
    let mut life = Life::begin(seed);
    for cycle in 0..cycles {
        life.cycle = cycle;
        life.run_cycle();
    }
    life.verify();
    let took = SystemClock.instant().duration_since(began);
    eprintln!("{}", life.tally.pace(took));
    eprintln!("{}", life.tally.line(seed, &life.actors, took));
    assert!(life.tally.dirty * 2 > cycles, "Too seldom was there anything to lose: {:?}", life.tally);
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
        let index = if seed.is_multiple_of(2) { Index::Alone } else { Index::Sharded };
        let actors = (0..ACTORS).map(|n| Actor::new(&place.mnt(), &index.folder(n))).collect();
        let (dice, cache, tally) = (Dice::new(seed), "cache".to_owned(), Tally::default());
        let mut life = Self { place, dice, actors, cache, cycle: 0, tally };
        let daemon = life.start(None).unwrap();
        life.actors.iter_mut().for_each(|actor| actor.begin().unwrap());
        life.sync();
        daemon.stop();
        index.lay_out(&life.place);
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

    /// Does a part of a cycle, and notes how long it takes.
    fn timed<T>(&mut self, part: &'static str, work: impl FnOnce(&mut Self) -> T) -> T {
        let began = SystemClock.instant();
        let done = work(self);
        *self.tally.spent.entry(part).or_default() += SystemClock.instant().duration_since(began);
        done
    }

    /// Mounts, checks what is there, works, is killed, and checks the bucket.
    fn run_cycle(&mut self) {
        let crash_at = self.dice.once_in(2).then(|| self.some_step());
        eprintln!("cycle {}: {}", self.cycle, crash_at.as_deref().unwrap_or("any moment"));
        let started = self.timed("mounting", |life| life.start(crash_at));
        let mut at_a_step = started.is_none();
        if let Some(mut daemon) = started {
            at_a_step = !self.timed("reading all", Self::check_mount)
                || self.timed("working", |life| life.work(&mut daemon));
            self.timed("killing", |_| daemon.kill());
        }
        let dirty = self.timed("reading the bucket", |life| {
            let actors: Vec<&mut Actor> = life.actors.iter_mut().collect();
            check::bucket_after_crash(&life.place, &life.cache, &actors)
        });
        self.tally.kills += 1;
        self.tally.at_a_step += usize::from(at_a_step);
        self.tally.dirty += usize::from(dirty);
        if (self.cycle + 1).is_multiple_of(BETWEEN_COMPARISONS) {
            self.verify();
            self.place.forget_logs();
        }
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
        let alive = check::mount(place, &mut actors);
        if alive {
            self.tally.compared += self.names();
        }
        alive
    }

    fn names(&self) -> usize {
        self.actors.iter().map(|actor| actor.tree.len()).sum()
    }

    /// Lets the programs work, and kills the mount if it does not die before; returns whether it did.
    fn work(&mut self, daemon: &mut Daemon) -> bool {
        let time = if self.dice.once_in(8) { 600 } else { 150 };
        let time = Duration::from_millis(10 + self.dice.below(time) as u64);
        let dices: Vec<Dice> = self.actors.iter().map(|_| self.dice.split()).collect();
        let place = &self.place;
        thread::scope(|scope| {
            let begin = |(actor, dice)| scope.spawn(move || act_on(actor, dice));
            let workers: Vec<_> = self.actors.iter_mut().zip(dices).map(begin).collect();
            let died = daemon.ends_within(time);
            daemon.kill();
            let failed = workers.into_iter().filter_map(|worker| worker.join().err()).count();
            assert_eq!(failed, 0, "Programs went wrong; the log of the mount:\n{}", place.logs());
            check::no_request_failed(place);
            died
        })
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
        self.timed("bringing all to the bucket", Self::sync);
        daemon.kill();
        self.timed("comparing afresh", |life| {
            let actors: Vec<&mut Actor> = life.actors.iter_mut().collect();
            check::fresh_machine(&life.place, &actors);
        });
        self.tally.fresh_machines += 1;
        self.tally.compared_afresh += self.names();
        if self.dice.once_in(3) {
            // Another machine goes on: all its content is still in the bucket only.
            self.cache = format!("cache-{}", self.cycle);
        }
    }
}
