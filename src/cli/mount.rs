//! `bayou mount`: a bucket appears as a directory.
//!
//! The command returns when the mount answers and leaves a process behind; with `-f` the
//! process stays in the foreground. Both tell the service manager, if there is one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use parking_lot::Mutex;
use sd_notify::NotifyState;

use super::arguments::{self, BucketArgs, CacheArgs};
use super::daemon::{self, Herald};
use super::logging::{self, LogFormat};
use super::{output, runtime, units};
use crate::control::{Failure, FailureKind, Progress};
use crate::fs::front::FsyncMode;
use crate::os::clock::SharedClock;
use crate::session;
use crate::session::folders::{self, Folders};
use crate::session::options::{Event, MountOptions, SessionOptions};
use crate::sync::scope::KeyPrefix;

const EXAMPLES: &str = "A line of /etc/fstab:
  s3://bucket/prefix /mnt/data fuse.bayou _netdev,nofail,allow_other,x-systemd.automount 0 0

Example:
  bayou mount s3://bucket/prefix /mnt/data";

/// Show a bucket as a directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MountArgs {
    /// The bucket: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, file:///FOLDER or the path of a folder
    source: String,
    /// Where it appears: an empty directory
    dir: PathBuf,
    #[command(flatten)]
    bucket: BucketArgs,
    /// Show only what is at or below PATH, under its name in the whole tree
    #[arg(long, env = "BAYOU_UNDER", value_name = "PATH", help_heading = "Bucket")]
    under: Option<KeyPrefix>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// What the mount does with changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading and writing")]
struct WritingArgs {
    /// Write nothing to the bucket
    #[arg(long, env = "BAYOU_READ_ONLY", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    read_only: bool,
    /// How long a changed file rests before it is flushed; 0: close waits for the flush
    #[arg(long, env = "BAYOU_WRITE_BACK", value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    write_back: Duration,
    /// How often the bucket is asked for changes of others; 0: never
    #[arg(long, env = "BAYOU_REFRESH", value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    refresh: Duration,
    /// Where bytes are when fsync returns: in the bucket, or on this machine's disk
    #[arg(long, env = "BAYOU_FSYNC", value_name = "WHERE", default_value = "remote", value_parser = fsync_mode())]
    fsync: FsyncMode,
    /// Let other users in
    #[arg(long, env = "BAYOU_ALLOW_OTHER", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    allow_other: bool,
    /// Owner of files that have none of their own [default: who mounts]
    #[arg(long, env = "BAYOU_UID", value_name = "NUMBER")]
    uid: Option<u32>,
    /// Group of files that have none of their own [default: that of who mounts]
    #[arg(long, env = "BAYOU_GID", value_name = "NUMBER")]
    gid: Option<u32>,
}

fn fsync_mode() -> impl TypedValueParser<Value = FsyncMode> {
    PossibleValuesParser::new(["remote", "local"]).map(|word| match word.as_str() {
        "local" => FsyncMode::Local,
        _ => FsyncMode::Remote,
    })
}

/// What the process does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process and log")]
struct ProcessArgs {
    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    foreground: bool,
    /// Log more; twice: everything. BAYOU_LOG chooses more finely
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log file [default: state/bayou.log in the bucket's cache; standard error with -f]
    #[arg(long, env = "BAYOU_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How log lines look
    #[arg(long, env = "BAYOU_LOG_FORMAT", value_name = "FORMAT", default_value = "text", value_parser = log_format())]
    log_format: LogFormat,
    /// Show every setting with where it comes from, and do nothing
    #[arg(long)]
    print_config: bool,
    /// This is the process that stays behind.
    #[arg(long = daemon::FLAG, hide = true)]
    daemon_child: bool,
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"]).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

pub(super) fn run(
    args: &MountArgs,
    words: &[OsString],
    settings: &[String],
    clock: SharedClock,
) -> Result<(), Failure> {
    if args.process.print_config {
        settings.iter().for_each(output::line);
        return Ok(());
    }
    if args.process.daemon_child {
        return stay_behind(args, clock);
    }
    let plan = Plan::of(args)?;
    if args.process.foreground {
        return stay_in_foreground(args, plan, clock);
    }
    let mut meter = output::Meter::new(clock);
    daemon::start(words, |step| meter.show(&Progress { step: step.to_owned(), ..Progress::default() }))?;
    drop(meter);
    output::line(plan.mounted());
    Ok(())
}

/// A mount that was thought through, but not begun.
struct Plan {
    options: MountOptions,
    folders: Folders,
    log_file: PathBuf,
}

impl Plan {
    fn of(args: &MountArgs) -> Result<Self, Failure> {
        let source = arguments::source(&args.source)?;
        let whole = arguments::session_options(&source, &args.bucket, &args.cache, args.writing.read_only)?;
        let session = SessionOptions { under: args.under.clone(), ..whole };
        let homeless = |error: folders::Homeless| Failure::new(FailureKind::System, error.to_string());
        let folders = Folders::of_this_user().map_err(homeless)?;
        let cache = folders.cache_of(&session);
        let log_file = match &args.process.log_file {
            Some(file) => arguments::absolute(file.clone())?,
            None => folders::log_file(&cache),
        };
        let options = MountOptions {
            session,
            mountpoint: arguments::absolute(args.dir.clone())?,
            write_back: args.writing.write_back,
            refresh: args.writing.refresh,
            fsync: args.writing.fsync,
            allow_other: args.writing.allow_other,
            uid: args.writing.uid,
            gid: args.writing.gid,
        };
        Ok(Self { options, folders, log_file })
    }

    fn mounted(&self) -> String {
        let session = &self.options.session;
        let part = session.namespace.as_ref().map(|name| format!("Namespace {name} of ")).unwrap_or_default();
        format!("{part}{} is mounted at {}", session.source, self.options.mountpoint.display())
    }
}

fn stay_in_foreground(args: &MountArgs, plan: Plan, clock: SharedClock) -> Result<(), Failure> {
    let file = args.process.log_file.as_ref().map(|_| logging::open(&plan.log_file)).transpose()?;
    logging::begin(args.process.verbose, args.process.log_format, file)?;
    let mounted = plan.mounted();
    serve(plan, clock, move |event| {
        if *event == Event::Ready {
            output::line(&mounted);
        }
    })
}

/// Runs the mount in the process that the command started, and tells it how it goes.
fn stay_behind(args: &MountArgs, clock: SharedClock) -> Result<(), Failure> {
    let plan = Plan::of(args);
    let herald = Arc::new(Mutex::new(Herald::leave_session()?));
    let outcome = plan.and_then(|plan| {
        let log = logging::open(&plan.log_file)?;
        Herald::send_errors_to(&log)?;
        logging::begin(args.process.verbose, args.process.log_format, Some(log))?;
        let listener = Arc::clone(&herald);
        serve(plan, clock, move |event| match event {
            Event::Working(step) => listener.lock().working(step),
            Event::Ready => listener.lock().ready(),
            Event::Status(_) | Event::Stopping(_) => {}
        })
    });
    if let Err(failure) = outcome {
        tracing::error!(causes = ?failure.causes, "{}", failure.message);
        herald.lock().failed(&failure);
    }
    // The command that waits says it to people; nobody reads our exit code.
    Ok(())
}

/// Runs the mount until it ends.
fn serve(
    plan: Plan,
    clock: SharedClock,
    listen: impl Fn(&Event) + Send + Sync + 'static,
) -> Result<(), Failure> {
    let listener = Arc::new(move |event: Event| {
        tell_service_manager(&event);
        listen(&event);
    });
    runtime()?.block_on(session::mount(plan.options, plan.folders, listener, clock))
}

/// Tells systemd (`Type=notify`) how it goes; without systemd it does nothing.
fn tell_service_manager(event: &Event) {
    let states = match event {
        Event::Working(text) | Event::Status(text) => vec![NotifyState::Status(text)],
        Event::Ready => vec![NotifyState::Ready],
        Event::Stopping(text) => {
            // Data is on its way: the time for stopping begins anew.
            let more = NotifyState::ExtendTimeoutUsec(60_000_000);
            vec![NotifyState::Stopping, NotifyState::Status(text), more]
        }
    };
    if let Err(error) = sd_notify::notify(&states) {
        tracing::debug!(%error, "Service manager cannot be told");
    }
}
