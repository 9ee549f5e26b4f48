//! The page and the tests: no sentence without a test, no test of a sentence that is not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a test says above itself, before the numbers of its sentences.
const QUOTE: &str = "/// Shows ";

#[test]
fn every_sentence_has_a_test_and_every_quoted_sentence_is_on_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = sentences(&fs::read_to_string(root.join("docs/SEMANTICS.md")).unwrap());
    assert!(page.len() > 40, "{page:?}");
    let mut shown = BTreeMap::new();
    for file in rust_files(&root.join("tests")) {
        for number in quotes(&fs::read_to_string(&file).unwrap()) {
            shown.insert(number, file.clone());
        }
    }
    let without_test: Vec<_> = page.iter().filter(|number| !shown.contains_key(*number)).collect();
    assert!(without_test.is_empty(), "Sentences without a test: {without_test:?}");
    let unknown: Vec<_> = shown.iter().filter(|(number, _)| !page.contains(number)).collect();
    assert!(unknown.is_empty(), "Not on the page: {unknown:?}");
}

#[test]
fn sentences_are_numbered_without_gaps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = sentences(&fs::read_to_string(root.join("docs/SEMANTICS.md")).unwrap());
    let mut last = ("", 0);
    for number in &page {
        let (name, count) = number.split_once('-').unwrap();
        let expected = if name == last.0 { last.1 + 1 } else { 1 };
        assert_eq!(count, expected.to_string(), "{number}");
        last = (name, expected);
    }
}

#[test]
fn only_a_comment_above_a_test_is_a_quote() {
    let numbers = |text: &str| quotes(text);
    assert_eq!(numbers("/// Shows a-1, a-2.\n#[test]\nfn f() {}"), ["a-1", "a-2"]);
    assert_eq!(numbers("    /// Shows a-1.\n    /// Slowly.\n    #[test]"), ["a-1"]);
    assert_eq!(numbers("/// Shows a-1.\nfn run_by_a_macro(bucket: &Bucket) {"), ["a-1"]);
    assert!(numbers("/// Shows a-1.\nstruct A;").is_empty());
    assert!(numbers("// Shows a-1.\n#[test]").is_empty());
}

/// Returns the numbers of the page's sentences, in their order.
fn sentences(page: &str) -> Vec<String> {
    let marked = page.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("** "));
    marked.map(|(number, _)| number.to_owned()).collect()
}

/// Returns the numbers that tests quote: tests, or functions that a macro makes tests of.
fn quotes(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = code.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(list) = line.strip_prefix(QUOTE).and_then(|list| list.strip_suffix('.')) else { continue };
        let below = lines.clone().find(|line| !line.starts_with("///")).unwrap_or_default();
        if below == "#[test]" || (below.starts_with("fn ") && below.ends_with("(bucket: &Bucket) {")) {
            found.extend(list.split(", ").map(str::to_owned));
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}
