//! What a running mount answers on its control socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::failures;
use super::opened::{self, Opened};
use super::progress::{Pace, watched};
use super::single_sync;
use crate::control::server::{Handler, ProgressSink};
use crate::control::{
    Amount, Answer, Direction, Failure, FailureKind, FlushSummary, MountState, MountStatus, PathStatus,
    Progress, Request,
};
use crate::fs::busy::Holder;
use crate::fs::invalidate::InvalidationQueue;
use crate::fs::mount::Detach;
use crate::fs::passthrough::Passthrough;
use crate::fs::requests::Requests;
use crate::fs::serve::Serving;
use crate::sync::SyncReport;
use crate::sync::guarded::Round;
use crate::sync::scope::{Scope, SyncContext};

/// How often whoever waits for a push hears how far it is.
const BEAT: Duration = Duration::from_millis(250);

/// How many times in a row others must be seen to go on with a mount until that is said.
const LOOKS_ELSEWHERE: u32 = 20;

/// How far a mount is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is mounted.
    Mounted,
    /// It is gone, and what is dirty is brought to the bucket.
    Draining,
    /// All is done; what is dirty stays in the cache.
    Ended(Amount),
}

/// What the kernel was told, and what it asked.
pub(super) struct Told {
    /// Where it is told of what changed.
    pub queue: InvalidationQueue,
    /// What is lent to it.
    pub passthrough: Arc<Passthrough>,
    /// How often it asked.
    pub requests: Arc<Requests>,
}

/// A mount, as those see it who ask.
pub(super) struct Answers {
    pub opened: Arc<Opened>,
    pub serving: Mutex<Option<Arc<Serving>>>,
    /// What the kernel and we have to do with each other.
    pub kernel: Told,
    pub source: String,
    pub mountpoint: PathBuf,
    pub stage: watch::Sender<Stage>,
    /// Set when nothing is to be waited for any more.
    pub give_up: watch::Sender<bool>,
}

impl Answers {
    /// Returns the handler for the control socket.
    pub(super) fn handler(self: &Arc<Self>) -> Handler {
        let answers = Arc::clone(self);
        Arc::new(move |request, progress| {
            let answers = Arc::clone(&answers);
            async move { answers.answer(request, &progress).await }.boxed()
        })
    }

    async fn answer(&self, request: Request, progress: &ProgressSink) -> Result<Answer, Failure> {
        match request {
            Request::Ping => Ok(Answer::Pong),
            Request::Status { paths } => Ok(Answer::Status(Box::new(self.status(&paths)))),
            Request::Sync { direction, context } => self.sync(direction, &context, progress).await,
            Request::Capabilities => Ok(Answer::Capabilities(self.opened.sync.capabilities())),
            Request::Flush => self.flush(progress).await.map(Answer::Flushed),
            Request::Detach { keep } => self.detach(keep).await,
            Request::HandOver => self.hand_over().await,
        }
    }

    async fn sync(
        &self,
        direction: Direction,
        context: &SyncContext,
        progress: &ProgressSink,
    ) -> Result<Answer, Failure> {
        let address = self.opened.bucket.store.address();
        let scope = context.scope();
        let failed = |error| failures::of_sync(&address, &error);
        let mut report = SyncReport::default();
        if direction != Direction::Push {
            progress.say(Progress { step: "pulling".to_owned(), ..Progress::default() });
            let pull = self.opened.sync.pull_within(&scope);
            report.add(self.opened.sync.guarded(Round::Refresh, pull).await.map_err(failed)?);
        }
        if direction != Direction::Pull {
            report.add(self.push(&scope, progress).await.map_err(failed)?);
        }
        // Who asked looks at the files next, and is to see what was pulled.
        self.kernel.queue.announced().await;
        Ok(Answer::Synced(single_sync::summary(&self.opened, direction, context, report)))
    }

    async fn flush(&self, progress: &ProgressSink) -> Result<FlushSummary, Failure> {
        let source = self.opened.bucket.store.address();
        let cache = &self.opened.cache;
        if cache.read_only_reason().is_some() && cache.nothing_pending() {
            return Ok(FlushSummary { source, ..FlushSummary::default() });
        }
        let everything = Scope::default();
        let report =
            self.push(&everything, progress).await.map_err(|error| failures::of_sync(&source, &error))?;
        Ok(FlushSummary {
            source,
            flushed: Amount { files: report.pushed, bytes: report.pushed_bytes },
            deleted: report.deleted,
            remaining: opened::dirty(&self.opened.cache),
            conflicts: report.conflicts,
        })
    }

    /// Pushes and says meanwhile how far it is.
    async fn push(&self, scope: &Scope, progress: &ProgressSink) -> crate::sync::Result<SyncReport> {
        let pace = Pace::new(&self.opened);
        let push = self.opened.sync.guarded(Round::Flush, self.opened.sync.push_within(scope));
        let outcome = watched(push, self.opened.cache.clock(), BEAT, || progress.say(pace.now())).await;
        progress.say(pace.now());
        // Who asked may go on with swamp's clients, which must not have to wait.
        opened::leave_lock(&self.opened, self.opened.cache.clock()).await;
        outcome
    }

    /// Unmounts if nobody uses the mount, and waits until what is dirty is drained (or kept).
    ///
    /// Fails if others go on with the mount in a mount namespace of their own: that may take for ever.
    async fn detach(&self, keep: bool) -> Result<Answer, Failure> {
        let serving = self.serving.lock().clone();
        if let Some(serving) = &serving {
            serving.unmount(Detach::WhenIdle).map_err(|error| failures::of_unmount(&error))?;
        }
        if keep {
            self.give_up.send_replace(true);
        }
        tokio::select! {
            biased;
            kept = self.ended() => Ok(Answer::Detached { kept }),
            holders = self.others_go_on(serving) => Err(failures::of_others(&self.mountpoint, &holders)),
        }
    }

    /// Returns when the mount has been seen in other mount namespaces for a while.
    async fn others_go_on(&self, serving: Option<Arc<Serving>>) -> Vec<Holder> {
        let clock = self.opened.cache.clock();
        let mut looks = 0;
        while let Some(serving) = serving.clone() {
            clock.sleep(BEAT).await;
            let seen = tokio::task::spawn_blocking(move || serving.seen_elsewhere()).await;
            let holders = seen.ok().and_then(Result::ok).unwrap_or_default();
            looks = if holders.is_empty() || *self.stage.borrow() != Stage::Mounted { 0 } else { looks + 1 };
            if looks == LOOKS_ELSEWHERE {
                return holders;
            }
        }
        std::future::pending().await
    }

    /// Ends a drain, so that a new mount may own the cache.
    async fn hand_over(&self) -> Result<Answer, Failure> {
        if *self.stage.borrow() == Stage::Mounted {
            let message = format!("{} is mounted and keeps its cache", self.mountpoint.display());
            return Err(Failure::new(FailureKind::System, message));
        }
        self.give_up.send_replace(true);
        self.ended().await;
        Ok(Answer::HandedOver)
    }

    async fn ended(&self) -> Amount {
        let mut stage = self.stage.subscribe();
        let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await;
        match ended.map(|stage| *stage) {
            Ok(Stage::Ended(kept)) => kept,
            _ => opened::dirty(&self.opened.cache),
        }
    }

    fn status(&self, paths: &[PathBuf]) -> MountStatus {
        let Opened { cache, sync, bucket, .. } = &*self.opened;
        let health = sync.health();
        let uploads = sync.uploads_under_way();
        let moved = cache.moved();
        MountStatus {
            source: self.source.clone(),
            namespace: bucket.namespace.as_ref().map(ToString::to_string),
            under: cache.part().map(|path| path.to_string()),
            mountpoint: self.mountpoint.clone(),
            pid: std::process::id(),
            state: self.state(uploads, health.offline_since.is_some()),
            read_only_reason: cache.read_only_reason(),
            dirty: opened::dirty(cache),
            uploading: Amount { files: uploads, bytes: 0 },
            conflicts: cache.conflicts().into_iter().map(|(path, _)| path.to_string()).collect(),
            refused_keys: health.refused.len() as u64,
            cached_bytes: cache.local_bytes(),
            cache_limit_bytes: cache.options().limit_bytes,
            cache_dir: cache.folder().to_owned(),
            index_entries: cache.indexed() + health.refused.len() as u64,
            last_pull: health.last_pull.map(|time| time.to_string()),
            last_error: health.last_error,
            offline_since: health.offline_since.map(|time| time.to_string()),
            requests: bucket.requests.attempts(),
            fetched_bytes: moved.fetched_bytes,
            evictions: moved.evictions,
            evicted_bytes: moved.evicted_bytes,
            passthrough_opens: self.kernel.passthrough.opens(),
            passthrough_off: self.kernel.passthrough.off_reason(),
            kernel_requests: self.kernel.requests.counts(),
            paths: paths.iter().filter_map(|path| self.path_status(path)).collect(),
        }
    }

    fn state(&self, uploads: u64, offline: bool) -> MountState {
        let dirty = !self.opened.cache.nothing_pending();
        if *self.stage.borrow() != Stage::Mounted {
            MountState::Draining
        } else if offline {
            MountState::Offline
        } else if uploads > 0 {
            MountState::Uploading
        } else if dirty {
            MountState::Dirty
        } else if self.opened.cache.read_only_reason().is_some() {
            MountState::ReadOnly
        } else {
            MountState::Clean
        }
    }

    fn path_status(&self, path: &Path) -> Option<PathStatus> {
        let below = path.strip_prefix(&self.mountpoint).unwrap_or(path);
        let state = self.opened.cache.file_state(below.to_str()?)?;
        let hydrated = self.opened.cache.present_bytes(state.name.ino).unwrap_or(0);
        Some(PathStatus {
            path: path.to_owned(),
            state: state.word().to_owned(),
            size: state.inode.size,
            hydrated,
        })
    }
}
