//! Of a file that may be changed unseen nothing is known: every byte of it is read when it is pushed.
//!
//! A store into a page that is dirty still leaves no trace in the content file's time. It is made
//! here by writing to the content file and setting its time back.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use bayou::cache::{Ino, ROOT};

use super::rig::Rig;

const SIZE: usize = 20 << 20;

/// Returns a rig with a clean large file.
fn clean() -> (Rig, Ino) {
    let rig = Rig::new();
    let ino = rig.make("large", &vec![1; SIZE]);
    assert!(rig.push());
    hold(&rig);
    (rig, ino)
}

/// Has the kernel know the file, as while it is mapped.
fn hold(rig: &Rig) {
    rig.cache().lookup(ROOT, "large").unwrap();
}

/// Returns whether some bytes count as those that the bucket has.
fn has_unchanged(rig: &Rig, ino: Ino) -> bool {
    let same = rig.cache().thaw(ino).unwrap().same;
    same.is_some_and(|same| same.ranges.iter().next().is_some())
}

fn content_file(rig: &Rig) -> File {
    OpenOptions::new().read(true).write(true).open(rig.content_file("large")).unwrap()
}

/// Stores as a mapping does whose page is dirty already.
fn store_without_a_trace(rig: &Rig, at: usize) {
    let file = content_file(rig);
    let time = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"unseen", at as u64).unwrap();
    file.set_modified(time).unwrap();
}

/// Returns what is in the bucket after all is pushed.
fn pushed(rig: &Rig) -> Vec<u8> {
    rig.push();
    rig.object("large").unwrap()
}

fn with(stores: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![1; SIZE];
    for &(at, stored) in stores {
        bytes[at..at + stored.len()].copy_from_slice(stored);
    }
    bytes
}

#[test]
fn what_is_stored_without_a_trace_after_an_edit_is_sent_with_it() {
    let (rig, ino) = clean();
    rig.write("large", 5, b"seen");
    assert!(has_unchanged(&rig, ino), "the edit by itself is one of a few bytes");
    rig.cache().watch(ino).unwrap();
    assert!(!has_unchanged(&rig, ino));
    store_without_a_trace(&rig, 15 << 20);
    assert!(pushed(&rig) == with(&[(5, b"seen"), (15 << 20, b"unseen")]));
}

#[test]
fn what_is_stored_without_a_trace_before_an_edit_is_sent_with_it() {
    let (rig, ino) = clean();
    rig.cache().watch(ino).unwrap();
    content_file(&rig).write_all_at(b"mapped", 12 << 20).unwrap();
    assert_eq!(rig.pending(), ["large"], "its time has told");
    rig.write("large", 5, b"seen");
    assert!(!has_unchanged(&rig, ino));
    store_without_a_trace(&rig, 15 << 20);
    let stores: [(usize, &[u8]); 3] = [(5, b"seen"), (12 << 20, b"mapped"), (15 << 20, b"unseen")];
    assert!(pushed(&rig) == with(&stores));
}

/// Stores without a trace, dies, and pushes what the next process finds.
fn is_found_again(mut rig: Rig) {
    store_without_a_trace(&rig, 15 << 20);
    rig.reopen();
    rig.pull();
    assert!(pushed(&rig) == with(&[(5, b"seen"), (15 << 20, b"unseen")]));
}

#[test]
fn what_was_stored_after_an_edit_before_the_process_died_is_sent() {
    let (rig, ino) = clean();
    rig.write("large", 5, b"seen");
    rig.cache().watch(ino).unwrap();
    is_found_again(rig);
}

#[test]
fn what_was_stored_beside_an_edit_before_the_process_died_is_sent() {
    let (rig, ino) = clean();
    rig.cache().watch(ino).unwrap();
    rig.write("large", 5, b"seen");
    is_found_again(rig);
}

#[test]
fn what_an_early_upload_has_read_of_a_watched_file_is_read_again() {
    let (rig, ino) = clean();
    let has_sent = || rig.cache().thaw(ino).unwrap().sent.iter().next().is_some();
    rig.cache().read_to_send(ino, 0..100).unwrap();
    assert!(has_sent());
    rig.cache().watch(ino).unwrap();
    assert!(!has_sent(), "it may have been stored into since");
    rig.cache().read_to_send(ino, 0..100).unwrap();
    assert!(!has_sent());
}
