//! Damage of the local state.

use super::wreck::{ALL, CHANGE, CHANGED_AT, Damage, Notes, Wreck};

/// Damages a file of the state, mounts, and checks that nothing is lost.
fn loses_nothing(name: &str, notes: Notes, words: impl Fn(Damage) -> Option<&'static str>) {
    for damage in ALL {
        let wreck = Wreck::new(notes);
        damage.hit(&wreck.state(name));
        let daemon = wreck.mount().unwrap_or_else(|| panic!("{damage:?}\n{}", wreck.place.logs()));
        wreck.nothing_is_lost();
        if let Some(words) = words(damage) {
            wreck.was_told(words);
        }
        wreck.all_is_pushed(daemon);
    }
}

#[test]
fn a_damaged_sidecar_means_dirty() {
    loses_nothing(".datastore-sync-state.json", Notes::InJournal, |_| None);
}

#[test]
fn damaged_knowledge_of_the_stores_conditions_is_found_out_again() {
    loses_nothing("conditions.json", Notes::InJournal, |_| None);
}

#[test]
fn changes_are_found_again_without_the_catalog() {
    let told = |damage| (damage != Damage::Delete).then_some("The catalog is damaged");
    loses_nothing("catalog.db", Notes::InDatabase, told);
}

#[test]
fn changes_are_found_again_without_the_catalog_when_the_journal_has_notes() {
    loses_nothing("catalog.db", Notes::InJournal, |_| None);
}

#[test]
fn changes_are_found_again_without_the_journal() {
    loses_nothing("journal", Notes::InJournal, |_| None);
}

#[test]
fn damaged_content_of_an_unchanged_file_is_fetched_again() {
    for damage in [Damage::Delete, Damage::Truncate] {
        let wreck = Wreck::new(Notes::InJournal);
        damage.hit(&wreck.content(0, b"never changed"));
        let daemon = wreck.mount().unwrap();
        wreck.nothing_is_lost();
        wreck.all_is_pushed(daemon);
    }
}

#[test]
fn lost_content_of_a_changed_file_is_said_and_the_bucket_keeps_what_it_has() {
    let wreck = Wreck::new(Notes::InJournal);
    Damage::Delete.hit(&wreck.content(0, b"before and after"));
    let daemon = wreck.mount().unwrap();
    wreck.was_told("The content of a changed file is gone");
    let seen = wreck.seen();
    wreck.is_kept(&seen, "edited", b"before");
    wreck.is_kept(&seen, "new", b"made here");
    wreck.all_is_pushed(daemon);
}

#[test]
fn damaged_content_of_one_changed_file_harms_no_other() {
    for (damage, offset, bytes) in [
        (Damage::Truncate, 0, &b"before and after"[..]),
        (Damage::Garble, 0, b"before and after"),
        (Damage::Truncate, CHANGED_AT as u64, CHANGE),
    ] {
        let wreck = Wreck::new(Notes::InJournal);
        damage.hit(&wreck.content(offset, bytes));
        let daemon = wreck.mount().unwrap();
        let seen = wreck.seen();
        wreck.is_kept(&seen, "new", b"made here");
        wreck.is_kept(&seen, "clean", b"never changed");
        wreck.is_kept(&seen, "folder/other", b"never read");
        wreck.all_is_pushed(daemon);
    }
}
