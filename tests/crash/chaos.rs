//! Everything that programs do with files, in any order.

use crate::actor::{Actor, Done, MOST_AT_ONCE};
use crate::dice::Dice;
use crate::file_tree::Node;

/// Less than a large file has, more than any other.
const LARGE: usize = 4 << 20;
/// How much of a large file is written at once.
const PIECE: usize = 1 << 20;

/// Does one thing that is possible now.
pub(crate) fn act(actor: &mut Actor, dice: &mut Dice) -> Done {
    if dice.once_in(200) {
        return large(actor, dice);
    }
    match dice.below(100) {
        0..12 => create(actor, dice),
        12..20 => with_file(actor, dice, |actor, dice, file| {
            let bytes = some_bytes(dice);
            actor.rewrite(file, &bytes)
        }),
        20..30 => with_file(actor, dice, |actor, dice, file| {
            let bytes = some_bytes(dice);
            actor.append(file, &bytes)
        }),
        30..42 => with_file(actor, dice, |actor, dice, file| {
            let beyond = if dice.once_in(4) { 9000 } else { 0 };
            let offset = dice.below(actor.size(file) + beyond + 1);
            let bytes = some_bytes(dice);
            actor.write(file, offset, &bytes)
        }),
        42..48 => with_file(actor, dice, |actor, dice, file| {
            let size = dice.below(actor.size(file) * 3 / 2 + 10);
            actor.truncate(file, size)
        }),
        48..54 => save(actor, dice),
        54..60 => move_file(actor, dice),
        60..66 => with_file(actor, dice, |actor, _, file| actor.unlink(file)),
        66..70 => folder(actor, dice),
        70..73 => move_folder(actor, dice),
        73..76 => link(actor, dice),
        76..86 => with_file(actor, dice, |actor, _, file| actor.fsync(file)),
        86..89 => {
            let folder = any_folder(actor, dice);
            actor.fsync_folder(&folder)
        }
        89..91 => with_file(actor, dice, |actor, dice, file| {
            let mode = *dice.pick(&[0o644, 0o600, 0o755]).unwrap();
            actor.chmod(file, mode)
        }),
        91..93 => with_file(actor, dice, |actor, dice, file| {
            let seconds = 1_000_000_000 + dice.below(1000) as u64;
            actor.set_time(file, seconds)
        }),
        93..96 => with_file(actor, dice, |actor, dice, file| {
            free_name(actor, dice, 'h').map_or(Ok(()), |path| actor.hard_link(file, &path))
        }),
        _ => with_file(actor, dice, |actor, _, file| actor.read(file)),
    }
}

fn some_bytes(dice: &mut Dice) -> Vec<u8> {
    let most = *dice.pick(&[10, 300, 5000, MOST_AT_ONCE]).unwrap();
    let len = 1 + dice.below(most);
    dice.bytes(len)
}

fn paths(actor: &Actor, wanted: impl Fn(&Node) -> bool) -> Vec<String> {
    actor.tree.iter().filter(|(_, node)| wanted(node)).map(|(path, _)| path.clone()).collect()
}

fn any_folder(actor: &Actor, dice: &mut Dice) -> String {
    let mut folders = paths(actor, |node| *node == Node::Folder);
    folders.push(actor.folder.clone());
    dice.pick(&folders).unwrap().clone()
}

/// Returns a name that nothing has: few names, so that they are used again and again. Some
/// are names of files at one time and of folders at another.
fn free_name(actor: &Actor, dice: &mut Dice, kind: char) -> Option<String> {
    let kind = if dice.once_in(6) { 'x' } else { kind };
    let folder = any_folder(actor, dice);
    let depth = folder[actor.folder.len()..].matches('/').count();
    let path = format!("{folder}/{kind}{}", dice.below(6));
    (!actor.tree.contains_key(&path) && depth < 4).then_some(path)
}

fn with_file(
    actor: &mut Actor,
    dice: &mut Dice,
    act: impl FnOnce(&mut Actor, &mut Dice, &str) -> Done,
) -> Done {
    let files = paths(actor, |node| matches!(node, Node::File { .. }));
    match dice.pick(&files) {
        Some(file) => act(actor, dice, file),
        None => create(actor, dice),
    }
}

fn create(actor: &mut Actor, dice: &mut Dice) -> Done {
    let Some(path) = free_name(actor, dice, 'f') else { return Ok(()) };
    let len = if dice.once_in(10) { dice.below(200 << 10) } else { dice.below(20 << 10) };
    let bytes = dice.bytes(len);
    actor.create_with(&path, &bytes)
}

/// Makes a file that is sent in parts, or goes on with the one that is there.
fn large(actor: &mut Actor, dice: &mut Dice) -> Done {
    let is_large = |node: &Node| matches!(node, Node::File { bytes, .. } if bytes.len() > LARGE);
    let bytes = dice.bytes(PIECE);
    let Some(file) = paths(actor, is_large).first().cloned() else {
        let Some(path) = free_name(actor, dice, 'f') else { return Ok(()) };
        actor.create(&path)?;
        return (0..6 + dice.below(5)).try_for_each(|n| actor.write(&path, n * PIECE, &bytes));
    };
    match dice.below(4) {
        0 => actor.append(&file, &bytes),
        1 => actor.write(&file, dice.below(LARGE), &bytes),
        2 => actor.fsync(&file),
        _ => actor.unlink(&file),
    }
}

/// Saves as editors do: a new file, safe, takes the old one's name.
fn save(actor: &mut Actor, dice: &mut Dice) -> Done {
    with_file(actor, dice, |actor, dice, file| {
        let temp = format!("{file}~");
        if actor.tree.contains_key(&temp) || file.ends_with('~') {
            return Ok(());
        }
        let bytes = some_bytes(dice);
        actor.create_with(&temp, &bytes)?;
        if !dice.once_in(3) {
            actor.fsync(&temp)?;
        }
        actor.rename(&temp, file)?;
        if dice.once_in(3) { actor.fsync(file) } else { Ok(()) }
    })
}

fn move_file(actor: &mut Actor, dice: &mut Dice) -> Done {
    with_file(actor, dice, |actor, dice, file| {
        let others = paths(actor, |node| matches!(node, Node::File { .. }));
        let over = dice.pick(&others).filter(|other| *other != file).cloned();
        let to = if dice.once_in(3) { over } else { free_name(actor, dice, 'f') };
        to.map_or(Ok(()), |to| actor.rename(file, &to))
    })
}

fn folder(actor: &mut Actor, dice: &mut Dice) -> Done {
    let below = |folder: &str| actor.tree.keys().any(|path| path.starts_with(&format!("{folder}/")));
    let mut empty = paths(actor, |node| *node == Node::Folder);
    empty.retain(|folder| !below(folder));
    match dice.pick(&empty).filter(|_| dice.once_in(2)) {
        Some(folder) => actor.remove_folder(&folder.clone()),
        None => free_name(actor, dice, 'd').map_or(Ok(()), |path| actor.make_folder(&path)),
    }
}

fn move_folder(actor: &mut Actor, dice: &mut Dice) -> Done {
    let folders = paths(actor, |node| *node == Node::Folder);
    let Some(from) = dice.pick(&folders).cloned() else { return Ok(()) };
    match free_name(actor, dice, 'd').filter(|to| !to.starts_with(&format!("{from}/"))) {
        Some(to) => actor.rename(&from, &to),
        None => Ok(()),
    }
}

fn link(actor: &mut Actor, dice: &mut Dice) -> Done {
    let links = paths(actor, |node| matches!(node, Node::Link(_)));
    match dice.pick(&links).filter(|_| dice.once_in(3)) {
        Some(link) => actor.unlink(&link.clone()),
        None => {
            let target = format!("target-{}", dice.below(100));
            free_name(actor, dice, 'l').map_or(Ok(()), |path| actor.link(&path, &target))
        }
    }
}
