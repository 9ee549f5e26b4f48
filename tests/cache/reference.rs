//! A tree of names as simple as can be: what the cache must look like from outside.

use std::collections::BTreeMap;

use bayou::cache::attributes::XattrMode;

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    Exists,
    NotAFolder,
    IsAFolder,
    NotEmpty,
    IntoItself,
    NoAttribute,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file, by the number of its content.
    File(usize),
    Folder,
    Link(String),
}

/// The names, and the bytes and extended attributes of every file that there ever was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    pub(crate) names: BTreeMap<String, Node>,
    pub(crate) bytes: Vec<Vec<u8>>,
    xattrs: BTreeMap<usize, BTreeMap<String, u8>>,
}

pub(crate) type Answer<T> = Result<T, Refused>;

impl Reference {
    fn folder_of(&self, path: &str) -> Answer<()> {
        let Some((folder, _)) = path.rsplit_once('/') else { return Ok(()) };
        self.folder_of(folder)?;
        match self.names.get(folder) {
            Some(Node::Folder) => Ok(()),
            Some(_) => Err(Refused::NotAFolder),
            None => Err(Refused::NotFound),
        }
    }

    fn at(&self, path: &str) -> Answer<&Node> {
        self.folder_of(path)?;
        self.names.get(path).ok_or(Refused::NotFound)
    }

    /// Returns the number of a file's content.
    pub(crate) fn file(&self, path: &str) -> Answer<usize> {
        match self.at(path)? {
            Node::File(number) => Ok(*number),
            Node::Folder | Node::Link(_) => Err(Refused::IsAFolder),
        }
    }

    fn add(&mut self, path: &str, node: Node) -> Answer<()> {
        self.folder_of(path)?;
        if self.names.contains_key(path) {
            return Err(Refused::Exists);
        }
        self.names.insert(path.to_owned(), node);
        Ok(())
    }

    pub(crate) fn create(&mut self, path: &str, bytes: &[u8]) -> Answer<()> {
        self.add(path, Node::File(self.bytes.len()))?;
        self.bytes.push(bytes.to_vec());
        Ok(())
    }

    pub(crate) fn make_folder(&mut self, path: &str) -> Answer<()> {
        self.add(path, Node::Folder)
    }

    pub(crate) fn make_link(&mut self, path: &str, target: &str) -> Answer<()> {
        self.add(path, Node::Link(target.to_owned()))
    }

    pub(crate) fn unlink(&mut self, path: &str) -> Answer<()> {
        if *self.at(path)? == Node::Folder {
            return Err(Refused::IsAFolder);
        }
        self.names.remove(path);
        Ok(())
    }

    fn is_empty(&self, folder: &str) -> bool {
        let start = format!("{folder}/");
        !self.names.keys().any(|path| path.starts_with(&start))
    }

    pub(crate) fn remove_folder(&mut self, path: &str) -> Answer<()> {
        if *self.at(path)? != Node::Folder {
            return Err(Refused::NotAFolder);
        }
        if !self.is_empty(path) {
            return Err(Refused::NotEmpty);
        }
        self.names.remove(path);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str, replace: bool) -> Answer<()> {
        self.folder_of(from)?;
        self.folder_of(to)?;
        let node = self.at(from)?.clone();
        let below = format!("{from}/");
        if node == Node::Folder && to.starts_with(&below) {
            return Err(Refused::IntoItself);
        }
        if from == to {
            return Ok(());
        }
        if let Some(there) = self.names.get(to) {
            match (&node, there) {
                _ if !replace => return Err(Refused::Exists),
                (Node::Folder, Node::Folder) if !self.is_empty(to) => return Err(Refused::NotEmpty),
                (Node::Folder, Node::Folder) => {}
                (Node::Folder, _) => return Err(Refused::NotAFolder),
                (_, Node::Folder) => return Err(Refused::IsAFolder),
                _ => {}
            }
        }
        let moved: Vec<String> =
            self.names.keys().filter(|path| *path == from || path.starts_with(&below)).cloned().collect();
        for old in moved {
            if let Some(node) = self.names.remove(&old) {
                self.names.insert(format!("{to}{}", &old[from.len()..]), node);
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, number: usize, offset: usize, bytes: &[u8]) {
        let file = &mut self.bytes[number];
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn truncate(&mut self, number: usize, size: usize) {
        self.bytes[number].resize(size, 0);
    }

    /// Sets an extended attribute, of one byte.
    pub(crate) fn set_xattr(&mut self, number: usize, name: &str, byte: u8, mode: XattrMode) -> Answer<()> {
        let xattrs = self.xattrs.entry(number).or_default();
        match mode {
            XattrMode::Create if xattrs.contains_key(name) => return Err(Refused::Exists),
            XattrMode::Replace if !xattrs.contains_key(name) => return Err(Refused::NoAttribute),
            XattrMode::Any | XattrMode::Create | XattrMode::Replace => {}
        }
        xattrs.insert(name.to_owned(), byte);
        Ok(())
    }

    pub(crate) fn remove_xattr(&mut self, number: usize, name: &str) -> Answer<()> {
        let removed = self.xattrs.get_mut(&number).and_then(|xattrs| xattrs.remove(name));
        removed.map(drop).ok_or(Refused::NoAttribute)
    }

    pub(crate) fn xattrs_of(&self, node: &Node) -> BTreeMap<String, u8> {
        match node {
            Node::File(number) => self.xattrs.get(number).cloned().unwrap_or_default(),
            Node::Folder | Node::Link(_) => BTreeMap::new(),
        }
    }

    /// Returns the names directly in a folder, in order.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let here =
            |path: &String| path.strip_prefix(&start).filter(|name| !name.contains('/')).map(str::to_owned);
        let mut names: Vec<String> = self.names.keys().filter_map(here).collect();
        names.sort();
        names
    }
}
