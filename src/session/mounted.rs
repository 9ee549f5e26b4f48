//! A mount from its beginning to the moment when everything is in the bucket.
//!
//! Whoever unmounts, and however, the kernel's session ends; what is dirty is drained then.
//! A first signal unmounts and drains, a second one stops waiting. What cannot be drained
//! stays in the cache, dirty, for the next mount.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::answers::{Answers, Stage, Told};
use super::folders::Folders;
use super::opened::{self, Opened};
use super::options::{Event, MountOptions};
use super::progress::watched;
use super::{Listener, failures};
use crate::cache::Cache;
use crate::control::place::{self, MountRecord};
use crate::control::{Failure, FailureKind, server};
use crate::fs::front::{CloseMode, Front, FrontOptions};
use crate::fs::invalidate;
use crate::fs::mount::{Detach, MountOptions as KernelOptions, Unmounted};
use crate::fs::mountpoint::Mountpoint;
use crate::fs::serve::{self, Serving};
use crate::os::clock::SharedClock;
use crate::os::panics;
use crate::sync::guarded::Round;
use crate::sync::schedule::{self, Schedule};
use crate::sync::scope::SyncContext;

/// How long clients are given to hear the last answer.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How often a mount says how it stands.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How long after a failed attempt to drain the next one begins.
const DRAIN_PAUSE: Duration = Duration::from_secs(2);

/// Mounts a bucket; returns when the mount is gone and drained.
///
/// Fails with [`FailureKind::Unsynced`] if data stays behind in the cache.
pub async fn mount(
    options: MountOptions,
    folders: Folders,
    listener: Listener,
    clock: SharedClock,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(FailureKind::System, "Signals cannot be awaited").caused_by(&error)
    };
    let mut signals = Signals::new().map_err(failed)?;
    let point = Mountpoint::prepare(&options.mountpoint).map_err(|error| failures::of_mountpoint(&error))?;
    for note in point.notes() {
        tracing::warn!("{note}");
    }
    // Listing a large bucket takes a while, and a server that does not answer is waited for as
    // long as people said.
    let everything = SyncContext::default();
    let opening = opened::open(&options.session, &folders, &everything, &clock);
    let opening = watched(opening, &clock, SIGN_OF_LIFE, || {
        listener(Event::Working(format!("opening {}", options.session.source)));
    });
    let opened = tokio::select! {
        opened = opening => Arc::new(opened?),
        () = signals.next() => {
            let message = "Stopped before the mount was ready; nothing has been changed";
            return Err(Failure::new(FailureKind::MountFailed, message));
        }
    };
    if options.session.read_only {
        opened.cache.make_read_only("it was mounted with --read-only");
    }
    let (queue, invalidations) = invalidate::queue();
    let told = queue.clone();
    opened.cache.tell_kernel_through(move |seen| told.push(seen));
    let front = Front::new(Arc::clone(&opened.sync), Arc::clone(&opened.hydrator), front_options(&options));
    let kernel = KernelOptions {
        source: options.session.source.clone(),
        read_only: opened.cache.read_only_reason().is_some(),
        allow_other: options.allow_other,
    };
    let front = Arc::new(if kernel.read_only { front.for_reading_only() } else { front });
    let runtime = tokio::runtime::Handle::current();
    let told = Told { queue, passthrough: front.passthrough(), requests: front.requests() };
    let (serving, end) = serve::serve(front, &point, &kernel, &runtime, invalidations)
        .map_err(|error| failures::of_mount(&error))?;
    let mounted = Mounted::new(opened, (serving, told), &options, point.path(), clock);
    let record = mounted.record();
    let seat =
        place::take_seat(&folders, &record).map_err(|error| failures::chain(FailureKind::System, &error));
    let (_seat, socket) = match seat {
        Ok(taken) => taken,
        Err(failure) => {
            mounted.leave();
            return Err(failure);
        }
    };
    tokio::spawn(server::serve(socket, mounted.answers.handler(), Arc::clone(&mounted.clock)));
    listener(Event::Ready);
    mounted.live(&options, &mut signals, end, &listener).await
}

fn front_options(options: &MountOptions) -> FrontOptions {
    FrontOptions {
        uid: options.uid.unwrap_or_else(|| rustix::process::getuid().as_raw()),
        gid: options.gid.unwrap_or_else(|| rustix::process::getgid().as_raw()),
        close: if options.write_back.is_zero() { CloseMode::Flushes } else { CloseMode::Returns },
        fsync: options.fsync,
    }
}

struct Mounted {
    answers: Arc<Answers>,
    serving: Arc<Serving>,
    timeout: Duration,
    clock: SharedClock,
}

impl Mounted {
    fn new(
        opened: Arc<Opened>,
        (serving, kernel): (Serving, Told),
        options: &MountOptions,
        mountpoint: &std::path::Path,
        clock: SharedClock,
    ) -> Self {
        let serving = Arc::new(serving);
        let answers = Arc::new(Answers {
            opened,
            serving: Mutex::new(Some(Arc::clone(&serving))),
            kernel,
            source: options.session.source.clone(),
            mountpoint: mountpoint.to_owned(),
            stage: watch::channel(Stage::Mounted).0,
            give_up: watch::channel(false).0,
        });
        Self { answers, serving, timeout: options.session.access.timeout, clock }
    }

    fn record(&self) -> MountRecord {
        MountRecord {
            pid: std::process::id(),
            source: self.answers.source.clone(),
            namespace: self.answers.opened.bucket.namespace.as_ref().map(ToString::to_string),
            mountpoint: self.answers.mountpoint.clone(),
            cache_dir: self.answers.opened.cache.folder().to_owned(),
        }
    }

    fn leave(&self) {
        if let Err(error) = self.serving.unmount(Detach::Now) {
            tracing::error!(%error, "The mount could not be taken down");
        }
    }

    /// Lives until the kernel's session ends, then drains.
    async fn live(
        self,
        options: &MountOptions,
        signals: &mut Signals,
        mut end: serve::SessionEnd,
        listener: &Listener,
    ) -> Result<(), Failure> {
        let (stop, stopped) = watch::channel(false);
        self.answers.opened.sync.send_while_written();
        let schedule = Schedule { write_back: options.write_back, refresh: options.refresh };
        let work = tokio::spawn(schedule::run(Arc::clone(&self.answers.opened.sync), schedule, stopped));
        let (mut said, mut was_asked) = (String::new(), false);
        let ended = loop {
            tokio::select! {
                ended = end.wait() => break ended,
                () = signals.next() => match self.on_signal(listener) {
                    Unmounted::Detached => was_asked = true,
                    // Others have files open, or see it in a namespace of their own: they lose it.
                    Unmounted::WasGone => {
                        self.answers.give_up.send_replace(was_asked);
                        break Ok(());
                    }
                },
                () = self.clock.sleep(SIGN_OF_LIFE) => self.say_how_it_stands(&mut said, listener),
            }
        };
        if let Err(error) = ended {
            tracing::error!(%error, "The kernel's session ended with an error");
        }
        // Nothing is changed any more, seen or unseen.
        self.answers.opened.cache.end_watches();
        self.answers.stage.send_replace(Stage::Draining);
        stop.send_replace(true);
        self.finish(work, signals, listener).await
    }

    fn say_how_it_stands(&self, said: &mut String, listener: &Listener) {
        let dirty = opened::dirty(&self.answers.opened.cache);
        let text = match dirty.files {
            0 => "everything is in the bucket".to_owned(),
            files => format!("{files} changed files ({} bytes) are not in the bucket yet", dirty.bytes),
        };
        if text != *said {
            listener(Event::Status(text.clone()));
            *said = text;
        }
    }

    /// Waits for the work in the background, unless nobody wants to wait: then it is stopped
    /// where it is, which is as safe as a crash.
    async fn end_work(&self, mut work: JoinHandle<()>) {
        let mut give_up = self.answers.give_up.subscribe();
        let ended = tokio::select! {
            ended = &mut work => ended,
            _ = give_up.wait_for(|wanted| *wanted) => return work.abort(),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "The work in the background ended badly");
        }
    }

    /// The first signal unmounts; the session's end follows. Another one stops waiting.
    fn on_signal(&self, listener: &Listener) -> Unmounted {
        listener(Event::Stopping("unmounting".to_owned()));
        self.serving.unmount(Detach::WhenIdle).unwrap_or_else(|busy| {
            tracing::warn!(error = %busy, "Detached all the same; what is open goes on until it is closed");
            self.leave();
            Unmounted::Detached
        })
    }

    async fn finish(
        &self,
        work: JoinHandle<()>,
        signals: &mut Signals,
        listener: &Listener,
    ) -> Result<(), Failure> {
        let give_up = self.answers.give_up.clone();
        let drained = async {
            self.end_work(work).await;
            self.drain(listener).await
        };
        tokio::pin!(drained);
        let failure = loop {
            tokio::select! {
                failure = &mut drained => break failure,
                () = signals.next() => drop(give_up.send_replace(true)),
            }
        };
        opened::rest(&self.answers.opened, &self.clock).await;
        opened::leave_lock(&self.answers.opened, &self.clock).await;
        let cache = &self.answers.opened.cache;
        let kept = opened::dirty(cache);
        write_down(cache);
        self.answers.stage.send_replace(Stage::Ended(kept));
        self.clock.sleep(LAST_WORDS).await;
        if kept.files == 0 {
            return Ok(());
        }
        let message = format!(
            "{} changed files ({} bytes) are not in {} yet; they are kept in {} and pushed by the next mount or `bayou sync`",
            kept.files,
            kept.bytes,
            self.answers.source,
            cache.folder().display()
        );
        let unsynced = Failure::new(FailureKind::Unsynced, message);
        Err(match failure {
            Some(failed) => unsynced.caused_by(&failed),
            None => unsynced,
        })
    }

    /// Pushes what is dirty until nothing is, nothing moves for the timeout, or nobody wants
    /// to wait. Returns the last failure.
    async fn drain(&self, listener: &Listener) -> Option<crate::sync::SyncError> {
        let Opened { cache, sync, .. } = &*self.answers.opened;
        let mut give_up = self.answers.give_up.subscribe();
        let mut last_progress = self.clock.instant();
        let mut left = opened::dirty(cache);
        let mut failure = None;
        while left.files > 0 && !*give_up.borrow() && cache.read_only_reason().is_none() {
            let push = watched(sync.guarded(Round::Flush, sync.push()), &self.clock, SIGN_OF_LIFE, || {
                let left = opened::dirty(cache);
                let text = format!("{} files ({} bytes) on their way", left.files, left.bytes);
                listener(Event::Stopping(text));
            });
            failure = tokio::select! {
                outcome = push => outcome.err(),
                _ = give_up.wait_for(|wanted| *wanted) => break,
            };
            let now = self.clock.instant();
            let still = opened::dirty(cache);
            if still != left {
                last_progress = now;
                left = still;
            } else if now.duration_since(last_progress) >= self.timeout {
                break;
            }
            if let Some(failed) = &failure {
                tracing::warn!(error = crate::sync::describe(failed), "Not everything could be flushed yet");
                tokio::select! {
                    () = self.clock.sleep(DRAIN_PAUSE) => {}
                    _ = give_up.wait_for(|wanted| *wanted) => break,
                }
            }
        }
        failure
    }
}

/// Writes the catalog down. Whatever becomes of that, the next mount reads its journal.
fn write_down(cache: &Cache) {
    let work = || cache.durable_point().and_then(|()| cache.fold_catalog());
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "The catalog could not be written down"),
        Err(panic) => {
            tracing::error!(panic = panics::message(&*panic), "Writing the catalog down ended in a panic");
        }
    }
}

/// The signals that end a mount.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
