//! The neighbour: one machine with swamp on it, whose work may stop in the middle.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::swamp::{Bucket, Failed, Lock, Machine, Process, Pull};
use crate::world::World;

/// The key of swamp's lock.
const LOCK: &str = ".datastore.lock";
/// How often swamp tries to get the lock before it gives up.
const ATTEMPTS: usize = 8;
/// What swamp writes: files of models, and files that are in one shard each.
const FILES: [&str; 12] = [
    "data/t/m/n/1/raw",
    "data/t/m/n/1/metadata.yaml",
    "data/t/m/n/2/raw",
    "data/t/m/n/latest",
    "data/t/k/n/1/raw",
    "data/t/k/n/latest",
    "outputs/t/m/run-1.yaml",
    "workflow-runs/w/1.yaml",
    "workflows-evaluated/w.yaml",
    "audit/a",
    "audit/b",
    "logs/l",
];

type Outcome = crate::swamp::Result<String>;
type Work = Pin<Box<dyn Future<Output = (Process, Outcome)>>>;

/// Swamp on a machine of its own.
pub(crate) struct Neighbour {
    bucket: Bucket,
    pace: Arc<Pace>,
    machine: Arc<Machine>,
    /// The process, unless it is at work.
    process: Option<Process>,
    work: Option<(&'static str, Work)>,
}

impl Neighbour {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let pace = Pace::new();
        let machine = Machine::new(Arc::new(Arc::clone(&world.clock)));
        Self { bucket: Bucket::new(world, Arc::clone(&pace)), pace, machine, process: None, work: None }
    }

    /// Does one thing, or goes on with what it is at.
    pub(crate) async fn step(&mut self, dice: &mut Dice, ledger: &mut Ledger) {
        if self.work.is_some() {
            let requests = 1 + dice.below(6);
            return self.go_on(requests, ledger).await;
        }
        match dice.below(20) {
            0..=7 => self.change(dice, ledger),
            8 => {
                ledger.note("swamp starts again".to_owned());
                self.process = None;
            }
            _ => {
                self.begin(dice, ledger);
                let requests = if dice.once_in(3) { dice.below(12) } else { usize::MAX };
                self.go_on(requests, ledger).await;
            }
        }
    }

    /// Begins to pull and is stopped when it has read the index, unless it is at something.
    pub(crate) async fn begin_pull(&mut self, ledger: &mut Ledger) {
        if self.work.is_none() {
            let work = pull(self.process(), Pull::default());
            self.work = Some(("pulls", Box::pin(work)));
            self.go_on(3, ledger).await;
        }
    }

    /// Ends what it is at.
    pub(crate) async fn finish(&mut self, ledger: &mut Ledger) {
        self.go_on(usize::MAX, ledger).await;
    }

    fn process(&mut self) -> Process {
        self.process.take().unwrap_or_else(|| Process::start(&self.bucket, &self.machine))
    }

    /// Changes files; often it says so, as swamp's own programs do.
    fn change(&mut self, dice: &mut Dice, ledger: &mut Ledger) {
        let path = FILES[dice.below(FILES.len())];
        let mut process = self.process();
        let mark = match dice.below(6) {
            0 | 1 => None,
            2 | 3 => Some(path),
            _ => path.rsplit_once('/').map(|(folder, _)| folder),
        };
        if let Some(mark) = mark {
            process.mark_dirty(Some(mark));
        }
        match dice.below(24) {
            0..=14 => {
                let text = ledger.theirs(dice.below(2));
                ledger.note(format!("swamp writes {path} {text}, marks {mark:?}"));
                drop(self.machine.write(path, text));
            }
            15..=17 => {
                ledger.note(format!("swamp removes {path}, marks {mark:?}"));
                self.machine.remove(path);
            }
            18..=20 => {
                ledger.note("swamp marks everything".to_owned());
                process.mark_dirty(None);
            }
            21 => {
                ledger.note("swamp marks more than it can remember".to_owned());
                (0..=200).for_each(|n| process.mark_dirty(Some(&format!("audit/many/{n}"))));
            }
            22 => {
                ledger.note("swamp has a link to nowhere beside its data".to_owned());
                self.machine.dangle("data/t/m/n/link");
            }
            _ => self.machine.remove("data/t/m/n/link"),
        }
        self.process = Some(process);
    }

    /// Begins to sync in one of swamp's ways.
    fn begin(&mut self, dice: &mut Dice, ledger: &mut Ledger) {
        let mut process = self.process();
        let lock = Lock::new(&self.bucket, LOCK);
        let (name, work): (_, Work) = match dice.below(12) {
            0..=3 => ("pulls", Box::pin(pull(process, Pull::default()))),
            4 => ("pulls t/m", Box::pin(pull(process, models(&["t/m"])))),
            5 => ("pulls t/k and t/new", Box::pin(pull(process, models(&["t/k", "t/new"])))),
            6 => ("pulls lazily", Box::pin(pull(process, Pull { metadata_only: true, ..Pull::default() }))),
            7 | 8 => ("pushes in two phases", Box::pin(push_in_two_phases(process, lock))),
            9 => {
                process.mark_dirty(None);
                ("pushes everything", Box::pin(push(process, lock)))
            }
            _ => ("pushes", Box::pin(push(process, lock))),
        };
        ledger.note(format!("swamp {name}"));
        self.work = Some((name, work));
    }

    async fn go_on(&mut self, requests: usize, ledger: &mut Ledger) {
        let Some((name, mut work)) = self.work.take() else { return };
        let done = self.pace.advance(requests, work.as_mut()).await;
        for deed in self.bucket.take_deeds() {
            ledger.record(&deed.key, deed.before.as_ref(), deed.after.as_ref());
        }
        let requests = self.bucket.take_requests();
        let wrote = requests.iter().filter(|one| one.starts_with("PUT") || one.starts_with("DELETE"));
        let wrote: Vec<_> = wrote.collect();
        match done {
            Some((process, outcome)) => {
                let told = outcome.unwrap_or_else(|failed| failed.to_string());
                ledger.note(format!("swamp {name}: {told}, {wrote:?}"));
                self.process = Some(process);
            }
            None => {
                ledger.note(format!("swamp {name} and is stopped, {wrote:?}"));
                self.work = Some((name, work));
            }
        }
    }
}

fn models(models: &[&str]) -> Pull {
    Pull { models: models.iter().map(|model| (*model).to_owned()).collect(), metadata_only: false }
}

async fn pull(mut process: Process, what: Pull) -> (Process, Outcome) {
    let outcome = process.pull(&what).await.map(|count| format!("{count} files"));
    (process, outcome)
}

async fn push(mut process: Process, lock: Lock) -> (Process, Outcome) {
    let outcome = async {
        acquire(&lock).await?;
        let outcome = process.push().await;
        lock.release().await?;
        outcome.map(|count| format!("{count} files"))
    };
    let outcome = outcome.await;
    (process, outcome)
}

async fn push_in_two_phases(mut process: Process, lock: Lock) -> (Process, Outcome) {
    let outcome = async {
        let manifest = process.prepare_push().await?;
        acquire(&lock).await?;
        let outcome = process.commit_push(&manifest).await;
        lock.release().await?;
        outcome.map(|count| format!("{count} files"))
    };
    let outcome = outcome.await;
    (process, outcome)
}

async fn acquire(lock: &Lock) -> crate::swamp::Result<()> {
    for _ in 0..ATTEMPTS {
        if lock.try_acquire().await? {
            return Ok(());
        }
    }
    Err(Failed("The lock is held by another".to_owned()))
}
