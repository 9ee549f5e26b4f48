//! Which names objects and buckets may have.

use super::problem::{Outcome, Problem};

/// Most bytes of an object's name.
const MAX_BYTES: usize = 1024;

/// Where the certificate authority looks for its challenges: closed to objects.
const RESERVED: &str = ".well-known/acme-challenge/";

/// Fails with `invalid` if no object may have this name.
pub(crate) fn check_object(name: &str) -> Outcome {
    if name.is_empty() {
        return Err(Problem::required("name"));
    }
    if name.len() > MAX_BYTES {
        let found = name.len();
        return Err(Problem::invalid(format!("The name has {found} bytes, which is more than {MAX_BYTES}.")));
    }
    let bad = name == "." || name == ".." || name.starts_with(RESERVED);
    if bad || name.contains(['\r', '\n']) {
        return Err(Problem::invalid(format!("Invalid object name: {name:?}")));
    }
    Ok(())
}

/// Fails with `invalid` if no bucket may have this name.
pub(crate) fn check_bucket(name: &str) -> Outcome {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let long = (3..=63).contains(&name.len());
    let ours = name.starts_with("goog") || name.contains("google");
    if long && name.chars().all(allowed) && ends(name.chars().next()) && ends(name.chars().last()) && !ours {
        return Ok(());
    }
    Err(Problem::invalid(format!("Invalid bucket name: '{name}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_are_as_the_guidelines_say() {
        for good in
            ["a", "..a", "a/.", "a/../b", "//", "\u{1}", "日本語", ".well-known/acme", &"x".repeat(1024)]
        {
            assert_eq!(check_object(good), Ok(()), "{good:?}");
        }
        let long = "é".repeat(513);
        for bad in ["", ".", "..", "a\nb", "a\rb", ".well-known/acme-challenge/x", long.as_str()] {
            assert_eq!(check_object(bad).unwrap_err().kind.status(), 400, "{bad:?}");
        }
    }

    #[test]
    fn bucket_names_are_as_the_guidelines_say() {
        for (name, good) in [
            ("abc", true),
            ("a_b.c-1", true),
            ("ab", false),
            ("Abc", false),
            ("-abc", false),
            ("goog-x", false),
        ] {
            assert_eq!(check_bucket(name).is_ok(), good, "{name}");
        }
    }
}
