//! Dirty files that only their content files know of.
//!
//! A content file that the catalog does not know and that says whose it is, is dirty: the
//! catalog is lost, or its last notes are. It comes back under its name if all of its bytes
//! are certain and the name is free, and beside it otherwise. It is never removed.

use super::Cache;
use super::error::{CacheError, Result};
use super::names::{self, Names};
use super::origin::{Origin, changed_at, origin_of};
use super::rows::{ContentId, ContentRow, Kind, Name, Path, RowOp};
use super::tree::NewNode;
use crate::model::key::MAX_NAME_BYTES;
use crate::model::timestamp::Timestamp;

/// Longest part after a name's last dot that is taken for an extension, in bytes.
const LONGEST_EXTENSION: usize = 32;
/// Mode of a file whose catalog row is lost.
const RECOVERED_MODE: u32 = 0o644;

impl Cache {
    /// Finds dirty files again by what their content files say of themselves.
    pub(super) fn recover_from_contents(&self) -> Result<()> {
        for (id, path) in self.unknown_contents()? {
            let Some(origin) = origin_of(&path) else { continue };
            let meta = std::fs::metadata(&path).map_err(CacheError::io("Reading", &path))?;
            self.recover_one(id, origin, &meta)?;
        }
        Ok(())
    }

    fn recover_one(&self, id: ContentId, origin: Origin, meta: &std::fs::Metadata) -> Result<()> {
        self.adopt_content(id.clone(), ContentRow::default(), meta);
        let certain = !origin.partial && origin.boot == self.boot;
        let (path, base) = if certain && self.is_free(&origin.path) {
            (Path::clone(&origin.path), origin.base)
        } else {
            (self.free_name_like(&self.names.read(), &origin.path, "recovered"), None)
        };
        tracing::warn!(path = %origin.path, found = %path, "A changed file was found again by its content file");
        let written = changed_at(meta);
        let node = NewNode { mode: RECOVERED_MODE, uid: None, gid: None };
        let mut inode = super::rows::Inode::new(Kind::File, node, written);
        inode.size = meta.len();
        inode.content = Some(id.clone());
        let mut names = self.names.write();
        let ino = names.fresh_ino();
        let mut group = Vec::new();
        self.imply_folders(&mut names, &path, written, &mut group);
        let name = Name { remote: base.clone(), base, ..Name::new_here(ino) };
        group.push(RowOp::Content(id, Box::default()));
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(path, Box::new(name)));
        self.commit(&mut names, group)
    }

    /// Returns whether a file may come back at a path: nothing has it and no file is above it.
    fn is_free(&self, path: &str) -> bool {
        let names = self.names.read();
        let blocked = |slash: usize| names.at(&path[..slash]).is_ok_and(|(_, above)| !above.is_folder());
        names.name(path).is_none() && !path.match_indices('/').any(|(slash, _)| blocked(slash))
    }

    /// Returns a name like `path` that is free: `name.<word>-<host>-<utc>.ext`.
    pub(super) fn free_name_like(&self, names: &Names, path: &str, word: &str) -> Path {
        let (mut parent, name) = names::split(path);
        while names.at(parent).is_ok_and(|(_, inode)| !inode.is_folder()) {
            parent = names::split(parent).0;
        }
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, end)) if !stem.is_empty() && end.len() <= LONGEST_EXTENSION => {
                (stem, format!(".{end}"))
            }
            _ => (name, String::new()),
        };
        let room = MAX_NAME_BYTES.min(names.longest_path.saturating_sub(parent.len() + 1));
        let when = Timestamp::from(self.clock.now()).to_string();
        let when: String = when.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        (0..)
            .map(|n| {
                let again = if n == 0 { String::new() } else { format!("-{n}") };
                let end = format!(".{word}-{host}-{when}{again}{extension}");
                let kept = stem.floor_char_boundary(room.saturating_sub(end.len()));
                names::join(parent, &format!("{}{end}", &stem[..kept]))
            })
            .find(|free| names.name(free).is_none() && names.tombstone(free).is_none())
            .unwrap_or_else(|| Path::from(path))
    }
}
