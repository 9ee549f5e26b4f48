//! Machines that do what they like at random, push, pull, die and start again, over a bucket
//! that now and then fails. Whatever they did: nothing is lost that nobody replaced or removed
//! knowingly, and in the end all see the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bayou::cache::ROOT;
use bayou::cache::attributes::XattrMode;
use bayou::cache::rename::Replace;
use bayou::sync::SyncReport;
use bayou_test_server::{Action, Fault, Op, Options, Refusal};

use super::peer::{FILE, Peer, PeerOptions};
use super::world::{INDEX, World};

const MACHINES: usize = 3;
const STEPS: usize = 70;
const PATHS: [&str; 8] = ["a", "b", "c", "d/a", "d/b", "d/e/a", "f/a", "f/b"];

/// Numbers that depend on the seed only (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 16) as usize % sides
    }

    fn path(&mut self) -> &'static str {
        PATHS[self.roll(PATHS.len())]
    }
}

struct Machine {
    peer: Option<Peer>,
    home: Option<tempfile::TempDir>,
}

impl Machine {
    fn peer(&self) -> &Peer {
        self.peer.as_ref().unwrap()
    }

    /// Ends the process and starts another on the same cache.
    async fn restart(&mut self, world: &World) {
        let (folder, home) = self.peer.take().unwrap().stop();
        self.home = self.home.take().or(home);
        let peer = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
        // What goes wrong at the start is tried again by the next pull.
        drop(peer.sync.start().await);
        self.peer = Some(peer);
    }
}

/// What was written, and what of it somebody gave up knowingly.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) live: BTreeMap<String, String>,
    pub(super) log: Vec<String>,
}

impl Ledger {
    /// Returns a content that was never written before.
    pub(super) fn fresh(&mut self, note: String) -> String {
        let text = format!("<{}>", self.log.len());
        self.live.insert(text.clone(), note);
        text
    }

    pub(super) fn give_up(&mut self, content: Option<String>) {
        content.into_iter().for_each(|text| drop(self.live.remove(&text)));
    }

    pub(super) fn note(&mut self, text: String) {
        self.log.push(text);
    }
}

/// Returns what a machine sees under a path; fails if it cannot be read just now.
async fn seen(peer: &Peer, path: &str) -> Result<Option<String>, ()> {
    match peer.find(path) {
        Err(_) => Ok(None),
        Ok(_) => peer.try_read(path).await.map(|bytes| Some(String::from_utf8(bytes).unwrap())).map_err(drop),
    }
}

async fn change(machine: usize, peer: &Peer, dice: &mut Dice, ledger: &mut Ledger) {
    let path = dice.path();
    let Ok(before) = seen(peer, path).await else { return };
    match dice.roll(11) {
        0..=3 => {
            ledger.note(format!("{machine} writes {path} over {before:?}"));
            ledger.give_up(before);
            let text = ledger.fresh(format!("{machine} wrote {path}"));
            peer.write(path, &text);
        }
        4 if before.is_some() => {
            ledger.note(format!("{machine} removes {path} {before:?}"));
            ledger.give_up(before);
            peer.remove(path);
        }
        5 | 6 if before.is_some() => {
            let to = dice.path();
            let Ok(displaced) = seen(peer, to).await else { return };
            ledger.note(format!("{machine} renames {path} {before:?} to {to} {displaced:?}"));
            if to != path {
                ledger.give_up(displaced);
            }
            // What was looked at need not be here any more.
            if dice.roll(2) == 0 {
                peer.cache.evict(u64::MAX);
            }
            peer.rename(path, to);
        }
        9 if before.is_some() => {
            let other = dice.path();
            let Ok(Some(there)) = seen(peer, other).await else { return };
            ledger.note(format!("{machine} exchanges {path} {before:?} and {other} {there:?}"));
            if dice.roll(2) == 0 {
                peer.cache.evict(u64::MAX);
            }
            peer.exchange(path, other);
        }
        10 if before.is_some() => {
            ledger.note(format!("{machine} gives {path} {before:?} a second name"));
            give_second_name(peer, path, dice).await;
        }
        8 if before.is_some() => {
            let (name, value) = (["user.a", "user.b"][dice.roll(2)], dice.roll(100) as u8);
            ledger.note(format!("{machine} gives {path} {name} = {value}"));
            let ino = peer.ino(path);
            if dice.roll(3) > 0 {
                peer.cache.set_xattr(ino, name, &[value], XattrMode::Any).unwrap();
            } else {
                // It may not have it.
                drop(peer.cache.remove_xattr(ino, name));
            }
        }
        7 if before.is_some() => {
            ledger.note(format!("{machine} chmods {path}"));
            peer.chmod(path, 0o600 + dice.roll(8) as u32);
        }
        _ => change_folder(machine, peer, dice, ledger),
    }
}

async fn give_second_name(peer: &Peer, path: &str, dice: &mut Dice) {
    let second = dice.path();
    if seen(peer, second).await != Ok(None) {
        return;
    }
    if dice.roll(2) == 0 {
        peer.cache.evict(u64::MAX);
    }
    peer.link(path, second);
}

/// Makes, removes or renames a folder, where that may be done.
fn change_folder(machine: usize, peer: &Peer, dice: &mut Dice, ledger: &mut Ledger) {
    const FOLDERS: [&str; 4] = ["d", "d/e", "f", "g"];
    let (folder, to) = (FOLDERS[dice.roll(4)], FOLDERS[dice.roll(4)]);
    let place = |path: &'static str| match path.rsplit_once('/') {
        Some((parent, name)) => peer.find(parent).map(|ino| (ino, name)),
        None => Ok((ROOT, path)),
    };
    let (Ok(from), Ok(into)) = (place(folder), place(to)) else { return };
    if dice.roll(2) == 0 {
        peer.cache.evict(u64::MAX);
    }
    let outcome = match dice.roll(4) {
        0 => peer.cache.make_folder(from.0, from.1, FILE).map(drop),
        1 => peer.cache.remove_folder(from.0, from.1),
        2 => peer.cache.exchange(from, into),
        _ => peer.cache.rename(from, into, Replace::Yes),
    };
    ledger.note(format!("{machine} changes folder {folder} (to {to}): {outcome:?}"));
}

/// A swamp client that rewrites the index from what it read a while ago, without any lock.
async fn be_swamp(world: &World, stale: &mut Option<serde_json::Value>, ledger: &mut Ledger) {
    if world.version(INDEX).await.is_none() {
        return;
    }
    match stale.take() {
        None => *stale = Some(world.index().await),
        Some(mut index) => {
            let key = format!("swamp/{}", ledger.log.len());
            world.put(&key, "by swamp").await;
            index["entries"][&key] =
                serde_json::json!({"key": key, "size": 8, "lastModified": "2026-08-01T09:30:01.250Z"});
            world.put_index(&index).await;
            ledger.note(format!("swamp puts {key} and an index that it read before"));
        }
    }
}

async fn step(world: &World, machines: &mut [Machine], dice: &mut Dice, ledger: &mut Ledger) {
    let n = dice.roll(MACHINES);
    match dice.roll(12) {
        0..=6 => change(n, machines[n].peer(), dice, ledger).await,
        7 | 8 => {
            let outcome = machines[n].peer().sync.push().await;
            ledger.note(format!("{n} pushes: {}", told(outcome)));
        }
        9 | 10 => {
            let outcome = machines[n].peer().sync.pull().await;
            ledger.note(format!("{n} pulls: {}", told(outcome)));
        }
        _ => {
            ledger.note(format!("{n} starts again"));
            machines[n].restart(world).await;
        }
    }
    world.clock.advance(Duration::from_secs(dice.roll(20) as u64));
}

fn told(outcome: bayou::sync::Result<SyncReport>) -> String {
    match outcome {
        Ok(report) => format!("-{} +{} {:?}", report.deleted, report.pushed, report.conflicts),
        Err(failed) => bayou::sync::describe(&failed),
    }
}

/// Brings all machines together: nothing fails any more, and everybody pushes and pulls.
async fn converge(world: &World, machines: &[Machine], log: &[String]) {
    for _ in 0..6 {
        for machine in machines {
            for outcome in [machine.peer().sync.pull().await, machine.peer().sync.push().await] {
                outcome.unwrap_or_else(|failed| {
                    panic!("{}\n{}", bayou::sync::describe(&failed), log.join("\n"))
                });
            }
        }
        world.clock.advance(Duration::from_secs(61));
    }
}

/// Returns what can be read; what cannot must be an entry without an object.
async fn contents(world: &World, peer: &Peer, log: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in peer.files() {
        if world.version(&path).await.is_none() {
            continue;
        }
        let bytes = peer.try_read(&path).await;
        let bytes = bytes.unwrap_or_else(|failed| panic!("{path}: {failed}\n{}", log.join("\n")));
        found.insert(path, String::from_utf8(bytes).unwrap());
    }
    found
}

/// Returns the extended attributes of these files.
fn xattrs<'a>(peer: &Peer, paths: impl Iterator<Item = &'a String>) -> Vec<(String, String, Vec<u8>)> {
    let of = |path: &'a String| {
        let ino = peer.ino(path);
        let names = peer.cache.xattr_names(ino).unwrap().into_iter();
        names.map(move |name| (path.clone(), name.clone(), peer.cache.xattr(ino, &name).unwrap()))
    };
    paths.flat_map(of).collect()
}

/// Who else works on the bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Nobody,
    /// A client that puts back entries that were removed, and removes what it did not see.
    Swamp,
}

/// Has the servers lose answers, and refuse requests, at random.
fn disturb(world: &World, seed: u64) {
    let writes = [Op::PutObject, Op::DeleteObject, Op::CopyObject];
    let lost = Fault::on_these(&writes, Action::ApplyThenRefuse(Refusal::internal_error()));
    let refused = Fault::on_any(Action::Refuse(Refusal::internal_error()));
    for fault in [lost.chance(0.2, seed), refused.chance(0.7, seed + 1)] {
        if let Some(server) = world.s3_server() {
            server.fault(fault.clone());
        }
        if let Some(server) = world.gcs_server() {
            server.fault(fault);
        }
    }
}

async fn play(world: World, seed: u64, company: Company) {
    let mut stale = None;
    let mut dice = Dice(seed);
    let mut ledger = Ledger::default();
    let mut machines = Vec::new();
    for _ in 0..MACHINES {
        machines.push(Machine { peer: Some(world.peer().await), home: None });
    }
    disturb(&world, seed);
    for _ in 0..STEPS {
        step(&world, &mut machines, &mut dice, &mut ledger).await;
        if company == Company::Swamp && dice.roll(8) == 0 {
            be_swamp(&world, &mut stale, &mut ledger).await;
        }
    }
    clear_faults(&world);
    let log = std::mem::take(&mut ledger.log);
    let story = || format!("Seed {seed}\n{}", log.join("\n"));
    converge(&world, &machines, &log).await;
    for machine in &machines {
        // Who reads an object that is ahead of its entry has the next commit bring it up.
        contents(&world, machine.peer(), &log).await;
    }
    converge(&world, &machines, &log).await;
    let fresh = world.peer().await;
    let truth = contents(&world, &fresh, &log).await;
    let given = xattrs(&fresh, truth.keys());
    let kept: BTreeSet<&String> = truth.values().collect();
    for (content, note) in &ledger.live {
        assert!(kept.contains(content), "{content} is lost: {note}. There is {truth:?}\n{}", story());
    }
    for (n, machine) in machines.iter().enumerate() {
        assert_eq!(
            contents(&world, machine.peer(), &log).await,
            truth,
            "machine {n} sees something else\n{}",
            story()
        );
        assert_eq!(xattrs(machine.peer(), truth.keys()), given, "machine {n}\n{}", story());
        assert_eq!(machine.peer().pending(), [""; 0], "machine {n}\n{}", story());
        assert!(machine.peer().push().await.settled, "machine {n} does not settle\n{}", story());
    }
    if company == Company::Nobody {
        assert_eq!(world.index_keys().await, truth.keys().cloned().collect::<Vec<_>>(), "{}", story());
        assert_eq!(world.data_keys().await, world.index_keys().await, "{}", story());
    }
}

fn clear_faults(world: &World) {
    if let Some(server) = world.s3_server() {
        server.clear_faults();
    }
    if let Some(server) = world.gcs_server() {
        server.clear_faults();
    }
}

pub(super) fn seeds(few: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("BAYOU_SEEDS").ok();
    let (from, count) = asked.as_deref().and_then(|text| text.split_once('+')).unwrap_or(("0", ""));
    let from = from.parse().unwrap_or(0);
    from..from + count.parse().unwrap_or(few)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_machines_do_at_random_nothing_is_lost() {
    for seed in seeds(4) {
        play(World::folder().await, seed, Company::Nobody).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_machines_do_over_a_server_that_fails_nothing_is_lost() {
    for seed in seeds(4) {
        play(World::s3_with(Options::default()).await, seed, Company::Nobody).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_machines_do_beside_a_client_without_locks_nothing_is_lost() {
    for seed in seeds(4) {
        play(World::folder().await, seed, Company::Swamp).await;
    }
}
