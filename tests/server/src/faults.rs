//! Misbehaviour on demand: rules that say which requests go wrong, and how.
//!
//! A rule counts the requests that it matches, so "the second PUT of the index" can be said.
//! All rules that fire on a request apply, in the order they were added.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::gate::Gate;
use crate::operation::{Op, Target};

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The code in the body, such as `SlowDown`.
    pub code: String,
    /// Seconds in a `Retry-After` header.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// Returns the refusal with this status and code.
    pub fn new(status: u16, code: &str) -> Self {
        Self { status, code: code.to_owned(), retry_after: None }
    }

    /// Returns S3's 503 when it is asked too much, which names a time to come back.
    pub fn slow_down(retry_after: u32) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(503, "SlowDown") }
    }

    /// Returns a 500.
    pub fn internal_error() -> Self {
        Self::new(500, "InternalError")
    }

    /// Returns a 403.
    pub fn access_denied() -> Self {
        Self::new(403, "AccessDenied")
    }

    /// Returns the 400 of a session token that ran out.
    pub fn expired_token() -> Self {
        Self::new(400, "ExpiredToken")
    }

    /// Returns the 409 of two conditional writes that met.
    pub fn conflict() -> Self {
        Self::new(409, "ConditionalRequestConflict")
    }
}

/// What happens to a request instead of, or besides, being answered.
#[derive(Debug, Clone)]
pub enum Action {
    /// An error is answered; nothing is applied.
    Refuse(Refusal),
    /// It is handled after this time.
    Delay(Duration),
    /// It is handled when the gate opens; until then it has been read only as far as its headers.
    Hold(Gate),
    /// It is applied, and answered when the gate opens.
    HoldAnswer(Gate),
    /// It is never answered and not applied.
    Stall,
    /// The connection is closed without an answer; nothing is applied.
    Cut,
    /// The connection is closed after this many bytes of the request's body; nothing is applied.
    CutUpload(u64),
    /// The byte at this offset of the request's body arrives wrong.
    CorruptUpload(u64),
    /// It is applied, then the connection is closed without an answer.
    ApplyThenCut,
    /// It is applied, then an error is answered.
    ApplyThenRefuse(Refusal),
    /// It is applied and never answered.
    ApplyThenStall,
    /// The connection is closed after this many bytes of the answer's body.
    CutBody(u64),
    /// The answer's body stops after this many bytes and the connection stays open.
    StallBody(u64),
    /// The answer's body goes on after this many bytes when the gate opens.
    HoldBody(u64, Gate),
    /// The answer's body ends after this many bytes, and its length is announced accordingly.
    ShortBody(u64),
    /// The byte at this offset of the answer's body is wrong.
    CorruptBody(u64),
}

/// A rule: which requests, and what happens to them.
#[derive(Debug, Clone)]
pub struct Fault {
    ops: Ops,
    key: Option<String>,
    nth: Option<RangeInclusive<u64>>,
    chance: Option<(f64, u64)>,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ops {
    Any,
    Reads,
    Writes,
    These(Vec<Op>),
}

impl Fault {
    /// Returns a rule for one operation.
    pub fn on(op: Op, action: Action) -> Self {
        Self::new(Ops::These(vec![op]), action)
    }

    /// Returns a rule for some operations.
    pub fn on_these(ops: &[Op], action: Action) -> Self {
        Self::new(Ops::These(ops.to_vec()), action)
    }

    /// Returns a rule for every request.
    pub fn on_any(action: Action) -> Self {
        Self::new(Ops::Any, action)
    }

    /// Returns a rule for every request that changes nothing.
    pub fn on_reads(action: Action) -> Self {
        Self::new(Ops::Reads, action)
    }

    /// Returns a rule for every request that changes something.
    pub fn on_writes(action: Action) -> Self {
        Self::new(Ops::Writes, action)
    }

    fn new(ops: Ops, action: Action) -> Self {
        Self { ops, key: None, nth: None, chance: None, action }
    }

    /// Limits the rule to keys that contain `part`.
    #[must_use]
    pub fn key(mut self, part: &str) -> Self {
        self.key = Some(part.to_owned());
        self
    }

    /// Limits the rule to these of the requests that match it, counted from 1.
    #[must_use]
    pub fn nth(mut self, which: RangeInclusive<u64>) -> Self {
        self.nth = Some(which);
        self
    }

    /// Limits the rule to the first `count` requests that match it.
    #[must_use]
    pub fn first(self, count: u64) -> Self {
        self.nth(1..=count)
    }

    /// Lets the rule fire with this probability (0 to 1), the same way for the same seed.
    #[must_use]
    pub fn chance(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, seed));
        self
    }

    fn matches(&self, target: &Target) -> bool {
        let op = match &self.ops {
            Ops::Any => true,
            Ops::Reads => !target.op.is_write(),
            Ops::Writes => target.op.is_write(),
            Ops::These(ops) => ops.contains(&target.op),
        };
        op && self.key.as_ref().is_none_or(|part| target.key.contains(part.as_str()))
    }

    fn fires(&self, number: u64) -> bool {
        let due = self.nth.as_ref().is_none_or(|which| which.contains(&number));
        due && self.chance.is_none_or(|(probability, seed)| fraction(seed, number) < probability)
    }
}

/// Returns a number in `0.0..1.0` that depends on both arguments only (splitmix64).
fn fraction(seed: u64, number: u64) -> f64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let bits = (z ^ (z >> 31)) >> 32;
    f64::from(u32::try_from(bits).expect("32 bits are left")) / (f64::from(u32::MAX) + 1.0)
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    matched: AtomicU64,
    fired: AtomicU64,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Vec<Arc<Rule>>>,
}

impl Faults {
    pub(crate) fn add(self: &Arc<Self>, fault: Fault) -> FaultHandle {
        let rule = Arc::new(Rule { fault, matched: AtomicU64::new(0), fired: AtomicU64::new(0) });
        self.rules.lock().push(Arc::clone(&rule));
        FaultHandle { rule, all: Arc::clone(self) }
    }

    pub(crate) fn clear(&self) {
        self.rules.lock().clear();
    }

    /// Returns what is to happen to a request, and counts it.
    pub(crate) fn strike(&self, target: &Target) -> Vec<Action> {
        let mut actions = Vec::new();
        for rule in self.rules.lock().iter().filter(|rule| rule.fault.matches(target)) {
            let number = rule.matched.fetch_add(1, Ordering::SeqCst) + 1;
            if rule.fault.fires(number) {
                rule.fired.fetch_add(1, Ordering::SeqCst);
                actions.push(rule.fault.action.clone());
            }
        }
        actions
    }
}

/// A rule in force; it stays in force when the handle is dropped.
#[derive(Debug, Clone)]
pub struct FaultHandle {
    rule: Arc<Rule>,
    all: Arc<Faults>,
}

impl FaultHandle {
    /// Returns how many requests the rule matched, whether it fired or not.
    pub fn matched(&self) -> u64 {
        self.rule.matched.load(Ordering::SeqCst)
    }

    /// Returns how often the rule fired.
    pub fn fired(&self) -> u64 {
        self.rule.fired.load(Ordering::SeqCst)
    }

    /// Takes the rule out of force.
    pub fn remove(&self) {
        self.all.rules.lock().retain(|rule| !Arc::ptr_eq(rule, &self.rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Target {
        Target { op: Op::PutObject, bucket: "bucket".to_owned(), key: key.to_owned() }
    }

    #[test]
    fn only_the_chosen_requests_are_struck() {
        let faults = Arc::new(Faults::default());
        let handle = faults.add(Fault::on(Op::PutObject, Action::Cut).key("index").nth(2..=3));
        let struck: Vec<_> = (0..4).map(|_| faults.strike(&put("a/index")).len()).collect();
        assert_eq!(struck, [0, 1, 1, 0]);
        assert!(faults.strike(&put("other")).is_empty());
        assert_eq!((handle.matched(), handle.fired()), (4, 2));
        handle.remove();
        assert!(faults.strike(&put("a/index")).is_empty());
    }

    #[test]
    fn chance_is_fair_and_repeats_with_its_seed() {
        let hits = |seed| (1..=10_000).filter(|n| fraction(seed, *n) < 0.3).collect::<Vec<u64>>();
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        assert!((2_700..3_300).contains(&hits(7).len()));
    }
}
