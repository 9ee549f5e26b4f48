//! `bayou status`: how mounts stand, and how files in them stand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{arguments, output, system, units};
use crate::control::client::{AskError, Client, Patience};
use crate::control::place::{self, Found};
use crate::control::{Amount, Answer, Failure, FailureKind, MountStatus, PathStatus, Request};
use crate::fs::mount_table;
use crate::fs::mountpoint;
use crate::session::folders::Folders;

/// How long a mount may take to say how it stands, which it knows by heart.
const PROMPT: Duration = Duration::from_secs(5);

/// Show what is not in the bucket yet, what is in conflict and what is cached
#[derive(Debug, Args)]
#[command(
    after_help = "Without a path: every mount of this user.\n\nExample:\n  bayou status /mnt/data/report.txt --json"
)]
pub(super) struct StatusArgs {
    /// Mountpoints, or files and directories inside of mounts
    paths: Vec<PathBuf>,
    /// Print JSON with stable keys
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    mounts: Vec<MountStatus>,
    /// Mountpoints whose process has died.
    dead: Vec<PathBuf>,
    /// Mountpoints whose process does not answer.
    silent: Vec<PathBuf>,
}

pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let folders =
        Folders::of_this_user().map_err(|error| Failure::new(FailureKind::System, error.to_string()))?;
    let report =
        if args.paths.is_empty() { report_all(&folders)? } else { report_paths(&folders, &args.paths)? };
    if args.json {
        output::json(&report);
        return Ok(());
    }
    for status in &report.mounts {
        describe(status).into_iter().for_each(output::line);
    }
    for path in &report.dead {
        let path = path.display();
        output::line(format_args!("{path}: its process has died; `bayou umount {path}` cleans it up"));
    }
    if report.mounts.is_empty() && report.dead.is_empty() && report.silent.is_empty() {
        output::line("Nothing is mounted");
    }
    Ok(())
}

fn report_all(folders: &Folders) -> Result<Report, Failure> {
    let running =
        place::running(folders).map_err(|error| system("The running mounts cannot be read", &error))?;
    let known: Vec<PathBuf> = running.iter().map(|found| found.record.mountpoint.clone()).collect();
    let (mut mounts, mut silent) = (Vec::new(), Vec::new());
    for found in running {
        let mountpoint = found.record.mountpoint.clone();
        match ask(found, Vec::new()) {
            Ok(status) => mounts.push(status),
            // One that hangs, or ends this moment, must not hide the others.
            Err(reason) => {
                silent.extend(matches!(reason, AskError::Silent { .. }).then_some(mountpoint));
                output::failure(&reason.into());
            }
        }
    }
    let entries = mount_table::ours().map_err(|error| system("The mounts cannot be read", &error))?;
    let is_known = |path: &PathBuf| known.contains(path);
    let others = entries.into_iter().map(|entry| entry.mountpoint).filter(|path| !is_known(path));
    let dead = others.filter(|path| mountpoint::is_stale(path));
    Ok(Report { mounts, dead: dead.collect(), silent })
}

/// Asks each mount once about all the paths that are in it.
fn report_paths(folders: &Folders, paths: &[PathBuf]) -> Result<Report, Failure> {
    let mut asked: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    for path in paths {
        let (mountpoint, inside) = mount_of(folders, path)?;
        let position = asked.iter().position(|(known, _)| *known == mountpoint).unwrap_or_else(|| {
            asked.push((mountpoint, Vec::new()));
            asked.len() - 1
        });
        asked[position].1.extend(inside);
    }
    let mut mounts = Vec::new();
    for (mountpoint, inside) in asked {
        mounts.push(ask(running_mount(folders, &mountpoint)?, inside)?);
    }
    Ok(Report { mounts, dead: Vec::new(), silent: Vec::new() })
}

/// Returns the mountpoint that a path is at or in, and the path inside of it.
pub(super) fn mount_of(folders: &Folders, path: &Path) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    let entries = mount_table::ours().map_err(|error| system("The mounts cannot be read", &error))?;
    let mounted: Vec<PathBuf> = entries.into_iter().map(|entry| entry.mountpoint).collect();
    let path = locate(path, &mounted)?;
    let draining =
        place::running(folders).unwrap_or_default().into_iter().map(|found| found.record.mountpoint);
    let around = mounted.into_iter().chain(draining).filter(|mountpoint| path.starts_with(mountpoint));
    match around.max_by_key(|mountpoint| mountpoint.as_os_str().len()) {
        Some(mountpoint) => {
            let inside = path.strip_prefix(&mountpoint).ok().filter(|rest| !rest.as_os_str().is_empty());
            let inside = inside.map(Path::to_owned);
            Ok((mountpoint, inside))
        }
        None => {
            let message = format!(
                "{} is not in a mount of bayou; `bayou status` lists what is mounted",
                path.display()
            );
            Err(Failure::new(FailureKind::NotMounted, message))
        }
    }
}

/// Returns the path without symlinks; inside of a mount the last part may be one, or missing.
/// The mounts themselves are not asked: their processes may be dead, or hang.
fn locate(path: &Path, mounts: &[PathBuf]) -> Result<PathBuf, Failure> {
    let absolute = arguments::absolute(path.to_owned())?;
    if let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name())
        && let Ok(parent) = mountpoint::resolve(parent)
    {
        let place = parent.join(name);
        if mounts.iter().any(|mount| place.starts_with(mount)) {
            return Ok(place);
        }
    }
    Ok(mountpoint::resolve(path).unwrap_or(absolute))
}

/// Returns the running mount at a mountpoint, or says why there is none to ask.
pub(super) fn running_mount(folders: &Folders, mountpoint: &Path) -> Result<Found, Failure> {
    let running = place::running_at(folders, mountpoint);
    let running = running.map_err(|error| system("The running mounts cannot be read", &error))?;
    running.into_iter().next_back().ok_or_else(|| {
        let path = mountpoint.display();
        if mountpoint::is_stale(mountpoint) {
            let message = format!("The process behind {path} has died; `bayou umount {path}` cleans it up");
            return Failure::new(FailureKind::NotMounted, message);
        }
        let message = format!("The mount on {path} belongs to another user; ask as that user or as root");
        Failure::new(FailureKind::NotPermitted, message)
    })
}

fn ask(found: Found, paths: Vec<PathBuf>) -> Result<MountStatus, AskError> {
    let mut client = Client::new(found)?;
    client.set_silence(PROMPT)?;
    match client.ask(&Request::Status { paths }, |_| Patience::Wait)? {
        Answer::Status(status) => Ok(*status),
        other => Err(AskError::Unfit(Box::new(other))),
    }
}

/// Returns the lines that say how a mount stands.
fn describe(status: &MountStatus) -> Vec<String> {
    let mut lines =
        vec![format!("{} on {}: {}", status.source, status.mountpoint.display(), status.state.word())];
    let mut row = |name: &str, value: String| lines.push(format!("  {name:<22} {value}"));
    if let Some(namespace) = &status.namespace {
        row("namespace", namespace.clone());
    }
    if let Some(under) = &status.under {
        row("only below", under.clone());
    }
    if let Some(reason) = &status.read_only_reason {
        row("read-only", reason.clone());
    }
    row("not in the bucket yet", amount(status.dirty));
    if status.uploading != Amount::default() {
        row("on its way", units::count(status.uploading.files, "file"));
    }
    for conflict in &status.conflicts {
        row("conflict", conflict.clone());
    }
    row("in the index", units::count(status.index_entries, "entry"));
    if status.refused_keys > 0 {
        row("cannot be shown", units::count(status.refused_keys, "key"));
    }
    let limit = units::bytes(status.cache_limit_bytes);
    row(
        "cached",
        format!("{} of {limit} in {}", units::bytes(status.cached_bytes), status.cache_dir.display()),
    );
    row("last pull", status.last_pull.clone().unwrap_or_else(|| "never".to_owned()));
    if let Some(since) = &status.offline_since {
        row("offline since", since.clone());
    }
    if let Some(error) = &status.last_error {
        row("last error", error.clone());
    }
    row("requests", status.requests.to_string());
    row("passthrough", passthrough(status));
    row("process", status.pid.to_string());
    lines.extend(status.paths.iter().map(describe_path));
    lines
}

fn passthrough(status: &MountStatus) -> String {
    match &status.passthrough_off {
        Some(reason) => format!("off: {reason}"),
        None => units::count(status.passthrough_opens, "open"),
    }
}

fn amount(amount: Amount) -> String {
    match amount.files {
        0 => "nothing".to_owned(),
        files => format!("{} ({})", units::count(files, "file"), units::bytes(amount.bytes)),
    }
}

fn describe_path(path: &PathStatus) -> String {
    let here = format!("{} of {} here", units::bytes(path.hydrated), units::bytes(path.size));
    format!("  {}: {}, {here}", path.path.display(), path.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::MountState;

    fn status() -> MountStatus {
        MountStatus {
            source: "s3://b/p".to_owned(),
            namespace: Some("infra".to_owned()),
            under: Some("data/a".to_owned()),
            mountpoint: "/mnt/a".into(),
            pid: 7,
            state: MountState::Offline,
            read_only_reason: None,
            dirty: Amount { files: 1, bytes: 2048 },
            uploading: Amount::default(),
            conflicts: vec!["a.conflict-h.txt".to_owned()],
            refused_keys: 0,
            cached_bytes: 4096,
            cache_limit_bytes: 10 << 30,
            cache_dir: "/c".into(),
            index_entries: 2,
            last_pull: None,
            last_error: Some("No route".to_owned()),
            offline_since: Some("2026-01-02T03:04:05Z".to_owned()),
            requests: 17,
            fetched_bytes: 5,
            evictions: 1,
            evicted_bytes: 3,
            passthrough_opens: 4,
            passthrough_off: None,
            kernel_requests: std::iter::once(("lookup".to_owned(), 5)).collect(),
            paths: vec![PathStatus { path: "x".into(), state: "dirty".to_owned(), size: 10, hydrated: 5 }],
        }
    }

    #[test]
    fn a_status_says_what_matters_in_plain_lines() {
        let text = describe(&status()).join("\n");
        assert_eq!(
            text,
            "s3://b/p on /mnt/a: offline\n\
             \x20 namespace              infra\n\
             \x20 only below             data/a\n\
             \x20 not in the bucket yet  1 file (2.0 KiB)\n\
             \x20 conflict               a.conflict-h.txt\n\
             \x20 in the index           2 entries\n\
             \x20 cached                 4.0 KiB of 10.0 GiB in /c\n\
             \x20 last pull              never\n\
             \x20 offline since          2026-01-02T03:04:05Z\n\
             \x20 last error             No route\n\
             \x20 requests               17\n\
             \x20 passthrough            4 opens\n\
             \x20 process                7\n\
             \x20 x: dirty, 5 bytes of 10 bytes here"
        );
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let value = serde_json::to_value(Report {
            mounts: vec![status()],
            dead: vec!["/mnt/b".into()],
            silent: vec!["/mnt/c".into()],
        })
        .unwrap();
        let keys: Vec<&String> = value["mounts"][0].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "source",
                "namespace",
                "under",
                "mountpoint",
                "pid",
                "state",
                "read_only_reason",
                "dirty",
                "uploading",
                "conflicts",
                "refused_keys",
                "cached_bytes",
                "cache_limit_bytes",
                "cache_dir",
                "index_entries",
                "last_pull",
                "last_error",
                "offline_since",
                "requests",
                "fetched_bytes",
                "evictions",
                "evicted_bytes",
                "passthrough_opens",
                "passthrough_off",
                "kernel_requests",
                "paths"
            ]
        );
        assert_eq!(value["mounts"][0]["dirty"]["bytes"], 2048);
        assert_eq!((&value["dead"][0], &value["silent"][0]), (&"/mnt/b".into(), &"/mnt/c".into()));
    }

    #[test]
    fn a_path_that_is_in_no_mount_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = Folders { state: scratch.path().into(), runtime: vec![scratch.path().into()] };
        for path in [scratch.path(), &scratch.path().join("missing"), Path::new("/no/where")] {
            assert_eq!(mount_of(&folders, path).unwrap_err().kind, FailureKind::NotMounted);
        }
    }
}
