//! The house rules that the compiler does not hold: floors import only downward, files stay
//! small, only one room speaks to people, and no test is switched off.
//!
//! Each rule is shown to catch a bad example before it is asked about the real code.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up; a floor may import from its own and from those below.
const FLOORS: [&[&str]; 8] =
    [&["os"], &["model"], &["store"], &["cache"], &["sync"], &["fs"], &["session", "control"], &["cli"]];

/// Longest file that one can still take in.
const MAX_LINES: usize = 400;

/// What only `src/cli/output.rs` may call.
const SPEAKING: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];

/// Of what these make there is one, made in `src/session/`.
const ONLY_THE_SESSION: [&str; 4] =
    ["Cache::open(", "SyncService::new(", "RetryingStore::new(", "Hydrator::new("];

/// What no finished code contains.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];

#[test]
fn no_floor_imports_from_a_floor_above() {
    let found = judge_sources(&["src"], upward_imports);
    assert!(found.is_empty(), "Upward imports:\n{}", found.join("\n"));
}

#[test]
fn an_upward_import_is_caught_in_every_form() {
    for bad in [
        "use crate::cli::output;",
        "use crate::{os::clock, sync::push};",
        "use crate::{\n    model::key::DataKey,\n    fs,\n};",
        "fn f() { crate::session::run() }",
        "use super::super::session;",
        "use super::super::{model, control::Client};",
        "mod tests { use super::super::super::cli::x; }",
        "use crate::unheard_of::thing;",
    ] {
        assert!(!upward_imports("src/cache/content.rs", bad).is_empty(), "not caught: {bad}");
    }
}

#[test]
fn imports_from_the_own_floor_and_below_are_left_alone() {
    for good in [
        "use crate::cache::catalog::Row;",
        "use crate::{os::clock, model::{key, session}, store::Version};",
        "use super::watermark::ChangeToken;",
        "mod tests { use super::*; use super::super::watermark; }",
        "/// See [`crate::session`].\nfn f() {}",
        "// use crate::cli;\nfn f() { g(\"crate::cli::run\") }",
        "fn f() { let c = '\"'; /* crate::cli */ let d = r#\"crate::fs\"#; }",
    ] {
        assert_eq!(upward_imports("src/cache/content.rs", good), Vec::<String>::new(), "{good}");
    }
    assert!(upward_imports("src/control/wire.rs", "use crate::session::options;").is_empty());
}

#[test]
fn no_source_file_is_too_long() {
    let found = judge_sources(&["src"], too_long);
    assert!(found.is_empty(), "Files of more than {MAX_LINES} lines:\n{}", found.join("\n"));
}

#[test]
fn a_file_that_is_too_long_is_caught() {
    assert!(too_long("src/a.rs", &"\n".repeat(MAX_LINES)).is_empty());
    assert!(!too_long("src/a.rs", &"\n".repeat(MAX_LINES + 1)).is_empty());
}

#[test]
fn only_the_output_room_speaks_to_people() {
    let found = judge_sources(&["src"], speaking);
    assert!(found.is_empty(), "Output outside of src/cli/output.rs:\n{}", found.join("\n"));
}

#[test]
fn speaking_outside_the_output_room_is_caught() {
    assert!(!speaking("src/fs/mod.rs", "fn f() { println!(\"x\") }").is_empty());
    assert!(!speaking("src/main.rs", "fn f() { eprintln!(\"x\") }").is_empty());
    assert!(speaking("src/cli/output.rs", "fn f() { println!(\"x\") }").is_empty());
    assert!(speaking("src/fs/mod.rs", "// println!\nfn f() { g(\"println!\") }").is_empty());
}

#[test]
fn there_is_one_of_everything_and_the_session_makes_it() {
    let found = judge_sources(&["src"], made_elsewhere);
    assert!(found.is_empty(), "Made outside of src/session:\n{}", found.join("\n"));
}

#[test]
fn a_second_cache_or_retry_loop_is_caught() {
    let bad = "fn f() { Cache::open(options, clock) }";
    assert!(!made_elsewhere("src/sync/mod.rs", bad).is_empty());
    assert!(!made_elsewhere("src/cli/sync.rs", "fn f() { RetryingStore::new(a, b, c) }").is_empty());
    assert!(made_elsewhere("src/session/opened.rs", bad).is_empty());
    let in_test = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{ {bad} }}");
    assert!(made_elsewhere("src/cache/open.rs", &in_test).is_empty());
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    let found = judge_sources(&["src", "tests"], unfinished);
    assert!(found.is_empty(), "Unfinished or switched off:\n{}", found.join("\n"));
}

#[test]
fn an_ignored_test_is_caught() {
    let ignored = format!("#[test]\n#[{}]\nfn f() {{}}", "ignore = \"slow\"");
    assert!(!unfinished("tests/x.rs", &ignored).is_empty());
    assert!(unfinished("tests/x.rs", "#[test]\nfn f() {}").is_empty());
}

/// Applies a rule to every Rust file below `folders` and returns what it objects to.
fn judge_sources(folders: &[&str], rule: fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(files.len() > 10, "only {} source files found", files.len());
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        found.extend(rule(&name, &text));
    }
    found
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

fn too_long(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > MAX_LINES { vec![format!("{name}: {lines} lines")] } else { Vec::new() }
}

fn speaking(name: &str, text: &str) -> Vec<String> {
    if name == "src/cli/output.rs" {
        return Vec::new();
    }
    contained(name, text, &SPEAKING)
}

fn unfinished(name: &str, text: &str) -> Vec<String> {
    contained(name, text, &UNFINISHED)
}

/// Tests may make as many as they like.
fn made_elsewhere(name: &str, text: &str) -> Vec<String> {
    if name.starts_with("src/session/") {
        return Vec::new();
    }
    let production = text.split("#[cfg(test)]").next().unwrap_or_default();
    contained(name, production, &ONLY_THE_SESSION)
}

fn contained(name: &str, text: &str, words: &[&str]) -> Vec<String> {
    let code = code_only(text);
    let begins = |at: usize| at == 0 || !is_word(code.as_bytes()[at - 1]);
    let found = words.iter().filter(|word| code.match_indices(*word).any(|(at, _)| begins(at)));
    found.map(|word| format!("{name}: {word}")).collect()
}

/// Returns what a file imports from above its floor.
fn upward_imports(name: &str, text: &str) -> Vec<String> {
    let modules = module_path(name);
    let Some(own_name) = modules.first() else { return Vec::new() };
    let own = floor_of(own_name).unwrap_or_else(|| panic!("{name} is on no floor"));
    let mut found = Vec::new();
    for module in root_modules(&code_only(text), modules.len()) {
        match floor_of(&module) {
            Some(floor) if floor <= own => {}
            Some(_) => found.push(format!("{name}: crate::{module} is above {own_name}")),
            None => found.push(format!("{name}: crate::{module} is on no floor")),
        }
    }
    found
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Returns the modules a file is in: `src/cache/mod.rs` is `[cache]`; the roots are `[]`.
fn module_path(name: &str) -> Vec<&str> {
    let inner = name.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    let mut modules: Vec<&str> = inner.split('/').collect();
    modules.pop_if(|last| ["mod", "lib", "main"].contains(last));
    modules
}

/// Returns the modules named right below the root of the crate, through `crate::` or a chain
/// of `super::` that is as long as the code is deep.
fn root_modules(code: &str, file_depth: usize) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut inline_modules: Vec<usize> = Vec::new();
    let mut braces = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => {
                braces += 1;
                if at >= 2 && tokens[at - 2] == "mod" {
                    inline_modules.push(braces);
                }
            }
            "}" => {
                inline_modules.pop_if(|opened| *opened == braces);
                braces -= 1;
            }
            "crate" if tokens.get(at + 1) == Some(&"::") => found.extend(named_at(&tokens[at + 2..])),
            "super" => {
                let chain = tokens[at..].chunks(2).take_while(|pair| *pair == ["super", "::"]).count();
                if chain == file_depth + inline_modules.len() {
                    found.extend(named_at(&tokens[at + 2 * chain..]));
                }
                at += 2 * chain.max(1) - 1;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Returns the first names of a path's rest: one, or one for each member of a `{...}` group.
fn named_at(tokens: &[&str]) -> Vec<String> {
    if tokens.first() != Some(&"{") {
        return tokens
            .first()
            .filter(|token| is_name(token))
            .map(|token| (*token).to_owned())
            .into_iter()
            .collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut fresh = false;
    for token in tokens {
        match *token {
            "{" => {
                depth += 1;
                fresh = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            name if fresh => {
                names.push(name.to_owned());
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn is_name(token: &str) -> bool {
    token.bytes().next().is_some_and(is_word)
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Splits code into words, `::` and single signs.
fn tokens(code: &str) -> Vec<&str> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if is_word(bytes[at]) {
            rest.iter().take_while(|byte| is_word(**byte)).count()
        } else if rest.starts_with(b"::") {
            2
        } else {
            1
        };
        if !bytes[at].is_ascii_whitespace() {
            found.push(&code[at..at + length]);
        }
        at += length;
    }
    found
}

/// Blanks out comments, strings and characters; what is left is ASCII.
fn code_only(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = hidden_length(rest, &left);
        let length = hidden.unwrap_or(first.len_utf8());
        left.push(if hidden.is_none() && first.is_ascii() { first } else { ' ' });
        rest = &rest[length..];
    }
    left
}

/// Returns the length of the comment, string or character that `rest` begins with.
fn hidden_length(rest: &str, before: &str) -> Option<usize> {
    let until =
        |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(until("*/", 2));
    }
    if rest.starts_with('"') {
        return Some(string_length(rest));
    }
    let in_word = before.bytes().last().is_some_and(is_word);
    if !in_word && let Some(raw) = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br")) {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        let start = rest.len() - raw.len() + hashes;
        if rest[start..].starts_with('"') {
            return Some(until(&format!("\"{}", "#".repeat(hashes)), start + 1));
        }
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        if quoted.starts_with('\\') {
            return Some(until("'", 3));
        }
        let inner = quoted.chars().next()?.len_utf8();
        return quoted[inner..].starts_with('\'').then_some(inner + 2);
    }
    None
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}
