//! What another machine does while this one waits, and what becomes of it on this one's mount.

use std::fs;
use std::path::Path;

use bayou::cache::attributes::{SetAttr, XattrMode};
use bayou::cache::rename::Replace;
use bayou::cache::tree::NewNode;
use bayou::cache::{Ino, ROOT, Result};
use rustix::fs::XattrFlags;

use super::calls::{Call, Dice, KEPT_OPEN, draw_elsewhere};
use super::side::Side;
use crate::machine::Machine;
use crate::world::{Step, World};

/// Lets another machine change a few things that are all in the bucket, and the model follow.
///
/// Files that are open would keep what they had: they are closed first.
pub(super) fn take_turn(seed: u64, world: &World, dice: &mut Dice, [model, mount]: [&mut Side; 2]) {
    for side in [&mut *model, &mut *mount] {
        (0..KEPT_OPEN).for_each(|kept| drop(side.run(&Call::Drop(kept))));
    }
    world.sync_now(Step::Push);
    let mut done = Vec::new();
    world.elsewhere(|other| {
        for _ in 0..=dice.below(5) {
            let call = draw_elsewhere(dice);
            let goes_through_a_link = call.names().into_iter().any(|name| is_below_a_link(&model.root, name));
            if !goes_through_a_link && model.run(&call).is_ok() {
                run(other, &call).unwrap_or_else(|failed| panic!("seed {seed}: {call:?}: {failed}"));
                done.push(call);
            }
        }
    });
    assert_eq!(mount.tree(), model.tree(), "seed {seed}, after {done:?} elsewhere");
}

/// Returns whether a name is a link, or a path goes through one.
fn is_below_a_link(root: &Path, name: &str) -> bool {
    let is_link = |path: &Path| fs::symlink_metadata(root.join(path)).is_ok_and(|meta| meta.is_symlink());
    Path::new(name).ancestors().any(is_link)
}

/// Makes a call on a machine that has no mount.
fn run(machine: &Machine, call: &Call) -> Result<()> {
    let cache = &machine.cache;
    let new = |mode| NewNode { mode, uid: None, gid: None };
    let at = |name: &'static str| place(machine, name);
    let ino = |name: &str| find(machine, name);
    match *call {
        Call::Create(name) => cache.create(at(name)?.0, at(name)?.1, new(0o644)).map(drop),
        Call::Folder(name) => cache.make_folder(at(name)?.0, at(name)?.1, new(0o755)).map(drop),
        Call::Symlink(name) => cache.make_symlink(at(name)?.0, at(name)?.1, new(0o777), "a/x").map(drop),
        Call::Remove(name) => cache.unlink(at(name)?.0, at(name)?.1),
        Call::RemoveFolder(name) => cache.remove_folder(at(name)?.0, at(name)?.1),
        Call::Rename(from, to) => cache.rename(at(from)?, at(to)?, Replace::Yes),
        Call::RenameNoReplace(from, to) => cache.rename(at(from)?, at(to)?, Replace::No),
        Call::Exchange(one, other) => cache.exchange(at(one)?, at(other)?),
        Call::Link(from, to) => cache.link(ino(from)?, at(to)?.0, at(to)?.1).map(drop),
        Call::SetMode(name, mode) => {
            cache.set_attr(ino(name)?, SetAttr { mode: Some(mode), ..SetAttr::default() }).map(drop)
        }
        Call::WriteAt(name, offset, len, byte) => cache.write(ino(name)?, offset, &vec![byte; len as usize]),
        Call::Cut(name, len) => cache.truncate(ino(name)?, len),
        Call::Empty(name) => cache.truncate(ino(name)?, 0),
        Call::SetXattr(name, xattr, byte, flags) => {
            cache.set_xattr(ino(name)?, xattr, &vec![byte; byte as usize], mode_of(flags))
        }
        Call::RemoveXattr(name, xattr) => cache.remove_xattr(ino(name)?, xattr),
        ref other => panic!("{other:?} is not done elsewhere"),
    }
}

fn mode_of(flags: XattrFlags) -> XattrMode {
    if flags.contains(XattrFlags::CREATE) {
        XattrMode::Create
    } else if flags.contains(XattrFlags::REPLACE) {
        XattrMode::Replace
    } else {
        XattrMode::Any
    }
}

fn find(machine: &Machine, path: &str) -> Result<Ino> {
    path.split('/').filter(|part| !part.is_empty()).try_fold(ROOT, |folder, name| {
        let found = machine.cache.lookup(folder, name)?.ino;
        machine.cache.forget(found, 1);
        Ok(found)
    })
}

fn place<'a>(machine: &Machine, path: &'a str) -> Result<(Ino, &'a str)> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok((find(machine, folder)?, name))
}
