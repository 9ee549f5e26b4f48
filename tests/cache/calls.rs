//! Calls on a cache, at random.

use bayou::cache::attributes::XattrMode;
use proptest::prelude::*;

pub(crate) const PATHS: [&str; 14] =
    ["a", "b", "c", "a/x", "a/y", "b/x", "b/y", "c/x", "a/x/1", "a/x/2", "b/x/1", "b-x", "r", "b/r"];
pub(crate) const HANDLES: usize = 3;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create(&'static str),
    Folder(&'static str),
    Link(&'static str),
    Unlink(&'static str),
    RemoveFolder(&'static str),
    Rename(&'static str, &'static str, bool),
    Write(&'static str, u16, u16, u8),
    Truncate(&'static str, u16),
    Mode(&'static str, u32),
    SetXattr(&'static str, &'static str, u8, XattrMode),
    RemoveXattr(&'static str, &'static str),
    Read(&'static str),
    Open(usize, &'static str),
    WriteOpen(usize, u16, u16, u8),
    ReadOpen(usize),
    Close(usize),
    Push,
    Point,
    Fold,
    Evict,
    Reopen,
}

fn path() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&PATHS[..])
}

fn xattr() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["user.a", "user.b"][..])
}

fn xattr_mode() -> impl Strategy<Value = XattrMode> {
    proptest::sample::select(&[XattrMode::Any, XattrMode::Any, XattrMode::Create, XattrMode::Replace][..])
}

/// Calls that a crash test can make as well: nothing is kept open.
pub(crate) fn change() -> impl Strategy<Value = Op> {
    let (at, len) = (0u16..12_000, 1u16..5_000);
    prop_oneof![
        3 => path().prop_map(Op::Create),
        2 => path().prop_map(Op::Folder),
        1 => path().prop_map(Op::Link),
        2 => path().prop_map(Op::Unlink),
        1 => path().prop_map(Op::RemoveFolder),
        5 => (path(), path(), any::<bool>()).prop_map(|(from, to, replace)| Op::Rename(from, to, replace)),
        6 => (path(), at.clone(), len, any::<u8>()).prop_map(|(p, at, len, byte)| Op::Write(p, at, len, byte)),
        2 => (path(), at).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => (path(), 0u32..0o777).prop_map(|(path, mode)| Op::Mode(path, mode)),
        3 => (path(), xattr(), any::<u8>(), xattr_mode())
            .prop_map(|(path, name, byte, mode)| Op::SetXattr(path, name, byte, mode)),
        1 => (path(), xattr()).prop_map(|(path, name)| Op::RemoveXattr(path, name)),
        2 => path().prop_map(Op::Read),
        1 => Just(Op::Push),
        1 => Just(Op::Point),
        1 => Just(Op::Fold),
        1 => Just(Op::Evict),
    ]
}

/// All calls.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let slot = 0..HANDLES;
    prop_oneof![
        20 => change(),
        2 => (slot.clone(), path()).prop_map(|(slot, path)| Op::Open(slot, path)),
        2 => (slot.clone(), 0u16..12_000, 1u16..5_000, any::<u8>())
            .prop_map(|(slot, at, len, byte)| Op::WriteOpen(slot, at, len, byte)),
        2 => slot.clone().prop_map(Op::ReadOpen),
        1 => slot.prop_map(Op::Close),
        1 => Just(Op::Reopen),
    ]
}
