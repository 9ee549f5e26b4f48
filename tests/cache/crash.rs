//! A process that dies at any labelled step: every call that it answered is found again.
//!
//! A child makes a fixed script of calls on a cache and is killed at a step. What it leaves
//! must look as after its last answered call, or as after the one that was under way.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bayou::os::crash_point::Step;
use bayou::os::durable_file;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::calls::{Op, change};
use super::model::Twins;
use super::rig::Rig;

const ROOT_VARIABLE: &str = "BAYOU_TEST_ROOT";
const CHILD: &str = "crash::the_script_runs_to_its_end";
const CALLS: usize = 90;
const ROOMY: u64 = 1 << 30;

/// Steps that the script passes; the others belong to large uploads.
const PASSED: [Step; 19] = [
    Step::WatermarkDirty,
    Step::ContentStamped,
    Step::ChangingNoted,
    Step::ContentWritten,
    Step::LocallyDurable,
    Step::CreateNoted,
    Step::UnlinkNoted,
    Step::RenameNoted,
    Step::UploadingNoted,
    Step::ObjectPut,
    Step::UploadedNoted,
    Step::IndexCommitted,
    Step::CommitNoted,
    Step::ObjectDeleted,
    Step::BeforeSettle,
    Step::Settled,
    Step::EvictNoted,
    Step::HydrateWritten,
    Step::JournalFolded,
];

/// Returns the same calls every time.
fn script() -> Vec<Op> {
    let calls = proptest::collection::vec(change(), CALLS);
    let drawn = calls.new_tree(&mut TestRunner::deterministic()).unwrap().current();
    // Without names to begin with most calls would be refused.
    let made = ["a", "a/x", "c", "b/x"].map(Op::Folder);
    let files = ["a/y", "a/x/1", "b/x/1", "b-x", "b/y"].map(|path| Op::Write(path, 100, 3000, 7));
    let created = ["a/y", "a/x/1", "b/x/1", "b-x", "b/y"].map(Op::Create);
    let begin = made.into_iter().chain(created).chain(files).chain([Op::Push]);
    begin.chain(drawn).chain([Op::Evict, Op::Read("b/r"), Op::Point, Op::Fold, Op::Push]).collect()
}

#[test]
fn the_script_runs_to_its_end() {
    let kept = tempfile::tempdir().unwrap();
    let root = std::env::var_os(ROOT_VARIABLE).map_or(kept.path().to_owned(), Into::into);
    let mut twins = Twins::new(Rig::at(&root, ROOMY));
    for (done, op) in script().iter().enumerate() {
        durable_file::replace(&root.join("answered"), done.to_string().as_bytes()).unwrap();
        twins.run(op);
    }
    twins.compare_names();
    twins.compare_bytes();
    twins.compare_bucket();
}

/// Runs the script in a process that dies at a step; returns how many calls it answered, or
/// `None` if it never came to the step.
fn die_at(step: Step, nth: u32, root: &Path) -> Option<usize> {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(ROOT_VARIABLE, root)
        .env("BAYOU_CRASH_AT", format!("{}:{nth}", step.label()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if ended.success() {
        return None;
    }
    assert_eq!(ended.signal(), Some(9), "the script failed before {}:{nth}", step.label());
    let answered = std::fs::read_to_string(root.join("answered")).unwrap_or_default();
    Some(answered.parse().unwrap_or(0))
}

/// Opens what the dead process left and compares it with the tree before and after the call
/// that was under way.
fn check(step: Step, nth: u32, root: &Path, answered: usize) {
    let what = format!("killed at {}:{nth} in call {answered}", step.label());
    let script = script();
    let mut twins = Twins::over(Rig::at(root, ROOMY));
    twins.rig.pull();
    script[..answered].iter().for_each(|op| twins.expect(op).unwrap_or(()));
    let before = twins.reference.clone();
    twins.expect(&script[answered]).ok();
    accept_torn_write(&mut twins, &script[answered], &before);
    let found = |tree| twins.difference(tree).or_else(|| twins.difference_of_bytes(tree));
    if let Some(not_after) = found(&twins.reference) {
        if let Some(not_before) = found(&before) {
            panic!("{what} ({:?}): {not_before}; {not_after}", script[answered]);
        }
        twins.reference = before;
    }
    twins.rig.push();
    assert!(twins.rig.pending().is_empty(), "{what}: unpushed {:?}", twins.rig.pending());
    let difference = twins.difference(&twins.reference);
    assert!(difference.is_none(), "{what}, pushed: {}", difference.unwrap_or_default());
    twins.compare_bucket();
}

/// A write that was not answered may be there in part: each of its bytes is old or new.
fn accept_torn_write(twins: &mut Twins, op: &Op, before: &super::reference::Reference) {
    let Op::Write(path, at, len, _) = *op else { return };
    let Ok(number) = before.file(path) else { return };
    let (from, to) = (usize::from(at), usize::from(at) + usize::from(len));
    let (old, new) = (&before.bytes[number], &twins.reference.bytes[number]);
    let found = twins.rig.read(path);
    let as_allowed = |(at, byte): (usize, &u8)| {
        let was = old.get(at).copied().unwrap_or(0);
        *byte == was || ((from..to).contains(&at) && *byte == new[at])
    };
    let whole = found.len() >= old.len() && found.len() <= new.len();
    if whole && found.iter().enumerate().all(as_allowed) {
        twins.reference.bytes[number] = found;
    }
}

#[test]
fn every_answered_call_is_found_again_wherever_the_process_dies() {
    for step in PASSED {
        for nth in [1, 2, 4, 9] {
            let root = tempfile::tempdir().unwrap();
            match die_at(step, nth, root.path()) {
                Some(answered) => check(step, nth, root.path(), answered),
                None => assert!(nth > 1, "the script never comes to {}", step.label()),
            }
        }
    }
}
