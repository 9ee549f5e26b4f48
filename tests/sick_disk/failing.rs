//! Disks that fail.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use crate::daemon::{is_mounted, text, wait_until};
use crate::disk::Disk;
use crate::known::{Known, bytes_of};

const SIZE: usize = 40_000;

fn sizes(names: &[&str]) -> Vec<(String, usize)> {
    names.iter().map(|name| ((*name).to_owned(), SIZE)).collect()
}

/// Shows disk-3.
#[test]
fn a_disk_that_fails_is_read_around() {
    let known = Known::with(&sizes(&["cached", "half", "never-read"]));
    let disk = Disk::fragile(&known.place.path("cache"));
    let mut daemon = known.mount();
    known.is_there("cached");
    File::open(known.path("half")).unwrap().read_exact_at(&mut [0; 10], 0).unwrap();
    disk.fail();
    known.is_shown();
    known.nobody_panicked();
    daemon.kill();
    disk.recover();
    let daemon = known.mount();
    known.is_shown();
    known.is_pushed(daemon);
}

/// Shows disk-4.
#[test]
fn a_disk_that_fails_takes_no_change_and_keeps_those_that_it_has() {
    let mut known = Known::with(&sizes(&["clean", "edited"]));
    let disk = Disk::fragile(&known.place.path("cache"));
    let mut daemon = known.mount();
    let bytes = bytes_of("new", SIZE);
    let mut new = File::create(known.path("new")).unwrap();
    new.write_all(&bytes).unwrap();
    known.files.insert("new".to_owned(), bytes);
    drop(new);
    // What is on the disk is there when it works again.
    rustix::fs::syncfs(File::open(known.place.path("cache")).unwrap()).unwrap();
    disk.fail();
    assert!(File::create(known.path("never")).is_err());
    let edited = OpenOptions::new().write(true).open(known.path("edited"));
    assert!(edited.and_then(|file| file.write_all_at(b"x", 7)).is_err());
    assert!(fs::remove_file(known.path("clean")).is_err());
    known.is_there("clean");
    known.is_there("edited");
    known.nobody_panicked();
    daemon.kill();
    disk.recover();
    let daemon = known.mount();
    known.is_shown();
    known.is_pushed(daemon);
}

#[test]
fn a_mount_whose_disk_failed_can_be_left_and_says_so() {
    let known = Known::with(&sizes(&["clean"]));
    let disk = Disk::fragile(&known.place.path("cache"));
    let mut daemon = known.mount();
    File::create(known.path("new")).unwrap().write_all(b"not in the bucket").unwrap();
    disk.fail();
    let mnt = known.place.mnt();
    let said = known.place.run(&["umount", text(&mnt)]);
    assert!(!said.status.success(), "{said:?}");
    wait_until("it is detached", || !is_mounted(&mnt));
    daemon.wait();
    known.nobody_panicked();
}
