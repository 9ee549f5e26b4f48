//! What a person names as the source of a mount: a bucket on a service, or a folder.
//!
//! Parsed once, at the door. Two texts that mean the same bucket and prefix become the same
//! [`Source`], whose canonical text also names the local state of the mount.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// The schemes that [`Source::parse`] accepts, for messages.
const ACCEPTED: &str = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, file:///FOLDER or the path of a folder";

/// Where the objects are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// An S3 bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What every key begins with, without the `/` that follows it; empty: the whole bucket.
        prefix: String,
    },
    /// A bucket on Google Cloud Storage.
    Gcs {
        /// The bucket's name.
        bucket: String,
        /// What every key begins with, without the `/` that follows it; empty: the whole bucket.
        prefix: String,
    },
    /// A folder used as a bucket.
    Folder {
        /// The folder, absolute, links resolved.
        path: PathBuf,
    },
}

/// Why a text is not a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The text is empty.
    #[error("The source is empty: name {ACCEPTED}")]
    Empty,
    /// A scheme that nobody knows.
    #[error("Unknown scheme {scheme:?} in {text:?}: name {ACCEPTED}")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
        /// What was given.
        text: String,
    },
    /// No bucket can have this name.
    #[error("{bucket:?} cannot be the name of {service}: {reason}")]
    BadBucket {
        /// A bucket on which service.
        service: &'static str,
        /// The name.
        bucket: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// No object can have a key with this prefix.
    #[error("The prefix {prefix:?} cannot be used: {reason}")]
    BadPrefix {
        /// The prefix.
        prefix: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The folder is not there, or is not a folder.
    #[error("{path:?} cannot be used as a bucket: {reason}; a source is {ACCEPTED}")]
    BadFolder {
        /// What was given.
        path: String,
        /// What the system said.
        reason: String,
    },
}

impl Source {
    /// Returns the source that a text names. A folder must exist.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return folder(text, Path::new(text));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => {
                let (bucket, prefix) = bucket_and_prefix(rest, "an S3 bucket", bucket_fault)?;
                Ok(Self::S3 { bucket, prefix })
            }
            "gs" | "gcs" => {
                let (bucket, prefix) = bucket_and_prefix(rest, "a GCS bucket", gcs_bucket_fault)?;
                Ok(Self::Gcs { bucket, prefix })
            }
            "file" => file_url(text, rest),
            _ => Err(SourceError::UnknownScheme { scheme: scheme.to_owned(), text: text.to_owned() }),
        }
    }

    /// Returns the prefix of every key, empty if there is none.
    pub fn prefix(&self) -> &str {
        match self {
            Self::S3 { prefix, .. } | Self::Gcs { prefix, .. } => prefix,
            Self::Folder { .. } => "",
        }
    }
}

/// The canonical text: equal for equal sources, and parsed to the same source again.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } => write_bucket(f, "s3", bucket, prefix),
            Self::Gcs { bucket, prefix } => write_bucket(f, "gs", bucket, prefix),
            Self::Folder { path } => write!(f, "file://{}", encode_path(path)),
        }
    }
}

fn write_bucket(f: &mut fmt::Formatter<'_>, scheme: &str, bucket: &str, prefix: &str) -> fmt::Result {
    let slash = if prefix.is_empty() { "" } else { "/" };
    write!(f, "{scheme}://{bucket}{slash}{prefix}")
}

/// Writes a path as it stands in a URL: only what would be read back as something else is
/// escaped.
fn encode_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');
    let bytes = path.as_os_str().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace('%', "%25"),
        Err(_) => percent_encoding::percent_encode(bytes, ESCAPED).to_string(),
    }
}

/// Returns the bucket and the prefix behind a scheme, if the bucket's name has no fault.
fn bucket_and_prefix(
    rest: &str,
    service: &'static str,
    fault: fn(&str) -> Option<&'static str>,
) -> Result<(String, String), SourceError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(reason) = fault(bucket) {
        return Err(SourceError::BadBucket { service, bucket: bucket.to_owned(), reason });
    }
    let prefix = prefix.trim_end_matches('/');
    if let Some(reason) = prefix_fault(prefix) {
        return Err(SourceError::BadPrefix { prefix: prefix.to_owned(), reason });
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

/// Returns the rule that the name of a bucket on Google Cloud Storage breaks, if any: those of
/// S3, but underscores are allowed.
fn gcs_bucket_fault(bucket: &str) -> Option<&'static str> {
    if bucket.starts_with("goog") || bucket.contains("google") {
        return Some("names of Google are reserved");
    }
    let may_begin = !bucket.starts_with('_') && !bucket.ends_with('_');
    let as_in_s3 = if may_begin { bucket.replace('_', "x") } else { bucket.to_owned() };
    bucket_fault(&as_in_s3)
}

/// Returns the rule that a bucket's name breaks, if any.
fn bucket_fault(bucket: &str) -> Option<&'static str> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if bucket.is_empty() {
        Some("it is empty")
    } else if !(3..=63).contains(&bucket.len()) {
        Some("it must have 3 to 63 characters")
    } else if !bucket.chars().all(inner) {
        Some("only lower-case letters, digits, dots and hyphens are allowed")
    } else if !(bucket.starts_with(outer) && bucket.ends_with(outer)) {
        Some("it must begin and end with a letter or a digit")
    } else if bucket.contains("..") {
        Some("two dots must not follow each other")
    } else if bucket.parse::<std::net::Ipv4Addr>().is_ok() {
        Some("it must not look like an IP address")
    } else {
        None
    }
}

/// Returns the rule that a prefix breaks, if any.
fn prefix_fault(prefix: &str) -> Option<&'static str> {
    if prefix.contains('\0') {
        Some("it contains a NUL character")
    } else if prefix.len() > 1000 {
        Some("it leaves no room for names (a key has at most 1024 bytes)")
    } else {
        None
    }
}

fn file_url(text: &str, rest: &str) -> Result<Source, SourceError> {
    use std::os::unix::ffi::OsStringExt;
    let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
    if !path.starts_with('/') {
        let reason = "a file URL has three slashes and an absolute path, as in file:///srv/data".to_owned();
        return Err(SourceError::BadFolder { path: text.to_owned(), reason });
    }
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    folder(text, Path::new(&std::ffi::OsString::from_vec(bytes)))
}

fn folder(text: &str, path: &Path) -> Result<Source, SourceError> {
    let bad = |reason: String| SourceError::BadFolder { path: text.to_owned(), reason };
    let path = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => bad("there is no such folder".to_owned()),
        _ => bad(error.to_string()),
    })?;
    if path.is_dir() { Ok(Source::Folder { path }) } else { Err(bad("it is not a folder".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3_source(bucket: &str, prefix: &str) -> Source {
        Source::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn an_s3_url_names_a_bucket_and_a_prefix_without_its_last_slash() {
        let table = [
            ("s3://data", s3_source("data", "")),
            ("s3://data/", s3_source("data", "")),
            ("S3://data/team/a", s3_source("data", "team/a")),
            ("s3://data/team/a/", s3_source("data", "team/a")),
            ("s3://data/ä b/100%/?x#y", s3_source("data", "ä b/100%/?x#y")),
            ("s3://data//odd", s3_source("data", "/odd")),
        ];
        for (text, expected) in table {
            assert_eq!(Source::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bucket_names_that_cannot_exist_are_refused_with_the_rule() {
        let long = "x".repeat(64);
        for bucket in ["", "ab", "Data", "my_data", "-data", "data.", "a..b", "192.168.1.1", &long, "dätä"]
        {
            let refused = Source::parse(&format!("s3://{bucket}/x")).unwrap_err();
            assert!(matches!(&refused, SourceError::BadBucket { bucket: named, .. } if named == bucket));
        }
        assert!(Source::parse(&format!("s3://data/{}", "x".repeat(1001))).is_err());
    }

    #[test]
    fn a_gs_url_names_a_bucket_whose_name_may_have_underscores() {
        let named = |bucket: &str| Source::Gcs { bucket: bucket.to_owned(), prefix: "team/a".to_owned() };
        for (text, bucket) in [("gs://my_data/team/a/", "my_data"), ("GCS://data/team/a", "data")] {
            assert_eq!(Source::parse(text), Ok(named(bucket)), "{text}");
        }
        for bucket in ["", "ab", "Data", "_data", "goog-data", "my-google", "a..b"] {
            let refused = Source::parse(&format!("gs://{bucket}/x")).unwrap_err();
            assert!(refused.to_string().contains("a GCS bucket"), "{refused}");
        }
    }

    #[test]
    fn a_folder_is_the_same_source_however_it_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().canonicalize().unwrap().join("my 100% däta");
        std::fs::create_dir(&folder).unwrap();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let plain = Source::parse(folder.to_str().unwrap()).unwrap();
        assert_eq!(plain, Source::Folder { path: folder.clone() });
        assert_eq!(Source::parse(&format!("{}/", folder.display())).unwrap(), plain);
        assert_eq!(Source::parse(link.to_str().unwrap()).unwrap(), plain);
        assert_eq!(Source::parse(&plain.to_string()).unwrap(), plain);
        assert_eq!(plain.prefix(), "");
        let localhost = plain.to_string().replace("file://", "file://localhost");
        assert_eq!(Source::parse(&localhost).unwrap(), plain);
    }

    #[test]
    fn the_canonical_text_is_read_back_as_the_same_source() {
        for text in ["s3://data", "s3://data/a/b", "s3://data/100%41/ö", "gs://data", "gs://my_data/a/b"] {
            let source = Source::parse(text).unwrap();
            assert_eq!(source.to_string(), text);
            assert_eq!(Source::parse(&source.to_string()).unwrap(), source);
        }
    }

    #[test]
    fn what_is_not_a_source_is_refused_in_one_sentence_that_names_the_accepted_ones() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        std::fs::File::create(&file).unwrap();
        let file_path = file.to_str().unwrap();
        let table = [
            ("", "The source is empty"),
            ("https://data/x", "Unknown scheme \"https\""),
            ("file://data/x", "three slashes"),
            ("/no/such/folder", "there is no such folder"),
            ("s3:data", "there is no such folder"),
            (file_path, "it is not a folder"),
        ];
        for (text, expected) in table {
            let message = Source::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?} gave {message:?}");
            assert!(message.contains("s3://BUCKET/PREFIX"), "{message:?}");
        }
    }
}
