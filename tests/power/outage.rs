//! What a disk holds when the power comes back.
//!
//! What was synced is there. Of the rest any part may be: a write that was not synced is there,
//! or not, or in pieces of 512 or 4,096 bytes; a file may have the length of a write that is not
//! there, and holds zeros then. Names, lengths and attributes are kept in one order, as a journal
//! of the filesystem does (`Journal`), or each folder and each file for itself (`Loose`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::dice::Dice;
use crate::disk::{Change, Content, Number, ROOT};

/// In which order what is not content reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As it was made: of two changes the later one is not there without the earlier.
    Journal,
    /// Of each folder's names, and of each file's attributes, as they were made; else in any.
    Loose,
}

/// What becomes of content that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Nothing,
    All,
    Any,
}

/// Returns what is there if the power fails after all changes of `log`. What is in the folder
/// `remote` is on another machine.
pub(crate) fn after_power_cut(log: &[Change], remote: &str, order: Order, dice: &mut Dice) -> Content {
    let elsewhere = all_below(log, remote);
    let synced = last_syncs(log);
    let mut cuts = Cuts::new(log, order, dice.split());
    let mood = *dice.pick(&[Mood::Nothing, Mood::All, Mood::Any, Mood::Any]).unwrap();
    let mut content = Content::nothing();
    for (at, change) in log.iter().enumerate() {
        if elsewhere.contains(&subject(change)) {
            content.apply(change);
            continue;
        }
        match change {
            Change::Write { number, .. } if synced.get(number).is_some_and(|sync| at < *sync) => {
                content.apply(change);
            }
            Change::Write { .. } => write_perhaps(&mut content, change, mood, dice),
            _ if cuts.survives(at, change) => content.apply(change),
            _ => {}
        }
    }
    content
}

/// Returns the files and folders that ever were in a folder of the root, and itself.
fn all_below(log: &[Change], top: &str) -> HashSet<Number> {
    let mut below = HashSet::new();
    for change in log {
        if let Change::Make { number, at: (parent, name), .. } = change
            && (below.contains(parent) || (*parent == ROOT && name == top))
        {
            below.insert(*number);
        }
    }
    below
}

/// Returns whose change it is: a folder's, if it is one of names.
fn subject(change: &Change) -> Number {
    match change {
        Change::Make { number, at: (ROOT, _), .. } => *number,
        Change::Make { at: (parent, _), .. }
        | Change::Remove { at: (parent, _) }
        | Change::Move { to: (parent, _), .. } => *parent,
        Change::Write { number, .. }
        | Change::Resize { number, .. }
        | Change::Mode { number, .. }
        | Change::Time { number, .. }
        | Change::Attribute { number, .. }
        | Change::Sync { number, .. } => *number,
    }
}

/// Returns where in the log each file was synced last.
fn last_syncs(log: &[Change]) -> HashMap<Number, usize> {
    let sync = |(at, change): (usize, &Change)| match change {
        Change::Sync { number, .. } => Some((*number, at)),
        _ => None,
    };
    log.iter().enumerate().filter_map(sync).collect()
}

fn write_perhaps(content: &mut Content, change: &Change, mood: Mood, dice: &mut Dice) {
    let Change::Write { number, offset, bytes, time } = change else { return };
    let part = |from: usize, to: usize| Change::Write {
        number: *number,
        offset: offset + from,
        bytes: Arc::new(bytes[from..to].to_vec()),
        time: *time,
    };
    let fate = match mood {
        Mood::Nothing => 0,
        Mood::All => 1,
        Mood::Any => dice.below(4),
    };
    match fate {
        0 => {
            let end = offset + bytes.len();
            let grows = content.nodes.get(number).is_some_and(|node| node.bytes.len() < end);
            if grows && dice.once_in(3) {
                content.apply(&Change::Resize { number: *number, size: end, time: *time });
            }
        }
        1 => content.apply(change),
        _ => {
            let sector = *dice.pick(&[512, 4096]).unwrap();
            let mut from = 0;
            while from < bytes.len() {
                let to = (((offset + from) / sector + 1) * sector - offset).min(bytes.len());
                if dice.once_in(2) {
                    content.apply(&part(from, to));
                }
                from = to;
            }
        }
    }
}

/// Up to where the changes of names, lengths and attributes are there.
struct Cuts {
    order: Order,
    dice: Dice,
    end: usize,
    /// Up to where they surely are: for all, or by file and folder.
    floors: HashMap<Number, usize>,
    cuts: HashMap<Number, usize>,
}

impl Cuts {
    fn new(log: &[Change], order: Order, dice: Dice) -> Self {
        let mut cuts = Self { order, dice, end: log.len(), floors: HashMap::new(), cuts: HashMap::new() };
        // The last change of each file and folder: any, and such as its content needs.
        let (mut any, mut needed) = (HashMap::new(), HashMap::new());
        for (at, change) in log.iter().enumerate() {
            match change {
                Change::Write { .. } => {}
                Change::Sync { number, only_data } => {
                    let last = if *only_data { needed.get(number) } else { any.get(number) };
                    let floor = cuts.floors.entry(cuts.order.group(*number)).or_default();
                    *floor = (*floor).max(last.copied().unwrap_or(0));
                }
                Change::Attribute { number, .. }
                | Change::Mode { number, .. }
                | Change::Time { number, .. } => {
                    any.insert(*number, at + 1);
                }
                _ => {
                    let made = if let Change::Make { number, .. } = change { Some(*number) } else { None };
                    let from = if let Change::Move { from, .. } = change { Some(from.0) } else { None };
                    for number in made.into_iter().chain(from).chain([subject(change)]) {
                        any.insert(number, at + 1);
                        needed.insert(number, at + 1);
                    }
                }
            }
        }
        cuts
    }

    fn survives(&mut self, at: usize, change: &Change) -> bool {
        let group = self.order.group(subject(change));
        let (floor, end) = (self.floors.get(&group).copied().unwrap_or(0), self.end);
        let dice = &mut self.dice;
        let cut = self.cuts.entry(group).or_insert_with(|| match dice.below(4) {
            0 => floor,
            1 => end,
            _ => floor + dice.below(end - floor + 1),
        });
        at < *cut
    }
}

impl Order {
    /// Returns what keeps its order with a file or folder.
    fn group(self, number: Number) -> Number {
        match self {
            Self::Journal => ROOT,
            Self::Loose => number,
        }
    }
}
