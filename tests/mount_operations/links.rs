//! Files with several names, as programs see them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use super::world::World;
use super::{errno, sys_errno};

fn link(world: &World, from: &str, to: &str) {
    fs::hard_link(world.path(from), world.path(to)).unwrap();
}

/// Returns the inode of a name, and how many names the kernel says that it has.
fn inode(world: &World, name: &str) -> (u64, u64) {
    let meta = fs::symlink_metadata(world.path(name)).unwrap();
    (meta.ino(), meta.nlink())
}

#[test]
fn a_file_has_as_many_names_as_it_is_given() {
    let world = World::with(&[("far", b"remote")]);
    world.write("a", b"content");
    fs::create_dir(world.path("d")).unwrap();
    link(&world, "a", "d/b");
    link(&world, "d/b", "c");
    link(&world, "far", "near");
    let (ino, count) = inode(&world, "a");
    assert_eq!(count, 3);
    assert_eq!([inode(&world, "d/b"), inode(&world, "c")], [(ino, 3); 2]);
    assert_eq!(inode(&world, "far").1, 2);
    assert_eq!(fs::read(world.path("near")).unwrap(), b"remote");
    fs::remove_file(world.path("a")).unwrap();
    assert_eq!([inode(&world, "d/b"), inode(&world, "c")], [(ino, 2); 2]);
    fs::remove_file(world.path("c")).unwrap();
    assert_eq!(inode(&world, "d/b"), (ino, 1));
    let seen = world.seen_elsewhere();
    assert_eq!(seen["d/b"].2, b"content");
    assert_eq!((&seen["far"].2[..], &seen["near"].2[..]), (&b"remote"[..], &b"remote"[..]));
    assert_eq!(seen.len(), 4, "{:?}", seen.keys());
}

#[test]
fn all_names_show_what_is_written_through_one() {
    let world = World::new();
    world.write("a", b"0123456789");
    link(&world, "a", "b");
    let reader = File::open(world.path("a")).unwrap();
    OpenOptions::new().write(true).open(world.path("b")).unwrap().write_all_at(b"XY", 3).unwrap();
    OpenOptions::new().append(true).open(world.path("a")).unwrap().write_all(b"end").unwrap();
    let mut part = [0; 13];
    reader.read_exact_at(&mut part, 0).unwrap();
    assert_eq!(&part, b"012XY56789end");
    assert_eq!(fs::read(world.path("b")).unwrap(), b"012XY56789end");
    let seen = world.seen_elsewhere();
    assert_eq!((&seen["a"].2, &seen["b"].2), (&part.to_vec(), &part.to_vec()));
    assert_eq!(fs::read(world.object("a")).unwrap(), fs::read(world.object("b")).unwrap());
}

#[test]
fn a_rename_between_names_of_one_file_does_nothing() {
    let world = World::new();
    world.write("a", b"1");
    link(&world, "a", "b");
    world.rename("a", "b").unwrap();
    assert_eq!((inode(&world, "a").1, inode(&world, "b").1), (2, 2));
}

#[test]
fn a_rename_over_one_name_leaves_the_others() {
    let world = World::new();
    world.write("a", b"old");
    link(&world, "a", "b");
    world.write("new", b"new");
    let open = File::open(world.path("a")).unwrap();
    world.rename("new", "a").unwrap();
    assert_eq!(
        (fs::read(world.path("a")).unwrap(), fs::read(world.path("b")).unwrap()),
        (b"new".into(), b"old".into())
    );
    assert_eq!((inode(&world, "b").1, open.metadata().unwrap().nlink()), (1, 1));
}

#[test]
fn what_is_open_lives_on_without_any_name() {
    let world = World::with(&[("other", b"")]);
    world.write("a", b"kept");
    link(&world, "a", "b");
    let open = File::open(world.path("b")).unwrap();
    fs::remove_file(world.path("a")).unwrap();
    fs::remove_file(world.path("b")).unwrap();
    assert_eq!(open.metadata().unwrap().nlink(), 0);
    let mut bytes = [0; 4];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"kept");
    assert_eq!(world.seen_elsewhere().len(), 1);
}

#[test]
fn what_cannot_have_a_second_name_is_refused() {
    let world = World::new();
    world.write("a", b"");
    world.write(".lock", b"of this machine");
    fs::create_dir(world.path("d")).unwrap();
    let try_link = |from: &str, to: &str| errno(fs::hard_link(world.path(from), world.path(to)));
    assert_eq!(try_link("d", "e"), libc::EPERM);
    assert_eq!(try_link("a", "a"), libc::EEXIST);
    assert_eq!(try_link("a", "_index"), libc::EPERM);
    assert_eq!(try_link("none", "b"), libc::ENOENT);
    assert_eq!(try_link(".lock", "b"), libc::EXDEV);
    assert_eq!(try_link("a", "d/.lock"), libc::EXDEV);
    assert_eq!(try_link("a", &"x".repeat(256)), libc::ENAMETOOLONG);
    fs::hard_link(world.path(".lock"), world.path("d/.lock")).unwrap();
    symlink("a", world.path("s")).unwrap();
    fs::hard_link(world.path("s"), world.path("t")).unwrap();
    assert_eq!(fs::read_link(world.path("t")).unwrap().to_str(), Some("a"));
    let refused = rustix::fs::link(world.path("a"), world.path("t"));
    assert_eq!(sys_errno(refused), libc::EEXIST);
}

#[test]
fn names_that_others_give_and_take_are_counted_in_the_kernel() {
    let world = World::with(&[("a", b"content")]);
    assert_eq!(inode(&world, "a").1, 1);
    world.elsewhere(|other| other.link("a", "b"));
    assert_eq!((inode(&world, "a").1, inode(&world, "b")), (2, inode(&world, "a")));
    world.elsewhere(|other| other.remove("a"));
    assert_eq!(inode(&world, "b").1, 1);
    assert!(!world.path("a").exists());
    assert_eq!(fs::read(world.path("b")).unwrap(), b"content");
}
