//! Files that the kernel reads itself, and what becomes of what is stored into them unseen.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use bayou_test_server::Op;

use crate::crashes::after_another_boot;
use crate::mapping::{Descriptor, Mapping};
use crate::person::wait_until;
use crate::world::{QUIET, SOURCE, World, noise, read};

const SIZE: u32 = 2 << 20;
const STORED: usize = (1 << 20) + 77;

/// A file that a reader and a mapping share, and its bytes.
struct Shared {
    world: World,
    bytes: Vec<u8>,
    mapping: Mapping,
    reader: File,
}

impl Shared {
    fn new(flags: &[&str], descriptor: Descriptor) -> Self {
        let bytes = noise(SIZE);
        let world = World::new(&[("f", &bytes)], flags);
        assert_eq!(read(world.path("f")).unwrap(), bytes);
        let reader = open_lent(&world);
        let mapping = Mapping::of(&world.path("f"), descriptor);
        Self { world, bytes, mapping, reader }
    }

    fn store(&mut self, value: u8) {
        self.mapping.store(STORED, value, 300);
        self.bytes[STORED..STORED + 300].fill(value);
    }

    /// Kills the process behind the mount; nobody uses the mount then.
    fn kill(self) -> (World, Vec<u8>) {
        self.world.here.kill_daemon();
        drop((self.mapping, self.reader));
        (self.world, self.bytes)
    }
}

/// Opens a file that is here. The close that came before may still be on its way.
fn open_lent(world: &World) -> File {
    let opens = || world.here.status()["passthrough_opens"].clone();
    let (before, mut opened) = (opens(), None);
    wait_until("the file is lent", || {
        opened = None;
        opened = Some(File::open(world.path("f")).unwrap());
        opens() != before
    });
    opened.unwrap()
}

/// Shows read-10.
#[test]
fn the_kernel_reads_what_is_here_itself() {
    let bytes = noise(SIZE);
    let world = World::new(&[("f", &bytes), ("small", b"small")], &QUIET);
    for name in ["f", "small", "small"] {
        read(world.path(name)).unwrap();
    }
    assert_eq!(world.here.status()["passthrough_opens"], 0);
    let mut lent = open_lent(&world);
    let mut seen = Vec::new();
    lent.read_to_end(&mut seen).unwrap();
    assert!(seen == bytes);
    assert_eq!(read(world.path("f")).unwrap(), bytes);
    let status = world.here.status();
    assert_eq!((&status["passthrough_opens"], &status["passthrough_off"]), (&2.into(), &().into()));
}

/// Shows write-12, limit-11.
#[test]
fn what_is_stored_into_a_mapping_reaches_the_bucket() {
    let mut shared = Shared::new(&["--write-back=500ms", "--refresh=0"], Descriptor::Closed);
    shared.store(1);
    shared.mapping.sync();
    let mut seen = [0; 300];
    shared.reader.read_exact_at(&mut seen, STORED as u64).unwrap();
    assert_eq!(seen, [1; 300]);
    wait_until("it is in the bucket", || shared.world.object("f").unwrap() == shared.bytes);
    shared.store(2);
    shared.reader.sync_all().unwrap();
    assert!(shared.world.object("f").unwrap() == shared.bytes);
    shared.store(3);
    drop((shared.mapping, shared.reader));
    shared.world.here.umount().says(&[]);
    assert!(shared.world.object("f").unwrap() == shared.bytes);
}

/// Shows crash-10.
#[test]
fn what_was_stored_before_a_kill_is_not_lost() {
    for looked in [false, true] {
        let mut shared = Shared::new(&QUIET, Descriptor::Closed);
        shared.store(1);
        if looked {
            wait_until("it is noticed", || shared.world.here.status()["dirty"]["files"] == 1);
            shared.store(2);
        }
        let (world, bytes) = shared.kill();
        world.here.mount(SOURCE, &QUIET);
        assert!(read(world.path("f")).unwrap() == bytes);
        world.here.umount().says(&[]);
        assert!(world.object("f").unwrap() == bytes, "looked: {looked}");
    }
}

/// Shows crash-10.
#[test]
fn what_was_stored_after_a_push_and_before_a_kill_is_not_lost() {
    let mut shared = Shared::new(&QUIET, Descriptor::Closed);
    shared.store(1);
    shared.reader.sync_all().unwrap();
    assert!(shared.world.object("f").unwrap() == shared.bytes);
    shared.store(2);
    let (world, bytes) = shared.kill();
    world.here.mount(SOURCE, &QUIET);
    world.here.umount().says(&[]);
    assert!(world.object("f").unwrap() == bytes);
}

/// Shows crash-10.
#[test]
fn what_was_only_open_for_writing_is_not_sent_after_a_kill() {
    let (world, bytes) = Shared::new(&QUIET, Descriptor::Open).kill();
    world.here.mount(SOURCE, &QUIET);
    world.sync();
    assert_eq!(world.here.status()["state"], "clean");
    assert!(world.sent(Op::PutObject, "f").is_empty());
    assert!(read(world.path("f")).unwrap() == bytes);
}

/// Shows crash-10.
#[test]
fn a_mapped_file_is_uncertain_after_a_power_failure() {
    let mut shared = Shared::new(&QUIET, Descriptor::Closed);
    let before = shared.bytes.clone();
    shared.store(1);
    wait_until("it is noticed", || shared.world.here.status()["dirty"]["files"] == 1);
    let (world, bytes) = shared.kill();
    after_another_boot(&world, &["sync", "--push", SOURCE]).says(&["Pushed 1 file"]);
    assert!(world.object("f").unwrap() == before);
    let index = world.index().unwrap();
    let kept: Vec<&String> = index["entries"].as_object().unwrap().keys().collect();
    let aside =
        kept.iter().find(|name| name.starts_with("f.recovered-")).unwrap_or_else(|| panic!("{kept:?}"));
    assert!(world.object(aside).unwrap() == bytes);
}
