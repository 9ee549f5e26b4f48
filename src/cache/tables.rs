//! The tables of the catalog's database: one row per inode, name, tombstone and content file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path as FsPath;

use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{CacheError, Result};
use super::rows::{ContentId, RowOp, Rows};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS inodes (ino INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS names (path TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tombstones (path TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS contents (id TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Returns the error that says why the database in `folder` is not used.
pub(super) fn unusable(
    folder: &FsPath,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> CacheError {
    let source = rusqlite::Error::ToSqlConversionFailure(why.into());
    CacheError::Catalog { path: folder.join("catalog.db"), source }
}

/// Opens (or makes) the database; fails if it is damaged.
pub(super) fn open(path: &FsPath) -> Result<Connection> {
    let failed = |source| CacheError::Catalog { path: path.to_owned(), source };
    // Made by us, so that nobody else may read it.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(CacheError::io("Opening", path))?;
    let database = Connection::open(path).map_err(failed)?;
    database.execute_batch(SCHEMA).map_err(failed)?;
    let verdict: String =
        database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(unusable(path.parent().unwrap_or(path), verdict));
    }
    Ok(database)
}

/// Returns all rows.
pub(super) fn load(database: &Connection, folder: &FsPath) -> Result<Rows> {
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

/// Writes one change.
pub(super) fn write_row(database: &Connection, op: RowOp) -> rusqlite::Result<()> {
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
        RowOp::Extent(ref id, ..) | RowOp::Changed(ref id, ..) => write_ranges(database, &id.clone(), op),
        RowOp::NoContent(id) => run(database, "DELETE FROM contents WHERE id = ?1", params![&*id.0]),
        RowOp::Setting(name, value) => {
            run(database, "INSERT OR REPLACE INTO settings VALUES (?1, ?2)", params![name, value])
        }
    }
}

fn write_ranges(database: &Connection, id: &ContentId, op: RowOp) -> rusqlite::Result<()> {
    let mut rows = Rows::default();
    each(database, &format!("SELECT id, row FROM contents WHERE id = '{}'", id.0), |key: String, row| {
        rows.contents.insert(ContentId(key.into()), row);
    })?;
    rows.apply(op);
    let Some(row) = rows.contents.remove(id) else { return Ok(()) };
    run(database, "INSERT OR REPLACE INTO contents VALUES (?1, ?2)", params![&*id.0, json(&row)?])
}

fn run(database: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<()> {
    database.prepare_cached(sql)?.execute(values).map(drop)
}

fn json<T: Serialize>(row: &T) -> rusqlite::Result<String> {
    serde_json::to_string(row).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}
