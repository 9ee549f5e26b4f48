//! Someone who uses the program, in surroundings of their own.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use bayou_test_server::S3Server;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// How long something that takes a moment may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person's surroundings: no settings, no state, no variables of the one who runs the tests.
/// Whatever is still mounted at the end is taken down.
pub(crate) struct Person {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Person {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in ["bucket", "mnt"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let variables = vec![("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())];
        Self { home, variables }
    }

    /// Returns a person with the keys of a server, and its address in their environment.
    pub(crate) fn at(server: &S3Server) -> Self {
        let mut person = Self::new();
        person.set("AWS_ENDPOINT_URL_S3", &server.url());
        person.set("AWS_ACCESS_KEY_ID", server.access_key());
        person.set("AWS_SECRET_ACCESS_KEY", server.secret_key());
        person
    }

    /// Sets a variable of the environment.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Returns a path in the person's home.
    pub(crate) fn path(&self, name: &str) -> String {
        fs::canonicalize(self.home.path()).unwrap().join(name).to_str().unwrap().to_owned()
    }

    /// Returns a path in the mount.
    pub(crate) fn mnt(&self, name: &str) -> PathBuf {
        Path::new(&self.path("mnt")).join(name)
    }

    /// Returns a path in the folder that is a bucket.
    pub(crate) fn bucket(&self, name: &str) -> PathBuf {
        Path::new(&self.path("bucket")).join(name)
    }

    /// Returns the address of the folder that is a bucket.
    pub(crate) fn source(&self) -> String {
        format!("file://{}", self.path("bucket"))
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayou"));
        command.args(words);
        self.dress(&mut command);
        command
    }

    /// Gives a command the person's surroundings.
    pub(crate) fn dress(&self, command: &mut Command) {
        command.env_clear().current_dir(self.home.path()).stdin(Stdio::null());
        command.env("HOME", self.home.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("XDG_STATE_HOME", self.path("state")).env("XDG_CONFIG_HOME", self.path("config"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().unwrap())
    }

    /// Mounts the folder, or another source, at `mnt`.
    #[track_caller]
    pub(crate) fn mount(&self, source: &str, more: &[&str]) -> Said {
        let mnt = self.path("mnt");
        let said = self.run(&[&["mount", source, &mnt], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said
    }

    pub(crate) fn umount(&self) -> Said {
        self.run(&["umount", &self.path("mnt")])
    }

    /// Returns how the mount stands.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let said = self.run(&["status", "--json", &self.path("mnt")]);
        assert_eq!(said.code, 0, "{said:?}");
        let report: Value = serde_json::from_str(&said.out).unwrap();
        report["mounts"][0].clone()
    }

    /// Returns the process behind the mount.
    #[track_caller]
    pub(crate) fn daemon(&self) -> i32 {
        i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Returns the control socket of a process.
    pub(crate) fn socket_of(&self, pid: i32) -> PathBuf {
        let folders = ["/run/bayou".to_owned(), self.path("state/bayou/run")];
        let sockets = folders.iter().flat_map(fs::read_dir).flatten().map(|entry| entry.unwrap().path());
        let is_its = |path: &PathBuf| path.to_str().unwrap().ends_with(&format!("-{pid}.sock"));
        sockets.into_iter().find(is_its).unwrap()
    }

    /// Kills the process behind the mount as a crash would, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_daemon(&self) {
        let pid = self.daemon();
        signal(pid, Signal::KILL);
        wait_until("the killed process is gone", || !is_alive(pid));
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        table.contains(&format!(" {} fuse.bayou ", self.path("mnt")))
    }

    pub(crate) fn configure(&self, text: &str) {
        fs::create_dir_all(self.path("config/bayou")).unwrap();
        let mut file = fs::File::create(self.path("config/bayou/bayou.toml")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Returns the only cache folder.
    pub(crate) fn cache(&self) -> PathBuf {
        let folder = Path::new(&self.path("state")).join("bayou");
        let caches = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let caches: Vec<PathBuf> = caches.filter(|path| path.join("state").is_dir()).collect();
        assert_eq!(caches.len(), 1, "{caches:?}");
        caches[0].clone()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let mnt = self.path("mnt");
        let said = self.run(&["status", "--json", &mnt]);
        let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
        if let Some(pid) = report["mounts"][0]["pid"].as_i64() {
            signal(i32::try_from(pid).unwrap(), Signal::KILL);
        }
        for _ in 0..3 {
            if self.is_mounted() {
                // Whether it was mounted by root or not, one of the two may unmount it.
                drop(Command::new("umount").args(["-l", &mnt]).stderr(Stdio::null()).status());
                drop(Command::new("fusermount3").args(["-uz", &mnt]).stderr(Stdio::null()).status());
            }
        }
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Checks an error: the code, one sentence of ours with these words, nothing on standard output.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        let sentences = self.err.lines().filter(|line| line.starts_with("bayou: ")).count();
        assert_eq!(sentences, 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:?}");
        }
    }

    /// Checks that it went well and said this.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        assert_eq!(self.code, 0, "{self:?}");
        for word in words {
            assert!(self.out.contains(word), "{word:?} is not in {self:?}");
        }
    }
}

/// A process that was stopped and goes on when it is told to. If the test ends before, however
/// it ends, the process is killed.
pub(crate) struct Stopped {
    pid: i32,
    watchman: Child,
}

impl Stopped {
    /// Stops a process; returns when every thread of it has stopped.
    #[track_caller]
    pub(crate) fn stop(pid: i32) -> Self {
        // It hears a word, or that nobody is left who could say it.
        let watchman = Command::new("sh")
            .args(["-c", "read word || kill -KILL \"$0\"", &pid.to_string()])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let stopped = Self { pid, watchman };
        signal(pid, Signal::STOP);
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
        let has_stopped =
            |task: PathBuf| fs::read_to_string(task.join("stat")).is_ok_and(|it| it.contains(") T "));
        wait_until("every thread has stopped", || threads().all(has_stopped));
        stopped
    }

    pub(crate) fn go_on(mut self) {
        self.watchman.stdin.take().unwrap().write_all(b"go on\n").unwrap();
        assert!(self.watchman.wait().unwrap().success());
        signal(self.pid, Signal::CONT);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.watchman.stdin.take());
        self.watchman.wait().ok();
    }
}

/// Sends a signal to a process; it may have ended.
pub(crate) fn signal(pid: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal).ok();
}

/// Returns whether a process runs (and is not merely waiting to be reaped).
pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until a condition holds.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = SystemClock.instant();
    while !holds() {
        assert!(SystemClock.instant().duration_since(start) < PATIENCE, "Waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a file in one go.
pub(crate) fn write(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

/// Writes a file and returns when fsync has.
pub(crate) fn write_synced(path: impl AsRef<Path>, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
