//! A file that is written while another program has it open to read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::actor::{Actor, Done, edit, overwrite};
use crate::history::ChangeOf;

impl Actor {
    /// Writes as one request into a large file whose content file the kernel reads itself.
    pub(crate) fn write_beside_reader(&mut self, path: &str, offset: usize, bytes: &[u8]) -> Done {
        self.read(path)?;
        self.attempt(
            (format!("write {path} {offset}+{}", bytes.len()), ChangeOf::Content),
            |tree| edit(tree, path, |old| overwrite(old, offset, bytes)),
            |me| {
                let reader = File::open(me.full(path))?;
                let file = OpenOptions::new().write(true).open(me.full(path))?;
                file.write_all_at(bytes, offset as u64)?;
                let mut seen = vec![0; bytes.len()];
                reader.read_exact_at(&mut seen, offset as u64)?;
                assert!(seen == bytes, "{path} is read as it was");
                Ok(())
            },
        )
    }
}
