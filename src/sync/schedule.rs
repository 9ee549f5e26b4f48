//! What goes on by itself while a mount runs: write-back, refresh, durable points, settling.
//!
//! Nothing is done, and nobody wakes, while nothing is to be done. After a failure, or a panic, the next attempt
//! waits longer, up to a minute; a flush that somebody waits for never waits for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::guarded::Round;
use super::{SyncError, SyncService};

/// Least time that a file rests, and between two pushes. What becomes due within it of something
/// else that is due goes with it.
const TICK: Duration = Duration::from_millis(500);
/// How long a file that never rests stays unpushed, in multiples of the write-back time.
const MOST_RESTS: u32 = 6;
/// How long everything rests before the cache is marked clean, and longest wait until that is
/// tried again.
const SETTLE_AFTER: Duration = Duration::from_secs(2);
const SETTLE_EVERY: Duration = Duration::from_secs(8);
/// Longest time between two local durable points while anything is dirty.
const DURABLE_EVERY: Duration = Duration::from_secs(4);
/// Longest wait after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When things are done.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// How long a changed file rests before it is pushed.
    pub write_back: Duration,
    /// How often the index is looked at; zero: never.
    pub refresh: Duration,
}

/// Runs until `stop` says so (or its sender is gone).
pub async fn run(service: Arc<SyncService>, schedule: Schedule, stop: watch::Receiver<bool>) {
    tokio::join!(
        write_back(Arc::clone(&service), schedule, stop.clone()),
        refresh(Arc::clone(&service), schedule, stop.clone()),
        keep_durable(service, stop),
    );
}

async fn write_back(service: Arc<SyncService>, schedule: Schedule, mut stop: watch::Receiver<bool>) {
    let rest = schedule.write_back.max(TICK);
    let at_most = rest * MOST_RESTS;
    let (mut pause, mut has_paused) = (Duration::ZERO, true);
    let mut idle = SETTLE_AFTER;
    loop {
        let least = if has_paused { Duration::ZERO } else { pause };
        let due_in = match service.cache().read_only_reason() {
            Some(_) => None,
            None => service.cache().due_in(rest, at_most, TICK),
        };
        let changed = async {
            // What is pending already says itself when it is due.
            match due_in {
                Some(_) => std::future::pending().await,
                None => service.cache().became_dirty().await,
            }
        };
        tokio::select! {
            stopped = wait(&service, due_in.unwrap_or(idle).max(least), &mut stop) => {
                if stopped {
                    return;
                }
            }
            () = changed => {
                (has_paused, idle) = (true, SETTLE_AFTER);
                continue;
            }
        }
        has_paused = true;
        if due_in.is_none() {
            report(service.guarded(Round::Flush, service.rest()).await);
            idle = (idle * 2).min(SETTLE_EVERY);
            continue;
        }
        if service.cache().due_in(rest, at_most, TICK).is_none_or(|left| !left.is_zero()) {
            // More came, or the same changed again.
            continue;
        }
        let due = service.cache().due(rest, at_most);
        let outcome = service.guarded(Round::Flush, service.push_names(due)).await;
        pause = next_pause(pause, outcome.is_ok()).max(TICK);
        (has_paused, idle) = (false, SETTLE_AFTER);
        report(outcome.map(drop));
    }
}

async fn refresh(service: Arc<SyncService>, schedule: Schedule, mut stop: watch::Receiver<bool>) {
    if schedule.refresh.is_zero() {
        return;
    }
    let mut pause = Duration::ZERO;
    while !wait(&service, schedule.refresh.max(pause), &mut stop).await {
        let outcome = service.guarded(Round::Refresh, service.pull()).await;
        pause = next_pause(pause, outcome.is_ok());
        report(outcome.map(drop));
    }
}

async fn keep_durable(service: Arc<SyncService>, mut stop: watch::Receiver<bool>) {
    while !wait(&service, DURABLE_EVERY, &mut stop).await {
        if let Err(failed) = service.guarded(Round::DurablePoint, durable_point(&service)).await {
            tracing::error!(error = super::describe(&failed), "Changed files could not be written down");
        }
    }
}

/// Writes down what changed, on a thread that may wait for the disk.
async fn durable_point(service: &SyncService) -> super::Result<()> {
    let cache = Arc::clone(service.cache());
    match tokio::task::spawn_blocking(move || cache.durable_point()).await {
        Ok(point) => point.map_err(SyncError::cache("Writing down changed files")),
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends.
            Err(_cancelled) => Ok(()),
        },
    }
}

/// Waits; returns whether to stop.
async fn wait(service: &SyncService, time: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = service.clock.sleep(time) => *stop.borrow(),
        changed = stop.changed() => changed.is_err() || *stop.borrow(),
    }
}

fn next_pause(pause: Duration, went_well: bool) -> Duration {
    if went_well { Duration::ZERO } else { (pause * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE) }
}

fn report(outcome: super::Result<()>) {
    if let Err(failed) = outcome {
        tracing::warn!(error = super::describe(&failed), "It is tried again later");
    }
}
