//! Files that lose their names while they are open.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::world::{Step, World};

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn text(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Returns the names that another machine sees when all is pushed.
fn elsewhere(world: &World) -> Vec<String> {
    world.seen_elsewhere().into_keys().collect()
}

#[test]
fn a_linked_file_lives_on_by_its_other_name_and_then_by_who_has_it_open() {
    let world = World::new();
    world.write("one", b"before");
    fs::hard_link(world.path("one"), world.path("two")).unwrap();
    world.sync_now(Step::Push);
    let file = open(&world.path("one"));
    fs::remove_file(world.path("one")).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 1);
    file.write_all_at(b"BEF", 0).unwrap();
    assert_eq!(fs::read(world.path("two")).unwrap(), b"BEFore");
    let seen = world.seen_elsewhere();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["two"]);
    assert_eq!(seen["two"].2, b"BEFore");
    fs::remove_file(world.path("two")).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all_at(b" and after", 6).unwrap();
    file.sync_all().unwrap();
    world.sync_now(Step::Push);
    world.cache.evict(u64::MAX);
    assert_eq!(text(&file), "BEFore and after");
    assert_eq!(elsewhere(&world), Vec::<String>::new());
}

#[test]
fn a_renamed_file_lives_on_for_who_opened_it_under_its_first_name() {
    let world = World::with(&[("first", b"from the bucket"), ("other", b"other")]);
    let file = open(&world.path("first"));
    world.rename("first", "second").unwrap();
    file.write_all_at(b"From", 0).unwrap();
    world.write("first", b"a new file");
    fs::remove_file(world.path("second")).unwrap();
    world.sync_now(Step::Push);
    file.write_all_at(b"THE", 5).unwrap();
    assert_eq!(text(&file), "From THE bucket", "its bytes were never read before");
    file.set_len(8).unwrap();
    assert_eq!(text(&file), "From THE");
    let seen = world.seen_elsewhere();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["first", "other"]);
    assert_eq!(seen["first"].2, b"a new file");
}

#[test]
fn a_file_that_another_was_renamed_over_is_not_touched_by_it() {
    let world = World::with(&[("old", b"old bytes"), ("new", b"new")]);
    let (old, new) = (open(&world.path("old")), open(&world.path("new")));
    assert_eq!(text(&old), "old bytes");
    world.rename("new", "old").unwrap();
    old.write_all_at(b"OLD", 0).unwrap();
    new.write_all_at(b"NEW", 0).unwrap();
    assert_eq!((text(&old), text(&new)), ("OLD bytes".to_owned(), "NEW".to_owned()));
    drop(new);
    let seen = world.seen_elsewhere();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["old"]);
    assert_eq!(seen["old"].2, b"NEW");
    assert_eq!(text(&old), "OLD bytes");
}
