//! How schedules are chosen.

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// More than any schedule takes that comes to an end.
const MOST_STEPS: usize = 10_000;
/// More than any of the searched code needs, in bytes.
const STACK: usize = 1 << 18;
const SEED: u64 = 7;
/// How often who goes on is changed against the order of importance.
const CHANGES: usize = 4;

/// Tries all schedules there are; returns how many that was.
pub(crate) fn all(story: impl Fn() + Send + Sync + 'static) -> usize {
    run(DfsScheduler::new(None, false), story)
}

/// Tries so many schedules, half of them chosen evenly and half so that few changes of who goes
/// on are enough to find what is wrong.
pub(crate) fn many(schedules: usize, story: impl Fn() + Send + Sync + Clone + 'static) {
    let half = schedules / 2;
    assert_eq!(run(RandomScheduler::new_from_seed(SEED, half), story.clone()), half);
    assert_eq!(run(PctScheduler::new_from_seed(SEED, CHANGES, half), story), half);
}

fn run(scheduler: impl Scheduler + 'static, story: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.stack_size = STACK;
    Runner::new(scheduler, config).run(story)
}
