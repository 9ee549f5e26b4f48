//! Who reads files one after another, and what will be read next.
//!
//! Nothing is fetched ahead for a single read: only where a file is read whose predecessor was
//! read a moment ago. From then on a window of files is asked for ahead of the reader; it
//! doubles as the reader goes on, and is dropped when the reader went elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many of the last reads may turn out to be the first of a sequence.
const REMEMBERED: usize = 16;
/// How many sequences are followed at a time.
const MOST_SEQUENCES: usize = 16;
/// How many reads elsewhere end a sequence.
const PATIENCE: u64 = 128;
/// How many files are asked for when a sequence begins, and at most.
const FIRST_FILES: usize = 4;
const MOST_FILES: usize = 128;

/// What still waits to be fetched for a sequence is given up when this has no owner any more.
pub(super) type Interest = Arc<()>;

/// The files that follow one another, in one order.
pub(super) trait Order {
    /// Where a file stands.
    type Place: Ord + Clone;
    /// What is needed to fetch a file.
    type File;

    /// Returns the file before a place.
    fn before(&self, place: &Self::Place) -> Option<Self::Place>;
    /// Returns up to `most` files after a place.
    fn after(&self, place: &Self::Place, most: usize) -> Vec<(Self::Place, Self::File)>;
}

/// Files that should be fetched now.
pub(super) struct Wish<F> {
    pub(super) files: Vec<F>,
    pub(super) interest: Interest,
}

/// What a read is part of.
pub(super) enum Part<F> {
    /// Of a sequence; with what should be fetched for it.
    Sequence(Option<Wish<F>>),
    /// Of nothing that is known yet.
    Alone,
}

/// The sequences that are followed in one order.
pub(super) struct Sequences<P> {
    followed: VecDeque<Sequence<P>>,
    recent: VecDeque<P>,
    reads: u64,
}

struct Sequence<P> {
    /// The file with which it began.
    from: P,
    /// The furthest file that was read.
    at: P,
    /// How many files were read, and how many there are up to the furthest.
    read: usize,
    passed: usize,
    /// The last file that was asked for.
    asked_to: P,
    window: usize,
    interest: Interest,
    /// When it went on, in reads.
    used: u64,
}

impl<P: Ord + Clone> Sequences<P> {
    pub(super) fn new() -> Self {
        Self { followed: VecDeque::new(), recent: VecDeque::new(), reads: 0 }
    }

    /// Notes the first read of a file.
    pub(super) fn read<O: Order<Place = P>>(&mut self, place: &P, order: &O) -> Part<O::File> {
        self.reads += 1;
        let now = self.reads;
        self.followed.retain(|sequence| sequence.used + PATIENCE > now);
        if let Some(sequence) = self.followed.iter_mut().find(|sequence| sequence.covers(place)) {
            sequence.used = now;
            return Part::Sequence(sequence.go_on(place, order));
        }
        let before = order.before(place);
        let Some(first) = before.and_then(|before| self.recent.iter().position(|seen| *seen == before))
        else {
            self.remember(place);
            return Part::Alone;
        };
        self.recent.remove(first);
        let mut sequence = Sequence::begin(place, now);
        let wish = sequence.go_on(place, order);
        if self.followed.len() == MOST_SEQUENCES {
            self.forget_oldest();
        }
        self.followed.push_back(sequence);
        Part::Sequence(wish)
    }

    /// Gives up whatever is followed.
    pub(super) fn give_up(&mut self) {
        self.followed.clear();
        self.recent.clear();
    }

    fn remember(&mut self, place: &P) {
        if self.recent.contains(place) {
            return;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(place.clone());
    }

    fn forget_oldest(&mut self) {
        let oldest = (0..self.followed.len()).min_by_key(|&at| self.followed[at].used);
        oldest.map(|at| self.followed.remove(at));
    }
}

impl<P: Ord + Clone> Sequence<P> {
    fn begin(place: &P, now: u64) -> Self {
        Self {
            from: place.clone(),
            at: place.clone(),
            read: 0,
            passed: 1,
            asked_to: place.clone(),
            window: FIRST_FILES / 2,
            interest: Interest::default(),
            used: now,
        }
    }

    fn covers(&self, place: &P) -> bool {
        self.from <= *place && *place <= self.asked_to
    }

    /// Goes on to a file that was asked for; asks for more when half of the window is read, if
    /// the reader takes most of what it passes.
    fn go_on<O: Order<Place = P>>(&mut self, place: &P, order: &O) -> Option<Wish<O::File>> {
        self.read += 1;
        if *place > self.at {
            let passed = order.after(&self.at, MOST_FILES);
            self.passed += passed.iter().take_while(|(passed, _)| passed <= place).count();
            self.at = place.clone();
        }
        let following = order.after(&self.at, self.window);
        let unread = following.iter().take_while(|(place, _)| *place <= self.asked_to).count();
        if unread * 2 > self.window || self.read * 3 < self.passed * 2 {
            return None;
        }
        self.window = (self.window * 2).min(MOST_FILES);
        let more = order.after(&self.asked_to, self.window - unread);
        self.asked_to = more.last()?.0.clone();
        let files = more.into_iter().map(|(_, file)| file).collect();
        Some(Wish { files, interest: Arc::clone(&self.interest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files 0 to 999.
    struct Numbers;

    impl Order for Numbers {
        type Place = u32;
        type File = u32;

        fn before(&self, place: &u32) -> Option<u32> {
            place.checked_sub(1)
        }

        fn after(&self, place: &u32, most: usize) -> Vec<(u32, u32)> {
            (place + 1..1000).take(most).map(|n| (n, n)).collect()
        }
    }

    fn asked(sequences: &mut Sequences<u32>, place: u32) -> Vec<u32> {
        match sequences.read(&place, &Numbers) {
            Part::Sequence(Some(wish)) => wish.files,
            Part::Sequence(None) | Part::Alone => Vec::new(),
        }
    }

    #[test]
    fn a_single_file_asks_for_nothing_and_the_second_in_order_for_a_few() {
        let mut sequences = Sequences::new();
        assert_eq!(asked(&mut sequences, 7), [0; 0]);
        assert_eq!(asked(&mut sequences, 8), [9, 10, 11, 12]);
    }

    #[test]
    fn a_sequence_asks_for_each_file_once_and_for_ever_more_at_a_time() {
        let mut sequences = Sequences::new();
        let asked: Vec<Vec<u32>> = (0..1000).map(|n| asked(&mut sequences, n)).collect();
        assert_eq!(asked.concat(), (2..1000).collect::<Vec<u32>>());
        let most = asked.iter().map(Vec::len).max().unwrap();
        assert!((MOST_FILES / 2..=MOST_FILES).contains(&most), "{most}");
        for (n, files) in asked.iter().enumerate() {
            let furthest = files.last().copied().unwrap_or_default() as usize;
            assert!(furthest <= n + MOST_FILES, "{furthest} is asked for at {n}");
        }
    }

    #[test]
    fn files_that_are_read_twice_do_not_end_a_sequence() {
        let mut sequences = Sequences::new();
        let mut all = Vec::new();
        for n in 0..100 {
            all.extend(asked(&mut sequences, n));
            all.extend(asked(&mut sequences, n));
        }
        assert_eq!(all[..98], (2..100).collect::<Vec<u32>>());
    }

    #[test]
    fn several_readers_are_followed_beside_one_another() {
        let mut sequences = Sequences::new();
        let mut all = Vec::new();
        for n in 0..50 {
            for reader in 0..8 {
                all.extend(asked(&mut sequences, reader * 100 + n));
            }
        }
        all.sort_unstable();
        let twice = all.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!(twice, 0);
        assert!((0..8).all(|reader| (2..50).all(|n| all.contains(&(reader * 100 + n)))));
    }

    #[test]
    fn readers_that_share_the_files_of_a_sequence_are_one_reader() {
        let mut sequences = Sequences::new();
        let mut all = Vec::new();
        // Four at a time, each four in another order.
        for n in (0..400).step_by(4) {
            [2, 0, 3, 1].iter().for_each(|at| all.extend(asked(&mut sequences, n + at)));
        }
        let missed = (16..400).filter(|n| !all.contains(n)).count();
        assert_eq!(missed, 0, "{all:?}");
    }

    #[test]
    fn what_a_reader_left_is_given_up() {
        let mut sequences = Sequences::new();
        asked(&mut sequences, 0);
        let Part::Sequence(Some(wish)) = sequences.read(&1, &Numbers) else { panic!("no sequence") };
        let interest = Arc::downgrade(&wish.interest);
        drop(wish);
        assert!(interest.upgrade().is_some());
        (0..PATIENCE).for_each(|n| drop(asked(&mut sequences, 900 - 2 * n as u32 % 800)));
        assert!(interest.upgrade().is_none());
    }

    #[test]
    fn a_reader_without_an_order_asks_for_little() {
        let mut sequences = Sequences::new();
        let (mut state, mut read) = (1_u64, std::collections::HashSet::new());
        let mut wishes = std::collections::HashSet::new();
        for _ in 0..500 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (state >> 33) as u32 % 1000;
            read.insert(place);
            wishes.extend(asked(&mut sequences, place));
        }
        let wasted = wishes.difference(&read).count();
        assert!(wasted * 5 < read.len(), "{wasted} files of {} are fetched for nothing", read.len());
    }
}
