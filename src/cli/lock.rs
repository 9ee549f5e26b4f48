//! `bayou lock`: who holds the lock of a bucket, and the way out when its holder is gone.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::arguments::{self, BucketArgs};
use super::{output, runtime, units};
use crate::control::{Failure, FailureKind};
use crate::model::lock_name::LockName;
use crate::os::clock::SharedClock;
use crate::session::bucket_lock::{self, LockPlace, LockRelease, LockStatus};

/// Show who holds the lock of a bucket, or break it
#[derive(Debug, Args)]
#[command(
    after_help = "The lock is swamp's too: its clients and bayou take turns by it.\n\nExample:\n  bayou lock status s3://bucket/team"
)]
pub(super) struct LockArgs {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Status(StatusArgs),
    Release(ReleaseArgs),
}

/// Show who holds the lock and since when
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bayou lock status s3://bucket/team --json")]
struct StatusArgs {
    #[command(flatten)]
    lock: WhichArgs,
}

/// Break a lock whose holder is gone
#[derive(Debug, Args)]
#[command(
    after_help = "A lock lapses by itself when its holder has stopped; break it only if that cannot be waited for, or if it cannot be read.\n\nExample:\n  bayou lock release s3://bucket/team --force"
)]
struct ReleaseArgs {
    /// Break it; without this it is only said what would be broken
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    lock: WhichArgs,
}

/// Which lock of which bucket.
#[derive(Debug, Args)]
struct WhichArgs {
    /// The bucket: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The lock of one model instead of the bucket's
    #[arg(long, value_name = "TYPE/ID")]
    model: Option<String>,
    /// Print JSON with stable keys
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bucket: BucketArgs,
}

impl WhichArgs {
    fn place(&self) -> Result<LockPlace, Failure> {
        let source = arguments::source(&self.source)?;
        let namespace = self.bucket.namespace();
        let name = match &self.model {
            Some(model) => LockName::of_model(namespace, model)
                .map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))?,
            None => LockName::of_bucket(namespace),
        };
        let access = self.bucket.access(&source)?;
        Ok(LockPlace { source: source.to_string(), access, name })
    }
}

pub(super) fn run(args: &LockArgs, clock: SharedClock) -> Result<(), Failure> {
    match &args.command {
        Sub::Status(args) => status(&args.lock, clock),
        Sub::Release(args) => release(args, clock),
    }
}

fn status(which: &WhichArgs, clock: SharedClock) -> Result<(), Failure> {
    let place = which.place()?;
    let status = runtime()?.block_on(bucket_lock::status(&place, clock))?;
    if which.json {
        output::json(&status);
    } else {
        describe(&status).into_iter().for_each(output::line);
    }
    Ok(())
}

fn release(args: &ReleaseArgs, clock: SharedClock) -> Result<(), Failure> {
    let place = args.lock.place()?;
    let agree = |status: &LockStatus| if args.force { Ok(()) } else { Err(needs_force(status)) };
    let release = runtime()?.block_on(bucket_lock::release(&place, agree, clock))?;
    if args.lock.json {
        output::json(&release);
    } else {
        output::line(conclude(&release));
    }
    Ok(())
}

/// Returns the lines that say how a lock stands.
fn describe(status: &LockStatus) -> Vec<String> {
    let LockStatus { source, key, .. } = status;
    if !status.held {
        return vec![format!("{source}: nobody holds the lock {key}")];
    }
    let mut lines = vec![format!("{source}: the lock {key} is held by {}", holder(status))];
    let mut row = |name: &str, value: String| lines.push(format!("  {name:<14} {value}"));
    if let Some(age_ms) = status.age_ms {
        row("last renewed", format!("{} ago", span(age_ms)));
    }
    if let Some(time) = &status.acquired_at {
        row("says", time.clone());
    }
    if let Some(ttl_ms) = status.ttl_ms {
        let lapsed = if status.lapsed { ", which is over: whoever wants it takes it" } else { "" };
        row("counts for", format!("{}{lapsed}", span(ttl_ms)));
    }
    if status.holder.is_none() {
        row("way out", format!("it never lapses; {} breaks it", breaking(status)));
    }
    lines
}

/// Returns who holds a lock, in words.
fn holder(status: &LockStatus) -> String {
    match (&status.holder, status.pid) {
        (Some(holder), Some(pid)) => format!("{holder} (pid {pid})"),
        (Some(holder), None) => holder.clone(),
        (None, _) => "somebody who wrote nothing that can be read".to_owned(),
    }
}

fn needs_force(status: &LockStatus) -> Failure {
    let LockStatus { source, key, .. } = status;
    let age = status.age_ms.map(|age_ms| format!(", who renewed it {} ago", span(age_ms)));
    let message = format!(
        "The lock {key} of {source} is held by {}{}. If that process still runs, breaking its lock lets two write \
         at once; make sure that it does not, and say {}",
        holder(status),
        age.unwrap_or_default(),
        breaking(status)
    );
    Failure::new(FailureKind::Usage, message)
}

fn conclude(release: &LockRelease) -> String {
    let LockStatus { source, key, .. } = &release.previous;
    match &release.reason {
        None => format!("Broke the lock {key} of {source}; it was held by {}", holder(&release.previous)),
        Some(reason) => format!("Nothing to break: the lock {key} of {source} is free, {reason}"),
    }
}

/// Returns the words that break this lock.
fn breaking(status: &LockStatus) -> String {
    let flags = LockName::of_key(&status.key).map(|name| name.flags()).unwrap_or_default();
    format!("`bayou lock release {}{flags} --force`", status.source)
}

fn span(ms: u64) -> String {
    units::span(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> LockStatus {
        LockStatus {
            source: "s3://b".to_owned(),
            key: ".datastore.lock".to_owned(),
            held: true,
            holder: Some("alice@build-3".to_owned()),
            hostname: Some("build-3".to_owned()),
            pid: Some(4711),
            acquired_at: Some("2026-08-01T09:31:12.500Z".to_owned()),
            ttl_ms: Some(30_000),
            nonce: Some("n".to_owned()),
            age_ms: Some(12_345),
            lapsed: false,
        }
    }

    #[test]
    fn a_lock_is_described_in_plain_lines() {
        let expected = [
            "s3://b: the lock .datastore.lock is held by alice@build-3 (pid 4711)",
            "  last renewed   12s ago",
            "  says           2026-08-01T09:31:12.500Z",
            "  counts for     30s",
        ];
        assert_eq!(describe(&held()), expected);
        let free = LockStatus { held: false, ..held() };
        assert_eq!(describe(&free), ["s3://b: nobody holds the lock .datastore.lock"]);
        let dead = LockStatus { lapsed: true, ..held() };
        assert!(describe(&dead)[3].ends_with("30s, which is over: whoever wants it takes it"));
    }

    #[test]
    fn a_lock_that_cannot_be_read_comes_with_the_way_out() {
        let (source, key) = (held().source, held().key);
        let garbage = LockStatus { source, key, held: true, age_ms: Some(7), ..LockStatus::default() };
        let said = describe(&garbage).join("\n");
        assert!(said.contains("nothing that can be read") && said.contains("7ms ago"), "{said}");
        assert!(said.contains("`bayou lock release s3://b --force`"), "{said}");
    }

    #[test]
    fn without_force_it_is_said_what_would_be_broken_and_how() {
        let key = "infra/data/probe/m-2/.lock".to_owned();
        let refused = needs_force(&LockStatus { key, ..held() });
        assert_eq!(refused.kind, FailureKind::Usage);
        for part in [
            "held by alice@build-3 (pid 4711), who renewed it 12s ago.",
            "`bayou lock release s3://b --namespace infra --model probe/m-2 --force`",
        ] {
            assert!(refused.message.contains(part), "{refused}");
        }
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let release = LockRelease { released: true, reason: None, previous: held() };
        let value = serde_json::to_value(&release).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&value), ["released", "reason", "previous"]);
        let expected = [
            "source",
            "key",
            "held",
            "holder",
            "hostname",
            "pid",
            "acquired_at",
            "ttl_ms",
            "nonce",
            "age_ms",
            "lapsed",
        ];
        assert_eq!(keys(&value["previous"]), expected);
        assert!(conclude(&release).starts_with("Broke the lock .datastore.lock of s3://b"));
        let free =
            LockRelease { released: false, reason: Some("nobody holds it".to_owned()), previous: held() };
        assert!(conclude(&free).ends_with("is free, nobody holds it"));
    }
}
