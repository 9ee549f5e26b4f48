//! One sync of a bucket that is not mounted: exactly one pull, one push, or both.

use super::failures;
use super::folders::Folders;
use super::opened::{self, Opened};
use super::options::SessionOptions;
use crate::control::server::ProgressSink;
use crate::control::{Amount, Direction, Failure, Progress, SyncSummary};
use crate::os::clock::SharedClock;
use crate::sync::SyncReport;
use crate::sync::scope::SyncContext;

/// Brings bucket and cache together once, or what the context names of them, and returns what
/// was done.
pub async fn sync(
    options: SessionOptions,
    folders: Folders,
    (direction, context): (Direction, SyncContext),
    progress: ProgressSink,
    clock: SharedClock,
) -> Result<SyncSummary, Failure> {
    progress.say(Progress { step: "pulling".to_owned(), ..Progress::default() });
    let read_only = options.read_only || direction == Direction::Pull;
    let options = SessionOptions { read_only, ..options };
    let opened = opened::open(&options, &folders, &context, &clock).await?;
    let pulled = opened.sync.last_started();
    let outcome = exchange(&opened, direction, pulled, &progress).await;
    opened::rest(&opened, &clock).await;
    opened::leave_lock(&opened, &clock).await;
    opened.cache.fold_catalog().map_err(|error| failures::of_cache(&error))?;
    outcome
}

async fn exchange(
    opened: &Opened,
    direction: Direction,
    pulled: SyncReport,
    progress: &ProgressSink,
) -> Result<SyncSummary, Failure> {
    let mut report = pulled;
    if direction != Direction::Pull {
        let total = opened::dirty(&opened.cache);
        progress.say(Progress { step: "uploading".to_owned(), total, ..Progress::default() });
        let pushed = opened.sync.push_within(&opened.context.scope()).await;
        report.add(pushed.map_err(|error| failures::of_sync(&opened.bucket.store.address(), &error))?);
    }
    Ok(summary(opened, direction, &opened.context, report))
}

/// Says what a sync did: only what was asked for is counted.
pub(super) fn summary(
    opened: &Opened,
    direction: Direction,
    context: &SyncContext,
    report: SyncReport,
) -> SyncSummary {
    let scope = context.scope();
    let part = opened.cache.part().filter(|_| context.is_everything());
    let left = opened.cache.pending_tally_of(|path| scope.contains(path));
    let pulled = (direction != Direction::Push).then_some(report.pulled + report.vanished);
    let pushed = Amount { files: report.pushed, bytes: report.pushed_bytes };
    SyncSummary {
        source: opened.bucket.store.address(),
        scope: context.words().into_iter().chain(part.map(|part| part.to_string())).collect(),
        pulled,
        pushed: (direction != Direction::Pull).then_some(pushed),
        deleted: report.deleted,
        refused: opened.sync.health().refused.len() as u64,
        remaining: Amount { files: left.names, bytes: left.bytes },
        conflicts: report.conflicts,
        in_sync: report.settled,
    }
}
