//! Two thousand random steps, and what must be true when everybody has come to rest.

use std::sync::Arc;
use std::time::Duration;

use bayou::sync::SyncReport;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::machines::Ours;
use crate::neighbour::Neighbour;
use crate::pace::Pace;
use crate::swamp::{Bucket, Machine, Process};
use crate::verdict;
use crate::world::{INDEX, World};

/// How long an entry must be missing before its writer publishes it again, and a little more.
const LINGER: Duration = Duration::from_secs(61);
const MACHINES: usize = 2;
/// How many steps are taken where nothing is special.
const MANY: u64 = 2_000;
const FEW: u64 = 500;

/// Everybody who works on the bucket.
struct Village {
    seed: u64,
    ground: Ground,
    world: Arc<World>,
    ours: Vec<Ours>,
    neighbour: Neighbour,
    dice: Dice,
    ledger: Ledger,
}

/// What a machine does when it is left alone.
#[derive(Debug, Clone, Copy)]
enum Doing {
    Pull,
    Push,
    Rest,
}

/// What the bucket is when everybody moves in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Nothing is there.
    Empty,
    /// Swamp was there and made shards of its index.
    Sharded,
    /// As that, and an older swamp has left a shard whose name nobody would give it now.
    Legacy,
}

impl Ground {
    async fn prepare(self, world: &Arc<World>) {
        if self == Self::Empty {
            return;
        }
        let bucket = Bucket::new(world, Pace::new());
        let machine = Machine::new(Arc::new(Arc::clone(&world.clock)));
        for path in ["data/t/m/n/1/raw", "audit/a", "telemetry/t"] {
            machine.write(path, format!("{path} of old")).unwrap();
        }
        let mut process = Process::start(&bucket, &machine);
        process.push().await.unwrap();
        process.migrate_index().await.unwrap();
        if self == Self::Legacy {
            leave_legacy_shard(world).await;
        }
        // Whoever goes on with bayou then has it see to the old monolith.
        verdict::upkeep(world).repair().await.unwrap();
    }
}

async fn leave_legacy_shard(world: &World) {
    const KEY: &str = "workflows-evaluated/old/1.yaml";
    world.put_foreign(KEY, "old").await;
    let entry = json!({KEY: {"key": KEY, "size": 3, "lastModified": "2026-07-01T09:30:01.250Z"}});
    let shard = json!({"version": 1, "entries": entry}).to_string();
    world.put_foreign("_index/workflows-evaluated--old.json", shard).await;
    let meta = world.object("_index/_meta.json").await.unwrap();
    let mut meta: Value = serde_json::from_slice(&meta).unwrap();
    meta["partitions"].as_array_mut().unwrap().push(json!("workflows-evaluated--old"));
    world.put_foreign("_index/_meta.json", meta.to_string()).await;
}

impl Village {
    async fn new(world: World, ground: Ground, seed: u64) -> Self {
        let world = Arc::new(world);
        ground.prepare(&world).await;
        let mut ours = Vec::new();
        for name in 0..MACHINES {
            ours.push(Ours::new(name, &world).await);
        }
        let neighbour = Neighbour::new(&world);
        Self { seed, ground, world, ours, neighbour, dice: Dice::new(seed), ledger: Ledger::default() }
    }

    async fn step(&mut self) {
        let (dice, ledger) = (&mut self.dice, &mut self.ledger);
        let who = dice.below(MACHINES);
        match dice.below(40) {
            0..=13 => self.neighbour.step(dice, ledger).await,
            14..=27 => self.ours[who].change(dice, ledger).await,
            28 if dice.once_in(4) => self.ours[who].restart(ledger).await,
            29 if self.ground == Ground::Empty => self.leave_machinery().await,
            _ => self.run_errand(who).await,
        }
        self.world.clock.advance(Duration::from_millis(self.dice.below(4_000) as u64));
    }

    /// An older swamp leaves its database in the index: whoever pulls then writes the index anew,
    /// without the lock, as it was when the pull began.
    async fn leave_machinery(&mut self) {
        if self.world.version(INDEX).await.is_some() {
            self.ledger.note("An older swamp leaves its database in the index".to_owned());
            let zombie = json!({"key": "_catalog.db", "size": 1});
            self.world.edit_index(|entries| drop(entries.insert("_catalog.db".to_owned(), zombie))).await;
            self.neighbour.begin_pull(&mut self.ledger).await;
        }
    }

    /// Runs an errand, often with the neighbour at work between its requests.
    async fn run_errand(&mut self, who: usize) {
        let (machine, dice, ledger) = (&self.ours[who], &mut self.dice, &mut self.ledger);
        let (name, mut errand) = machine.errand(dice);
        let is_disturbed = dice.once_in(2);
        loop {
            let requests = if is_disturbed { dice.below(6) } else { usize::MAX };
            if let Some(told) = machine.advance(requests, &mut errand).await {
                ledger.note(format!("{} {name}: {told}, {:?}", machine.name(), machine.writes()));
                return;
            }
            ledger.note(format!("{} {name} and is stopped, {:?}", machine.name(), machine.writes()));
            self.neighbour.step(dice, ledger).await;
            self.world.clock.advance(Duration::from_secs(1));
        }
    }

    /// The neighbour goes home; everybody else pulls and pushes until nothing is left to do. Then
    /// somebody new reads all there is.
    async fn come_to_rest(&mut self) {
        self.neighbour.finish(&mut self.ledger).await;
        self.ledger.note("The neighbour goes home".to_owned());
        self.sync_all().await;
        for machine in &self.ours {
            machine.read_all().await;
        }
        let newcomer = Ours::new(MACHINES, &self.world).await;
        // Who reads an object that is ahead of its entry, or finds none, has the index say so.
        newcomer.read_all().await;
        self.ours.push(newcomer);
        self.sync_all().await;
    }

    async fn sync_all(&mut self) {
        for _ in 0..4 {
            for machine in &self.ours {
                let sync = &machine.peer().sync;
                for doing in [Doing::Pull, Doing::Push, Doing::Rest] {
                    let outcome = match doing {
                        Doing::Pull => sync.pull().await,
                        Doing::Push => sync.push().await,
                        Doing::Rest => sync.rest().await.map(|()| SyncReport::default()),
                    };
                    let report = outcome.unwrap_or_else(|failed| {
                        panic!("{}\n{}", bayou::sync::describe(&failed), self.story())
                    });
                    self.ledger.note(format!(
                        "{} {doing:?}: {report:?}, {:?}",
                        machine.name(),
                        machine.writes()
                    ));
                    // Time stands still: who waits for the lock would wait for ever.
                    sync.lock().idle().await;
                }
            }
            self.world.clock.advance(LINGER);
        }
    }

    /// What swamp put and never named is all that may be left to do, and a repair names it.
    async fn judge(&mut self) {
        self.check(verdict::Swamp::LeftUnnamed).await;
        verdict::repair(&self.world).await;
        self.ledger.note("The index is repaired".to_owned());
        self.sync_all().await;
        self.check(verdict::Swamp::LeftNothing).await;
    }

    async fn check(&self, swamp: verdict::Swamp) {
        let peers = self.ours.iter().map(Ours::peer).collect::<Vec<_>>();
        let faults = verdict::faults(&self.world, &peers, &self.ledger, swamp).await;
        assert!(faults.is_empty(), "{swamp:?}\n{}\n{}", faults.join("\n"), self.story());
    }

    fn story(&self) -> String {
        format!("Seed {}\n{}", self.seed, self.ledger.story())
    }
}

async fn play(world: World, ground: Ground, steps: u64) {
    let seed = number("BAYOU_NEIGHBOUR_SEED").unwrap_or_else(rand::random);
    let steps = number("BAYOU_NEIGHBOUR_STEPS").unwrap_or(steps);
    eprintln!("BAYOU_NEIGHBOUR_SEED={seed} BAYOU_NEIGHBOUR_STEPS={steps}");
    let mut village = Village::new(world, ground, seed).await;
    for _ in 0..steps {
        village.step().await;
    }
    village.come_to_rest().await;
    village.judge().await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_beside_swamp_in_a_folder() {
    play(World::folder().await, Ground::Empty, MANY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_beside_swamp_on_s3() {
    play(World::s3().await, Ground::Empty, FEW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_among_shards_in_a_folder() {
    play(World::folder().await, Ground::Sharded, MANY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_among_shards_on_s3() {
    play(World::s3().await, Ground::Sharded, FEW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_among_shards_of_an_older_rule_in_a_folder() {
    play(World::folder().await, Ground::Legacy, FEW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_among_shards_of_an_older_rule_on_s3() {
    play(World::s3().await, Ground::Legacy, FEW).await;
}
