//! A disk in memory that keeps every change in order.
//!
//! It is what the program's files are on while it is recorded, and what is built again from the
//! changes that survive.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::XattrFlags;

/// The number of a file or folder.
pub(crate) type Number = u64;

/// The folder that all others are in.
pub(crate) const ROOT: Number = 1;

/// A name in a folder.
pub(crate) type Place = (Number, String);

/// One change, or the promise that earlier ones are kept.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Make { number: Number, at: Place, is_folder: bool, mode: u32 },
    Move { from: Place, to: Place },
    Remove { at: Place },
    Write { number: Number, offset: usize, bytes: Arc<Vec<u8>>, time: SystemTime },
    Resize { number: Number, size: usize, time: SystemTime },
    Mode { number: Number, mode: u32 },
    Time { number: Number, time: SystemTime },
    Attribute { number: Number, name: String, value: Option<Vec<u8>> },
    Sync { number: Number, only_data: bool },
}

/// A file or folder.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) is_folder: bool,
    pub(crate) mode: u32,
    pub(crate) time: SystemTime,
    pub(crate) bytes: Vec<u8>,
    pub(crate) names: BTreeMap<String, Number>,
    pub(crate) attributes: BTreeMap<String, Vec<u8>>,
}

/// What a disk holds. What has no name any more stays, for those who have it open.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) nodes: HashMap<Number, Node>,
}

impl Node {
    fn new(is_folder: bool, mode: u32) -> Self {
        let (bytes, names, attributes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { is_folder, mode, time: UNIX_EPOCH, bytes, names, attributes }
    }
}

impl Content {
    pub(crate) fn nothing() -> Self {
        Self { nodes: HashMap::from([(ROOT, Node::new(true, 0o755))]) }
    }

    pub(crate) fn find(&self, at: &Place) -> Option<Number> {
        self.nodes.get(&at.0)?.names.get(&at.1).copied()
    }

    /// Makes a change, unless what it is made to is not there.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Make { number, at, is_folder, mode } => {
                self.nodes.insert(*number, Node::new(*is_folder, *mode));
                self.name(at, Some(*number));
            }
            Change::Move { from, to } => {
                if let Some(number) = self.find(from) {
                    self.name(from, None);
                    self.name(to, Some(number));
                }
            }
            Change::Remove { at } => self.name(at, None),
            Change::Write { number, offset, bytes, time } => self.edit(*number, |node| {
                let end = offset + bytes.len();
                node.bytes.resize(node.bytes.len().max(end), 0);
                node.bytes[*offset..end].copy_from_slice(bytes);
                node.time = *time;
            }),
            Change::Resize { number, size, time } => self.edit(*number, |node| {
                node.bytes.resize(*size, 0);
                node.time = *time;
            }),
            Change::Mode { number, mode } => self.edit(*number, |node| node.mode = *mode),
            Change::Time { number, time } => self.edit(*number, |node| node.time = *time),
            Change::Attribute { number, name, value } => self.edit(*number, |node| {
                match value {
                    Some(value) => node.attributes.insert(name.clone(), value.clone()),
                    None => node.attributes.remove(name),
                };
            }),
            Change::Sync { .. } => {}
        }
    }

    fn edit(&mut self, number: Number, edit: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&number) {
            edit(node);
        }
    }

    fn name(&mut self, at: &Place, number: Option<Number>) {
        self.edit(at.0, |folder| {
            match number {
                Some(number) => folder.names.insert(at.1.clone(), number),
                None => folder.names.remove(&at.1),
            };
        });
    }

    /// Writes all that is in a folder into a real one.
    pub(crate) fn write_to(&self, number: Number, path: &Path) {
        for (name, number) in &self.nodes[&number].names {
            let Some(node) = self.nodes.get(number) else { continue };
            let path = path.join(name);
            if node.is_folder {
                fs::create_dir(&path).unwrap();
                self.write_to(*number, &path);
            } else {
                let mut file = File::create_new(&path).unwrap();
                std::io::Write::write_all(&mut file, &node.bytes).unwrap();
                for (name, value) in &node.attributes {
                    rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty()).unwrap();
                }
                file.set_modified(node.time).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(node.mode & 0o7777)).unwrap();
        }
    }
}

/// A disk that is recorded.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) content: Content,
    pub(crate) log: Vec<Change>,
    next: Number,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { content: Content::nothing(), log: Vec::new(), next: ROOT + 1 }
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.content.apply(&change);
        self.log.push(change);
    }

    /// Makes a file or folder and returns its number.
    pub(crate) fn make(&mut self, at: Place, is_folder: bool, mode: u32) -> Number {
        let number = self.next;
        self.next += 1;
        self.change(Change::Make { number, at, is_folder, mode });
        number
    }
}
