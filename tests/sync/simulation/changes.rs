//! What programs do to the files of a machine.

use super::machine::{self, Task};
use super::{PATHS, Sim, TASKS};

impl Sim {
    /// Does what a program does; only to what can be seen without asking the bucket.
    pub(super) fn change(&mut self, n: usize) {
        let path = PATHS[self.dice.roll(PATHS.len())];
        let Some(before) = self.machines[n].held(path) else {
            if self.machines[n].tasks.len() < TASKS {
                self.machines[n].begin(|peer| Task::read(peer, path));
                self.note(format!("{n} begins a read of {path}"));
            }
            return;
        };
        before.clone().into_iter().filter(|text| text.contains('\0')).for_each(|text| self.take_hole(text));
        match self.dice.roll(17) {
            0..=4 => self.write(n, path, before),
            5 if before.is_some() => {
                self.note(format!("{n} removes {path} {before:?}"));
                self.ledger.give_up(before);
                self.machines[n].peer().remove(path);
            }
            6 | 7 if before.is_some() => self.rename(n, path),
            8 if before.is_some() => {
                self.note(format!("{n} chmods {path}"));
                let mode = 0o600 + self.dice.roll(8) as u32;
                self.machines[n].peer().chmod(path, mode);
            }
            9 => {
                self.note(format!("{n} makes its changes durable here"));
                self.machines[n].peer().cache.durable_point().unwrap();
            }
            10 | 11 => self.link(n, path, before),
            12 | 13 => self.write_on(n, path, before),
            14 | 15 if before.is_some() => self.exchange(n, path),
            16 if ["d", "e"].iter().all(|folder| self.machines[n].peer().has(folder)) => {
                self.note(format!("{n} exchanges the folders d and e"));
                self.machines[n].peer().exchange("d", "e");
            }
            _ => {}
        }
    }

    /// Changes a part of a long file in its place: the bucket copies the rest.
    fn edit(&mut self, n: usize, path: &str, before: String) {
        let short = self.ledger.fresh(format!("{n} wrote {path}"));
        let note = self.ledger.live.remove(&short);
        let at = self.dice.roll(before.len() - short.len() + 1);
        let text = format!("{}{short}{}", &before[..at], &before[at + short.len()..]);
        self.note(format!("{n} edits {path} to {text}"));
        self.ledger.give_up(Some(before));
        self.ledger.live.extend(note.map(|note| (text.clone(), note)));
        self.let_go(n, text, &short);
        self.machines[n].peer().write_at(path, at as u64, short);
    }

    fn write(&mut self, n: usize, path: &str, before: Option<String>) {
        let before = match before {
            Some(long) if long.len() > machine::PART_BYTES && self.dice.roll(2) == 0 => {
                return self.edit(n, path, long);
            }
            before => before,
        };
        self.note(format!("{n} writes {path} over {before:?}"));
        self.ledger.give_up(before);
        let short = self.ledger.fresh(format!("{n} wrote {path}"));
        let long = self.dice.roll(4) == 0;
        // A long one is sent in parts.
        let text =
            if long { format!("{short}{}", "=".repeat(3 * machine::PART_BYTES)) } else { short.clone() };
        if long {
            let note = self.ledger.live.remove(&short);
            self.ledger.live.extend(note.map(|note| (text.clone(), note)));
        }
        self.machines[n].peer().write(path, &text);
    }

    /// Writes more behind what a file has: what is complete of it may be sent already.
    fn write_on(&mut self, n: usize, path: &str, before: Option<String>) {
        let Some(before) = before else { return };
        let short = self.ledger.fresh(format!("{n} wrote {path}"));
        let note = self.ledger.live.remove(&short);
        let more = format!("{}{short}", "=".repeat(self.dice.roll(2 * machine::PART_BYTES)));
        self.note(format!("{n} writes {more} behind {before}"));
        let (at, text) = (before.len() as u64, format!("{before}{more}"));
        self.ledger.give_up(Some(before));
        self.ledger.live.extend(note.map(|note| (text.clone(), note)));
        self.let_go(n, text, &short);
        self.machines[n].peer().write_at(path, at, more);
    }

    /// What was looked at need not be here any more when it is written to.
    fn let_go(&mut self, n: usize, text: String, written: &str) {
        if self.dice.roll(2) == 0 {
            self.machines[n].peer().cache.evict(u64::MAX);
            self.unread.insert(text, written.to_owned());
        }
    }

    /// Gives a file a second name: what it holds is to be kept from then on, whoever gave it up.
    fn link(&mut self, n: usize, path: &str, held: Option<String>) {
        let second = PATHS[self.dice.roll(PATHS.len())];
        let Some(content) = held.filter(|_| self.machines[n].held(second) == Some(None)) else { return };
        self.note(format!("{n} links {path} as {second}"));
        self.ledger.live.entry(content).or_insert_with(|| format!("{n} wrote {second}"));
        self.machines[n].peer().link(path, second);
    }

    fn exchange(&mut self, n: usize, path: &'static str) {
        let other = PATHS[self.dice.roll(PATHS.len())];
        if other == path || !matches!(self.machines[n].held(other), Some(Some(_))) {
            return;
        }
        self.note(format!("{n} exchanges {path} and {other}"));
        self.machines[n].peer().exchange(path, other);
    }

    fn rename(&mut self, n: usize, path: &'static str) {
        let to = PATHS[self.dice.roll(PATHS.len())];
        let Some(displaced) = self.machines[n].held(to) else { return };
        self.note(format!("{n} renames {path} to {to} {displaced:?}"));
        if to != path {
            self.ledger.give_up(displaced);
        }
        self.machines[n].peer().rename(path, to);
    }
}
