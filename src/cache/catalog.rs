//! The catalog on disk: an SQL database with the change journal in front of it.
//!
//! A note costs one append to the journal. From time to time the journal is set aside, its
//! notes are folded into the database in one transaction, and the set-aside journal is
//! removed. Notes are row images, so a fold that is repeated after a crash changes nothing.

use std::fs::File;
use std::path::{Path as FsPath, PathBuf};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::error::{CacheError, Result};
use super::journal::{self, Journal};
use super::rows::{RowOp, Rows};
use super::shared_sync::{SharedSync, Unsynced};
use super::tables::{self, unusable};
use crate::os::crash_point::{Step, reached};
use crate::os::durable_file;

/// Journal size from which a fold is worth its while.
const FOLD_ABOVE_BYTES: u64 = 4 << 20;

/// The setting with which each journal begins: how many came before it.
const JOURNAL: &str = "journal";
/// The setting that says how many journals the database holds.
const FOLDED: &str = "folded-journals";

/// The catalog of one cache folder.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    /// The journal's number; held while it is folded, so that one fold follows the other.
    number: Mutex<u64>,
    journal: Mutex<Journal>,
    /// Many who wait for the journal to be on the disk wait together.
    syncing: SharedSync,
    database: Mutex<Connection>,
}

impl Catalog {
    /// Opens the catalog in `folder` and returns what it holds.
    ///
    /// Fails with [`CacheError::Catalog`] if the database is damaged.
    pub fn open(folder: &FsPath) -> Result<(Self, Rows)> {
        let database = tables::open(&folder.join("catalog.db"))?;
        let mut rows = tables::load(&database, folder)?;
        let aside = folder.join("journal.folding");
        let set_aside = aside.exists();
        let (old, _) = journal::read_all(&aside).map_err(CacheError::io("Reading", &aside))?;
        let path = folder.join("journal");
        let (mut journal, new) = Journal::open(&path).map_err(CacheError::io("Opening", &path))?;
        let next = check_sequence(&rows, &old, &new)
            .ok_or_else(|| unusable(folder, "it is older or newer than its journal"))?;
        if new.is_empty() {
            journal.append(&[number(JOURNAL, next)]).map_err(CacheError::io("Writing", &path))?;
        }
        old.into_iter().chain(new).flatten().for_each(|op| rows.apply(op));
        let catalog = Self {
            folder: folder.to_owned(),
            number: Mutex::new(next),
            journal: Mutex::new(journal),
            syncing: SharedSync::default(),
            database: Mutex::new(database),
        };
        if set_aside {
            catalog.fold_aside()?;
        }
        Ok((catalog, rows))
    }

    /// Notes a group of changes that belong together; it survives a crash of this process.
    pub fn note(&self, group: &[RowOp]) -> Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        let mut journal = self.journal.lock();
        journal.append(group).map_err(|source| self.journal_failed(source))
    }

    /// Notes a group of changes and returns when it is on the disk.
    pub fn note_durably(&self, group: &[RowOp]) -> Result<()> {
        self.note(group)?;
        self.sync()
    }

    /// Returns when every note so far is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.sync_noted(self.noted())
    }

    /// Returns what every note so far waits for.
    pub(super) fn noted(&self) -> Unsynced {
        self.syncing.written()
    }

    /// Returns when what was noted is on the disk.
    pub(super) fn sync_noted(&self, noted: Unsynced) -> Result<()> {
        let round = || {
            let handle: File = self.journal.lock().sync_handle()?;
            handle.sync_data()
        };
        self.syncing.sync(noted, round).map_err(|source| self.journal_failed(source))
    }

    /// Folds the journal into the database if it has grown enough.
    pub fn fold_if_large(&self) -> Result<()> {
        if self.journal.lock().bytes() < FOLD_ABOVE_BYTES {
            return Ok(());
        }
        self.fold()
    }

    /// Folds the journal into the database.
    pub fn fold(&self) -> Result<()> {
        let mut number = self.number.lock();
        self.set_journal_aside(&mut number)?;
        self.fold_aside()
    }

    /// Puts a fresh journal in the place of the one that is to be folded.
    fn set_journal_aside(&self, count: &mut u64) -> Result<()> {
        let (aside, next) = (self.aside(), self.folder.join("journal.next"));
        if aside.exists() {
            self.fold_aside()?;
        }
        let mut journal = self.journal.lock();
        journal.sync().map_err(|source| self.journal_failed(source))?;
        let path = journal.path().to_owned();
        // All that can fail comes before the old journal is moved.
        std::fs::remove_file(&next).ok();
        let (mut fresh, _) = Journal::open(&next).map_err(CacheError::io("Opening", &next))?;
        fresh
            .append(&[number(JOURNAL, *count + 1)])
            .and_then(|()| fresh.sync())
            .map_err(CacheError::io("Writing", &next))?;
        durable_file::rename_unsynced(&path, &aside).map_err(CacheError::io("Setting aside", &path))?;
        if let Err(failed) = durable_file::rename_unsynced(&next, &path) {
            durable_file::rename_unsynced(&aside, &path).map_err(CacheError::io("Putting back", &path))?;
            return Err(CacheError::io("Renaming", &next)(failed));
        }
        fresh.moved_to(&path);
        *count += 1;
        *journal = fresh;
        drop(journal);
        durable_file::sync_folder_of(&path).map_err(CacheError::io("Setting aside", &path))?;
        reached(Step::JournalRotated);
        Ok(())
    }

    fn fold_aside(&self) -> Result<()> {
        let aside = self.aside();
        let (groups, _) = journal::read_all(&aside).map_err(CacheError::io("Reading", &aside))?;
        let folded = number_of(&groups).map(|count| number(FOLDED, count + 1));
        self.write_rows(groups.into_iter().flatten().chain(folded))?;
        reached(Step::JournalFolded);
        match std::fs::remove_file(&aside) {
            Err(failed) if failed.kind() != std::io::ErrorKind::NotFound => {
                Err(CacheError::io("Removing", &aside)(failed))
            }
            _ => Ok(()),
        }
    }

    fn write_rows(&self, ops: impl Iterator<Item = RowOp>) -> Result<()> {
        let mut database = self.database.lock();
        let failed = |source| CacheError::Catalog { path: self.folder.join("catalog.db"), source };
        let transaction = database.transaction().map_err(failed)?;
        for op in ops {
            tables::write_row(&transaction, op).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn aside(&self) -> PathBuf {
        self.folder.join("journal.folding")
    }

    fn journal_failed(&self, source: std::io::Error) -> CacheError {
        CacheError::io("Writing", self.folder.join("journal"))(source)
    }
}

/// Returns the number of the journal, if what was read follows on what the database holds;
/// otherwise one of them is older than the other, and together they mean nothing.
fn check_sequence(rows: &Rows, aside: &[Vec<RowOp>], journal: &[Vec<RowOp>]) -> Option<u64> {
    let folded = rows.settings.get(FOLDED).and_then(|text| text.parse().ok()).unwrap_or(0);
    let expected = match number_of(aside) {
        Some(aside) if folded == aside || folded == aside + 1 => aside + 1,
        Some(_) => return None,
        None => folded,
    };
    number_of(journal).is_none_or(|number| number == expected).then_some(expected)
}

/// Returns the number with which a journal begins; `None` if nothing of it is left.
fn number_of(groups: &[Vec<RowOp>]) -> Option<u64> {
    match groups.first()?.first()? {
        RowOp::Setting(name, value) if name == JOURNAL => value.parse().ok(),
        _ => None,
    }
}

fn number(name: &str, value: u64) -> RowOp {
    RowOp::Setting(name.to_owned(), value.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::rows::{ContentId, Inode, Kind, Name, Stamp};
    use super::*;

    fn inode() -> Inode {
        Inode {
            kind: Kind::File,
            mode: 0o644,
            uid: None,
            gid: None,
            size: 3,
            mtime: -1,
            ctime: 5,
            atime: None,
            xattrs: [("user.a".to_owned(), vec![0, 255])].into(),
            stamp: Stamp { content: 2, meta: 1 },
            link: None,
            content: Some(ContentId("c1".into())),
            source: None,
            local: false,
            implied: false,
            path: None,
            opens: 0,
            lookups: 0,
            parted: false,
            given: false,
            taken_path: None,
            lent: 0,
            watched: false,
        }
    }

    fn group() -> Vec<RowOp> {
        vec![
            RowOp::Inode(7, Box::new(inode())),
            RowOp::Name("a/ü b".into(), Box::new(Name::new_here(7))),
            RowOp::Extent(ContentId("c1".into()), 0, 3),
            RowOp::Setting("boot".to_owned(), "x".to_owned()),
        ]
    }

    fn check(rows: &Rows) {
        assert_eq!(rows.inodes[&7], inode());
        assert_eq!(rows.names["a/ü b"].ino, 7);
        assert!(rows.contents[&ContentId("c1".into())].present.covers(0..3));
        assert_eq!(rows.settings["boot"], "x");
    }

    #[test]
    fn notes_are_found_again_from_the_journal_and_from_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, empty) = Catalog::open(folder.path()).unwrap();
        assert!(empty.inodes.is_empty() && empty.names.is_empty());
        catalog.note(&group()).unwrap();
        drop(catalog);
        let (catalog, rows) = Catalog::open(folder.path()).unwrap();
        check(&rows);
        let before = catalog.journal.lock().bytes();
        catalog.fold().unwrap();
        assert!(catalog.journal.lock().bytes() < before);
        drop(catalog);
        let (catalog, rows) = Catalog::open(folder.path()).unwrap();
        check(&rows);
        catalog.note(&[RowOp::NoName("a/ü b".into()), RowOp::NoInode(7)]).unwrap();
        catalog.fold().unwrap();
        drop(catalog);
        assert!(Catalog::open(folder.path()).unwrap().1.names.is_empty());
    }

    #[test]
    fn a_journal_set_aside_by_a_crash_is_folded_before_the_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, _) = Catalog::open(folder.path()).unwrap();
        catalog.note(&[RowOp::Setting("n".into(), "old".into())]).unwrap();
        catalog.set_journal_aside(&mut 0).unwrap();
        catalog.note(&[RowOp::Setting("n".into(), "new".into())]).unwrap();
        drop(catalog);
        let (catalog, rows) = Catalog::open(folder.path()).unwrap();
        assert_eq!(rows.settings["n"], "new");
        assert!(!catalog.aside().exists());
    }

    #[test]
    fn a_damaged_database_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        durable_file::replace(&path, &[7; 8192]).unwrap();
        match Catalog::open(folder.path()) {
            Err(CacheError::Catalog { path: named, .. }) => assert_eq!(named, path),
            other => panic!("expected an error, got {:?}", other.map(|_| ())),
        }
    }
}
