//! What programs and other machines are made to do, drawn by a seed.

use rustix::fs::{FallocateFlags, XattrFlags};

const NAMES: [&str; 12] =
    ["a", "b", "c", "a/x", "a/y", "b/x", "b/y", "c/x", "a/x/1", "a/x/2", "b/x/1", "b/y/1"];
const MAX_OFFSET: u64 = 300_000;
const MAX_WRITE: u64 = 100_000;
pub(super) const KEPT_OPEN: usize = 4;

/// What a range of a file is made: there, or zeros.
const FALLOCATES: [FallocateFlags; 5] = [
    FallocateFlags::empty(),
    FallocateFlags::KEEP_SIZE,
    FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE),
    FallocateFlags::ZERO_RANGE,
    FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE),
];

/// Extended attributes that files and folders are given.
const XATTRS: [&str; 3] = ["user.a", "user.b", "user.of.some.length"];

/// How: made or replaced, only the one, only the other.
const XATTR_FLAGS: [XattrFlags; 4] =
    [XattrFlags::empty(), XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE];

fn xattr(byte: u8) -> &'static str {
    XATTRS[byte as usize % XATTRS.len()]
}

/// Draws the same numbers for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
pub(super) enum Call {
    Create(&'static str),
    Folder(&'static str),
    Symlink(&'static str),
    Remove(&'static str),
    RemoveFolder(&'static str),
    Rename(&'static str, &'static str),
    RenameNoReplace(&'static str, &'static str),
    Exchange(&'static str, &'static str),
    Link(&'static str, &'static str),
    Fallocate(&'static str, u64, u64, FallocateFlags),
    CopyRange(&'static str, u64, u64, u64),
    SetMode(&'static str, u32),
    WriteAt(&'static str, u64, u64, u8),
    Cut(&'static str, u64),
    Empty(&'static str),
    Read(&'static str),
    Keep(&'static str),
    WriteKept(usize, u64, u64, u8),
    CutKept(usize, u64),
    ReadKept(usize),
    Drop(usize),
    SetXattr(&'static str, &'static str, u8, XattrFlags),
    RemoveXattr(&'static str, &'static str),
}

/// Draws a call.
pub(super) fn draw(dice: &mut Dice) -> Call {
    let (name, kept) = (dice.name(), dice.below(KEPT_OPEN as u64) as usize);
    let (at, len, byte) = (dice.below(MAX_OFFSET), 1 + dice.below(MAX_WRITE), dice.below(256) as u8);
    match dice.below(42) {
        0..4 => Call::Create(name),
        4..7 => Call::Folder(name),
        7 => Call::Symlink(name),
        8..10 => Call::Remove(name),
        10 => Call::RemoveFolder(name),
        11..14 => Call::Rename(name, dice.name()),
        14 => Call::RenameNoReplace(name, dice.name()),
        15 => Call::SetMode(name, 0o600 | (at % 0o200) as u32),
        16..19 => Call::WriteAt(name, at, len, byte),
        19 => Call::Cut(name, at),
        20 => Call::Empty(name),
        21..23 => Call::Read(name),
        23 => Call::Keep(name),
        24..26 => Call::WriteKept(kept, at, len, byte),
        26 => Call::CutKept(kept, at),
        27..29 => Call::ReadKept(kept),
        29 => Call::Drop(kept),
        30..32 => Call::Link(name, dice.name()),
        32 => Call::Exchange(name, dice.name()),
        33..36 => Call::Fallocate(name, at, len, FALLOCATES[byte as usize % FALLOCATES.len()]),
        36 => Call::CopyRange(name, at, dice.below(MAX_OFFSET), len),
        37..41 => Call::SetXattr(name, xattr(byte), byte, XATTR_FLAGS[at as usize % XATTR_FLAGS.len()]),
        _ => Call::RemoveXattr(name, xattr(byte)),
    }
}

/// Draws something that another machine does: what programs with open files do is no matter of its.
pub(super) fn draw_elsewhere(dice: &mut Dice) -> Call {
    loop {
        let call = draw(dice);
        let is_of_open_files = matches!(
            call,
            Call::Keep(_) | Call::WriteKept(..) | Call::CutKept(..) | Call::ReadKept(_) | Call::Drop(_)
        );
        let is_of_the_kernel = matches!(call, Call::Fallocate(..) | Call::CopyRange(..) | Call::Read(_));
        if !is_of_open_files && !is_of_the_kernel {
            return call;
        }
    }
}

impl Call {
    /// Returns the names that the call is about.
    pub(super) fn names(&self) -> Vec<&'static str> {
        match *self {
            Self::Rename(from, to)
            | Self::RenameNoReplace(from, to)
            | Self::Exchange(from, to)
            | Self::Link(from, to) => vec![from, to],
            Self::Create(name)
            | Self::Folder(name)
            | Self::Symlink(name)
            | Self::Remove(name)
            | Self::RemoveFolder(name)
            | Self::Fallocate(name, ..)
            | Self::CopyRange(name, ..)
            | Self::SetMode(name, _)
            | Self::WriteAt(name, ..)
            | Self::Cut(name, _)
            | Self::Empty(name)
            | Self::Read(name)
            | Self::Keep(name)
            | Self::SetXattr(name, ..)
            | Self::RemoveXattr(name, _) => vec![name],
            Self::WriteKept(..) | Self::CutKept(..) | Self::ReadKept(_) | Self::Drop(_) => Vec::new(),
        }
    }
}
