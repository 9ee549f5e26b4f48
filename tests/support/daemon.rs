//! The built program as a mount that may be killed at any moment.
//!
//! A place is a folder bucket, a mountpoint and caches. A daemon serves the mount in the
//! foreground as a child of the test, so that its death is known the moment it happens.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use tempfile::TempDir;

/// How long something that takes a moment may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const BEAT: Duration = Duration::from_millis(5);

/// A folder bucket with somewhere to mount it.
pub(crate) struct Place {
    home: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        ["bucket", "mnt", "logs"].iter().for_each(|name| fs::create_dir(home.path().join(name)).unwrap());
        Self { home }
    }

    /// Returns the folder that is a bucket.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.home.path().join("bucket")
    }

    /// Returns where the bucket is mounted.
    pub(crate) fn mnt(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    /// Returns a path beside bucket and mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns the state folder of a cache; `None` if it was never used.
    pub(crate) fn cache(&self, name: &str) -> Option<PathBuf> {
        let caches = fs::read_dir(self.path(name)).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        caches.into_iter().find(|path| path.join("state").is_dir())
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayou"));
        self.dress(command.args(words));
        command
    }

    /// Gives a command the surroundings of this place, and no others.
    pub(crate) fn dress(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.home.path()).env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_CONFIG_HOME", self.path("config"));
    }

    /// Returns everything that the daemons logged.
    pub(crate) fn logs(&self) -> String {
        let mut logs: Vec<PathBuf> =
            fs::read_dir(self.path("logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.sort();
        logs.iter().map(|log| fs::read_to_string(log).unwrap()).collect()
    }

    /// Forgets what the daemons logged so far.
    pub(crate) fn forget_logs(&self) {
        fs::read_dir(self.path("logs"))
            .unwrap()
            .for_each(|log| fs::remove_file(log.unwrap().path()).unwrap());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if is_mounted(&self.mnt()) {
            drop(Command::new("umount").arg("-l").arg(self.mnt()).stderr(Stdio::null()).status());
        }
        if std::thread::panicking() {
            // Whoever looks into it finds bucket, cache and logs as they were.
            self.home.disable_cleanup(true);
            eprintln!("Kept: {}", self.home.path().display());
        }
    }
}

/// How a daemon is started.
#[derive(Debug, Clone)]
pub(crate) struct Start<'a> {
    /// The folder of its cache, beside the mount.
    pub(crate) cache: &'a str,
    /// More flags of `bayou mount`.
    pub(crate) flags: &'a [&'a str],
    /// The step at which it is to die: a label, perhaps with `:n`.
    pub(crate) crash_at: Option<String>,
}

/// A running mount.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts a mount and returns it when it answers, or how it ended before.
    pub(crate) fn start(place: &Place, start: &Start<'_>) -> Result<Self, ExitStatus> {
        let cache = place.path(start.cache);
        let (bucket, mnt) = (place.bucket(), place.mnt());
        let words = ["mount", "--foreground", "--cache-dir", text(&cache), text(&bucket), text(&mnt)];
        let mut command = place.command(&[&words[..], start.flags].concat());
        command.envs(start.crash_at.iter().map(|step| ("BAYOU_CRASH_AT", step)));
        command.env("BAYOU_LOG", std::env::var("BAYOU_TEST_LOG").unwrap_or("info".to_owned()));
        let number = fs::read_dir(place.path("logs")).unwrap().count();
        let log = File::create(place.path("logs").join(format!("{number:05}"))).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.contains("is mounted at") { Ok(Self { child }) } else { Err(child.wait().unwrap()) }
    }

    /// Kills it as a crash would, unless it is dead already.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().ok();
        self.child.wait().unwrap()
    }

    /// Lets it go on for a while; returns whether it ended by itself.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let start = SystemClock.instant();
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            if SystemClock.instant().duration_since(start) >= time {
                return false;
            }
            pause(BEAT);
        }
    }

    /// Asks it to unmount, as a service manager does.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-s", "TERM", &pid]).stderr(Stdio::null()).status());
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the daemon ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Unmounts and returns when everything is in the bucket.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.terminate();
        let ended = self.wait();
        assert!(ended.success(), "The mount ended with {ended}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns whether a process ended by kill -9.
pub(crate) fn was_killed(ended: ExitStatus) -> bool {
    ended.signal() == Some(9)
}

/// Returns whether something is mounted there.
pub(crate) fn is_mounted(at: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(&format!(" {} ", at.display()))
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = SystemClock.instant();
    while !holds() {
        assert!(SystemClock.instant().duration_since(start) < PATIENCE, "Waited in vain until {what}");
        pause(BEAT);
    }
}

/// Lets another process go on for a while.
#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
