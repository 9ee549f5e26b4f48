//! What must be true after a crash, however it came.

use std::fs;

use bayou::model::sidecar::Sidecar;

use crate::actor::Actor;
use crate::bucket_view::BucketView;
use crate::daemon::{Daemon, Place, Start};
use crate::file_tree::{differences, is_end, read_tree};
use crate::history::inexact;

/// Fails with everything that is wrong, and with what the daemons said.
#[track_caller]
pub(crate) fn expect_none(place: &Place, what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}\n{}", faults.join("\n  "), place.logs());
}

/// Checks the bucket as the crash left it: nothing that was made safe is missing, nothing is
/// torn, nothing dangles, and "clean" is not said of what is not. Returns whether something that
/// was acknowledged is not in the bucket.
pub(crate) fn bucket_after_crash(place: &Place, cache: &str, actors: &[&mut Actor]) -> bool {
    let bucket = BucketView::of(&place.bucket());
    let mut faults = bucket.faults();
    for actor in actors {
        for (path, fault) in actor.history.faults(&bucket, &format!("{}/", actor.folder)) {
            faults.push(format!("{path}: {fault}; calls: {}", actor.calls_of(&path)));
        }
    }
    expect_none(place, "In the bucket after the crash", &faults);
    let is_missing =
        |actor: &&mut Actor| !inexact(&bucket, &actor.tree, &format!("{}/", actor.folder)).is_empty();
    let dirty = actors.iter().any(is_missing);
    if says_clean(place, cache) {
        for actor in actors {
            let below = format!("{}/", actor.folder);
            let wrong: Vec<_> = actor.possible().iter().map(|tree| inexact(&bucket, tree, &below)).collect();
            if wrong.iter().all(|faults| !faults.is_empty()) {
                expect_none(place, &format!("Said to be clean, {} last", actor.last()), &wrong.concat());
            }
        }
    }
    dirty
}

/// Says of a fault what was done to the name that it begins with.
fn with_calls(actor: &Actor, fault: String) -> String {
    let path = fault.split(": ").next().unwrap_or_default();
    let calls = actor.calls_of(path);
    format!("{fault}; calls: {calls}")
}

/// Checks that the daemons answered no request with a failure of theirs: nothing in the world
/// around them failed.
pub(crate) fn no_request_failed(place: &Place) {
    let logs = place.logs();
    let failures = ["A request of the kernel failed", "Reply not sent", "panicked at"];
    let faults: Vec<_> = logs.lines().filter(|line| failures.iter().any(|one| line.contains(one))).collect();
    assert!(faults.is_empty(), "{}\n{logs}", faults.join("\n"));
}

fn says_clean(place: &Place, cache: &str) -> bool {
    let Some(cache) = place.cache(cache) else { return false };
    let sidecar = fs::read(cache.join("state/.datastore-sync-state.json")).unwrap_or_default();
    Sidecar::parse(&sidecar).is_some_and(|sidecar| !sidecar.is_dirty())
}

/// Checks the mount: all that was acknowledged is there. Returns whether the mount lived on.
pub(crate) fn mount(place: &Place, actors: &mut [&mut Actor]) -> bool {
    for actor in actors {
        let seen = match read_tree(&place.mnt(), &actor.folder) {
            Ok(seen) => seen,
            Err(failed) if is_end(&failed) => return false,
            Err(failed) => panic!("{failed}\n{}", place.logs()),
        };
        if let Err(mut faults) = actor.settle_on(&seen) {
            faults = faults.into_iter().map(|fault| with_calls(actor, fault)).collect();
            expect_none(place, &format!("In the mount, {} last", actor.last()), &faults);
        }
        expect_none(place, "Among the names in the mount", &actor.parted_names(&place.mnt()));
    }
    true
}

/// Brings everything to the bucket and checks that it is exactly what the mount shows.
pub(crate) fn sync(place: &Place, actors: &mut [&mut Actor]) {
    let said = place.run(&["sync", "--json", crate::daemon::text(&place.mnt())]);
    assert!(said.status.success(), "{said:?}\n{}", place.logs());
    let summary: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(summary["in_sync"], true, "{summary}\n{}", place.logs());
    let bucket = BucketView::of(&place.bucket());
    let mut faults = bucket.faults();
    let aside = fs::read_dir(place.bucket().join("_control/bayou/tmp")).into_iter().flatten().flatten();
    faults.extend(aside.map(|left| format!("{}: is left behind", left.path().display())));
    for actor in actors.iter_mut() {
        let found = inexact(&bucket, &actor.tree, &format!("{}/", actor.folder));
        faults.extend(found.into_iter().map(|fault| with_calls(actor, fault)));
        actor.history.settle(&actor.tree);
    }
    expect_none(place, "In the bucket after a sync", &faults);
}

/// Checks what a machine sees that knows nothing.
pub(crate) fn fresh_machine(place: &Place, actors: &[&mut Actor]) {
    let start = Start { cache: "fresh", flags: &["--read-only"], crash_at: None };
    let mut daemon = Daemon::start(place, &start).unwrap_or_else(|ended| panic!("{ended}\n{}", place.logs()));
    let mut faults = Vec::new();
    for actor in actors {
        faults.extend(differences(&actor.tree, &read_tree(&place.mnt(), &actor.folder).unwrap()));
        faults.extend(actor.parted_names(&place.mnt()));
    }
    daemon.kill();
    fs::remove_dir_all(place.path("fresh")).unwrap();
    expect_none(place, "On a machine that knows nothing", &faults);
}
