//! After a power cut only what a durable point covered is trusted, and nothing uncertain is
//! pushed under its name.

use std::fs::OpenOptions;

use bayou::cache::ROOT;
use bayou::cache::rename::Replace;
use bayou::cache::rows::Uploading;
use bayou::store::Nonce;

use super::rig::Rig;

const NEXT: &str = "second boot";

/// Returns the content of the only file that was kept beside a name.
fn kept_beside(rig: &Rig, name: &str) -> Vec<u8> {
    let beside = rig.beside(&format!("{name}.recovered-"));
    assert_eq!(beside.len(), 1, "{:?}", rig.list(ROOT));
    rig.read(&beside[0])
}

/// Loses what the disk had not written yet: the file's bytes from `at` on.
fn lose_from(rig: &Rig, path: &str, at: u64) {
    let file = OpenOptions::new().write(true).open(rig.content_file(path)).unwrap();
    file.set_len(at).unwrap();
}

#[test]
fn what_a_durable_point_covers_stays_under_its_name_and_is_pushed() {
    let mut rig = Rig::new();
    rig.make("f", b"certain");
    rig.cache().durable_point().unwrap();
    rig.open_in(NEXT);
    assert_eq!(rig.read("f"), b"certain");
    assert_eq!(rig.pending(), ["f"]);
    assert!(rig.push());
    assert_eq!(rig.object("f").unwrap(), b"certain");
}

#[test]
fn a_tail_that_came_after_the_durable_point_is_cut_off() {
    let mut rig = Rig::new();
    rig.make("f", b"certain");
    rig.cache().durable_point().unwrap();
    rig.write("f", 7, b" and not");
    rig.open_in(NEXT);
    assert_eq!(rig.read("f"), b"certain");
    rig.push();
    assert_eq!(rig.object("f").unwrap(), b"certain");
}

#[test]
fn a_file_that_was_overwritten_is_kept_beside_and_its_name_goes_back() {
    let mut rig = Rig::new();
    rig.put_object("f", b"from the bucket");
    rig.pull();
    assert_eq!(rig.read("f"), b"from the bucket");
    rig.write("f", 0, b"FROM");
    rig.cache().durable_point().unwrap();
    rig.write("f", 5, b"HERE");
    rig.open_in(NEXT);
    assert_eq!(rig.read("f"), b"from the bucket");
    assert_eq!(kept_beside(&rig, "f"), b"FROM HEREbucket");
    assert!(!rig.pending().contains(&"f".to_owned()));
    rig.push();
    assert_eq!(rig.object("f").unwrap(), b"from the bucket");
}

/// More than one part of an upload.
const LARGE: usize = 12 << 20;

#[test]
fn nothing_of_a_changed_file_counts_as_unchanged() {
    let mut rig = Rig::new();
    rig.put_object("f", &vec![1; LARGE]);
    rig.pull();
    rig.read("f");
    rig.write("f", 11 << 20, b"noted and on the disk");
    rig.cache().durable_point().unwrap();
    // This is on the disk, too, and its note is not.
    let content = OpenOptions::new().write(true).open(rig.content_file("f")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&content, b"not noted", 1 << 20).unwrap();
    rig.open_in(NEXT);
    assert!(rig.push());
    let object = rig.object("f").unwrap();
    assert_eq!(&object[1 << 20..(1 << 20) + 9], b"not noted", "what is here is what is there");
    assert!(rig.read("f") == object);
}

#[test]
fn a_new_file_without_a_durable_point_is_kept_beside() {
    let mut rig = Rig::new();
    rig.make("f.txt", b"perhaps");
    rig.open_in(NEXT);
    assert!(rig.find("f.txt").is_err());
    let beside = rig.beside("f.recovered-");
    assert!(beside.len() == 1 && beside[0].ends_with(".txt"), "{beside:?}");
    assert_eq!(rig.read(&beside[0]), b"perhaps");
    rig.push();
    assert_eq!(rig.object("f.txt"), None);
    assert_eq!(rig.object(&beside[0]).unwrap(), b"perhaps");
}

#[test]
fn an_older_and_shorter_file_never_replaces_what_was_pushed() {
    // The durable point covers less than what fsync has brought into the bucket since.
    for lost in [false, true] {
        let mut rig = Rig::new();
        rig.make("f", b"one");
        rig.cache().durable_point().unwrap();
        rig.write("f", 3, b" two");
        assert!(rig.push());
        rig.write("f", 7, b" three");
        if lost {
            lose_from(&rig, "f", 3);
        }
        rig.open_in(NEXT);
        rig.pull();
        rig.push();
        assert_eq!(rig.object("f").unwrap(), b"one two", "lost: {lost}");
        assert_eq!(rig.read("f"), b"one two");
    }
}

#[test]
fn an_upload_under_way_voids_a_durable_point_that_covers_less() {
    let mut rig = Rig::new();
    let ino = rig.make("f", b"one");
    rig.cache().durable_point().unwrap();
    rig.write("f", 3, b" two");
    let stamp = rig.cache().stamp_of(ino).unwrap();
    let uploading = Uploading { ino, stamp, nonce: Nonce::from_text("n"), upload: None };
    let noted = rig.cache().note_uploading(&"f".into(), ino, uploading).unwrap().unwrap();
    rig.cache().sync_upload(noted).unwrap();
    lose_from(&rig, "f", 3);
    rig.open_in(NEXT);
    assert!(rig.find("f").is_err());
    assert_eq!(kept_beside(&rig, "f"), b"one");
}

#[test]
fn fetched_bytes_that_were_only_in_memory_are_fetched_again() {
    let mut rig = Rig::new();
    rig.put_object("clean", &[b'c'; 5000]);
    rig.put_object("dirty", &[b'd'; 5000]);
    rig.pull();
    rig.write("dirty", 0, b"X");
    rig.cache().durable_point().unwrap();
    // Both are noted as present, and neither is on the disk.
    rig.fetch("clean", 0..5000);
    rig.fetch("dirty", 0..5000);
    for path in ["clean", "dirty"] {
        lose_from(&rig, path, 1);
        let file = OpenOptions::new().write(true).open(rig.content_file(path)).unwrap();
        file.set_len(5000).unwrap();
    }
    rig.open_in(NEXT);
    assert!(rig.read("clean") == [b'c'; 5000]);
    let dirty = rig.read("dirty");
    assert!(dirty[0] == b'X' && dirty[1..] == [b'd'; 4999]);
    rig.push();
    assert!(rig.object("dirty").unwrap() == dirty);
}

#[test]
fn content_that_is_on_the_disk_is_not_fetched_again() {
    let mut rig = Rig::new();
    rig.put_object("f", b"once");
    rig.pull();
    assert_eq!(rig.read("f"), b"once");
    rig.cache().durable_point().unwrap();
    rig.open_in(NEXT);
    assert!(rig.cache().is_complete(rig.ino("f")).unwrap());
    assert!(rig.pending().is_empty());
}

#[test]
fn a_file_that_was_only_renamed_keeps_its_new_name() {
    let mut rig = Rig::new();
    rig.put_object("old", b"the same bytes");
    rig.pull();
    assert_eq!(rig.read("old"), b"the same bytes");
    rig.cache().rename((ROOT, "old"), (ROOT, "new"), Replace::No).unwrap();
    lose_from(&rig, "new", 0);
    rig.open_in(NEXT);
    assert_eq!(rig.list(ROOT), ["new"]);
    assert_eq!(rig.read("new"), b"the same bytes");
    rig.push();
    assert_eq!((rig.object("old"), rig.object("new").unwrap()), (None, b"the same bytes".to_vec()));
}

/// Returns a rig whose file `f` is in the bucket, and is renamed and overwritten here.
fn renamed_and_overwritten() -> Rig {
    let rig = Rig::new();
    rig.put_object("d/f", b"from the bucket");
    rig.pull();
    assert_eq!(rig.read("d/f"), b"from the bucket");
    rig.cache().rename((ROOT, "d"), (ROOT, "e"), Replace::No).unwrap();
    rig.write("e/f", 0, b"FROM");
    rig
}

#[test]
fn a_file_that_was_renamed_and_overwritten_is_in_the_bucket_under_its_old_name() {
    let mut rig = renamed_and_overwritten();
    rig.open_in(NEXT);
    assert_eq!(rig.read("d/f"), b"from the bucket");
    rig.push();
    assert_eq!(rig.object("d/f").unwrap(), b"from the bucket");
    let folder = rig.ino("e");
    let kept = rig.list(folder);
    assert!(kept.len() == 1 && kept[0].starts_with("f.recovered-"), "{kept:?}");
    assert_eq!(rig.object(&format!("e/{}", kept[0])).unwrap(), b"FROM the bucket");
}

#[test]
fn a_renamed_file_whose_content_is_lost_is_in_the_bucket_under_its_old_name() {
    let mut rig = renamed_and_overwritten();
    std::fs::remove_file(rig.content_file("e/f")).unwrap();
    rig.open_in(NEXT);
    assert_eq!(rig.read("d/f"), b"from the bucket");
    rig.push();
    assert_eq!(rig.object("d/f").unwrap(), b"from the bucket");
    assert!(rig.find("e/f").is_err());
}

#[test]
fn a_lost_file_does_not_claim_what_was_removed_before_it_was_made() {
    let mut rig = Rig::new();
    rig.put_object("f", b"from the bucket");
    rig.pull();
    rig.unlink("f");
    let removed = rig.cache().tombstone("f").unwrap();
    rig.cache().note_unindexed(&"f".into(), &removed).unwrap();
    rig.make("f", b"anew");
    std::fs::remove_file(rig.content_file("f")).unwrap();
    rig.open_in(NEXT);
    // Whether the bucket still has it the next pull finds out.
    assert!(rig.pending().is_empty(), "{:?}", rig.pending());
}

#[test]
fn a_lost_file_whose_name_the_index_let_go_of_is_asked_for_in_the_bucket() {
    let mut rig = Rig::new();
    rig.put_object("f", b"from the bucket");
    rig.pull();
    rig.unlink("f");
    let removed = rig.cache().tombstone("f").unwrap();
    rig.make("f", b"anew");
    rig.cache().note_unindexed(&"f".into(), &removed).unwrap();
    std::fs::remove_file(rig.content_file("f")).unwrap();
    rig.open_in(NEXT);
    let name = rig.cache().file_state("f").unwrap().name;
    assert!(name.base.is_some() && name.remote == name.base, "the next pull asks for what the index lost");
}

#[test]
fn machine_local_files_stay_where_they_are() {
    let mut rig = Rig::new();
    rig.make(".lock", b"pid");
    rig.open_in(NEXT);
    assert_eq!(rig.list(ROOT), [".lock"]);
    assert_eq!(rig.read(".lock"), b"pid");
}

#[test]
fn a_file_that_was_kept_beside_survives_the_next_power_cut() {
    let mut rig = Rig::new();
    rig.make("f", b"perhaps");
    rig.open_in(NEXT);
    let beside = rig.beside("f.recovered-");
    rig.cache().durable_point().unwrap();
    rig.open_in("third boot");
    assert_eq!(rig.beside("f.recovered-"), beside);
    assert_eq!(rig.read(&beside[0]), b"perhaps");
}
