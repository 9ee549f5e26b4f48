//! Documents of the index, as large as one likes.

use bayou::model::content_hash::ContentHash;
use bayou::model::entry::Entry;
use bayou::model::index::Index;
use bayou::model::key::DataKey;
use bayou::model::timestamp::{Stamp, Timestamp};
use bayou::model::version::Version;

/// Entries in one folder.
const IN_A_FOLDER: u64 = 100;

/// Returns the text of an index of so many files, each with all that is usually known of one.
pub fn of(entries: u64) -> Vec<u8> {
    let mut index = Index::empty(Timestamp::from_unix_ms(1_700_000_000_000));
    for number in 0..entries {
        let key = format!("projects/p{:04}/file-{number:07}.txt", number / IN_A_FOLDER);
        index.set(&DataKey::admit(&key).unwrap(), &entry(number));
    }
    index.to_bytes()
}

fn entry(number: u64) -> Entry {
    let hash = ContentHash::of(&number.to_le_bytes());
    let written = Stamp::from(Timestamp::from_unix_ms(1_700_000_000_000 + i64::try_from(number).unwrap()));
    Entry {
        size: Some(number * 37 % 65_536),
        last_modified: Some(written.clone()),
        local_mtime: Some(written),
        sha256: Some(hash),
        version: Version::new(&format!("{number:032x}")),
        ..Entry::default()
    }
}
