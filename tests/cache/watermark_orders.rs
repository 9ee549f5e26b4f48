//! One writer against one syncer, in every order there is; and what the sidecar says.

use std::path::Path;

use bayou::cache::watermark::{ChangeToken, Settled, SyncTicket, Watermark};
use bayou::model::compare::{InSyncProof, compare};
use bayou::model::identity::Identity;
use bayou::os::clock::SystemClock;
use bayou::os::durable_file;

const SIDECAR: &str = ".datastore-sync-state.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Mark,
    Write,
    Done,
    Ticket,
    Snapshot,
    Push,
    Settle,
}

const WRITER: [Step; 3] = [Step::Mark, Step::Write, Step::Done];
const SYNCER: [Step; 4] = [Step::Ticket, Step::Snapshot, Step::Push, Step::Settle];

/// Returns every way in which the steps of both can follow each other.
fn orders(writer: &[Step], syncer: &[Step]) -> Vec<Vec<Step>> {
    let begin_with = |first: Step, rest: Vec<Vec<Step>>| {
        rest.into_iter().map(move |order| [vec![first], order].concat()).collect::<Vec<_>>()
    };
    match (writer, syncer) {
        ([], rest) | (rest, []) => vec![rest.to_vec()],
        ([w, writers @ ..], [s, syncers @ ..]) => {
            [begin_with(*w, orders(writers, syncer)), begin_with(*s, orders(writer, syncers))].concat()
        }
    }
}

/// What decides whether the cache may be called clean.
trait Rule {
    fn mark(&mut self);
    fn done(&mut self);
    fn ticket(&mut self);
    fn settle(&mut self);
    fn says_clean(&self) -> bool;
}

/// Runs one order; returns whether it ends "clean" with content that is not in the bucket.
fn loses(order: &[Step], rule: &mut impl Rule) -> bool {
    let (mut content, mut snapshot, mut bucket) = (0, 0, 0);
    for step in order {
        match step {
            Step::Mark => rule.mark(),
            Step::Write => content = 1,
            Step::Done => rule.done(),
            Step::Ticket => rule.ticket(),
            Step::Snapshot => snapshot = content,
            Step::Push => bucket = snapshot,
            Step::Settle => rule.settle(),
        }
    }
    rule.says_clean() && bucket != content
}

/// The real thing.
struct Real {
    watermark: Watermark,
    token: Option<ChangeToken>,
    ticket: Option<SyncTicket>,
}

impl Rule for Real {
    fn mark(&mut self) {
        self.token = Some(self.watermark.mark_dirty().unwrap());
    }
    fn done(&mut self) {
        self.token = None;
    }
    fn ticket(&mut self) {
        self.ticket = Some(self.watermark.begin_sync());
    }
    fn settle(&mut self) {
        self.watermark.mark_synced(self.ticket.unwrap(), proof(), "f1").unwrap();
    }
    fn says_clean(&self) -> bool {
        !self.watermark.is_dirty()
    }
}

/// A rule that only compares counts.
#[derive(Default)]
struct Counting {
    ends_count: bool,
    dirty: bool,
    count: u32,
    ticket: u32,
}

impl Rule for Counting {
    fn mark(&mut self) {
        self.dirty = true;
        self.count += 1;
    }
    fn done(&mut self) {
        self.count += u32::from(self.ends_count);
    }
    fn ticket(&mut self) {
        self.ticket = self.count;
    }
    fn settle(&mut self) {
        self.dirty &= self.count != self.ticket;
    }
    fn says_clean(&self) -> bool {
        !self.dirty
    }
}

fn proof() -> InSyncProof {
    let nothing: [(&str, Identity); 0] = [];
    compare(nothing.clone(), nothing).proof().unwrap()
}

fn open(folder: &Path) -> Watermark {
    Watermark::open(&folder.join(SIDECAR), SystemClock::shared()).unwrap()
}

/// Returns a watermark that says clean at `f1`.
fn clean(folder: &Path) -> Watermark {
    let watermark = open(folder);
    assert_eq!(watermark.mark_synced(watermark.begin_sync(), proof(), "f1").unwrap(), Settled::Clean);
    watermark
}

#[test]
fn w_21_no_order_of_one_writer_and_one_syncer_loses_a_change() {
    let all = orders(&WRITER, &SYNCER);
    assert_eq!(all.len(), 35);
    let mut settled = 0;
    for order in &all {
        let folder = tempfile::tempdir().unwrap();
        let mut real = Real { watermark: clean(folder.path()), token: None, ticket: None };
        assert!(!loses(order, &mut real), "{order:?}");
        settled += usize::from(real.says_clean());
        // The disk says what the memory says.
        assert_eq!(open(folder.path()).is_dirty(), !real.says_clean(), "{order:?}");
    }
    assert!(settled > 0, "a watermark that never settles proves nothing");
}

#[test]
fn counting_starts_alone_loses_in_six_orders_and_both_ends_in_three() {
    let losing = |ends_count| {
        let rule = || Counting { ends_count, ..Counting::default() };
        orders(&WRITER, &SYNCER).iter().filter(|order| loses(order, &mut rule())).count()
    };
    assert_eq!(losing(false), 6);
    assert_eq!(losing(true), 3);
}

#[test]
fn no_sidecar_and_a_damaged_one_mean_dirty() {
    let folder = tempfile::tempdir().unwrap();
    assert!(open(folder.path()).is_dirty());
    drop(clean(folder.path()));
    assert!(!open(folder.path()).is_dirty());
    let path = folder.path().join(SIDECAR);
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"{}", b"[]", b"\0\0\0\0"] {
        durable_file::replace(&path, damaged).unwrap();
        let watermark = open(folder.path());
        assert!(watermark.is_dirty() && !watermark.is_clean_at("f1") && !watermark.is_clean_at(""));
        drop(watermark.mark_dirty().unwrap());
        assert!(open(folder.path()).is_dirty());
    }
}

#[test]
fn c_48_marking_what_is_marked_does_not_touch_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let watermark = clean(folder.path());
    drop(watermark.mark_dirty().unwrap());
    let path = folder.path().join(SIDECAR);
    std::fs::remove_file(&path).unwrap();
    drop(watermark.mark_dirty().unwrap());
    assert!(!path.exists());
}

#[test]
fn it_is_clean_at_exactly_the_version_that_was_proven() {
    let folder = tempfile::tempdir().unwrap();
    let watermark = clean(folder.path());
    assert!(watermark.is_clean_at("f1"));
    for other in ["", "f", "f11", "F1", "\"f1\""] {
        assert!(!watermark.is_clean_at(other), "{other}");
    }
    drop(watermark.mark_dirty().unwrap());
    assert!(!watermark.is_clean_at("f1") && !open(folder.path()).is_clean_at("f1"));
}

#[test]
fn a_change_that_cannot_be_marked_is_refused_and_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let watermark = clean(folder.path());
    let ticket = watermark.begin_sync();
    let in_the_way = folder.path().join(format!("{SIDECAR}.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(watermark.mark_dirty().is_err());
    assert!(watermark.is_clean_at("f1"));
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(watermark.mark_synced(ticket, proof(), "f2").unwrap(), Settled::Clean);
}

#[test]
fn after_a_settling_that_failed_the_next_change_is_marked_on_the_disk_again() {
    let folder = tempfile::tempdir().unwrap();
    let watermark = clean(folder.path());
    drop(watermark.mark_dirty().unwrap());
    let in_the_way = folder.path().join(format!("{SIDECAR}.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(watermark.mark_synced(watermark.begin_sync(), proof(), "f2").is_err());
    assert!(watermark.is_dirty());
    std::fs::remove_dir(&in_the_way).unwrap();
    // It may have failed after the file was in its place.
    clean(folder.path());
    drop(watermark.mark_dirty().unwrap());
    assert!(open(folder.path()).is_dirty());
}
