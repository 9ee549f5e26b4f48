//! Extended attributes.

use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, getxattr_query, listxattr, listxattr_query, removexattr, setxattr};

use super::sys_errno;
use super::world::World;

fn get(path: &Path, name: &str) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 65536];
    let len = getxattr(path, name, &mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

#[test]
fn attributes_of_users_are_kept_listed_and_removed() {
    let world = World::new();
    world.write("f", b"");
    let path = world.path("f");
    setxattr(&path, "user.a", &[0, 255, 7], XattrFlags::empty()).unwrap();
    setxattr(&path, "user.b", b"", XattrFlags::CREATE).unwrap();
    assert_eq!(get(&path, "user.a").unwrap(), [0, 255, 7]);
    assert_eq!(get(&path, "user.b").unwrap(), b"");
    let mut list = [0; 64];
    let len = listxattr(&path, &mut list).unwrap();
    assert_eq!(&list[..len], b"user.a\0user.b\0");
    removexattr(&path, "user.a").unwrap();
    assert_eq!(sys_errno(get(&path, "user.a")), libc::ENODATA);
    assert_eq!(sys_errno(removexattr(&path, "user.a")), libc::ENODATA);
}

#[test]
fn flags_of_making_and_replacing_are_heeded() {
    let world = World::new();
    world.write("f", b"");
    let path = world.path("f");
    assert_eq!(sys_errno(setxattr(&path, "user.a", b"1", XattrFlags::REPLACE)), libc::ENODATA);
    setxattr(&path, "user.a", b"1", XattrFlags::CREATE).unwrap();
    assert_eq!(sys_errno(setxattr(&path, "user.a", b"2", XattrFlags::CREATE)), libc::EEXIST);
    setxattr(&path, "user.a", b"3", XattrFlags::REPLACE).unwrap();
    assert_eq!(get(&path, "user.a").unwrap(), b"3");
}

#[test]
fn a_buffer_that_is_too_small_is_told_so_and_none_is_told_the_size() {
    let world = World::new();
    world.write("f", b"");
    let path = world.path("f");
    setxattr(&path, "user.a", &[1; 100], XattrFlags::empty()).unwrap();
    assert_eq!(getxattr_query(&path, "user.a").unwrap(), 100);
    assert_eq!(sys_errno(getxattr(&path, "user.a", &mut [0; 99])), libc::ERANGE);
}

#[test]
fn attributes_of_the_system_are_refused_as_by_a_filesystem_without_them() {
    let world = World::new();
    world.write("f", b"");
    let path = world.path("f");
    for name in ["trusted.x", "security.x"] {
        assert_eq!(sys_errno(setxattr(&path, name, b"x", XattrFlags::empty())), libc::ENOTSUP, "{name}");
        assert_eq!(sys_errno(get(&path, name)), libc::ENOTSUP, "{name}");
    }
}

#[test]
fn the_state_of_a_file_can_be_asked_but_not_set() {
    let world = World::with(&[("far", b"bytes")]);
    world.write("near", b"bytes");
    world.write(".lock", b"");
    let state = |name: &str| String::from_utf8(get(&world.path(name), "user.bayou.state").unwrap()).unwrap();
    assert_eq!(state("far"), "clean");
    assert_eq!(state("near"), "dirty");
    assert_eq!(state(".lock"), "local");
    let path = world.path("near");
    assert_eq!(sys_errno(setxattr(&path, "user.bayou.state", b"x", XattrFlags::empty())), libc::EPERM);
    assert_eq!(sys_errno(removexattr(&path, "user.bayou.state")), libc::EPERM);
    assert_eq!(sys_errno(get(&path, "user.bayou.unheard")), libc::ENODATA);
    assert_eq!(listxattr_query(&path).unwrap(), 0);
}

#[test]
fn what_is_hydrated_and_which_version_it_is_can_be_asked() {
    let bytes = vec![3; 3 << 20];
    let world = World::with(&[("far", &bytes)]);
    let ask = |own: &str| get(&world.path("far"), &format!("user.bayou.{own}")).unwrap();
    assert!(!ask("version").is_empty());
    assert_eq!(ask("hydrated"), b"no");
    assert_eq!(std::fs::read(world.path("far")).unwrap(), bytes);
    assert_eq!(ask("hydrated"), b"yes");
}
