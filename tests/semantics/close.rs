//! close: at once, or when the file is in the bucket.

use std::process::Command;
use std::time::Duration;

use bayou::os::clock::{Clock, SystemClock};
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use crate::person::{wait_until, write};
use crate::world::{BUSY, QUIET, World, read};

/// Shows close-1.
#[test]
fn a_file_that_rests_is_brought_to_the_bucket() {
    let world = World::new(&[], &BUSY);
    let gate = Gate::new();
    world.server.fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("data/a"));
    write(world.path("a"), b"bytes");
    gate.wait_for_blocking(1);
    assert_eq!(world.object("a"), None);
    gate.open();
    wait_until("the file is in the bucket", || world.names("a"));
    assert_eq!(world.object("a").unwrap(), b"bytes");
}

/// Closes a file that it wrote and says the errno.
const CLOSES: &str = "import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(file, b'bytes')
try:
    os.close(file)
    print(0)
except OSError as error:
    print(error.errno)";

/// Shows close-2.
#[test]
fn close_waits_and_says_what_went_wrong_if_it_was_asked_to() {
    let world = World::new(&[], &["--write-back=0", "--refresh=0", "--timeout=2s"]);
    let close = |name: &str| {
        let output = Command::new("python3").args(["-c", CLOSES]).arg(world.path(name)).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(close("a"), "0");
    assert_eq!(world.object("a").unwrap(), b"bytes");
    assert!(world.names("a"));
    let refused = Action::Refuse(Refusal::internal_error());
    let fault = world.server.fault(Fault::on(Op::PutObject, refused).key("data/b"));
    assert_eq!(close("b"), libc::EIO.to_string());
    assert_eq!(read(world.path("b")).unwrap(), b"bytes");
    fault.remove();
    world.sync();
    assert_eq!(world.object("b").unwrap(), b"bytes");
}

/// Makes, changes, renames and removes what programs make on their way: lock files, temporary
/// files beside what they replace, the journal of a database, folders of a build.
const ON_THE_WAY: &str = "for n in $(seq 40); do
    echo $n > index.lock && echo more >> index.lock && rm index.lock
    mkdir target-$n && echo object > target-$n/unit.o && mv target-$n/unit.o target-$n/unit.rlib
    rm target-$n/unit.rlib && rmdir target-$n
    echo $n > .swap-1 && ln .swap-1 .swap-2 && mv .swap-2 .swap-3 && rm .swap-1 .swap-3
    ln -s nowhere link && rm link
done";

/// Shows close-3.
#[test]
fn what_is_gone_before_it_has_rested_costs_no_request() {
    let world = World::new(&[("kept", b"1")], &QUIET);
    world.server.reset_counts();
    let done = Command::new("bash").args(["-euc", ON_THE_WAY]).current_dir(world.path("")).status();
    assert!(done.unwrap().success());
    assert_eq!(world.here.status()["dirty"]["files"], 0);
    assert_eq!(world.server.requests(), []);
    world.sync();
    assert_eq!(world.writes(), [], "nothing of it is to be pushed");
}

/// Writes some files; returns whether that took less time than may lie between two that are pushed
/// together, which it does unless the machine is very busy.
fn write_together(world: &World, round: usize) -> bool {
    let start = SystemClock.instant();
    for n in 0..20 {
        write(world.path(&format!("file-{round}-{n}")), b"bytes");
    }
    SystemClock.instant().duration_since(start) < Duration::from_millis(500)
}

/// Shows close-4.
#[test]
fn what_is_written_together_is_one_write_of_the_index() {
    let world = World::new(&[("kept", b"1")], &["--write-back=2s", "--refresh=0"]);
    for round in 0..10 {
        world.server.reset_counts();
        let together = write_together(&world, round);
        let named = || (0..20).all(|n| world.names(&format!("file-{round}-{n}")));
        wait_until("all are in the bucket", named);
        if together {
            assert_eq!(world.sent(Op::PutObject, "").len(), 1);
            assert_eq!(world.writes().iter().filter(|sent| sent.key.contains("file-")).count(), 20);
            return;
        }
    }
    panic!("20 files were never written within half a second");
}
