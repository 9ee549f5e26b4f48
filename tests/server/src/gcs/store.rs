//! The buckets and what is in them: one lock, so that a condition and the write it guards are
//! one step.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::conditions::Preconditions;
use super::names;
use super::object::{Attributes, GcsObject};
use super::options::{GcsOptions, WriteRate};
use super::problem::{Kind, Outcome, Problem};
use super::resumable::Session;
use super::rewrite::Progress;
use crate::options::{Conditions, Listing};

/// A name in a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new(bucket: impl Into<String>, name: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), name: name.into() }
    }
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) created: SystemTime,
    /// Ordered by name, byte by byte.
    pub(crate) objects: BTreeMap<String, GcsObject>,
}

/// All that a server holds.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    /// Resumable uploads by their id, also those that have ended.
    pub(crate) sessions: BTreeMap<String, Session>,
    /// Rewrites that are under way, by their token.
    pub(crate) rewrites: BTreeMap<String, Progress>,
    last_generation: i64,
    write_rate: WriteRate,
    listing: Listing,
    conditions: Conditions,
    /// When each object was last written, if that matters.
    written: HashMap<Place, Instant>,
}

/// What is written under a name.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) body: Bytes,
    pub(crate) attributes: Attributes,
    /// Of how many objects it is composed, if it is.
    pub(crate) components: Option<i32>,
}

impl State {
    /// Fails with `notFound`.
    pub(crate) fn bucket(&self, name: &str) -> Outcome<&Bucket> {
        self.buckets.get(name).ok_or_else(Problem::no_bucket)
    }

    /// Fails with `notFound`.
    pub(crate) fn bucket_mut(&mut self, name: &str) -> Outcome<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(Problem::no_bucket)
    }

    /// Returns the object at a place, or `None`; fails if its bucket is missing.
    pub(crate) fn live(&self, place: &Place) -> Outcome<Option<&GcsObject>> {
        Ok(self.bucket(&place.bucket)?.objects.get(&place.name))
    }

    /// Returns the failure of who looks for an object here in vain.
    pub(crate) fn missing(&self, place: &Place) -> Problem {
        match self.listing {
            Listing::Allowed => Problem::no_object(&place.bucket, &place.name),
            Listing::Denied => Problem::new(Kind::Forbidden, "The caller may not list objects."),
        }
    }

    /// Fails with `forbidden` if objects may not be listed.
    pub(crate) fn may_list(&self) -> Outcome {
        match self.listing {
            Listing::Allowed => Ok(()),
            Listing::Denied => Err(Problem::new(Kind::Forbidden, "The caller may not list objects.")),
        }
    }

    /// Fails with `conditionNotMet` if an object may not be written or deleted.
    pub(crate) fn judge(&self, when: &Preconditions, live: Option<&GcsObject>) -> Outcome {
        match self.conditions {
            Conditions::Honoured => when.judge_write(live),
            Conditions::IgnoredOnWrites => Ok(()),
        }
    }

    /// Returns the object at a place, of this generation if one is named (not 0).
    pub(crate) fn read(&self, place: &Place, generation: i64, when: &Preconditions) -> Outcome<&GcsObject> {
        let live = self.live(place)?.ok_or_else(|| self.missing(place))?;
        if generation != 0 && generation != live.generation {
            return Err(self.missing(place));
        }
        when.judge_read(live)?;
        Ok(live)
    }

    /// Fails if a write to this place would be refused as things are.
    pub(crate) fn may_write(&self, place: &Place, when: &Preconditions) -> Outcome {
        names::check_object(&place.name)?;
        self.judge(when, self.live(place)?)
    }

    /// Writes or replaces an object if `when` allows it, and returns it.
    pub(crate) fn write(
        &mut self,
        place: &Place,
        content: Content,
        when: &Preconditions,
    ) -> Outcome<GcsObject> {
        content.attributes.check()?;
        self.may_write(place, when)?;
        self.take_turn(place)?;
        self.put(place, content)
    }

    /// Writes or replaces an object, whatever there is, and returns it.
    pub(crate) fn put(&mut self, place: &Place, content: Content) -> Outcome<GcsObject> {
        let generation = self.next_generation();
        let mut object = GcsObject::new(content.body, content.attributes, generation, shown(now()));
        if content.components.is_some() {
            object.components = content.components;
            object.md5 = None;
        }
        self.bucket_mut(&place.bucket)?.objects.insert(place.name.clone(), object.clone());
        Ok(object)
    }

    /// Removes an object if `when` allows it.
    pub(crate) fn delete(&mut self, place: &Place, generation: i64, when: &Preconditions) -> Outcome {
        let live = self.live(place)?.ok_or_else(|| self.missing(place))?;
        if generation != 0 && generation != live.generation {
            return Err(self.missing(place));
        }
        self.judge(when, Some(live))?;
        self.take_turn(place)?;
        self.bucket_mut(&place.bucket)?.objects.remove(&place.name);
        Ok(())
    }

    /// Changes an object's metadata if `when` allows it, and returns it as it is then.
    pub(crate) fn update(
        &mut self,
        place: &Place,
        generation: i64,
        when: &Preconditions,
        change: impl FnOnce(&mut Attributes) -> Outcome,
    ) -> Outcome<GcsObject> {
        let live = self.read(place, generation, &Preconditions::default())?;
        self.judge(when, Some(live))?;
        let mut attributes = live.attributes.clone();
        change(&mut attributes)?;
        attributes.check()?;
        self.take_turn(place)?;
        let bucket = self.bucket_mut(&place.bucket)?;
        let object = bucket.objects.get_mut(&place.name).expect("it was just read");
        object.attributes = attributes;
        object.metageneration += 1;
        object.updated = shown(now());
        Ok(object.clone())
    }

    /// Makes a bucket.
    pub(crate) fn create_bucket(&mut self, name: &str) -> Outcome {
        names::check_bucket(name)?;
        if self.buckets.contains_key(name) {
            return Err(Problem::new(Kind::Exists, format!("There is a bucket {name} already.")));
        }
        self.buckets.insert(name.to_owned(), Bucket { created: now(), objects: BTreeMap::new() });
        Ok(())
    }

    /// Fails with `rateLimitExceeded` if the object was written too short a time ago.
    fn take_turn(&mut self, place: &Place) -> Outcome {
        let WriteRate::OncePer(period) = self.write_rate else { return Ok(()) };
        let now = instant();
        if self.written.get(place).is_some_and(|last| now.duration_since(*last) < period) {
            let Place { bucket, name } = place;
            let message = format!("The object {bucket}/{name} is created, updated or deleted too often.");
            return Err(Problem::new(Kind::RateLimited, message));
        }
        self.written.insert(place.clone(), now);
        Ok(())
    }

    /// Returns a number larger than all before: the time in microseconds, as the service does.
    fn next_generation(&mut self) -> i64 {
        let since = now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = i64::try_from(since.as_micros()).expect("this is not the year 294247");
        self.last_generation = micros.max(self.last_generation + 1);
        self.last_generation
    }
}

/// The state, and the rules that hold for it.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    pub(crate) rewrite_bytes_per_call: u64,
}

impl Store {
    pub(crate) fn new(options: &GcsOptions) -> Self {
        let bucket = |name: &String| (name.clone(), Bucket { created: now(), objects: BTreeMap::new() });
        let buckets = options.buckets.iter().map(bucket).collect();
        let state = State {
            buckets,
            sessions: BTreeMap::new(),
            rewrites: BTreeMap::new(),
            last_generation: 0,
            write_rate: options.write_rate,
            listing: options.listing,
            conditions: options.conditions,
            written: HashMap::new(),
        };
        Self { state: Mutex::new(state), rewrite_bytes_per_call: options.rewrite_bytes_per_call }
    }

    /// Returns the state, locked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Returns the wall clock's time.
#[expect(clippy::disallowed_methods, reason = "a server stamps objects with its own clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns a time as objects carry it, in milliseconds.
pub(crate) fn shown(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "a server counts requests by its own clock")]
fn instant() -> Instant {
    Instant::now()
}
