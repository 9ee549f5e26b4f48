//! The catalog on disk: an SQL database with the change journal in front of it.
//!
//! A note costs one append to the journal. From time to time the journal is set aside, its
//! notes are folded into the database in one transaction, and the set-aside journal is
//! removed. Notes are row images, so a fold that is repeated after a crash changes nothing.

use std::fs::File;
use std::path::{Path as FsPath, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{CacheError, Result};
use super::journal::{self, Journal};
use super::rows::{ContentId, RowOp, Rows};
use crate::os::crash_point::{Step, reached};
use crate::os::durable_file;

/// Journal size from which a fold is worth its while.
const FOLD_ABOVE_BYTES: u64 = 4 << 20;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS inodes (ino INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS names (path TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tombstones (path TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS contents (id TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The catalog of one cache folder.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    journal: Mutex<Journal>,
    database: Mutex<Connection>,
}

impl Catalog {
    /// Opens the catalog in `folder` and returns what it holds.
    ///
    /// Fails with [`CacheError::Catalog`] if the database is damaged.
    pub fn open(folder: &FsPath) -> Result<(Self, Rows)> {
        let database = open_database(&folder.join("catalog.db"))?;
        let mut rows = load(&database, folder)?;
        let aside = folder.join("journal.folding");
        let set_aside = aside.exists();
        let (old, _) = journal::read_all(&aside).map_err(CacheError::io("Reading", &aside))?;
        let path = folder.join("journal");
        let (journal, new) = Journal::open(&path).map_err(CacheError::io("Opening", &path))?;
        old.into_iter().chain(new).flatten().for_each(|op| rows.apply(op));
        let catalog =
            Self { folder: folder.to_owned(), journal: Mutex::new(journal), database: Mutex::new(database) };
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
        let handle: File = self.journal.lock().sync_handle().map_err(|e| self.journal_failed(e))?;
        handle.sync_data().map_err(|source| self.journal_failed(source))
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
        self.set_journal_aside()?;
        self.fold_aside()
    }

    fn set_journal_aside(&self) -> Result<()> {
        let aside = self.aside();
        if aside.exists() {
            self.fold_aside()?;
        }
        let mut journal = self.journal.lock();
        journal.sync().map_err(|source| self.journal_failed(source))?;
        let path = journal.path().to_owned();
        durable_file::rename(&path, &aside).map_err(CacheError::io("Setting aside", &path))?;
        let (fresh, _) = Journal::open(&path).map_err(CacheError::io("Opening", &path))?;
        *journal = fresh;
        reached(Step::JournalRotated);
        Ok(())
    }

    fn fold_aside(&self) -> Result<()> {
        let aside = self.aside();
        let (groups, _) = journal::read_all(&aside).map_err(CacheError::io("Reading", &aside))?;
        self.write_rows(groups.into_iter().flatten())?;
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
            write_row(&transaction, op).map_err(failed)?;
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

fn open_database(path: &FsPath) -> Result<Connection> {
    let failed = |source| CacheError::Catalog { path: path.to_owned(), source };
    let database = Connection::open(path).map_err(failed)?;
    database.execute_batch(SCHEMA).map_err(failed)?;
    let verdict: String =
        database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        let source = rusqlite::Error::InvalidColumnName(verdict);
        return Err(CacheError::Catalog { path: path.to_owned(), source });
    }
    Ok(database)
}

fn load(database: &Connection, folder: &FsPath) -> Result<Rows> {
    let failed = |source| CacheError::Catalog { path: folder.join("catalog.db"), source };
    let mut rows = Rows::default();
    each(database, "SELECT ino, row FROM inodes", |key: i64, row| {
        rows.inodes.insert(key.cast_unsigned(), row);
    })
    .map_err(failed)?;
    each(database, "SELECT path, row FROM names", |key: String, row| {
        rows.names.insert(key.into(), row);
    })
    .map_err(failed)?;
    each(database, "SELECT path, row FROM tombstones", |key: String, row| {
        rows.tombstones.insert(key.into(), row);
    })
    .map_err(failed)?;
    each(database, "SELECT id, row FROM contents", |key: String, row| {
        rows.contents.insert(ContentId(key.into()), row);
    })
    .map_err(failed)?;
    each_text(database, "SELECT name, value FROM settings", |name, value| {
        rows.settings.insert(name, value);
    })
    .map_err(failed)?;
    Ok(rows)
}

fn each<K: rusqlite::types::FromSql, V: DeserializeOwned>(
    database: &Connection,
    query: &str,
    mut keep: impl FnMut(K, V),
) -> rusqlite::Result<()> {
    let mut statement = database.prepare(query)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let text = row.get_ref(1)?.as_str()?;
        let value = serde_json::from_str(text).map_err(|e| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, e.into())
        })?;
        keep(row.get(0)?, value);
    }
    Ok(())
}

fn each_text(
    database: &Connection,
    query: &str,
    mut keep: impl FnMut(String, String),
) -> rusqlite::Result<()> {
    let mut statement = database.prepare(query)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        keep(row.get(0)?, row.get(1)?);
    }
    Ok(())
}

fn write_row(database: &Connection, op: RowOp) -> rusqlite::Result<()> {
    match op {
        RowOp::Inode(ino, row) => run(
            database,
            "INSERT OR REPLACE INTO inodes VALUES (?1, ?2)",
            params![ino.cast_signed(), json(&row)?],
        ),
        RowOp::NoInode(ino) => run(database, "DELETE FROM inodes WHERE ino = ?1", params![ino.cast_signed()]),
        RowOp::Name(path, row) => {
            run(database, "INSERT OR REPLACE INTO names VALUES (?1, ?2)", params![&*path, json(&row)?])
        }
        RowOp::NoName(path) => run(database, "DELETE FROM names WHERE path = ?1", params![&*path]),
        RowOp::Tombstone(path, row) => {
            run(database, "INSERT OR REPLACE INTO tombstones VALUES (?1, ?2)", params![&*path, json(&row)?])
        }
        RowOp::NoTombstone(path) => run(database, "DELETE FROM tombstones WHERE path = ?1", params![&*path]),
        RowOp::Content(id, row) => {
            run(database, "INSERT OR REPLACE INTO contents VALUES (?1, ?2)", params![&*id.0, json(&row)?])
        }
        RowOp::Extent(id, start, end) => write_extent(database, &id, start, end),
        RowOp::NoContent(id) => run(database, "DELETE FROM contents WHERE id = ?1", params![&*id.0]),
        RowOp::Setting(name, value) => {
            run(database, "INSERT OR REPLACE INTO settings VALUES (?1, ?2)", params![name, value])
        }
    }
}

fn write_extent(database: &Connection, id: &ContentId, start: u64, end: u64) -> rusqlite::Result<()> {
    let mut rows = Rows::default();
    each(database, &format!("SELECT id, row FROM contents WHERE id = '{}'", id.0), |key: String, row| {
        rows.contents.insert(ContentId(key.into()), row);
    })?;
    rows.apply(RowOp::Extent(id.clone(), start, end));
    let row = rows.contents.remove(id).unwrap_or_default();
    run(database, "INSERT OR REPLACE INTO contents VALUES (?1, ?2)", params![&*id.0, json(&row)?])
}

fn run(database: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<()> {
    database.prepare_cached(sql)?.execute(values).map(drop)
}

fn json<T: Serialize>(row: &T) -> rusqlite::Result<String> {
    serde_json::to_string(row).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Inode, Kind, Name, Stamp};
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
            xattrs: [("user.a".to_owned(), vec![0, 255])].into(),
            stamp: Stamp { content: 2, meta: 1 },
            content: Some(ContentId("c1".into())),
            source: None,
            local: false,
            implied: false,
            path: None,
            opens: 0,
            lookups: 0,
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
        assert!(empty.inodes.is_empty());
        catalog.note(&group()).unwrap();
        drop(catalog);
        let (catalog, rows) = Catalog::open(folder.path()).unwrap();
        check(&rows);
        catalog.fold().unwrap();
        assert_eq!(catalog.journal.lock().bytes(), 0);
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
        catalog.set_journal_aside().unwrap();
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
