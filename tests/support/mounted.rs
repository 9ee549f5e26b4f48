//! A bucket that somebody has mounted with the built program.
//!
//! The mount is in surroundings of its own and is taken down at the end, whatever happened.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bucket::Bucket;
use crate::person::{Person, Said};
use crate::tree::Tree;

/// A mounted bucket.
pub(crate) struct Mounted<'b> {
    pub(crate) person: Person,
    pub(crate) bucket: &'b Bucket,
    flags: Vec<String>,
    machines: u32,
}

impl<'b> Mounted<'b> {
    /// Mounts a bucket on a machine that has never seen it.
    #[track_caller]
    pub(crate) fn new(bucket: &'b Bucket, flags: &[&str]) -> Self {
        let mut person = Person::new();
        bucket.variables().iter().for_each(|(name, value)| person.set(name, value));
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut mounted = Self { person, bucket, flags, machines: 0 };
        mounted.take_new_cache();
        mounted.mount();
        mounted
    }

    /// Returns a path in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.person.mnt(name)
    }

    #[track_caller]
    pub(crate) fn mount(&self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.person.mount(&self.bucket.source(), &flags);
    }

    /// Unmounts; everything is in the bucket then.
    #[track_caller]
    pub(crate) fn umount(&self) {
        self.person.umount().says(&[]);
    }

    /// Unmounts and mounts again, with the same cache.
    #[track_caller]
    pub(crate) fn remount(&self) {
        self.umount();
        self.mount();
    }

    /// Unmounts and mounts again with a new cache: what a machine sees that knows nothing.
    #[track_caller]
    pub(crate) fn fresh_machine(&mut self) {
        self.umount();
        self.take_new_cache();
        self.mount();
    }

    fn take_new_cache(&mut self) {
        self.machines += 1;
        let cache = self.person.path(&format!("cache-{}", self.machines));
        self.person.set("BAYOU_CACHE_DIR", &cache);
    }

    /// Runs a script in the mount and returns what it said.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        self.person.dress(&mut command);
        let said = Said::of(command.current_dir(self.path("")).output().unwrap());
        assert_eq!(said.code, 0, "{script}: {said:?}");
        said.out
    }

    /// Checks that a machine that knows nothing sees the same tree, and that another client
    /// reads each file under its own key.
    #[track_caller]
    pub(crate) fn is_whole_on_a_fresh_machine(&mut self) {
        let before = Tree::of(&self.path(""));
        self.fresh_machine();
        before.is_equal(&Tree::of(&self.path("")));
        before.is_in(self.bucket);
    }
}

/// Renames through a mount.
#[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
pub(crate) fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)
}
