//! Damage in the bucket.

use std::fs;

use super::wreck::{ALL, Damage, Notes, Wreck};

const INDEX: &str = ".datastore-index.json";

#[test]
fn an_index_that_is_gone_is_made_anew_and_nothing_is_lost() {
    let wreck = Wreck::new(Notes::InJournal);
    Damage::Delete.hit(&wreck.place.bucket().join(INDEX));
    let daemon = wreck.mount().unwrap();
    wreck.nothing_is_lost();
    wreck.all_is_pushed(daemon);
}

#[test]
fn a_damaged_index_is_said_and_nothing_is_lost_when_it_is_whole_again() {
    for damage in [Damage::Truncate, Damage::Garble] {
        let wreck = Wreck::new(Notes::InJournal);
        let (index, whole) = (wreck.place.bucket().join(INDEX), wreck.place.bucket().join("../whole"));
        fs::copy(&index, &whole).unwrap();
        damage.hit(&index);
        assert!(wreck.mount().is_none(), "{}", wreck.place.logs());
        wreck.was_told("damaged");
        fs::copy(&whole, &index).unwrap();
        let daemon = wreck.mount().unwrap();
        wreck.nothing_is_lost();
        wreck.all_is_pushed(daemon);
    }
}

#[test]
fn a_damaged_object_harms_no_other_file() {
    for damage in ALL {
        let wreck = Wreck::new(Notes::InJournal);
        damage.hit(&wreck.place.bucket().join("folder/other"));
        let daemon = wreck.mount().unwrap();
        // Whoever comes upon another length is told so; whoever opens it again gets what is there.
        let read = fs::read(wreck.path("folder/other")).or_else(|_| fs::read(wreck.path("folder/other")));
        assert_eq!(read.is_err(), damage == Damage::Delete, "{damage:?}: {read:?}");
        fs::remove_file(wreck.path("folder/other")).unwrap();
        let seen = wreck.seen();
        wreck.is_kept(&seen, "new", b"made here");
        wreck.is_kept(&seen, "edited", b"before and after");
        wreck.is_kept(&seen, "clean", b"never changed");
        wreck.all_is_pushed(daemon);
    }
}
