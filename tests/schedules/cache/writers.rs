//! The watermark between changes and syncs. At every step in which the sidecar on the disk says
//! clean, no change is under way and the bucket has what is here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bayou::model::compare::{InSyncProof, compare};
use bayou::model::identity::Identity;
use bayou::model::sidecar::Sidecar;
use bayou::os::clock::SystemClock;
use shuttle::thread::{self, yield_now};

use super::watermark::{Settled, Watermark};
use crate::os::durable_file::{self, Fault};
use crate::search;

/// A cache with one file, and the bucket. What is counted here is not seen by the scheduler.
struct World {
    watermark: Watermark,
    sidecar: PathBuf,
    content: AtomicUsize,
    bucket: AtomicUsize,
    changing: AtomicUsize,
    /// Changes and syncs that the disk refused.
    failed: AtomicUsize,
    _home: tempfile::TempDir,
}

/// What became of the syncs of all schedules.
#[derive(Default)]
struct Tally {
    clean: AtomicUsize,
    changed: AtomicUsize,
    /// Changes as well.
    failed: AtomicUsize,
}

impl World {
    /// Returns a world in which nothing is to be pushed.
    fn clean() -> Arc<Self> {
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let sidecar = home.path().join("sidecar");
        let watermark = Watermark::open(&sidecar, SystemClock::shared()).unwrap();
        let settled = watermark.mark_synced(watermark.begin_sync(), proof(), "f1").unwrap();
        assert_eq!(settled, Settled::Clean);
        Arc::new(Self {
            watermark,
            sidecar,
            content: AtomicUsize::new(0),
            bucket: AtomicUsize::new(0),
            changing: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            _home: home,
        })
    }

    fn change(&self) {
        let Ok(token) = self.watermark.mark_dirty() else {
            self.failed.fetch_add(1, SeqCst);
            return;
        };
        self.changing.fetch_add(1, SeqCst);
        self.pause();
        self.content.fetch_add(1, SeqCst);
        self.look();
        // The next lock, too, is a place where others may go on.
        self.changing.fetch_sub(1, SeqCst);
        drop(token);
        self.look();
    }

    fn sync(&self, tally: &Tally) {
        let ticket = self.watermark.begin_sync();
        self.pause();
        let snapshot = self.content.load(SeqCst);
        self.pause();
        self.bucket.store(snapshot, SeqCst);
        self.look();
        let settled = self.watermark.mark_synced(ticket, proof(), "f2");
        self.look();
        let outcome = match settled {
            Ok(Settled::Clean) => &tally.clean,
            Ok(Settled::ChangedMeanwhile) => &tally.changed,
            Err(_) => &self.failed,
        };
        outcome.fetch_add(1, SeqCst);
    }

    /// Lets others go on.
    fn pause(&self) {
        self.look();
        yield_now();
        self.look();
    }

    fn says_clean(&self) -> bool {
        Sidecar::parse(&std::fs::read(&self.sidecar).unwrap()).is_some_and(|sidecar| !sidecar.is_dirty())
    }

    fn look(&self) {
        if self.says_clean() {
            assert_eq!(self.changing.load(SeqCst), 0, "clean while a change is under way");
            assert_eq!(
                self.bucket.load(SeqCst),
                self.content.load(SeqCst),
                "clean, and a change is not pushed"
            );
        }
    }

    fn end(&self) {
        self.look();
        if self.failed.load(SeqCst) == 0 {
            assert_eq!(self.says_clean(), !self.watermark.is_dirty(), "the disk says something else");
        }
        // Whatever happened: with nothing under way the next sync settles.
        let tally = Tally::default();
        self.sync(&tally);
        assert_eq!(tally.clean.load(SeqCst), 1, "a sync that nothing disturbs does not settle");
        assert!(self.watermark.is_clean_at("f2") && self.says_clean());
    }
}

fn proof() -> InSyncProof {
    let nothing: [(&str, Identity); 0] = [];
    compare(nothing.clone(), nothing).proof().unwrap()
}

/// Returns a story of writers that make so many changes each, beside so many syncs.
fn story(
    writers: &[usize],
    syncs: usize,
    fault: Option<Fault>,
    tally: &Arc<Tally>,
) -> impl Fn() + Clone + use<> {
    let (writers, tally) = (writers.to_vec(), Arc::clone(tally));
    move || {
        let world = World::clean();
        durable_file::fail(fault);
        let begin = |&changes: &usize| {
            let world = Arc::clone(&world);
            thread::spawn(move || (0..changes).for_each(|_| world.change()))
        };
        let begun: Vec<_> = writers.iter().map(begin).collect();
        (0..syncs).for_each(|_| world.sync(&tally));
        begun.into_iter().for_each(|writer| writer.join().unwrap());
        durable_file::fail(None);
        tally.failed.fetch_add(world.failed.load(SeqCst), SeqCst);
        world.end();
    }
}

#[test]
fn no_schedule_of_a_writer_and_a_sync_says_clean_too_early() {
    let tally = Arc::new(Tally::default());
    let schedules = search::all(story(&[1], 1, None, &tally));
    let (clean, changed) = (tally.clean.load(SeqCst), tally.changed.load(SeqCst));
    assert_eq!(clean + changed, schedules);
    assert!(clean > 0 && changed > 0 && schedules > 35, "{clean} clean of {schedules}");
}

#[test]
fn nor_does_one_of_many_in_which_the_disk_fails() {
    for nth in 0..2 {
        for fault in [Fault::Before(nth), Fault::After(nth)] {
            let tally = Arc::new(Tally::default());
            search::many(1_000, story(&[2], 1, Some(fault), &tally));
            assert!(tally.failed.load(SeqCst) > 10, "{fault:?}");
        }
    }
}

#[test]
fn nor_does_one_of_many_schedules_of_three_writers_and_two_syncs() {
    let tally = Arc::new(Tally::default());
    search::many(4_000, story(&[2, 1, 1], 2, None, &tally));
    let (clean, changed) = (tally.clean.load(SeqCst), tally.changed.load(SeqCst));
    assert!(clean > 100 && changed > 100, "{clean} clean, {changed} changed");
}
