//! Every row has a test that bears its number, or a line in `docs/CONFORMANCE.md` that says why
//! it does not apply to us; never both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// No more rows than this may be said not to apply.
const MOST_LEFT_OUT: usize = 35;

/// Returns the names of all rows.
fn rows() -> BTreeSet<String> {
    let series = [("C", 1, 153), ("L", 1, 9), ("H", 1, 12), ("W", 0, 31)];
    let numbered = series
        .into_iter()
        .flat_map(|(letter, first, last)| (first..=last).map(move |number| format!("{letter}-{number}")));
    let single = ["K-9", "K-13", "K-15", "K-24", "W-0b", "W-1b", "W-2b"].map(str::to_owned);
    numbered.chain(single).collect()
}

#[test]
fn every_row_is_tested_or_does_not_apply() {
    let mut sources: Vec<_> =
        ["src", "tests"].into_iter().flat_map(|folder| sources(&root().join(folder))).collect();
    // There the neighbour is shown to lose what swamp loses.
    sources.retain(|(path, _)| !path.starts_with(root().join("tests/swamp_actor")));
    let tested = tested_in(&sources);
    let page = fs::read_to_string(root().join("docs/CONFORMANCE.md")).unwrap();
    let left_out = rows_of(&page, "Rows that do not apply");
    assert!(left_out.len() <= MOST_LEFT_OUT, "{} rows are left out", left_out.len());
    let rows = rows();
    for row in &rows {
        let (is_tested, is_left_out) = (tested.contains_key(row), left_out.contains(row));
        assert!(is_tested || is_left_out, "{row} has no test, and nothing says why");
        assert!(!(is_tested && is_left_out), "{row} is said not to apply: {:?}", tested.get(row));
    }
    let unknown: Vec<_> = left_out.iter().chain(tested.keys()).filter(|row| !rows.contains(*row)).collect();
    assert!(unknown.is_empty(), "There are no such rows: {unknown:?}");
}

#[test]
fn there_are_213_rows() {
    assert_eq!(rows().len(), 213);
}

#[test]
fn the_numbers_of_a_test_are_read_from_its_name() {
    let text = "async fn c_60_and_c_63_the_same(world: World) {}\nfn w_2b_x() {}\nfn clean() {}\n// fn l_1_x\n\
                fn c_1_and_lasting() {}\nlet d = c_9_x();";
    let tested = tested_in(&[("a.rs".into(), text.to_owned())]);
    assert_eq!(tested.into_keys().collect::<Vec<_>>(), ["C-1", "C-60", "C-63", "W-2b"]);
}

#[test]
fn the_rows_of_a_page_are_the_first_column_of_a_section() {
    let page = "## One\n| Row | Why |\n|---|---|\n| C-5 | no |\n| C-6 | C-7 |\n## Two\n| C-8 | no |\n";
    assert_eq!(rows_of(page, "One").into_iter().collect::<Vec<_>>(), ["C-5", "C-6"]);
    assert!(rows_of(page, "Three").is_empty());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all sources below a folder.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// Returns the rows that tests bear in their names, with those tests.
fn tested_in(sources: &[(PathBuf, String)]) -> BTreeMap<String, Vec<String>> {
    let mut tested: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources {
        for line in text.lines() {
            let Some(name) = line.trim_start().trim_start_matches("async ").strip_prefix("fn ") else {
                continue;
            };
            for row in rows_in_name(name) {
                tested.entry(row).or_default().push(format!("{}: {name}", path.display()));
            }
        }
    }
    tested
}

/// Reads `c_60_and_c_63_…`.
fn rows_in_name(name: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest = name;
    loop {
        let Some((letter, after)) = rest.split_once('_') else { return rows };
        let Some((number, after)) = after.split_once('_') else { return rows };
        let is_row = ["c", "l", "h", "k", "w"].contains(&letter)
            && number.starts_with(|first: char| first.is_ascii_digit())
            && number.trim_end_matches('b').chars().all(|digit| digit.is_ascii_digit());
        if !is_row {
            return rows;
        }
        rows.push(format!("{}-{number}", letter.to_uppercase()));
        let Some(next) = after.strip_prefix("and_") else { return rows };
        rest = next;
    }
}

/// Returns the first column of the tables of a section.
fn rows_of(page: &str, section: &str) -> BTreeSet<String> {
    let mut sections = page.split("\n## ").map(|text| text.trim_start_matches("## "));
    let Some(text) = sections.find(|text| text.lines().next() == Some(section)) else {
        return BTreeSet::new();
    };
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.filter(|cell| cell.contains('-')).map(str::to_owned).collect()
}
