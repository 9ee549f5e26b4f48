//! What a crash or a power cut left behind, file by file.

use std::sync::Arc;

use super::Cache;
use super::content::{self, Content, Origin};
use super::error::{CacheError, Result};
use super::names;
use super::open::content_files;
use super::rows::{ContentId, ContentRow, Ino, Inode, Kind, Name, Path, RowOp, Source};
use super::tree::NewNode;
use crate::model::key::MAX_NAME_BYTES;
use crate::model::timestamp::Timestamp;

/// Longest part after a name's last dot that is taken for an extension, in bytes.
const LONGEST_EXTENSION: usize = 32;
/// Mode of a file whose catalog row is lost.
const RECOVERED_MODE: u32 = 0o644;

/// What a power cut means for one dirty file.
enum AfterPowerCut {
    /// All of it was on the disk.
    Whole,
    /// Only a tail was appended since the last durable point: cut it off.
    CutTo(u64),
    /// Bytes that were on the disk may have changed since: the file is uncertain.
    Uncertain,
}

impl Cache {
    /// Brings every file's row into line with its content file.
    pub(super) fn recover_files(&self, power_was_cut: bool) -> Result<()> {
        let files: Vec<(Path, Ino, bool)> = {
            let names = self.names.read();
            let held =
                names.all().filter(|(_, name)| names.inode(name.ino).is_ok_and(|i| i.content.is_some()));
            held.map(|(path, name)| (Path::clone(path), name.ino, names.is_dirty(path))).collect()
        };
        for (path, ino, dirty) in files {
            let inode = self.names.read().inode(ino)?.clone();
            let content = inode.content.as_ref().and_then(|id| self.content(id).ok());
            match content {
                None if dirty => self.report_lost(&path),
                None => self.forget_content(ino)?,
                Some(content) if dirty || inode.local => {
                    self.recover_dirty(&path, ino, &content, power_was_cut)?
                }
                Some(content) => self.recover_clean(ino, &content, &inode, power_was_cut)?,
            }
        }
        Ok(())
    }

    fn report_lost(&self, path: &Path) {
        tracing::error!(%path, "The content of a changed file is gone from the cache folder; the bucket keeps its older version");
        let mut names = self.names.write();
        let Ok((name, inode)) = names.at(path) else { return };
        let mut back = name.clone();
        let mut without = inode.clone();
        without.content = None;
        let ino = name.ino;
        back.pushed = Some(without.stamp);
        let group = match back.base.clone() {
            Some(base) => {
                without.size = base.size;
                without.source =
                    Some(Source { key: Path::clone(path), remote: base, at: without.stamp.content });
                vec![RowOp::Inode(ino, Box::new(without)), RowOp::Name(Path::clone(path), Box::new(back))]
            }
            None => vec![RowOp::NoName(Path::clone(path)), RowOp::NoInode(ino)],
        };
        if let Err(failed) = self.commit(&mut names, group) {
            tracing::error!(%path, error = %failed, "That could not be noted");
        }
    }

    fn forget_content(&self, ino: Ino) -> Result<()> {
        let mut names = self.names.write();
        let mut without = names.inode(ino)?.clone();
        without.content = None;
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(without))])
    }

    /// Clean content is trusted if it was on the disk or the machine never went down.
    fn recover_clean(
        &self,
        ino: Ino,
        content: &Arc<Content>,
        inode: &Inode,
        power_was_cut: bool,
    ) -> Result<()> {
        let trusted = {
            let state = content.lock();
            state.len == inode.size && (!power_was_cut || state.row.durable_len == Some(state.len))
        };
        if trusted {
            return Ok(());
        }
        self.forget_content(ino)?;
        self.catalog.note(&[RowOp::NoContent(content.id.clone())])?;
        self.drop_content(&content.id);
        Ok(())
    }

    fn recover_dirty(
        &self,
        path: &Path,
        ino: Ino,
        content: &Arc<Content>,
        power_was_cut: bool,
    ) -> Result<()> {
        if power_was_cut {
            let meaning = {
                let state = content.lock();
                after_power_cut(&state.row, state.len)
            };
            match meaning {
                AfterPowerCut::Whole => {}
                AfterPowerCut::CutTo(len) => {
                    tracing::warn!(%path, len, "A tail that was not on the disk when the power failed was cut off");
                    let token = super::watermark::ChangeToken::uncounted();
                    content.lock().truncate(&token, content.path(), len)?;
                }
                AfterPowerCut::Uncertain => return self.set_uncertain_aside(path, ino),
            }
        }
        let len = content.lock().len;
        let mut names = self.names.write();
        let mut found = names.inode(ino)?.clone();
        found.size = len;
        if !found.local {
            // Writes after the first were not counted on the disk: count one, so that nothing
            // that was pushed before the crash is taken for the present content.
            found.stamp.content += 1;
        }
        if let Ok(meta) = std::fs::metadata(content.path()) {
            use std::os::unix::fs::MetadataExt;
            found.mtime = found.mtime.max(meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
        }
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(found))])
    }

    /// Keeps an uncertain file beside its name, which goes back to the bucket's version.
    fn set_uncertain_aside(&self, path: &Path, ino: Ino) -> Result<()> {
        let aside = self.free_name_like(path, "recovered");
        tracing::warn!(%path, kept = %aside, "The power failed while this file was overwritten: it is kept beside its name");
        let mut names = self.names.write();
        let (name, inode) = names.at(path)?;
        let mut group = vec![
            RowOp::NoName(Path::clone(path)),
            RowOp::Name(Path::clone(&aside), Box::new(Name::new_here(ino))),
        ];
        if let Some(base) = name.base.clone() {
            let (name, inode) = (name.clone(), inode.clone());
            let back = names.fresh_ino();
            group.extend(restored(path, back, &name, &inode, base));
        }
        let next = self.commit(&mut names, group);
        drop(names);
        next
    }

    /// Finds dirty files again by what their content files say of themselves.
    pub(super) fn recover_from_contents(&self) -> Result<()> {
        let folder = self.content_folder();
        let files = content_files(&folder).map_err(CacheError::io("Listing", &folder))?;
        for path in files {
            let Some(origin) = content::origin_of(&path) else { continue };
            let Some(id) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let len = std::fs::metadata(&path).map_err(CacheError::io("Reading", &path))?.len();
            self.recover_one(&ContentId(id.into()), origin, len)?;
        }
        Ok(())
    }

    fn recover_one(&self, id: &ContentId, origin: Origin, len: u64) -> Result<()> {
        tracing::warn!(path = %origin.path, "A changed file was found again by its content file");
        let content = Arc::new(Content::at(&self.content_folder(), id.clone(), ContentRow::default(), len));
        self.count_bytes(0, content.lock().local_bytes());
        self.contents.lock().insert(id.clone(), content);
        let now = self.now_nanos();
        let mut names = self.names.write();
        let ino = names.fresh_ino();
        let node = NewNode { mode: RECOVERED_MODE, uid: None, gid: None };
        let mut inode = Inode::new(Kind::File, node, now);
        inode.size = len;
        inode.content = Some(id.clone());
        let path = if names.name(&origin.path).is_some() {
            drop(names);
            let free = self.free_name_like(&origin.path, "recovered");
            names = self.names.write();
            free
        } else {
            origin.path
        };
        let mut group = Vec::new();
        self.imply_folders(&mut names, &path, now, &mut group);
        let name = Name { remote: origin.base.clone(), base: origin.base, ..Name::new_here(ino) };
        group.push(RowOp::Content(id.clone(), Box::default()));
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(path, Box::new(name)));
        self.commit(&mut names, group)
    }

    /// Returns a name like `path` that is free: `name.<word>-<host>-<utc>.ext`.
    pub(super) fn free_name_like(&self, path: &str, word: &str) -> Path {
        let names = self.names.read();
        let (parent, name) = names::split(path);
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

fn after_power_cut(row: &ContentRow, len: u64) -> AfterPowerCut {
    match row.durable_len {
        _ if row.overwriting => AfterPowerCut::Uncertain,
        Some(durable) if durable >= len => AfterPowerCut::Whole,
        Some(durable) => AfterPowerCut::CutTo(durable),
        None => AfterPowerCut::Uncertain,
    }
}

fn restored(path: &Path, ino: Ino, name: &Name, inode: &Inode, base: super::rows::Remote) -> Vec<RowOp> {
    let mut back = inode.clone();
    back.content = None;
    back.size = base.size;
    back.source = Some(Source { key: Path::clone(path), remote: base.clone(), at: back.stamp.content });
    let restored = Name {
        ino,
        remote: Some(base.clone()),
        base: Some(base),
        pushed: Some(back.stamp),
        uploading: None,
        uploaded: None,
        conflict_of: name.conflict_of.clone(),
        record_left: name.record_left,
    };
    vec![RowOp::Inode(ino, Box::new(back)), RowOp::Name(Path::clone(path), Box::new(restored))]
}
