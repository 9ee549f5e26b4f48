//! How an answer becomes a reply: at once on the thread that asks, or later from tokio.
//!
//! A panic in an answer is an I/O error to one program, never the end of the mount.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fuser::{
    Errno, FileAttr, FileHandle, INodeNo, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyStatfs,
    ReplyWrite, ReplyXattr,
};
use futures::FutureExt;
use tokio::runtime::Handle;

use super::errno::ToErrno;
use super::error::{FsError, Result};
use super::file_io::Span;
use super::front::Front;
use super::negotiate::{FOR_EVER, GENERATION};
use super::requests::Requests;
use super::xattr::Answer;
use crate::cache::prefetch::Prefetch;
use crate::os::panics;

/// What fuser calls.
pub(super) struct Adapter {
    pub(super) front: Arc<Front>,
    pub(super) requests: Arc<Requests>,
    prefetch: Arc<Prefetch>,
    runtime: Handle,
}

impl Adapter {
    pub(super) fn new(front: Arc<Front>, runtime: Handle) -> Self {
        let prefetch = Prefetch::new(Arc::clone(&front.hydrator), runtime.clone());
        let requests = front.requests();
        Self { front, requests, prefetch, runtime }
    }

    /// Has what follows a read fetched: noted before the answer, or the reader's next read could
    /// be noted first.
    pub(super) fn before_read(&self, ino: INodeNo, span: Span) {
        let noted = self.answer("read ahead", |_| {
            self.prefetch.note_read(ino.0, span.offset, u64::from(span.len));
            Ok(())
        });
        // Without the guess the read goes on.
        noted.ok();
    }

    /// As [`Front::release`]; what would have been read on is not fetched any more.
    pub(super) fn released(&self, ino: INodeNo, handle: FileHandle, reply: ReplyEmpty) {
        self.empty("release", reply, |front| {
            front.release(ino.0, handle)?;
            self.prefetch.note_closed(ino.0);
            Ok(())
        });
    }

    /// Runs an answer and turns what goes wrong into an errno.
    pub(super) fn answer<T>(
        &self,
        what: &'static str,
        answer: impl FnOnce(&Front) -> Result<T>,
    ) -> std::result::Result<T, Errno> {
        judge(what, catch_unwind(AssertUnwindSafe(|| answer(&self.front))))
    }

    pub(super) fn empty(
        &self,
        what: &'static str,
        reply: ReplyEmpty,
        answer: impl FnOnce(&Front) -> Result<()>,
    ) {
        match self.answer(what, answer) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn entry(
        &self,
        what: &'static str,
        reply: ReplyEntry,
        answer: impl FnOnce(&Front) -> Result<FileAttr>,
    ) {
        match self.answer(what, answer) {
            Ok(attr) => reply.entry(&FOR_EVER, &attr, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn attr(
        &self,
        what: &'static str,
        reply: ReplyAttr,
        answer: impl FnOnce(&Front) -> Result<FileAttr>,
    ) {
        match self.answer(what, answer) {
            Ok(attr) => reply.attr(&FOR_EVER, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn xattr(
        &self,
        what: &'static str,
        reply: ReplyXattr,
        answer: impl FnOnce(&Front) -> Result<Answer>,
    ) {
        match self.answer(what, answer) {
            Ok(Answer::Size(size)) => reply.size(size),
            Ok(Answer::Data(data)) => reply.data(&data),
            Err(errno) => reply.error(errno),
        }
    }

    /// Replies from tokio: the answer waits for the network.
    pub(super) fn empty_later<F>(
        &self,
        what: &'static str,
        reply: ReplyEmpty,
        answer: impl FnOnce(Arc<Front>) -> F,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let answer = answer(Arc::clone(&self.front));
        self.runtime.spawn(async move {
            match answered_later(what, answer).await {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno),
            }
        });
    }

    pub(super) fn write_later(&self, ino: INodeNo, offset: u64, data: Vec<u8>, reply: ReplyWrite) {
        let front = Arc::clone(&self.front);
        self.runtime.spawn(async move {
            match answered_later("write", front.write_after_push(ino.0, offset, &data)).await {
                Ok(()) => reply.written(len_of(&data)),
                Err(errno) => reply.error(errno),
            }
        });
    }

    pub(super) fn totals(&self, reply: ReplyStatfs) {
        match self.answer("statfs", |front| Ok(front.totals())) {
            Ok(t) => {
                let (block, name) = (t.block_bytes, t.name_bytes);
                reply.statfs(t.blocks, t.free, t.free, t.files, t.free_files, block, name, block);
            }
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn read_later(&self, ino: INodeNo, span: Span, reply: ReplyData) {
        let front = Arc::clone(&self.front);
        self.runtime.spawn(async move {
            match answered_later("read", front.read_fetched(ino.0, span)).await {
                Ok(bytes) => reply.data(&bytes),
                Err(errno) => reply.error(errno),
            }
        });
    }
}

/// As [`Adapter::answer`], for an answer that waits.
async fn answered_later<T>(
    what: &'static str,
    answer: impl Future<Output = Result<T>>,
) -> std::result::Result<T, Errno> {
    judge(what, AssertUnwindSafe(answer).catch_unwind().await)
}

fn judge<T>(what: &'static str, caught: std::thread::Result<Result<T>>) -> std::result::Result<T, Errno> {
    match caught {
        Ok(outcome) => outcome.map_err(|failed| report(what, &failed)),
        Err(panic) => {
            let message = panics::message(&*panic);
            tracing::error!(request = what, panic = message, "A request of the kernel ended in a panic");
            Err(Errno::EIO)
        }
    }
}

/// A request carries at most 1 MiB.
pub(super) fn len_of(data: &[u8]) -> u32 {
    data.len() as u32
}

/// Returns the errno for a failure, and logs it if it is not the program's own doing.
fn report(what: &'static str, failed: &FsError) -> Errno {
    if failed.is_trouble() {
        tracing::warn!(
            request = what,
            error = failed as &dyn std::error::Error,
            "A request of the kernel failed"
        );
    }
    failed.to_errno()
}
