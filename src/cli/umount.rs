//! `bayou umount`: bring everything to the bucket, then take the mount down.
//!
//! `umount` of the system cannot wait for a daemon, so we ask the daemon first, show how far
//! it is, and detach when it is done. Where it gets nowhere, what is left stays in the cache.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::{output, system, units};
use crate::control::client::{AskError, Client, Patience};
use crate::control::place::{self, Found};
use crate::control::{Amount, Answer, Failure, FailureKind, FlushSummary, Progress, Request};
use crate::fs::mount::{self, Detach, Unmounted};
use crate::fs::mount_table::{self, MountEntry};
use crate::fs::mountpoint;
use crate::os::clock::SharedClock;
use crate::session::failures;
use crate::session::folders::Folders;

/// How long a process may take to end once nothing is left to do.
const LAST_STEPS: Duration = Duration::from_secs(30);

/// Bring everything to the bucket and unmount
#[derive(Debug, Args)]
#[command(after_help = "A mount whose process has died is cleaned up.\n\nExample:\n  bayou umount /mnt/data")]
pub(super) struct UmountArgs {
    /// Where the bucket is mounted
    dir: PathBuf,
    /// Give up when nothing has reached the bucket for so long; what is left stays in the cache
    #[arg(long, env = "BAYOU_TIMEOUT", value_name = "TIME", default_value = "60s",
          value_parser = units::positive_duration)]
    timeout: Duration,
    /// Do not wait: detach even if it is in use, and let the process bring the rest to the bucket
    #[arg(short, long)]
    lazy: bool,
}

pub(super) fn run(args: &UmountArgs, clock: SharedClock) -> Result<(), Failure> {
    let path = resolve(&args.dir)?;
    let entry =
        mount_table::topmost_at(&path).map_err(|error| system("The mounts cannot be read", &error))?;
    let entry = entry.filter(MountEntry::is_ours);
    let running = match Folders::of_this_user() {
        Ok(folders) => place::running_at(&folders, &path)
            .map_err(|error| system("The running mounts cannot be read", &error))?,
        Err(_) => Vec::new(),
    };
    match (entry, running.into_iter().next_back()) {
        (None, None) => Err(not_mounted(&path)),
        (Some(entry), _) if args.lazy => detach_lazily(&entry),
        (None, Some(_)) if args.lazy => Err(not_mounted(&path)),
        (Some(entry), None) => unmount_unasked(&entry),
        (_, Some(found)) => flush_and_leave(found, args.timeout, clock),
    }
}

fn resolve(dir: &Path) -> Result<PathBuf, Failure> {
    mountpoint::resolve(dir).map_err(|error| {
        Failure::new(
            FailureKind::NotMounted,
            format!("{} is not a directory that can be looked at", dir.display()),
        )
        .caused_by(&error)
    })
}

fn not_mounted(path: &Path) -> Failure {
    let message = format!("Nothing of bayou is mounted on {}; `bayou status` lists what is", path.display());
    Failure::new(FailureKind::NotMounted, message)
}

/// Unmounts without a daemon that could be asked: it is dead, or another user's.
fn unmount_unasked(entry: &MountEntry) -> Result<(), Failure> {
    let path = &entry.mountpoint;
    let source = entry.source.to_string_lossy();
    if mountpoint::is_stale(path) {
        unmount(path, Detach::Now)?;
        output::line(format_args!(
            "The process behind {} had died; the mount is cleaned up. What had not reached {source} is in its \
             cache, and the next such mount pushes it, or `bayou sync {source}` with the same flags",
            path.display()
        ));
        return Ok(());
    }
    unmount(path, Detach::WhenIdle)?;
    // Where we may not unmount, the helper finds nothing of ours and says that it is gone.
    if mount_table::topmost_at(path).is_ok_and(|left| left.as_ref() == Some(entry)) {
        let message =
            format!("The mount on {} belongs to another user; ask as that user or as root", path.display());
        return Err(Failure::new(FailureKind::NotPermitted, message));
    }
    output::line(format_args!(
        "Unmounted {}; its process belongs to somebody else and brings what is left to {source} by itself",
        path.display()
    ));
    Ok(())
}

fn detach_lazily(entry: &MountEntry) -> Result<(), Failure> {
    unmount(&entry.mountpoint, Detach::Now)?;
    output::line(format_args!(
        "Detached {}; its process goes on until everything is in {}",
        entry.mountpoint.display(),
        entry.source.to_string_lossy()
    ));
    Ok(())
}

fn unmount(path: &Path, detach: Detach) -> Result<Unmounted, Failure> {
    mount::unmount_path(path, detach).map_err(|error| failures::of_unmount(&error))
}

/// Asks the daemon to flush, shows how far it is, and then to end.
fn flush_and_leave(found: Found, timeout: Duration, clock: SharedClock) -> Result<(), Failure> {
    let path = found.record.mountpoint.clone();
    let mut client = Client::new(found)?;
    let mut meter = output::Meter::new(clock.clone());
    let mut stall = Stall::new(timeout, clock);
    let flushed = client.ask(&Request::Flush, |progress| {
        meter.show(progress);
        stall.judge(progress)
    });
    drop(meter);
    match flushed {
        Ok(Answer::Flushed(summary)) => {
            let (client, kept) = leave(client, false)?;
            finish(&client, &summary, kept)
        }
        Ok(other) => Err(AskError::Unfit(Box::new(other)).into()),
        Err(AskError::Gone) => match mount_table::topmost_at(&path) {
            // It died as it was asked: what it left is that of any dead one.
            Ok(Some(entry)) if mountpoint::is_stale(&path) => unmount_unasked(&entry),
            Ok(Some(_)) | Err(_) => give_up(AskError::Gone, &path, timeout),
            Ok(None) => Err(AskError::Gone.into()),
        },
        // What it was about to bring may be brought by another attempt: nothing is given up.
        Err(AskError::Failed(failure)) if failure.kind == FailureKind::Panicked => {
            Err(still_mounted(&path, failure))
        }
        Err(reason) => give_up(reason, &path, timeout),
    }
}

/// Says that a mistake of the mount kept it from being flushed, and that it goes on.
fn still_mounted(path: &Path, failure: Failure) -> Failure {
    let message = format!(
        "{} stays mounted, because the program made a mistake as it brought changes to the bucket; they are kept, and \
         `bayou umount` may be tried again",
        path.display()
    );
    let causes = std::iter::once(failure.message).chain(failure.causes).collect();
    Failure { kind: FailureKind::Panicked, message, causes }
}

/// Detaches although data remains, and says where it is.
fn give_up(reason: AskError, path: &Path, timeout: Duration) -> Result<(), Failure> {
    let why: Failure = match reason {
        AskError::GivenUp => {
            let message =
                format!("Nothing has reached the bucket for {}", humantime::format_duration(timeout));
            Failure::new(FailureKind::Unsynced, message)
        }
        other => other.into(),
    };
    // The first connection still waits for its answer, so the rest is asked over a second one.
    let folders = Folders::of_this_user().map_err(|error| system("The mount cannot be asked", &error))?;
    let again =
        place::running_at(&folders, path).map_err(|error| system("The mount cannot be asked", &error))?;
    let Some(found) = again.into_iter().next_back() else { return Err(why) };
    let (client, kept) = leave(Client::new(found)?, true)?;
    client.wait_for_end(LAST_STEPS);
    let mut failure = unsynced(&client, kept);
    failure.causes = [why.message].into_iter().chain(why.causes).collect();
    Err(failure)
}

fn leave(mut client: Client, keep: bool) -> Result<(Client, Amount), Failure> {
    match client.ask(&Request::Detach { keep }, |_| Patience::Wait) {
        Ok(Answer::Detached { kept }) => Ok((client, kept)),
        Ok(other) => Err(AskError::Unfit(Box::new(other)).into()),
        Err(error) => Err(error.into()),
    }
}

fn finish(client: &Client, summary: &FlushSummary, kept: Amount) -> Result<(), Failure> {
    if !client.wait_for_end(LAST_STEPS) {
        let pid = client.record().pid;
        output::note(format_args!("Unmounted, but process {pid} has not ended yet"));
    }
    for conflict in &summary.conflicts {
        output::note(format_args!("Changed here and elsewhere: {conflict}"));
    }
    if kept.files > 0 {
        return Err(unsynced(client, kept));
    }
    output::line(describe(summary));
    Ok(())
}

fn describe(summary: &FlushSummary) -> String {
    let FlushSummary { source, flushed, deleted, .. } = summary;
    let removed =
        if *deleted > 0 { format!(", removed {}", units::count(*deleted, "file")) } else { String::new() };
    if flushed.files == 0 && *deleted == 0 {
        return format!("Unmounted; everything was in {source} already");
    }
    format!(
        "Flushed {} ({}) to {source}{removed}",
        units::count(flushed.files, "file"),
        units::bytes(flushed.bytes)
    )
}

fn unsynced(client: &Client, kept: Amount) -> Failure {
    let record = client.record();
    let message = format!(
        "Unmounted {}, but {} ({}) did not reach {} and stay in {}; the next mount or `bayou sync` with this cache pushes them",
        record.mountpoint.display(),
        units::count(kept.files, "file"),
        units::bytes(kept.bytes),
        record.source,
        record.cache_dir.display(),
    );
    Failure::new(FailureKind::Unsynced, message)
}

/// Notices that nothing moves.
struct Stall {
    clock: SharedClock,
    limit: Duration,
    last: (Progress, Instant),
}

impl Stall {
    fn new(limit: Duration, clock: SharedClock) -> Self {
        let now = clock.instant();
        Self { clock, limit, last: (Progress::default(), now) }
    }

    fn judge(&mut self, progress: &Progress) -> Patience {
        let now = self.clock.instant();
        if self.last.0 != *progress {
            self.last = (progress.clone(), now);
        }
        if now.duration_since(self.last.1) >= self.limit { Patience::GiveUp } else { Patience::Wait }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::os::clock::ManualClock;

    #[test]
    fn patience_lasts_as_long_as_something_moves() {
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
        let mut stall = Stall::new(Duration::from_secs(10), Arc::new(Arc::clone(&clock)));
        let moved = |files| Progress { done: Amount { files, bytes: 0 }, ..Progress::default() };
        for files in 1..5 {
            clock.advance(Duration::from_secs(9));
            assert_eq!(stall.judge(&moved(files)), Patience::Wait);
        }
        clock.advance(Duration::from_secs(9));
        assert_eq!(stall.judge(&moved(4)), Patience::Wait);
        clock.advance(Duration::from_secs(1));
        assert_eq!(stall.judge(&moved(4)), Patience::GiveUp);
    }

    #[test]
    fn what_was_flushed_is_said_in_one_line() {
        let source = "s3://b/p".to_owned();
        let flushed = Amount { files: 12, bytes: 3_565_158 };
        let summary = FlushSummary { source: source.clone(), flushed, ..FlushSummary::default() };
        assert_eq!(describe(&summary), "Flushed 12 files (3.4 MiB) to s3://b/p");
        let removed = FlushSummary { deleted: 1, ..summary };
        assert_eq!(describe(&removed), "Flushed 12 files (3.4 MiB) to s3://b/p, removed 1 file");
        let nothing = FlushSummary { source, ..FlushSummary::default() };
        assert_eq!(describe(&nothing), "Unmounted; everything was in s3://b/p already");
    }
}
