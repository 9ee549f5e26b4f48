//! Telling the kernel what changed behind its back.
//!
//! The kernel keeps names, attributes and content without a time limit, so every change that
//! did not come through this mount must be announced. An announcement may wait for a request
//! that is being answered; only the one thread here, which holds no lock and answers nothing,
//! may therefore make one. The change must be visible in the cache before it is announced.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::notify::{KernelLine, Part, Told};
use crate::cache::{Ino, Seen};

enum Message {
    Announce(Seen),
    Barrier(oneshot::Sender<()>),
    Stop,
}

/// Where invalidations are handed in; never waits.
#[derive(Debug, Clone)]
pub struct InvalidationQueue {
    sender: Sender<Message>,
}

/// A queue whose thread does not run yet: the kernel is not mounted.
#[derive(Debug)]
pub struct PendingInvalidations {
    queue: InvalidationQueue,
    receiver: Receiver<Message>,
}

/// The one thread that announces.
#[derive(Debug)]
pub struct InvalidationThread {
    queue: InvalidationQueue,
    thread: Option<JoinHandle<()>>,
}

/// Returns a queue to hand out, and the rest, to be started once there is a mount.
pub fn queue() -> (InvalidationQueue, PendingInvalidations) {
    let (sender, receiver) = channel();
    let queue = InvalidationQueue { sender };
    (queue.clone(), PendingInvalidations { queue, receiver })
}

impl InvalidationQueue {
    /// Hands in a change; after the thread's end there is no kernel to tell and it is dropped.
    pub fn push(&self, seen: Seen) {
        self.sender.send(Message::Announce(seen)).ok();
    }

    /// Returns when everything handed in so far has been announced, or never will be.
    pub async fn announced(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Message::Barrier(done)).is_ok() {
            wait.await.ok();
        }
    }
}

impl PendingInvalidations {
    /// Starts to announce to the kernel.
    pub fn start(self, kernel: KernelLine) -> io::Result<InvalidationThread> {
        self.start_with(move |seen| announce(&kernel, seen))
    }

    fn start_with<F>(self, announce: F) -> io::Result<InvalidationThread>
    where
        F: FnMut(&Seen) -> io::Result<()> + Send + 'static,
    {
        let Self { queue, receiver } = self;
        let thread = std::thread::Builder::new()
            .name("bayou-invalidate".to_owned())
            .spawn(move || run(&receiver, announce))?;
        Ok(InvalidationThread { queue, thread: Some(thread) })
    }
}

impl InvalidationThread {
    /// Ends the thread after what was handed in; to be called when the kernel's session is
    /// over, because an announcement may wait for a request that is still to be answered.
    pub fn stop(mut self) {
        self.queue.sender.send(Message::Stop).ok();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The thread that announces changes to the kernel has panicked");
        }
    }
}

impl Drop for InvalidationThread {
    fn drop(&mut self) {
        self.queue.sender.send(Message::Stop).ok();
    }
}

fn run<F>(receiver: &Receiver<Message>, mut announce: F)
where
    F: FnMut(&Seen) -> io::Result<()>,
{
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Announce(seen) => {
                if let Err(error) = announce(&seen) {
                    tracing::warn!(%error, ?seen, "The kernel was not told of a change");
                }
            }
            Message::Barrier(done) => {
                // Who asked may have stopped waiting.
                done.send(()).ok();
            }
            Message::Stop => return,
        }
    }
}

fn announce(kernel: &KernelLine, seen: &Seen) -> io::Result<()> {
    match seen {
        Seen::Content { ino, names } => forget_inode(kernel, *ino, Part::All, names),
        Seen::Attributes { ino, names } => forget_inode(kernel, *ino, Part::Attributes, names),
        Seen::Entry { parent, name } => forget_entry(kernel, *parent, name),
        // The listings stay: the name is what it was.
        Seen::Unused { names } => {
            names.iter().try_for_each(|(folder, name)| kernel.forget_name(*folder, name).map(drop))
        }
    }
}

/// Makes the kernel forget an inode. One that it does not know it may be about to hear of, as it
/// was before the change, in the reply to a lookup: then it forgets the name, once it has that.
fn forget_inode(kernel: &KernelLine, ino: Ino, part: Part, names: &[(Ino, String)]) -> io::Result<()> {
    if kernel.forget_inode(ino, part)? == Told::Unknown {
        for (folder, name) in names {
            kernel.forget_name(*folder, name)?;
        }
    }
    Ok(())
}

/// Makes the kernel forget what a name means, and the listing that it keeps of the folder.
fn forget_entry(kernel: &KernelLine, folder: Ino, name: &str) -> io::Result<()> {
    kernel.forget_name(folder, name)?;
    // If nobody asked for the name the kernel has nothing to forget, and has left the listing.
    kernel.forget_inode(folder, Part::All)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(ino: Ino) -> Seen {
        Seen::Content { ino, names: Vec::new() }
    }

    fn started() -> (InvalidationQueue, InvalidationThread, Receiver<Seen>) {
        let (queue, pending) = queue();
        let (sender, seen) = channel();
        let announce = move |invalidation: &Seen| {
            sender.send(invalidation.clone()).ok();
            match invalidation {
                Seen::Attributes { .. } => Err(io::ErrorKind::NotConnected.into()),
                _ => Ok(()),
            }
        };
        let thread = pending.start_with(announce).unwrap();
        (queue, thread, seen)
    }

    #[test]
    fn changes_are_announced_in_order_also_those_from_before_the_start() {
        let (queue, pending) = queue();
        queue.push(content(2));
        let (sender, seen) = channel();
        let thread = pending
            .start_with(move |invalidation| {
                sender.send(invalidation.clone()).ok();
                Ok(())
            })
            .unwrap();
        queue.push(Seen::Entry { parent: 1, name: "a".to_owned() });
        thread.stop();
        let seen: Vec<_> = seen.iter().collect();
        assert_eq!(seen, [content(2), Seen::Entry { parent: 1, name: "a".to_owned() }]);
    }

    #[test]
    fn an_announcement_that_fails_does_not_end_the_others() {
        let (queue, thread, seen) = started();
        queue.push(Seen::Attributes { ino: 7, names: Vec::new() });
        queue.push(content(8));
        thread.stop();
        assert_eq!(seen.iter().count(), 2);
    }

    #[tokio::test]
    async fn the_barrier_returns_after_what_was_handed_in_before() {
        let (queue, _thread, seen) = started();
        queue.push(content(3));
        queue.announced().await;
        assert_eq!(seen.try_recv(), Ok(content(3)));
    }

    #[tokio::test]
    async fn after_the_end_nothing_waits_and_nothing_fails() {
        let (queue, thread, _seen) = started();
        thread.stop();
        queue.push(content(3));
        queue.announced().await;
    }
}
