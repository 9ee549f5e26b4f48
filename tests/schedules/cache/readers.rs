//! Readers of one content: each byte is asked for by one of them at a time, and whatever becomes
//! of a request, nobody waits for ever. (A search fails if at some step nobody can go on.)

use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use futures::future::{Either, select};
use shuttle::future::{block_on, spawn, yield_now};

use super::flights::{Flight, Flights, Turn};
use super::rows::ContentId;
use crate::search;

const BLOCKS: usize = 4;
/// How often a reader of so little can have a reason to look again.
const MOST_ROUNDS: usize = 16;

/// What becomes of a reader's first request; the others arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Fails,
    /// The reader is gone before it has come, or before what it waits for has.
    GivenUp,
}

#[derive(Debug, Clone)]
struct Reader {
    wanted: Range<u64>,
    fate: Fate,
}

#[derive(Debug, PartialEq, Eq)]
struct Failed;

/// One content of a few blocks. The scheduler sees only the flights.
struct World {
    id: ContentId,
    flights: Flights,
    present: Mutex<[bool; BLOCKS]>,
    /// How many are asking for each block.
    asking: [AtomicUsize; BLOCKS],
    /// How often each block was asked for.
    asked: [AtomicUsize; BLOCKS],
    ways: Ways,
}

/// How bytes are asked for, and come.
#[derive(Debug, Clone, Copy, Default)]
struct Ways {
    /// How much is asked for beyond a gap's first block.
    ahead: u64,
    /// Whether the first block comes before the others.
    in_pieces: bool,
}

/// What became of the readers of all schedules.
#[derive(Default)]
struct Tally {
    waits: AtomicUsize,
    failed: AtomicUsize,
    given_up: AtomicUsize,
}

/// A request that is under way.
struct Asking<'a>(&'a World, Range<u64>);

impl<'a> Asking<'a> {
    fn begin(world: &'a World, range: Range<u64>) -> Self {
        assert!(!range.is_empty() && range.end <= BLOCKS as u64, "{range:?} was asked for");
        for block in indexes(&range) {
            assert_eq!(world.asking[block].fetch_add(1, SeqCst), 0, "two flights at block {block}");
            world.asked[block].fetch_add(1, SeqCst);
        }
        Self(world, range)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        for block in indexes(&self.1) {
            self.0.asking[block].fetch_sub(1, SeqCst);
        }
    }
}

impl World {
    fn new(ways: Ways) -> Arc<Self> {
        let counts = || std::array::from_fn(|_| AtomicUsize::new(0));
        Arc::new(Self {
            id: ContentId("c".into()),
            flights: Flights::default(),
            present: Mutex::new([false; BLOCKS]),
            asking: counts(),
            asked: counts(),
            ways,
        })
    }

    /// Reads as the hydrator does.
    async fn read(&self, reader: &Reader, tally: &Tally) -> Result<(), Failed> {
        let mut fate = reader.fate;
        for _ in 0..MOST_ROUNDS {
            let reach = |gap: &Range<u64>, end: u64| gap.start..(gap.end + self.ways.ahead).min(end);
            match self.flights.turn(&self.id, || self.gap(&reader.wanted), reach) {
                Turn::Present => return Ok(()),
                Turn::Wait(landing) => {
                    tally.waits.fetch_add(1, SeqCst);
                    landing.wait().await;
                }
                Turn::Fetch(flight) => self.fetch(&flight, fate).await?,
            }
            fate = Fate::Arrives;
        }
        panic!("{reader:?} looks again and again");
    }

    fn gap(&self, wanted: &Range<u64>) -> Option<(Range<u64>, u64)> {
        let present = self.present.lock().unwrap();
        let start = wanted.clone().find(|&block| !present[block as usize])?;
        let end = (start..wanted.end).find(|&block| present[block as usize]).unwrap_or(wanted.end);
        Some((start..end, BLOCKS as u64))
    }

    /// Brings its blocks or fails; in pieces, the first block comes before that.
    async fn fetch(&self, flight: &Flight, fate: Fate) -> Result<(), Failed> {
        let range = flight.range();
        let _asking = Asking::begin(self, range.clone());
        yield_now().await;
        if self.ways.in_pieces {
            self.arrive(range.start..range.start + 1);
            flight.has_arrived(range.start + 1);
            yield_now().await;
        }
        if fate == Fate::Fails {
            return Err(Failed);
        }
        self.arrive(range);
        Ok(())
    }

    fn arrive(&self, range: Range<u64>) {
        self.present.lock().unwrap()[indexes(&range)].fill(true);
    }

    /// Reads, or gives up.
    async fn go(&self, reader: &Reader, tally: &Tally) {
        let reading = pin!(self.read(reader, tally));
        let patience = pin!(async {
            if reader.fate != Fate::GivenUp {
                return std::future::pending().await;
            }
            yield_now().await
        });
        match select(patience, reading).await {
            Either::Left(((), _)) => {
                tally.given_up.fetch_add(1, SeqCst);
            }
            Either::Right((Ok(()), _)) => {
                assert!(self.gap(&reader.wanted).is_none(), "{reader:?} has not all");
            }
            Either::Right((Err(Failed), _)) => {
                assert_eq!(reader.fate, Fate::Fails, "the failure of another");
                tally.failed.fetch_add(1, SeqCst);
            }
        }
    }

    /// Whatever happened: the next reader gets all, and what arrived was asked for once.
    async fn end(&self, all_arrive: bool) {
        assert!(self.asking.iter().all(|asking| asking.load(SeqCst) == 0));
        let asked = || self.asked.iter().map(|count| count.load(SeqCst)).collect::<Vec<_>>();
        assert!(!all_arrive || asked().iter().all(|&count| count <= 1), "asked for twice: {:?}", asked());
        let lacking = self.present.lock().unwrap().iter().filter(|&&present| !present).count();
        let before: usize = asked().iter().sum();
        let last = Reader { wanted: 0..BLOCKS as u64, fate: Fate::Arrives };
        let tally = Tally::default();
        assert_eq!(self.read(&last, &tally).await, Ok(()));
        assert_eq!(tally.waits.load(SeqCst), 0, "a flight was left behind");
        assert!(asked().iter().sum::<usize>() >= before + lacking);
    }
}

fn indexes(range: &Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn reader(wanted: Range<u64>, fate: Fate) -> Reader {
    Reader { wanted, fate }
}

/// Returns a story of these readers.
fn story(readers: &[Reader], ways: Ways, tally: &Arc<Tally>) -> impl Fn() + Clone + use<> {
    let (readers, tally) = (readers.to_vec(), Arc::clone(tally));
    move || {
        let world = World::new(ways);
        let begin = |reader: &Reader| {
            let (world, reader, tally) = (Arc::clone(&world), reader.clone(), Arc::clone(&tally));
            spawn(async move { world.go(&reader, &tally).await })
        };
        let begun: Vec<_> = readers.iter().map(begin).collect();
        block_on(async {
            for reader in begun {
                reader.await.unwrap();
            }
            let exact = ways.ahead == 0 && readers.iter().all(|reader| reader.fate == Fate::Arrives);
            world.end(exact).await;
        });
    }
}

#[test]
fn two_readers_ask_for_each_byte_once_in_every_schedule() {
    let tally = Arc::new(Tally::default());
    let readers = [reader(0..3, Fate::Arrives), reader(1..4, Fate::Arrives)];
    let schedules = search::all(story(&readers, Ways::default(), &tally));
    assert!(tally.waits.load(SeqCst) > 0 && schedules > 100, "{schedules} schedules");
}

#[test]
fn a_request_that_fails_or_is_given_up_keeps_nobody_waiting_in_any_schedule() {
    for fate in [Fate::Fails, Fate::GivenUp] {
        let tally = Arc::new(Tally::default());
        let readers = [reader(0..3, fate), reader(1..4, Fate::Arrives)];
        let schedules = search::all(story(&readers, Ways::default(), &tally));
        assert!(tally.waits.load(SeqCst) > 0, "{schedules} schedules");
    }
}

#[test]
fn nor_in_many_schedules_of_four_readers() {
    for (ahead, in_pieces) in [(0, false), (1, false), (0, true), (1, true)] {
        let tally = Arc::new(Tally::default());
        let readers = [
            reader(0..4, Fate::Arrives),
            reader(0..2, Fate::Fails),
            reader(1..3, Fate::GivenUp),
            reader(2..4, Fate::Arrives),
        ];
        search::many(10_000, story(&readers, Ways { ahead, in_pieces }, &tally));
        assert!(tally.failed.load(SeqCst) > 100 && tally.given_up.load(SeqCst) > 100);
    }
}

#[test]
fn a_reader_whose_own_block_has_come_is_done_before_the_rest_in_some_schedule() {
    let tally = Arc::new(Tally::default());
    let early = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&early);
    let told = Arc::clone(&tally);
    search::many(2_000, move || {
        let world = World::new(Ways { ahead: 0, in_pieces: true });
        let begin = |wanted: Range<u64>| {
            let (world, tally, early) = (Arc::clone(&world), Arc::clone(&told), Arc::clone(&seen));
            spawn(async move {
                let alone = wanted.end == 1;
                world.go(&reader(wanted, Fate::Arrives), &tally).await;
                if alone && world.asking[1].load(SeqCst) > 0 {
                    early.fetch_add(1, SeqCst);
                }
            })
        };
        let begun = [begin(0..4), begin(0..1)];
        block_on(async {
            for reader in begun {
                reader.await.unwrap();
            }
            world.end(true).await;
        });
    });
    assert!(tally.waits.load(SeqCst) > 0 && early.load(SeqCst) > 0);
}
