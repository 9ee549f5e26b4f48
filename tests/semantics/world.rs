//! A strict S3 server, somebody who has mounted its bucket, and others who do the same.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bayou_test_server::{Op, Options, Recorded, S3Server};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;

use crate::person::Person;

/// What is mounted.
pub(crate) const SOURCE: &str = "s3://bucket/data";

/// Flags of a mount that does nothing by itself.
pub(crate) const QUIET: [&str; 2] = ["--write-back=1h", "--refresh=0"];

/// Flags of a mount that is quick to do what it does by itself.
pub(crate) const BUSY: [&str; 2] = ["--write-back=500ms", "--refresh=500ms"];

const INDEX: &str = ".datastore-index.json";

/// A server and the first who uses it.
pub(crate) struct World {
    pub(crate) server: S3Server,
    pub(crate) here: Person,
}

impl World {
    /// Starts a server that holds these objects, and mounts it.
    #[track_caller]
    pub(crate) fn new(objects: &[(&str, &[u8])], flags: &[&str]) -> Self {
        let world = Self::unmounted(objects);
        world.here.mount(SOURCE, flags);
        world
    }

    /// Starts a server that holds these objects.
    pub(crate) fn unmounted(objects: &[(&str, &[u8])]) -> Self {
        let server = S3Server::start(Options::default());
        for (key, bytes) in objects {
            server.put_object("bucket", &format!("data/{key}"), bytes.to_vec());
        }
        let here = Person::at(&server);
        Self { server, here }
    }

    /// Mounts the bucket on another machine.
    #[track_caller]
    pub(crate) fn another(&self, flags: &[&str]) -> Person {
        let other = Person::at(&self.server);
        other.mount(SOURCE, flags);
        other
    }

    /// Returns a path in the first mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.here.mnt(name)
    }

    /// Makes the first mount pull and push.
    #[track_caller]
    pub(crate) fn sync(&self) {
        sync(&self.here);
    }

    /// Returns an object's bytes.
    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        Some(self.server.object("bucket", &format!("data/{key}"))?.body.to_vec())
    }

    /// Returns the index.
    pub(crate) fn index(&self) -> Option<Value> {
        Some(serde_json::from_slice(&self.object(INDEX)?).unwrap())
    }

    /// Returns whether the index names a file.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.index().is_some_and(|index| index["entries"].get(key).is_some())
    }

    /// Changes the index as a writer of another kind would.
    pub(crate) fn edit_index(&self, edit: impl FnOnce(&mut Value)) {
        let mut index = self.index().unwrap();
        edit(&mut index);
        self.server.put_object("bucket", &format!("data/{INDEX}"), serde_json::to_vec(&index).unwrap());
    }

    /// Returns the requests of an operation on a key, or on the index if the key is empty.
    pub(crate) fn sent(&self, op: Op, key: &str) -> Vec<Recorded> {
        let key = format!("data/{}", if key.is_empty() { INDEX } else { key });
        self.server.requests().into_iter().filter(|sent| sent.op == op && sent.key == key).collect()
    }

    /// Returns the requests that would change something.
    pub(crate) fn writes(&self) -> Vec<Recorded> {
        self.server.requests().into_iter().filter(|sent| sent.op.is_write()).collect()
    }
}

/// Makes a mount pull and push; conflicts are not of interest here.
#[track_caller]
pub(crate) fn sync(person: &Person) {
    let said = person.run(&["sync", &person.path("mnt")]);
    assert!([0, 6].contains(&said.code), "{said:?}");
}

/// Exchanges two names of the first mount.
#[track_caller]
pub(crate) fn exchange(world: &World, one: &str, other: &str) {
    renameat_with(CWD, world.path(one), CWD, world.path(other), RenameFlags::EXCHANGE).unwrap();
}

/// Reads a file.
pub(crate) fn read(path: PathBuf) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the errno with which a call was refused.
#[track_caller]
pub(crate) fn errno<T>(outcome: std::io::Result<T>) -> i32 {
    match outcome {
        Ok(_) => panic!("the call was not refused"),
        Err(refused) => refused.raw_os_error().unwrap(),
    }
}

/// Returns bytes that are different everywhere.
pub(crate) fn noise(length: u32) -> Vec<u8> {
    (0..length.div_ceil(4))
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length as usize)
        .collect()
}
