//! The power fails at any moment, and any part of what was not synced is lost.
//!
//! `scripts/crash power N SEED` tries N outages; the test alone tries a few.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bayou::model::sidecar::Sidecar;
use bayou::os::clock::{Clock, SystemClock};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::bucket_view::BucketView;
use crate::daemon::{Daemon, Place, Start, text};
use crate::dice::Dice;
use crate::disk::{Change, Content, Disk, ROOT};
use crate::history::inexact;
use crate::outage::{Order, after_power_cut};
use crate::program::{FOLDER, Program, Stage};
use crate::promises::Safe;
use crate::serving::{Mounted, SharedDisk};

/// How many outages a test alone tries.
const OUTAGES: usize = 200;
/// How many are tried on one record.
const ON_ONE_RECORD: usize = 50;
/// How many calls the program makes before the mount is left for the first time, and after.
const CALLS: (usize, usize) = (25, 60);
/// How many outages are looked at side by side.
const THREADS: usize = 2;

/// The folders on the disk.
const CACHE: &str = "cache";
const BUCKET: &str = "bucket";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn some_seed() -> u64 {
    let now = SystemClock.now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}

#[test]
fn what_was_promised_is_kept_whenever_the_power_fails() {
    let seed = number("BAYOU_CRASH_SEED").unwrap_or_else(some_seed);
    let outages = number("BAYOU_POWER_OUTAGES").map_or(OUTAGES, |count| usize::try_from(count).unwrap());
    eprintln!("{outages} outages with seed {seed}");
    let (mut dice, mut tally) = (Dice::new(seed), Tally::default());
    for record in 0..outages.div_ceil(ON_ONE_RECORD) {
        let safe = if record % 2 == 0 { Safe::OnDisk } else { Safe::InBucket };
        let recorded = Recorded::new(safe, dice.split());
        let count = ON_ONE_RECORD.min(outages - record * ON_ONE_RECORD);
        recorded.try_outages(count, &format!("seed {seed}, record {record}"), &mut dice, &mut tally);
    }
    eprintln!("Tally: seed {seed}, {tally:?}: what was promised was kept");
    assert!(tally.promises * 4 > outages, "Too little was promised: {tally:?}");
}

/// What was looked at.
#[derive(Debug, Default)]
struct Tally {
    outages: usize,
    changes: usize,
    calls: usize,
    promises: usize,
    kept_beside: usize,
    clean: usize,
}

/// All that a mount did to its disk, and what the program in it was told.
struct Recorded {
    place: Place,
    safe: Safe,
    log: Vec<Change>,
    program: Program,
}

/// A moment at which the power fails.
struct Outage {
    end: usize,
    order: Order,
    dice: Dice,
}

impl Recorded {
    fn new(safe: Safe, mut dice: Dice) -> Self {
        let place = Place::new();
        let at = place.path("disk");
        fs::create_dir(&at).unwrap();
        fs::remove_dir(place.bucket()).unwrap();
        std::os::unix::fs::symlink(at.join(BUCKET), place.bucket()).unwrap();
        let disk: SharedDisk = Arc::new(Mutex::new(Disk::new()));
        let mounted = Mounted::new(&disk, &at);
        [CACHE, BUCKET].iter().for_each(|name| fs::create_dir(at.join(name)).unwrap());
        let mut program = Program::new(place.mnt(), Arc::clone(&disk));
        let mut daemon = start(&place, safe, &mut dice);
        program.begin();
        (0..CALLS.0).for_each(|_| program.act(&mut dice));
        daemon.stop();
        daemon = start(&place, safe, &mut dice);
        (0..CALLS.1).for_each(|_| program.act(&mut dice));
        let log = disk.lock().log.clone();
        daemon.kill();
        drop(mounted);
        Self { place, safe, log, program }
    }

    fn try_outages(&self, count: usize, what: &str, dice: &mut Dice, tally: &mut Tally) {
        let outages: Vec<Outage> = (0..count).map(|_| self.some_outage(dice)).collect();
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(tally));
        thread::scope(|scope| {
            let look = || {
                while let Some(outage) = outages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let what =
                        format!("{what}, {} of {} changes, {:?}", outage.end, self.log.len(), outage.order);
                    let found = self.try_outage(outage, &what);
                    seen.lock().add(&found);
                }
            };
            let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(look)).collect();
            look();
            others.into_iter().for_each(|other| other.join().unwrap());
        });
        let tally = seen.into_inner();
        tally.changes += self.log.len();
        tally.calls += self.program.stages.len() / 2;
    }

    fn some_outage(&self, dice: &mut Dice) -> Outage {
        let first = self.program.stages[1].from;
        let end = first + dice.below(self.log.len() - first + 1);
        let order = if dice.once_in(3) { Order::Loose } else { Order::Journal };
        Outage { end, order, dice: dice.split() }
    }

    /// Builds what the outage leaves, starts anew, and compares.
    fn try_outage(&self, outage: &Outage, what: &str) -> Tally {
        let stage = self.program.at(outage.end);
        let what = format!("{what}, {}", stage.what);
        let log = &self.log[..outage.end];
        let content = after_power_cut(log, BUCKET, outage.order, &mut outage.dice.clone());
        let (before, after) = (Left::new(&content), Left::new(&content));
        // Our mark on it may be lost; then it lapses.
        fs::remove_file(after.bucket().join(".datastore.lock")).ok();
        let clean = self.check_before(&before, stage, &what);
        let said = self.start_anew(&after);
        let logs = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{what}: {said:?}\n{logs}");
        let faults = self.faults_after(&before, &after, stage);
        let kept = after.keep_if(&faults);
        let calls = self.program.calls_before(outage.end);
        assert!(faults.is_empty(), "{what}:\n  {}\n{calls}\n{logs}\n{kept}", faults.join("\n  "));
        let kept_beside = after.view().objects.keys().filter(|key| key.contains(".recovered-")).count();
        Tally {
            outages: 1,
            promises: stage.promises.len(),
            kept_beside,
            clean: usize::from(clean),
            ..Tally::default()
        }
    }

    /// Checks the bucket and the watermark as the outage left them; returns whether it is clean.
    fn check_before(&self, before: &Left, stage: &Stage, what: &str) -> bool {
        let bucket = before.view();
        let mut faults = bucket.faults();
        if self.safe == Safe::InBucket {
            faults.extend(stage.promises.broken(&before.bucket(), Safe::InBucket, &before.bucket()));
        }
        let clean = before.says_clean();
        let below = format!("{FOLDER}/");
        let lacks = [&stage.tree, &stage.after].map(|tree| inexact(&bucket, tree, &below));
        if clean && lacks.iter().all(|faults| !faults.is_empty()) {
            faults.extend(lacks[0].iter().map(|fault| format!("Said to be clean: {fault}")));
        }
        assert!(faults.is_empty(), "{what}, before the next start:\n  {}", faults.join("\n  "));
        clean
    }

    fn faults_after(&self, before: &Left, after: &Left, stage: &Stage) -> Vec<String> {
        let bucket = after.view();
        let mut faults = bucket.faults();
        let strange = self.program.history.faults(&bucket, &format!("{FOLDER}/"));
        let strange = strange.into_iter().filter(|(path, _)| !path.contains(".recovered-"));
        faults.extend(strange.map(|(path, fault)| format!("{path}: {fault}")));
        faults.extend(stage.promises.broken(&after.bucket(), self.safe, &before.bucket()));
        faults
    }

    /// Runs `bayou sync` on the disk as it was left, in another boot.
    fn start_anew(&self, left: &Left) -> Output {
        let disk = self.place.path("disk");
        let boot = left.path("boot-id");
        bayou::os::durable_file::replace(&boot, b"00000000-0000-4000-8000-000000000000\n").unwrap();
        let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && mount --bind \"$2\" \"$3\" && \
                      shift 3 && exec \"$@\"";
        let user = if rustix::process::getuid().is_root() { "--mount" } else { "--map-root-user" };
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            user,
            "sh",
            "-c",
            script,
            "sh",
            text(&boot),
            text(&left.disk()),
            text(&disk),
        ]);
        command.args([env!("CARGO_BIN_EXE_bayou"), "sync", "--cache-dir", text(&disk.join(CACHE))]);
        self.place.dress(&mut command);
        command.arg(format!("file://{}", disk.join(BUCKET).display())).output().unwrap()
    }
}

fn start(place: &Place, safe: Safe, dice: &mut Dice) -> Daemon {
    let fsync = match safe {
        Safe::InBucket => "remote",
        Safe::OnDisk => "local",
    };
    let write_back = *dice.pick(&["50ms", "1h"]).unwrap();
    let flags = ["--fsync", fsync, "--write-back", write_back, "--refresh", "1h"];
    let start = Start { cache: &format!("disk/{CACHE}"), flags: &flags, crash_at: None };
    Daemon::start(place, &start).unwrap_or_else(|ended| panic!("{ended}\n{}", place.logs()))
}

/// What is on the disk when the power is back.
struct Left(TempDir);

impl Left {
    fn new(content: &Content) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("disk")).unwrap();
        content.write_to(ROOT, &home.path().join("disk"));
        // The power failed before the first of them was made.
        fs::create_dir_all(home.path().join("disk").join(CACHE)).unwrap();
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn disk(&self) -> PathBuf {
        self.path("disk")
    }

    fn bucket(&self) -> PathBuf {
        self.disk().join(BUCKET)
    }

    fn view(&self) -> BucketView {
        BucketView::of(&self.bucket())
    }

    fn says_clean(&self) -> bool {
        let caches = fs::read_dir(self.disk().join(CACHE)).unwrap();
        let sidecar = |cache: PathBuf| fs::read(cache.join("state/.datastore-sync-state.json")).ok();
        let sidecar = caches.filter_map(|cache| sidecar(cache.unwrap().path())).next();
        sidecar.and_then(|text| Sidecar::parse(&text)).is_some_and(|sidecar| !sidecar.is_dirty())
    }

    /// Returns a list of all files, if something is wrong.
    fn keep_if(&self, faults: &[String]) -> String {
        if faults.is_empty() { String::new() } else { list(&self.disk(), 0) }
    }
}

fn list(folder: &Path, depth: usize) -> String {
    let mut lines = String::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let meta = entry.metadata().unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        lines.push_str(&format!("{:depth$}{name} {}\n", "", meta.len()));
        if meta.is_dir() {
            lines.push_str(&list(&entry.path(), depth + 2));
        }
    }
    lines
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.outages += other.outages;
        self.promises += other.promises;
        self.kept_beside += other.kept_beside;
        self.clean += other.clean;
    }
}
