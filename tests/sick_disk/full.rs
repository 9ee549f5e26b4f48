//! Disks that are full.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::disk::Disk;
use crate::known::{Known, bytes_of};

/// More than the notes of one change and its bytes take.
const MOST_PAGES: u64 = 24;
const SIZE: usize = 40_000;

/// Returns whether something was done; otherwise there was no room for it.
#[track_caller]
fn accepted(what: &str, outcome: io::Result<()>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(refused) => {
            assert_eq!(refused.kind(), ErrorKind::StorageFull, "{what}: {refused}");
            false
        }
    }
}

impl Known {
    /// Does one of each change while there is hardly any room; notes those that were accepted.
    fn change_all(&mut self, number: u64) -> usize {
        let mut refused = 0;
        let mut note = |is_accepted: bool| {
            refused += usize::from(!is_accepted);
            is_accepted
        };
        let (new, edited) = (format!("new-{number}"), format!("edited-{number}"));
        let (old, moved) = (format!("old-{number}"), format!("moved-{number}"));
        let (cut, gone) = (format!("cut-{number}"), format!("gone-{number}"));
        if let Ok(mut file) = OpenOptions::new().create_new(true).append(true).open(self.path(&new)) {
            let mut there = Vec::new();
            for part in bytes_of(&new, 18_000).chunks(9_000) {
                // A write may be accepted in part, and says so.
                let mut count = 0;
                let written = file.write(part).map(|bytes| count = bytes);
                note(accepted(&new, written));
                there.extend_from_slice(&part[..count]);
            }
            self.files.insert(new, there);
        }
        let file = OpenOptions::new().write(true).open(self.path(&edited)).unwrap();
        let change = bytes_of("change", 5_000);
        let mut count = 0;
        note(accepted(&edited, file.write_at(&change, 20_001).map(|bytes| count = bytes)));
        self.files.get_mut(&edited).unwrap()[20_001..20_001 + count].copy_from_slice(&change[..count]);
        if note(accepted(&old, rename(&self.path(&old), &self.path(&moved)))) {
            let bytes = self.files.remove(&old).unwrap();
            self.files.insert(moved, bytes);
        }
        let file = OpenOptions::new().write(true).open(self.path(&cut)).unwrap();
        if note(accepted(&cut, file.set_len(101))) {
            self.files.get_mut(&cut).unwrap().truncate(101);
        }
        note(accepted(&cut, fs::set_permissions(self.path(&cut), Permissions::from_mode(0o600))));
        if note(accepted(&gone, fs::remove_file(self.path(&gone)))) {
            self.files.remove(&gone);
        }
        refused
    }
}

#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
fn rename(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Shows disk-1.
#[test]
fn every_change_on_a_full_disk_is_refused_or_kept() {
    let kinds = ["edited", "old", "cut", "gone"];
    let names = (0..MOST_PAGES).flat_map(|n| kinds.map(|kind| (format!("{kind}-{n}"), SIZE)));
    let mut known = Known::with(&names.collect::<Vec<_>>());
    let disk = Disk::small(&known.place.path("cache"), 24 << 20);
    let mut daemon = known.mount();
    let (mut refused, mut most) = (0, 0);
    for pages in 0..MOST_PAGES {
        disk.leave(pages);
        let now = known.change_all(pages);
        (refused, most) = (refused + now, most.max(now));
        known.is_shown();
        disk.make_room();
    }
    assert!(most > 4, "{most} of a round were refused: the disk was never full");
    assert!(refused < 8 * MOST_PAGES as usize, "nothing was accepted");
    disk.leave(0);
    daemon.kill();
    disk.make_room();
    let daemon = known.mount();
    known.is_shown();
    known.is_pushed(daemon);
}

/// Shows disk-2.
#[test]
fn what_is_larger_than_the_disk_can_be_read() {
    let sizes = [("large".to_owned(), 24 << 20), ("small".to_owned(), 10)];
    let known = Known::with(&sizes);
    let disk = Disk::small(&known.place.path("cache"), 4 << 20);
    let daemon = known.mount();
    known.is_shown();
    disk.leave(0);
    known.is_shown();
    disk.make_room();
    known.is_pushed(daemon);
}

#[test]
fn a_full_disk_is_said_when_it_is_mounted_and_loses_nothing() {
    let mut known = Known::with(&[("clean".to_owned(), SIZE)]);
    let disk = Disk::small(&known.place.path("cache"), 4 << 20);
    let mut daemon = known.mount();
    let bytes = bytes_of("new", 100_000);
    fs::File::create(known.path("new")).unwrap().write_all(&bytes).unwrap();
    known.files.insert("new".to_owned(), bytes);
    daemon.kill();
    for pages in [0, 1, 2, 4, 8, 16, 32] {
        disk.leave(pages);
        match known.try_mount() {
            Some(mut daemon) => {
                known.is_shown();
                daemon.kill();
            }
            None => assert!(known.place.logs().contains("No space left"), "{}", known.place.logs()),
        }
        disk.make_room();
    }
    let daemon = known.mount();
    known.is_shown();
    known.is_pushed(daemon);
}
