//! `bayou sync`: bring a bucket and this machine together once.
//!
//! A mounted bucket is asked through its mount, so that one process owns the cache. One
//! command is one sync: what fails is not tried again here and ends in the exit code.

use std::path::{Path, PathBuf};

use clap::Args;

use super::arguments::{self, BucketArgs, CacheArgs};
use super::logging::{self, LogFormat};
use super::{output, runtime, status, system, units};
use crate::control::client::{AskError, Client, Patience};
use crate::control::place::{self, Found};
use crate::control::server::ProgressSink;
use crate::control::{Amount, Answer, Direction, Failure, FailureKind, Request, SyncSummary};
use crate::os::clock::SharedClock;
use crate::session;
use crate::session::folders::Folders;
use crate::session::options::SessionOptions;
use crate::sync::capabilities;
use crate::sync::scope::{BadScope, ModelId, SyncContext};

/// Bring a bucket and this machine together: pull, then push
#[derive(Debug, Args)]
#[command(
    after_help = "Without a target: the mount that the working directory is in.\n\nExample:\n  bayou sync --push /mnt/data"
)]
pub(super) struct SyncArgs {
    /// A path inside of a mount, or a bucket that is not mounted
    #[arg(value_name = "DIR|SOURCE")]
    target: Option<String>,
    /// Only take what the bucket has; takes no lock, writes nothing to the bucket
    #[arg(long, conflicts_with = "push")]
    pull: bool,
    /// Only give what is not in the bucket yet; downloads no content
    #[arg(long)]
    push: bool,
    /// Only files and folders at or below PATH; may be given again. Of a mount, PATH begins at
    /// its root, or is absolute
    #[arg(long, value_name = "PATH")]
    under: Vec<String>,
    /// Only what belongs to a model of swamp's; may be given again
    #[arg(long, value_name = "TYPE/ID")]
    model: Vec<ModelId>,
    /// Print JSON with stable keys
    #[arg(long)]
    json: bool,
    /// Log more; twice: everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

impl SyncArgs {
    fn direction(&self) -> Direction {
        match (self.pull, self.push) {
            (true, false) => Direction::Pull,
            (false, true) => Direction::Push,
            (true, true) | (false, false) => Direction::Both,
        }
    }

    /// Returns what the sync is to be about; paths in a mount may be absolute.
    fn context(&self, mountpoint: Option<&Path>) -> Result<SyncContext, Failure> {
        let prefix = |text: &String| {
            let inside = mountpoint.and_then(|mountpoint| Path::new(text).strip_prefix(mountpoint).ok());
            let path = inside.and_then(Path::to_str).unwrap_or(text);
            path.parse().map_err(|error: BadScope| {
                let message = match (&error, mountpoint) {
                    (BadScope::Absolute { text }, Some(mountpoint)) => {
                        format!("{text:?} is not in the mount on {}", mountpoint.display())
                    }
                    _ => error.to_string(),
                };
                Failure::new(FailureKind::Usage, message)
            })
        };
        let prefixes = self.under.iter().map(prefix).collect::<Result<_, _>>()?;
        Ok(SyncContext { models: self.model.clone(), prefixes })
    }
}

/// Adds how a folder is named that is a bucket, as people may have meant.
fn or_a_bucket(failure: Failure, target: Option<&String>) -> Failure {
    let folder = target.filter(|target| Path::new(target).is_dir());
    match folder.and_then(|folder| arguments::source(folder).ok()) {
        Some(source) if failure.kind == FailureKind::NotMounted => Failure {
            message: format!("{}; if it is a bucket, name it {source}", failure.message),
            ..failure
        },
        _ => failure,
    }
}

pub(super) fn run(args: &SyncArgs, clock: SharedClock) -> Result<(), Failure> {
    let homeless = |error: session::folders::Homeless| Failure::new(FailureKind::System, error.to_string());
    let folders = Folders::of_this_user().map_err(homeless)?;
    let summary = match &args.target {
        Some(target) if target.contains("://") => sync_source(args, target, &folders, clock)?,
        target => {
            let path = PathBuf::from(target.as_deref().unwrap_or("."));
            let (mountpoint, _) =
                status::mount_of(&folders, &path).map_err(|failure| or_a_bucket(failure, target.as_ref()))?;
            let found = status::running_mount(&folders, &mountpoint)?;
            args.bucket.check_namespace(&found.record)?;
            let context = args.context(Some(&mountpoint))?;
            ask(found, args.direction(), context, clock)?
        }
    };
    if args.json {
        output::json(&summary);
    } else {
        describe(&summary).into_iter().for_each(output::line);
    }
    judge(&summary)
}

/// Syncs a bucket through its mount if it has one here, else by ourselves.
fn sync_source(
    args: &SyncArgs,
    target: &str,
    folders: &Folders,
    clock: SharedClock,
) -> Result<SyncSummary, Failure> {
    let source = arguments::source(target)?;
    let whole = arguments::session_options(&source, &args.bucket, &args.cache, false)?;
    let (options, context) = place_of(whole, args.context(None)?, folders);
    let cache = folders.cache_of(&options);
    let running = place::running(folders);
    let running = running.map_err(|error| system("The running mounts cannot be read", &error))?;
    match running.into_iter().rfind(|found| found.record.cache_dir == cache) {
        Some(found) => ask(found, args.direction(), context, clock),
        None => {
            logging::begin(args.verbose, LogFormat::Text, None)?;
            sync_alone(options, folders.clone(), (args.direction(), context), clock)
        }
    }
}

/// Returns the cache to sync and what of it: all of the cache that mounts of exactly this part
/// have, if there is one, else a part of that of the whole.
fn place_of(whole: SessionOptions, context: SyncContext, folders: &Folders) -> (SessionOptions, SyncContext) {
    if let ([], [under]) = (&context.models[..], &context.prefixes[..]) {
        let part = SessionOptions { under: Some(under.clone()), ..whole.clone() };
        if folders.cache_of(&part).is_dir() {
            return (part, SyncContext::default());
        }
    }
    (whole, context)
}

/// Asks a mount; for less than everything only if it says that it can do with less.
fn ask(
    found: Found,
    direction: Direction,
    wanted: SyncContext,
    clock: SharedClock,
) -> Result<SyncSummary, Failure> {
    let mut client = Client::new(found)?;
    let context = if wanted.is_everything() { wanted } else { agree_with(&mut client, &wanted) };
    let mut meter = output::Meter::new(clock);
    let answer = client.ask(&Request::Sync { direction, context }, |progress| {
        meter.show(progress);
        Patience::Wait
    });
    match answer? {
        Answer::Synced(summary) => Ok(summary),
        other => Err(AskError::Unfit(Box::new(other)).into()),
    }
}

/// Asks a mount what it can do and returns what it is to be asked for.
fn agree_with(client: &mut Client, wanted: &SyncContext) -> SyncContext {
    let said = client.ask(&Request::Capabilities, |_| Patience::Wait).map(|answer| match answer {
        Answer::Capabilities(said) => Some(said),
        _ => None,
    });
    let context = capabilities::agree(wanted, said);
    if context.is_everything() {
        output::note("The mount cannot sync a part (it is of another version), so all of it is synced");
    }
    context
}

fn sync_alone(
    options: SessionOptions,
    folders: Folders,
    what: (Direction, SyncContext),
    clock: SharedClock,
) -> Result<SyncSummary, Failure> {
    let (sink, _) = ProgressSink::new();
    runtime()?.block_on(session::sync(options, folders, what, sink, clock))
}

/// Returns the lines that say what was done: only what was.
fn describe(summary: &SyncSummary) -> Vec<String> {
    let SyncSummary { source, scope, pulled, pushed, deleted, refused, remaining, conflicts, in_sync } =
        summary;
    let mut lines = Vec::new();
    match pulled {
        Some(0) => lines.push(format!("Pulled nothing new from {source}")),
        Some(entries) => {
            lines.push(format!("Pulled {} from {source}", units::count(*entries, "changed entry")))
        }
        None => {}
    }
    match pushed {
        Some(Amount { files: 0, .. }) if *deleted == 0 => lines.push(format!("Pushed nothing to {source}")),
        Some(Amount { files: 0, .. }) | None => {}
        Some(Amount { files, bytes }) => {
            let (files, bytes) = (units::count(*files, "file"), units::bytes(*bytes));
            lines.push(format!("Pushed {files} ({bytes}) to {source}"));
        }
    }
    if *deleted > 0 {
        lines.push(format!("Removed {} from {source}", units::count(*deleted, "file")));
    }
    if *refused > 0 {
        lines.push(format!("{} in the bucket cannot be shown as files", units::count(*refused, "key")));
    }
    lines.extend(conflicts.iter().map(|path| format!("Changed here and elsewhere: {path}")));
    if !scope.is_empty() {
        lines.push(format!("Only {} was looked at; the rest stays as it is", scope.join(", ")));
    }
    if *in_sync && remaining.files == 0 {
        lines.push("Both sides are the same".to_owned());
    }
    lines
}

/// Decides whether what was done is what was asked for.
fn judge(summary: &SyncSummary) -> Result<(), Failure> {
    if !summary.conflicts.is_empty() {
        let message = format!(
            "{} changed here and elsewhere; compare the files, keep one of each and remove the other",
            units::count(summary.conflicts.len() as u64, "file")
        );
        return Err(Failure::new(FailureKind::Conflicts, message));
    }
    if summary.pushed.is_some() && summary.remaining.files > 0 {
        let message = format!(
            "{} ({}) are not in {} yet; they changed during the sync or were refused, `bayou status` says more",
            units::count(summary.remaining.files, "file"),
            units::bytes(summary.remaining.bytes),
            summary.source
        );
        return Err(Failure::new(FailureKind::Unsynced, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> SyncSummary {
        let pushed = Some(Amount { files: 3, bytes: 4096 });
        SyncSummary {
            source: "s3://b".to_owned(),
            pulled: Some(1),
            pushed,
            in_sync: true,
            ..SyncSummary::default()
        }
    }

    #[test]
    fn what_was_done_is_said_and_nothing_else() {
        let expected = [
            "Pulled 1 changed entry from s3://b",
            "Pushed 3 files (4.0 KiB) to s3://b",
            "Both sides are the same",
        ];
        assert_eq!(describe(&summary()), expected);
        let pull = SyncSummary { pulled: Some(0), pushed: None, in_sync: false, ..summary() };
        assert_eq!(describe(&pull), ["Pulled nothing new from s3://b"]);
        let removals = SyncSummary {
            pulled: None,
            pushed: Some(Amount::default()),
            deleted: 2,
            in_sync: false,
            ..summary()
        };
        assert_eq!(describe(&removals), ["Removed 2 files from s3://b"]);
    }

    #[test]
    fn a_part_is_never_called_the_whole() {
        let part =
            SyncSummary { scope: vec!["t/m".to_owned(), "notes".to_owned()], in_sync: false, ..summary() };
        let said = describe(&part);
        assert_eq!(said.last().unwrap(), "Only t/m, notes was looked at; the rest stays as it is");
        assert!(!said.contains(&"Both sides are the same".to_owned()));
    }

    #[test]
    fn data_that_stays_behind_and_conflicts_decide_the_outcome() {
        assert!(judge(&summary()).is_ok());
        let remaining = Amount { files: 1, bytes: 1 };
        let behind = SyncSummary { remaining, ..summary() };
        assert_eq!(judge(&behind).unwrap_err().kind, FailureKind::Unsynced);
        assert!(!describe(&behind).contains(&"Both sides are the same".to_owned()));
        let only_pulled = SyncSummary { pushed: None, ..behind.clone() };
        assert!(judge(&only_pulled).is_ok());
        let conflicts = vec!["a.conflict-h".to_owned()];
        assert_eq!(judge(&SyncSummary { conflicts, ..behind }).unwrap_err().kind, FailureKind::Conflicts);
    }
}
