//! The same calls on the mount and on a folder of the local disk: both must answer alike.
//!
//! The local disk is the model. Calls are drawn by a seed that is printed when they differ. What
//! another machine does is done to the model when the mount hears of it; what both do to one file
//! before they hear of each other is in `contest`.

mod calls;
mod contest;
mod elsewhere;
mod side;

use std::fs;
use std::ops::Range;
use std::thread;

use bayou::cache::listing::EntryKind;

use self::calls::{Dice, draw};
use self::side::Side;
use super::world::{Step, World};

/// How many mounts are tried at once where syncs and calls are to meet.
const AT_ONCE: usize = 4;

/// Makes the same calls on both sides, and `between` after each; returns the model.
fn compare(
    seed: u64,
    calls: usize,
    world: &World,
    mut between: impl FnMut(u64, &mut Dice, [&mut Side; 2]),
) -> (tempfile::TempDir, Side) {
    let local = tempfile::tempdir().unwrap();
    let (mut model, mut mount) = (Side::new(local.path().to_owned()), Side::new(world.path("")));
    let mut dice = Dice(seed);
    for n in 0..calls {
        let call = draw(&mut dice);
        let (expected, found) = (model.run(&call), mount.run(&call));
        match (&expected, &found) {
            (Ok(expected), Ok(found)) => {
                assert!(expected == found, "seed {seed}, call {n}: {call:?} reads other bytes");
            }
            (Err(expected), Err(found)) if expected.raw_os_error() == found.raw_os_error() => {}
            _ => panic!("seed {seed}, call {n}: {call:?} gives {found:?} instead of {expected:?}"),
        }
        if n % 50 == 0 || n + 1 == calls {
            assert_eq!(mount.tree(), model.tree(), "seed {seed}, after call {n}: {call:?}");
        }
        between(dice.below(100), &mut dice, [&mut model, &mut mount]);
    }
    (local, model)
}

fn empty(world: &World) {
    for name in ["a", "b", "c"] {
        if fs::remove_dir_all(world.path(name)).is_err() {
            fs::remove_file(world.path(name)).ok();
        }
    }
}

fn check_elsewhere(seed: u64, world: &World, model: &Side) {
    let (expected, found) = (model.plain_tree(), world.seen_elsewhere());
    assert!(
        expected.keys().eq(found.keys()),
        "seed {seed}: {:?} instead of {:?}",
        found.keys(),
        expected.keys()
    );
    for (path, entry) in &expected {
        let other = &found[path];
        let at = other.2.iter().zip(&entry.2).position(|(a, b)| a != b);
        let what = |e: &(EntryKind, u32, Vec<u8>)| format!("{:?} {:o} {} bytes", e.0, e.1, e.2.len());
        assert!(
            other == entry,
            "seed {seed}: {path} is {} instead of {}; first difference at {at:?}",
            what(other),
            what(entry)
        );
    }
    assert_eq!(world.xattrs_elsewhere(), model.xattrs(), "seed {seed}");
}

/// Returns the usual seeds, or those that `BAYOU_SEEDS=FROM+COUNT` asks for.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let asked = std::env::var("BAYOU_SEEDS").ok();
    let asked = asked.as_deref().and_then(|text| text.split_once('+'));
    let asked = asked.and_then(|(from, count)| Some((from.parse::<u64>().ok()?, count.parse::<u64>().ok()?)));
    asked.map_or(usual, |(from, count)| from..from + count)
}

#[test]
fn the_mount_answers_like_the_local_disk() {
    let world = World::new();
    for seed in 0..6 {
        compare(seed, 400, &world, |_, _, _| {});
        empty(&world);
    }
}

#[test]
fn another_machine_sees_what_the_local_disk_has() {
    let world = World::new();
    for seed in 50..70 {
        let (_local, model) = compare(seed, 200, &world, |rolled, _, _| match rolled {
            0..3 => world.sync_now(Step::Push),
            3..6 => world.sync_now(Step::Pull),
            _ => {}
        });
        check_elsewhere(seed, &world, &model);
        empty(&world);
    }
}

#[test]
fn what_another_machine_did_is_there_and_all_else_stays() {
    let world = World::new();
    for seed in seeds(600..612) {
        let (_local, model) = compare(seed, 200, &world, |rolled, dice, sides| match rolled {
            0..4 => elsewhere::take_turn(seed, &world, dice, sides),
            4..6 => world.sync_now(Step::Push),
            6 => drop(world.cache.evict(u64::MAX)),
            _ => {}
        });
        check_elsewhere(seed, &world, &model);
        empty(&world);
    }
}

#[test]
fn another_machine_sees_what_the_local_disk_has_though_all_was_pushed_while_it_changed() {
    // Several at once: a change then falls between two steps of a push more often.
    thread::scope(|scope| {
        for turn in 0..AT_ONCE {
            scope.spawn(move || {
                let world = World::new();
                for seed in seeds(100..580).skip(turn).step_by(AT_ONCE) {
                    let (_local, model) = world.while_it_syncs(|| compare(seed, 300, &world, |_, _, _| {}));
                    check_elsewhere(seed, &world, &model);
                    empty(&world);
                }
            });
        }
    });
}
