//! close: at once, or when the file is in the bucket.

use std::process::Command;

use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

use crate::person::{wait_until, write};
use crate::world::{BUSY, World, read};

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
