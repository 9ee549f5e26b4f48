//! `flock`, `fcntl` and open-file-description locks between processes of one mount.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};

use super::world::World;

/// How long a process may take for what it was told, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what it is told, a word a line: it locks bytes 1 to 3, or all of the file.
const SCRIPT: &str = "
import fcntl, struct, sys
kind, path = sys.argv[1:]
FLOCK = 'hhxxxxqqixxxx'
OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38
file = open(path, 'r+b')

def ask(command, type, on):
    return struct.unpack(FLOCK, fcntl.fcntl(on, command, struct.pack(FLOCK, type, 0, 1, 3, 0)))

def take(wait, on):
    if kind == 'flock':
        fcntl.flock(on, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    elif kind == 'range':
        ask(fcntl.F_SETLKW if wait else fcntl.F_SETLK, fcntl.F_WRLCK, on)
    else:
        ask(OFD_SETLKW if wait else OFD_SETLK, fcntl.F_WRLCK, on)

def attempt(on):
    try:
        take(False, on)
        return 'taken'
    except (BlockingIOError, PermissionError):
        return 'refused'

for word in map(str.strip, sys.stdin):
    if word == 'try':
        print(attempt(file), flush=True)
    elif word == 'try again':
        again = open(path, 'r+b')
        print(attempt(again), flush=True)
    elif word == 'wait':
        print('waits', flush=True)
        take(True, file)
        print('taken', flush=True)
    elif word == 'who':
        type, _, start, length, pid = ask(OFD_GETLK if kind == 'ofd' else fcntl.F_GETLK, fcntl.F_WRLCK, file)
        print('nobody' if type == fcntl.F_UNLCK else f'{type == fcntl.F_WRLCK} {start} {length} {pid}', flush=True)
    elif word == 'free':
        if kind == 'flock':
            fcntl.flock(file, fcntl.LOCK_UN)
        else:
            ask(OFD_SETLK if kind == 'ofd' else fcntl.F_SETLK, fcntl.F_UNLCK, file)
        print('free', flush=True)
";

/// The kinds of locks, as the script calls them, and the system call in which each is waited for.
const KINDS: [(&str, libc::c_long); 3] =
    [("flock", libc::SYS_flock), ("range", libc::SYS_fcntl), ("ofd", libc::SYS_fcntl)];

/// A process that locks; killed at the end.
struct Locker {
    child: Child,
    says: Receiver<String>,
}

impl Locker {
    fn new(kind: &str, path: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", SCRIPT, kind]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (hear, says) = channel();
        let listen = move || lines.map_while(Result::ok).try_for_each(|line| hear.send(line));
        thread::Builder::new().name("listen".to_owned()).spawn(listen).unwrap();
        Self { child, says }
    }

    /// Tells it something and returns what it says.
    #[track_caller]
    fn told(&mut self, word: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
        self.says_now()
    }

    #[track_caller]
    fn says_now(&mut self) -> String {
        let said = self.says.recv_timeout(PATIENCE);
        said.unwrap_or_else(|_| panic!("Nothing is said in system call {:?}", self.system_call()))
    }

    /// Returns the number of the system call that it sleeps in.
    fn system_call(&self) -> Option<libc::c_long> {
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.child.id())).unwrap();
        call.split_whitespace().next()?.parse().ok()
    }

    /// Returns when it waits for a lock: the kernel keeps locks itself and asks nobody about them.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "another process is waited for")]
    fn until_it_waits(&self, call: libc::c_long) {
        let start = SystemClock.instant();
        while self.system_call() != Some(call) {
            assert!(SystemClock.instant().duration_since(start) < PATIENCE, "no lock is waited for");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_lock_is_waited_for_and_goes_with_its_holder() {
    let world = World::new();
    world.write("f", b"locked");
    let path = world.path("f");
    for (kind, call) in KINDS {
        let (mut first, mut second) = (Locker::new(kind, &path), Locker::new(kind, &path));
        assert_eq!(first.told("try"), "taken", "{kind}");
        assert_eq!(second.told("try"), "refused", "{kind}");
        assert_eq!(second.told("wait"), "waits");
        second.until_it_waits(call);
        // Kill -9: it says goodbye to nobody.
        drop(first);
        assert_eq!(second.says_now(), "taken", "{kind}");
        let mut third = Locker::new(kind, &path);
        assert_eq!(third.told("try"), "refused", "{kind}");
        assert_eq!(third.told("wait"), "waits");
        third.until_it_waits(call);
        assert_eq!(second.told("free"), "free");
        assert_eq!(third.says_now(), "taken", "{kind}");
    }
}

#[test]
fn who_holds_a_lock_can_be_asked() {
    let world = World::new();
    world.write("f", b"locked");
    for (kind, _) in &KINDS[1..] {
        let (mut holder, mut asks) =
            (Locker::new(kind, &world.path("f")), Locker::new(kind, &world.path("f")));
        assert_eq!(asks.told("who"), "nobody", "{kind}");
        assert_eq!(holder.told("try"), "taken");
        // What an open file holds is held by no process.
        let pid = if *kind == "ofd" { -1 } else { i64::from(holder.child.id()) };
        assert_eq!(asks.told("who"), format!("True 1 3 {pid}"), "{kind}");
        assert_eq!(holder.told("who"), "nobody", "nobody else: {kind}");
        assert_eq!(holder.told("free"), "free");
        assert_eq!(asks.told("who"), "nobody", "{kind}");
    }
}

#[test]
fn locks_of_a_process_and_of_an_open_file_keep_each_other_out() {
    let world = World::new();
    world.write("f", b"locked");
    let path = world.path("f");
    let (mut process, mut open) = (Locker::new("range", &path), Locker::new("ofd", &path));
    assert_eq!(process.told("try"), "taken");
    assert_eq!(process.told("try again"), "taken", "it has the lock whatever it opens");
    assert_eq!(open.told("try"), "refused");
    assert_eq!(process.told("free"), "free");
    assert_eq!(open.told("try"), "taken");
    assert_eq!(open.told("try again"), "refused", "another open file, though of the same process");
    assert_eq!(process.told("try"), "refused");
    // The other kind knows nothing of them.
    assert_eq!(Locker::new("flock", &path).told("try"), "taken");
}

#[test]
fn locks_stay_with_a_file_that_is_renamed_written_and_pushed() {
    let world = World::new();
    world.write("f", b"locked");
    let (mut holder, mut other) =
        (Locker::new("flock", &world.path("f")), Locker::new("range", &world.path("f")));
    assert_eq!((holder.told("try"), other.told("try")), ("taken".to_owned(), "taken".to_owned()));
    world.rename("f", "g").unwrap();
    File::options().append(true).open(world.path("g")).unwrap().write_all(b" still").unwrap();
    world.sync_now(super::world::Step::Push);
    world.sync_now(super::world::Step::Pull);
    world.cache.evict(u64::MAX);
    assert_eq!(Locker::new("flock", &world.path("g")).told("try"), "refused");
    assert_eq!(Locker::new("range", &world.path("g")).told("try"), "refused");
    assert_eq!(fs::read(world.path("g")).unwrap(), b"locked still");
}
