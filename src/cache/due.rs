//! What is to be pushed, and when.
//!
//! A changed name rests before it is pushed, so that what is gone soon is never sent. Names that
//! become due one soon after the other (an archive that is unpacked, a checkout) are pushed
//! together, with one write of the index.

use std::time::{Duration, Instant};

use super::Cache;
use super::names::Pending;
use super::rows::Path;

/// How many gaps a push waits at most for what becomes due behind it.
const MOST_GAPS: u32 = 4;

impl Cache {
    /// Returns the unpushed names that have rested for `rest`, or are dirty for `at_most`.
    pub fn due(&self, rest: Duration, at_most: Duration) -> Vec<Path> {
        self.look_at_watched();
        let now = self.now();
        let names = self.names.read();
        let due = names.pending().iter().filter(|(_, pending)| pending.due(rest, at_most) <= now);
        due.map(|(path, _)| Path::clone(path)).collect()
    }

    /// Returns how long it takes until names are due that nothing follows within `gap`; `None` if
    /// nothing is unpushed.
    pub fn due_in(&self, rest: Duration, at_most: Duration, gap: Duration) -> Option<Duration> {
        self.look_at_watched();
        let now = self.now();
        let times = self.names.read().pending().values().map(|pending| pending.due(rest, at_most)).collect();
        end_of_burst(times, gap).map(|end| end.saturating_duration_since(now))
    }

    /// Returns when something is unpushed; what was so before the call may be meant.
    pub async fn became_dirty(&self) {
        self.became_dirty.notified().await;
    }
}

impl Pending {
    /// Returns when the name is to be pushed if it is not changed any more.
    fn due(&self, rest: Duration, at_most: Duration) -> Instant {
        (self.last + rest).min(self.first + at_most)
    }
}

/// Returns the last of the times that follow the first without a longer gap.
fn end_of_burst(mut times: Vec<Instant>, gap: Duration) -> Option<Instant> {
    times.sort_unstable();
    let first = *times.first()?;
    let latest = first + gap * MOST_GAPS;
    let in_reach = times.into_iter().take_while(|&time| time <= latest);
    Some(in_reach.fold(first, |end, time| if time <= end + gap { time } else { end }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock::{Clock, SystemClock};

    #[test]
    fn a_burst_ends_where_nothing_follows_soon_or_after_some_gaps() {
        let start = SystemClock.instant();
        let gap = Duration::from_millis(500);
        let end = |millis: &[u64]| {
            let times = millis.iter().map(|&after| start + Duration::from_millis(after)).collect();
            end_of_burst(times, gap).map(|end| end.duration_since(start).as_millis())
        };
        assert_eq!(end(&[]), None);
        assert_eq!(end(&[70]), Some(70));
        assert_eq!(end(&[900, 0, 450]), Some(900));
        assert_eq!(end(&[0, 501]), Some(0));
        assert_eq!(end(&[0, 400, 800, 1200, 1600, 2000, 2400]), Some(2000));
    }
}
