//! All that can be seen of a folder with everything below it, to compare.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::bucket::Bucket;

/// Extended attributes by name.
type Attributes = BTreeMap<String, Vec<u8>>;

/// What stands under one name.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    Folder { mode: u32, owner: (u32, u32) },
    Link { target: String },
    Special { mode: u32, owner: (u32, u32), device: u64 },
    File { mode: u32, owner: (u32, u32), modified_ns: i128, sha256: [u8; 32], attributes: Attributes },
}

/// A tree by path.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Returns what is below a folder.
    pub(crate) fn of(root: &Path) -> Self {
        let mut nodes = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let node = look_at(&path);
                if let Node::Folder { .. } = node {
                    folders.push(path.clone());
                }
                nodes.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), node);
            }
        }
        Self { nodes }
    }

    /// Returns how many files there are.
    pub(crate) fn files(&self) -> usize {
        self.nodes.values().filter(|node| matches!(node, Node::File { .. })).count()
    }

    #[track_caller]
    pub(crate) fn is_equal(&self, other: &Self) {
        let names = |tree: &Self| tree.nodes.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other));
        for (name, node) in &self.nodes {
            assert_eq!(Some(node), other.nodes.get(name), "{name}");
        }
    }

    /// Checks that another client reads each file under its own key, and of a link its target.
    #[track_caller]
    pub(crate) fn is_in(&self, bucket: &Bucket) {
        for (key, node) in &self.nodes {
            let object = bucket.object(key);
            let read = object.as_deref();
            match node {
                Node::Folder { .. } => assert_eq!(read, None, "{key}"),
                Node::Link { target } => assert_eq!(read, Some(target.as_bytes()), "{key}"),
                Node::Special { .. } => assert_eq!(read, Some(&b""[..]), "{key}"),
                Node::File { sha256, .. } => assert_eq!(read.map(hash), Some(*sha256), "{key}"),
            }
        }
    }
}

fn look_at(path: &Path) -> Node {
    let meta = fs::symlink_metadata(path).unwrap();
    let mode = meta.permissions().mode() & 0o7777;
    let owner = (meta.uid(), meta.gid());
    if meta.is_dir() {
        Node::Folder { mode, owner }
    } else if meta.is_symlink() {
        Node::Link { target: fs::read_link(path).unwrap().to_str().unwrap().to_owned() }
    } else if !meta.is_file() {
        Node::Special { mode: meta.mode(), owner, device: meta.rdev() }
    } else {
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, meta.len(), "{}", path.display());
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let sha256 = hash(&bytes);
        Node::File { mode, owner, modified_ns, sha256, attributes: attributes(path) }
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns the extended attributes that people gave a file.
fn attributes(path: &Path) -> Attributes {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::listxattr(&path, names.as_mut_slice()).unwrap();
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    let given = names.split_terminator('\0').filter(|name| !name.starts_with("user.bayou."));
    let value = |name: &str| {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::getxattr(&path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        (name.to_owned(), value)
    };
    given.map(value).collect()
}
