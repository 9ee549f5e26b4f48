//! The mount dies at each labelled step of its durable actions.

use std::process::ExitStatus;

use bayou::os::crash_point::Step;

use crate::actor::{Actor, Done};
use crate::check;
use crate::daemon::{Daemon, Place, Start, was_killed};
use crate::dice::Dice;
use crate::file_tree::Node;
use crate::layout::Index;

const KIB: usize = 1 << 10;
/// Larger than one part of an upload.
const LARGE: usize = 9 << 20;
/// With all other content more than the cache may keep.
const FILLER: usize = 4 << 20;
/// More than what is sent again when it is renamed.
const COPIED: usize = 5 << 18;
const FLAGS: &[&str] = &["--write-back", "100ms", "--refresh", "100ms", "--cache-size", "12MiB"];

/// More than is written before a file begins to be sent.
const WRITTEN: usize = 42 << 20;
/// All of that, and it rests for long.
const ROOMY: &[&str] = &["--write-back", "1h", "--refresh", "100ms"];

/// Dies at `step` for the `nth` time while everything is done that reaches it.
fn dies_at(step: Step, nth: usize, index: Index) {
    let place = Place::new();
    let mut actor = Actor::new(&place.mnt(), &index.folder(0));
    let mut other = Actor::new(&place.mnt(), "other");
    prepare(&place, &mut [&mut actor, &mut other]);
    index.lay_out(&place);
    let crash_at = Some(format!("{}:{nth}", step.label()));
    let ended = live(&place, &mut actor, (FLAGS, crash_at), work);
    assert!(was_killed(ended), "{step:?} was not reached for the {nth}. time: {ended}\n{}", place.logs());
    check::no_request_failed(&place);
    check::bucket_after_crash(&place, "second", &[&mut actor]);
    let start = Start { cache: "second", flags: FLAGS, crash_at: None };
    let daemon = Daemon::start(&place, &start).unwrap();
    assert!(check::mount(&place, &mut [&mut actor, &mut other]));
    go_on(&mut actor).expect("the mount lives");
    check::sync(&place, &mut [&mut actor, &mut other]);
    daemon.stop();
    check::fresh_machine(&place, &[&mut actor, &mut other]);
}

/// Goes on at once with every file, as the mount found it: one third is safe before the next sync,
/// one is changed and one goes.
fn go_on(actor: &mut Actor) -> Done {
    let is_file = |node: &Node| matches!(node, Node::File { .. });
    let files: Vec<String> =
        actor.tree.iter().filter(|(_, node)| is_file(node)).map(|(path, _)| path.clone()).collect();
    for (n, file) in files.iter().enumerate() {
        actor.append(file, b"and more")?;
        match n % 3 {
            0 => actor.fsync(file)?,
            1 => actor.unlink(file)?,
            _ => {}
        }
    }
    Ok(())
}

/// Dies at `step` for the `nth` time while a large file is sent that is still written.
fn dies_while_written(step: Step, nth: usize) {
    let place = Place::new();
    let mut actor = Actor::new(&place.mnt(), "p");
    actor_begins(&place, &mut actor);
    let crash_at = Some(format!("{}:{nth}", step.label()));
    let ended = live(&place, &mut actor, (ROOMY, crash_at), |actor| {
        let path = own(actor, "written");
        write_large(actor, &path, WRITTEN, &mut Dice::new(9))?;
        actor.fsync(&path)
    });
    assert!(was_killed(ended), "{step:?} was not reached for the {nth}. time: {ended}\n{}", place.logs());
    let start = Start { cache: "second", flags: ROOMY, crash_at: None };
    let daemon = Daemon::start(&place, &start).unwrap();
    assert!(check::mount(&place, &mut [&mut actor]));
    check::sync(&place, &mut [&mut actor]);
    daemon.stop();
    check::fresh_machine(&place, &[&mut actor]);
    let left = place.bucket().join(".bayou-folder/uploads");
    let uploads = std::fs::read_dir(left).map_or(0, Iterator::count);
    // What began just before the end was not noted anywhere.
    assert!(uploads <= usize::from(step == Step::EarlyUploadBegun), "{uploads} uploads are left behind");
}

fn actor_begins(place: &Place, actor: &mut Actor) {
    let daemon = Daemon::start(place, &Start { cache: "first", flags: &[], crash_at: None }).unwrap();
    actor.begin().unwrap();
    check::sync(place, &mut [actor]);
    daemon.stop();
}

/// Mounts where the bucket was never mounted, works, and unmounts.
fn live(
    place: &Place,
    actor: &mut Actor,
    (flags, crash_at): (&[&str], Option<String>),
    work: impl FnOnce(&mut Actor) -> Done,
) -> ExitStatus {
    match Daemon::start(place, &Start { cache: "second", flags, crash_at }) {
        Ok(mut daemon) => {
            drop(work(actor));
            daemon.terminate();
            daemon.wait()
        }
        Err(ended) => ended,
    }
}

/// Fills the bucket through a machine that is not used again.
fn prepare(place: &Place, actors: &mut [&mut Actor]) {
    let start = Start { cache: "first", flags: &[], crash_at: None };
    let daemon = Daemon::start(place, &start).unwrap();
    for actor in actors.iter_mut() {
        actor.begin().unwrap();
        fill(actor).unwrap();
    }
    check::sync(place, actors);
    daemon.stop();
}

fn fill(actor: &mut Actor) -> Done {
    let mut dice = Dice::new(7);
    write_large(actor, &own(actor, "large"), LARGE, &mut dice)?;
    for n in 0..6 {
        let bytes = dice.bytes(5000);
        actor.create_with(&own(actor, &format!("small{n}")), &bytes)?;
    }
    for folder in ["left", "right"] {
        actor.make_folder(&own(actor, folder))?;
        write_large(actor, &own(actor, &format!("{folder}/large")), COPIED, &mut dice)?;
        let bytes = dice.bytes(300);
        (0..3).try_for_each(|n| actor.create_with(&own(actor, &format!("{folder}/{n}")), &bytes))?;
    }
    actor.make_folder(&own(actor, "folder"))?;
    (0..3).try_for_each(|n| actor.create_with(&own(actor, &format!("folder/f{n}")), b"in a folder"))
}

/// Does everything that a mount can be asked for; the last change is left unpushed.
fn work(actor: &mut Actor) -> Done {
    let mut dice = Dice::new(8);
    let folder = actor.folder.clone();
    let own = |name: &str| format!("{folder}/{name}");
    actor.write(&own("large"), (5 << 20) + 123, &dice.bytes(100))?;
    actor.read(&own("small0"))?;
    actor.append(&own("small1"), &dice.bytes(700))?;
    actor.truncate(&own("small2"), 100)?;
    actor.rewrite(&own("small3"), &dice.bytes(900))?;
    actor.create_with(&own("new"), &dice.bytes(3000))?;
    actor.chmod(&own("new"), 0o600)?;
    actor.set_time(&own("new"), 1_000_000_000)?;
    actor.fsync(&own("new"))?;
    actor.append(&own("new"), &dice.bytes(10))?;
    actor.fsync(&own("large"))?;
    actor.create_with(&own("temp"), &dice.bytes(4000))?;
    actor.rename(&own("temp"), &own("small4"))?;
    actor.unlink(&own("small5"))?;
    actor.make_folder(&own("empty"))?;
    actor.make_folder(&own("made"))?;
    actor.make_folder(&own("unmade"))?;
    actor.remove_folder(&own("unmade"))?;
    actor.rename(&own("folder"), &own("made/folder"))?;
    actor.write_beside_reader(&own("left/large"), 70_000, &dice.bytes(500))?;
    move_in_circles(actor)?;
    actor.link(&own("link"), "new")?;
    actor.create_with(&own("shared"), &dice.bytes(2000))?;
    actor.hard_link(&own("shared"), &own("twin"))?;
    actor.hard_link(&own("small1"), &own("made/small1"))?;
    actor.append(&own("made/small1"), &dice.bytes(300))?;
    actor.fsync(&own("twin"))?;
    actor.write(&own("twin"), 100, &dice.bytes(200))?;
    actor.unlink(&own("small1"))?;
    actor.fsync_folder(&folder)?;
    actor.read(&own("large"))?;
    write_large(actor, &own("filler"), FILLER, &mut dice)?;
    actor.create_with(&own("last"), &dice.bytes(50))
}

/// Has folders and files that are not on this machine change places.
fn move_in_circles(actor: &mut Actor) -> Done {
    let folder = actor.folder.clone();
    let own = |name: &str| format!("{folder}/{name}");
    for (from, to) in [("left", "aside"), ("right", "left"), ("aside", "right")] {
        actor.rename(&own(from), &own(to))?;
    }
    actor.append(&own("left/1"), b"more")?;
    actor.exchange(&own("left/2"), &own("right/large"))?;
    actor.fsync(&own("left/large"))?;
    actor.exchange(&own("right"), &own("left/0"))?;
    actor.fsync(&own("right"))
}

fn own(actor: &Actor, name: &str) -> String {
    format!("{}/{name}", actor.folder)
}

fn write_large(actor: &mut Actor, path: &str, size: usize, dice: &mut Dice) -> Done {
    actor.create(path)?;
    (0..size / (256 * KIB)).try_for_each(|n| actor.write(path, n * 256 * KIB, &dice.bytes(256 * KIB)))
}

macro_rules! steps {
    ($($index:ident { $($test:ident: $step:ident $($nth:literal)*,)* })*) => {
        $($(#[test]
        fn $test() {
            dies_at(Step::$step, 1, Index::$index);
            $(dies_at(Step::$step, $nth, Index::$index);)*
        })*)*

        const TRIED: &[Step] = &[$($(Step::$step,)*)*];
    };
}

steps! {
    Alone {
        dying_when_the_watermark_says_dirty_loses_nothing: WatermarkDirty,
        dying_when_a_content_file_is_made_loses_nothing: ContentMade 3,
        dying_when_a_content_file_is_stamped_loses_nothing: ContentStamped 3,
        dying_when_a_change_is_noted_loses_nothing: ChangingNoted 5,
        dying_when_a_file_is_watched_loses_nothing: WatchNoted,
        dying_when_content_is_written_loses_nothing: ContentWritten 3,
        dying_at_a_durable_point_loses_nothing: LocallyDurable,
        dying_when_attributes_are_noted_loses_nothing: AttributesNoted 2,
        dying_when_a_create_is_noted_loses_nothing: CreateNoted 2,
        dying_when_a_second_name_is_noted_loses_nothing: LinkNoted 2,
        dying_when_an_unlink_is_noted_loses_nothing: UnlinkNoted 2,
        dying_when_a_rename_is_noted_loses_nothing: RenameNoted 2,
        dying_when_an_exchange_is_noted_loses_nothing: ExchangeNoted 2,
        dying_before_content_is_set_aside_loses_nothing: TemporaryNoted 2,
        dying_when_content_is_copied_aside_loses_nothing: TemporaryCopied 2,
        dying_when_content_is_set_aside_loses_nothing: SetAside 2,
        dying_when_a_copy_is_made_loses_nothing: CopyMade 3,
        dying_when_what_was_set_aside_is_gone_loses_nothing: TemporaryDeleted 2,
        dying_when_an_upload_has_begun_loses_nothing: UploadBegun,
        dying_when_an_upload_is_noted_loses_nothing: UploadingNoted 4,
        dying_when_a_part_is_uploaded_loses_nothing: PartUploaded,
        dying_when_a_part_is_copied_loses_nothing: PartCopied,
        dying_before_an_upload_is_completed_loses_nothing: BeforeComplete,
        dying_when_an_object_is_put_loses_nothing: ObjectPut 4,
        dying_when_an_upload_is_noted_as_done_loses_nothing: UploadedNoted 4,
        dying_when_the_lock_is_taken_loses_nothing: LockTaken 2,
        dying_when_the_index_is_put_loses_nothing: IndexPut 2,
        dying_when_the_index_is_committed_loses_nothing: IndexCommitted 3,
        dying_when_the_lock_is_left_loses_nothing: LockLeft 2,
        dying_when_a_content_file_is_unmarked_loses_nothing: ContentUnmarked 3,
        dying_when_a_commit_is_noted_loses_nothing: CommitNoted 3,
        dying_when_an_object_is_deleted_loses_nothing: ObjectDeleted 2,
        dying_before_the_watermark_is_settled_loses_nothing: BeforeSettle,
        dying_when_the_watermark_is_settled_loses_nothing: Settled,
        dying_when_an_eviction_is_noted_loses_nothing: EvictNoted,
        dying_when_a_content_file_is_removed_loses_nothing: ContentRemoved,
        dying_when_bytes_were_fetched_loses_nothing: HydrateWritten 5,
        dying_when_the_journal_is_set_aside_loses_nothing: JournalRotated,
        dying_when_the_journal_is_folded_loses_nothing: JournalFolded,
        dying_when_a_pull_was_applied_loses_nothing: PullApplied,
        dying_when_all_is_in_order_loses_nothing: Recovered,
    }
    Copied {
        dying_before_the_copies_are_written_loses_nothing: IndexPut 2,
        dying_when_a_copy_is_put_loses_nothing: CopyPut 3,
        dying_when_the_copies_are_listed_loses_nothing: MetaPut,
    }
    Sharded {
        dying_when_an_object_of_a_shard_is_put_loses_nothing: ObjectPut 4,
        dying_when_content_of_a_shard_is_set_aside_loses_nothing: SetAside 2,
        dying_when_our_own_index_is_put_loses_nothing: BesidePut,
        dying_when_a_shard_is_put_loses_nothing: ShardPut 3,
        dying_when_the_shards_are_listed_loses_nothing: MetaPut 3,
        dying_when_an_empty_shard_is_gone_loses_nothing: ShardDeleted,
        dying_when_the_shards_are_committed_loses_nothing: IndexCommitted 3,
        dying_when_a_content_file_of_a_shard_is_unmarked_loses_nothing: ContentUnmarked 3,
        dying_when_an_object_of_a_shard_is_deleted_loses_nothing: ObjectDeleted 2,
    }
}

#[test]
fn dying_when_the_upload_of_a_file_that_is_written_has_begun_loses_nothing() {
    dies_while_written(EARLY[0], 1);
}

#[test]
fn dying_when_a_part_of_a_file_that_is_written_is_uploaded_loses_nothing() {
    [1, 3].into_iter().for_each(|nth| dies_while_written(EARLY[1], nth));
}

#[test]
fn dying_when_the_rest_of_a_file_is_uploaded_loses_nothing() {
    dies_while_written(Step::PartUploaded, 1);
    dies_while_written(Step::BeforeComplete, 1);
}

const EARLY: &[Step] = &[Step::EarlyUploadBegun, Step::EarlyPartUploaded];

#[test]
fn every_labelled_step_is_tried() {
    let tried = |step: &&Step| TRIED.contains(step) || EARLY.contains(step);
    let untried: Vec<_> = Step::ALL.iter().filter(|step| !tried(step)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}
