//! A tree of files as a program sees it, and as it should be.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use bayou::model::content_hash::ContentHash;

/// A name in a tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A file; its time counts only where somebody set it.
    File {
        bytes: Arc<Vec<u8>>,
        mode: u32,
        mtime: Option<i64>,
    },
    Folder,
    Link(String),
}

/// Names below the mount's root, by path.
pub(crate) type Tree = BTreeMap<String, Node>;

impl Node {
    pub(crate) fn file(bytes: Vec<u8>) -> Self {
        Self::File { bytes: Arc::new(bytes), mode: 0o644, mtime: None }
    }

    /// Returns the hash of the object that holds this; folders have none.
    pub(crate) fn hash(&self) -> Option<String> {
        match self {
            Self::File { bytes, .. } => Some(ContentHash::of(bytes).to_string()),
            Self::Link(target) => Some(ContentHash::of(target.as_bytes()).to_string()),
            Self::Folder => None,
        }
    }

    /// Returns whether what was seen is this.
    pub(crate) fn is_seen_as(&self, seen: &Node) -> bool {
        match (self, seen) {
            (Self::File { bytes, mode, mtime }, Self::File { bytes: there, mode: as_mode, mtime: at }) => {
                bytes == there && mode == as_mode && (mtime.is_none() || mtime == at)
            }
            _ => self == seen,
        }
    }
}

/// Reads everything below a folder of the mount; fails if the mount dies meanwhile.
pub(crate) fn read_tree(mount: &Path, below: &str) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(mount.join(&folder))? {
            let path = format!("{folder}/{}", entry?.file_name().to_str().unwrap());
            let node = read_node(&mount.join(&path))?;
            if node == Node::Folder {
                folders.push(path.clone());
            }
            tree.insert(path, node);
        }
    }
    Ok(tree)
}

fn read_node(path: &Path) -> io::Result<Node> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        return Ok(Node::Folder);
    }
    if meta.is_symlink() {
        return Ok(Node::Link(fs::read_link(path)?.to_str().unwrap().to_owned()));
    }
    let bytes = Arc::new(fs::read(path)?);
    if bytes.len() as u64 != meta.len() {
        return Err(io::Error::other(format!(
            "{} has {} of {} bytes",
            path.display(),
            bytes.len(),
            meta.len()
        )));
    }
    let mtime = Some(meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
    Ok(Node::File { bytes, mode: meta.permissions().mode() & 0o7777, mtime })
}

/// Returns whether a call failed because the mount is gone.
pub(crate) fn is_end(failed: &io::Error) -> bool {
    let ends = [libc::ENOTCONN, libc::ECONNABORTED, libc::ENODEV];
    failed.raw_os_error().is_some_and(|errno| ends.contains(&errno))
}

/// Says in what two trees differ, in one line each.
pub(crate) fn differences(expected: &Tree, seen: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, node) in expected {
        match seen.get(path) {
            None => found.push(format!("{path}: {} is gone", brief(node))),
            Some(there) if !node.is_seen_as(there) => {
                found.push(format!(
                    "{path}: {} is {}{}",
                    brief(node),
                    brief(there),
                    first_difference(node, there)
                ));
            }
            Some(_) => {}
        }
    }
    let new = seen.iter().filter(|(path, _)| !expected.contains_key(*path));
    found.extend(new.map(|(path, node)| format!("{path}: {} should not be there", brief(node))));
    found
}

fn brief(node: &Node) -> String {
    match node {
        Node::File { bytes, mode, mtime } => {
            let hash = ContentHash::of(bytes).to_string();
            format!("file of {} bytes ({}), mode {mode:o}, time {mtime:?}", bytes.len(), &hash[..8])
        }
        Node::Folder => "folder".to_owned(),
        Node::Link(target) => format!("link to {target}"),
    }
}

fn first_difference(expected: &Node, seen: &Node) -> String {
    let (Node::File { bytes, .. }, Node::File { bytes: there, .. }) = (expected, seen) else {
        return String::new();
    };
    match bytes.iter().zip(there.iter()).position(|(a, b)| a != b) {
        Some(at) => {
            let zeros = there[at..].iter().take_while(|byte| **byte == 0).count();
            format!("; differs from byte {at}, where {zeros} zeros are")
        }
        None => String::new(),
    }
}
