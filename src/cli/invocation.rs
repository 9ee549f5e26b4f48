//! What the program was called as, and the habits of mount(8).
//!
//! `mount -t fuse.bayou SOURCE DIR -o LIST` and lines of fstab reach us as `mount.bayou`,
//! `mount.fuse.bayou` or plain `bayou SOURCE DIR -o LIST`. All of it becomes the words of
//! `bayou mount` before clap sees it: `-o a=b,c` becomes `--a=b --c`.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;

/// Options of mount(8) that say nothing to us: the kernel's, systemd's, or what we do anyway.
const IGNORED: [&str; 27] = [
    "_netdev",
    "nofail",
    "auto",
    "noauto",
    "user",
    "users",
    "nouser",
    "owner",
    "group",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "rw",
    "defaults",
    "relatime",
    "norelatime",
    "atime",
    "noatime",
    "nodiratime",
    "strictatime",
    "lazytime",
    "async",
    "comment",
    "mand",
];

/// What is to be done, in words for clap or at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    /// Parse these words.
    Words(Vec<OsString>),
    /// mount(8) wants a rehearsal: there is nothing to do.
    Fake,
}

/// Why the words make no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadInvocation {
    /// An option in an `-o` list that nobody knows.
    #[error(
        "Unknown mount option {option:?}; `bayou mount --help` lists the options, with _ or - between words"
    )]
    UnknownOption {
        /// The option.
        option: String,
    },
    /// `-o` or another letter at the end.
    #[error("The option {letter} needs a value")]
    NoValue {
        /// The option.
        letter: &'static str,
    },
    /// mount(8) asks for something that we cannot do.
    #[error("The option {letter} of mount is not supported")]
    Unsupported {
        /// The option.
        letter: String,
    },
}

/// Returns what the program was called to do.
pub(super) fn read(words: Vec<OsString>, command: &Command) -> Result<Invocation, BadInvocation> {
    let called = words.first().map(|word| Path::new(word).file_name().unwrap_or_default().to_owned());
    let called = called.as_deref().and_then(|name| name.to_str()).unwrap_or("bayou").to_owned();
    let rest: Vec<OsString> = words.into_iter().skip(1).collect();
    match called.as_str() {
        "mount.bayou" | "mount.fuse.bayou" => helper_mount(rest, command),
        "umount.bayou" | "umount.fuse.bayou" => helper_umount(rest),
        _ if rest.first().is_some_and(|word| word.to_string_lossy().contains("://")) => {
            let words = with_lists(rest, command, false)?;
            Ok(Invocation::Words(sub_words("mount", words)))
        }
        _ if rest.first().is_some_and(|word| word == "mount") => {
            let words = with_lists(rest.into_iter().skip(1).collect(), command, false)?;
            Ok(Invocation::Words(sub_words("mount", words)))
        }
        _ => Ok(Invocation::Words(["bayou".into()].into_iter().chain(rest).collect())),
    }
}

fn sub_words(name: &str, rest: Vec<OsString>) -> Vec<OsString> {
    ["bayou".into(), name.into()].into_iter().chain(rest).collect()
}

/// As mount(8) calls its helpers: `SOURCE DIR [-sfnv] [-N namespace] [-o list] [-t type]`.
fn helper_mount(rest: Vec<OsString>, command: &Command) -> Result<Invocation, BadInvocation> {
    let mut words = Vec::new();
    let (mut is_sloppy, mut is_fake) = (false, false);
    let mut rest = rest.into_iter();
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("-t") => drop(rest.next()),
            Some("-N") => return Err(BadInvocation::Unsupported { letter: "-N".to_owned() }),
            Some("-o") => {
                words.push(word);
                words.push(rest.next().ok_or(BadInvocation::NoValue { letter: "-o" })?);
            }
            Some(flags) if is_letters(flags, "sfnvrw") => {
                is_sloppy |= flags.contains('s');
                is_fake |= flags.contains('f');
                words.extend(flags.contains('v').then(|| "-v".into()));
                words.extend(flags.contains('r').then(|| "--read-only".into()));
            }
            _ => words.push(word),
        }
    }
    let words = with_lists(words, command, is_sloppy)?;
    Ok(if is_fake { Invocation::Fake } else { Invocation::Words(sub_words("mount", words)) })
}

/// As umount(8) calls its helpers: `DIR [-nlfvr] [-N namespace] [-t type]`.
fn helper_umount(rest: Vec<OsString>) -> Result<Invocation, BadInvocation> {
    let mut words = Vec::new();
    let mut rest = rest.into_iter();
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("-t") => drop(rest.next()),
            Some("-N") => return Err(BadInvocation::Unsupported { letter: "-N".to_owned() }),
            Some(flags) if is_letters(flags, "nlfvr") => {
                words.extend(flags.contains('l').then(|| "--lazy".into()));
            }
            _ => words.push(word),
        }
    }
    Ok(Invocation::Words(sub_words("umount", words)))
}

fn is_letters(word: &str, letters: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|flags| !flags.is_empty() && flags.chars().all(|c| letters.contains(c)))
}

/// Replaces every `-o LIST` by the flags it stands for.
fn with_lists(
    words: Vec<OsString>,
    command: &Command,
    is_sloppy: bool,
) -> Result<Vec<OsString>, BadInvocation> {
    let mut plain = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let list = match word.to_str() {
            Some("-o") => words.next().ok_or(BadInvocation::NoValue { letter: "-o" })?,
            Some("--") => {
                plain.push(word);
                plain.extend(words);
                break;
            }
            Some(joined) if joined.starts_with("-o") => joined[2..].into(),
            _ => {
                plain.push(word);
                continue;
            }
        };
        for option in split_list(&list.to_string_lossy()) {
            match flag_of(&option, command) {
                Ok(flag) => plain.extend(flag.map(OsString::from)),
                Err(_) if is_sloppy => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(plain)
}

/// Splits at commas; a backslash keeps the comma after it.
fn split_list(list: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut option = String::new();
    let mut letters = list.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ',' => options.push(std::mem::take(&mut option)),
            '\\' => option.extend(letters.next()),
            _ => option.push(letter),
        }
    }
    options.push(option);
    options.retain(|option| !option.is_empty());
    options
}

/// Returns the flag that an option stands for, if it says anything to us.
fn flag_of(option: &str, command: &Command) -> Result<Option<String>, BadInvocation> {
    let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    if IGNORED.contains(&name) || name.starts_with("x-") || name.starts_with("X-") {
        return Ok(None);
    }
    let name = match name {
        "ro" => "read-only".to_owned(),
        name => name.replace('_', "-"),
    };
    if !is_flag(&name, command) {
        return Err(BadInvocation::UnknownOption { option: option.to_owned() });
    }
    Ok(Some(match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    }))
}

fn is_flag(name: &str, command: &Command) -> bool {
    let mount = command.get_subcommands().find(|sub| sub.get_name() == "mount");
    mount.is_some_and(|mount| {
        mount.get_arguments().any(|arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            !arg.is_hide_set() && (arg.get_long() == Some(name) || aliases.contains(&name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    fn words(line: &str) -> Result<String, BadInvocation> {
        let words = line.split(' ').map(OsString::from).collect();
        Ok(match read(words, &command())? {
            Invocation::Fake => "fake".to_owned(),
            Invocation::Words(words) => {
                let words: Vec<String> = words.into_iter().map(|word| word.into_string().unwrap()).collect();
                words.join(" ")
            }
        })
    }

    #[test]
    fn the_ways_to_be_called_become_the_same_words() {
        let table = [
            ("bayou status --json", "bayou status --json"),
            ("/usr/bin/bayou mount s3://b /m", "bayou mount s3://b /m"),
            ("bayou s3://b /m -o rw,nosuid,nodev", "bayou mount s3://b /m"),
            ("/sbin/mount.bayou s3://b /m -o rw,cache_size=1GiB", "bayou mount s3://b /m --cache-size=1GiB"),
            ("mount.fuse.bayou s3://b /m -nv -t fuse.bayou -o ro", "bayou mount s3://b /m -v --read-only"),
            ("mount.bayou s3://b /m -f -o ro", "fake"),
            ("mount.bayou s3://b /m -s -o nonsense,ro", "bayou mount s3://b /m --read-only"),
            ("umount.fuse.bayou /m -n", "bayou umount /m"),
            ("umount.fuse.bayou /m -l -t fuse.bayou", "bayou umount /m --lazy"),
        ];
        for (line, expected) in table {
            assert_eq!(words(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_line_copied_from_an_fstab_is_understood() {
        let list = "_netdev,nofail,noauto,user,defaults,relatime,noatime,x-systemd.automount,x-gvfs-show,allow_other";
        assert_eq!(
            words(&format!("mount.bayou s3://b /m -o {list}")).unwrap(),
            "bayou mount s3://b /m --allow-other"
        );
    }

    #[test]
    fn lists_may_be_joined_and_commas_escaped() {
        assert_eq!(
            words("bayou mount -oregion=a,ro s3://b /m").unwrap(),
            "bayou mount --region=a --read-only s3://b /m"
        );
        assert_eq!(
            words(r"bayou mount -o cache_dir=/a\,b,ro s3://b /m").unwrap(),
            "bayou mount --cache-dir=/a,b --read-only s3://b /m"
        );
    }

    #[test]
    fn an_option_that_nobody_knows_is_an_error_that_names_it() {
        let unknown = |option: &str| Err(BadInvocation::UnknownOption { option: option.to_owned() });
        assert_eq!(words("mount.bayou s3://b /m -o rw,cash_size=1"), unknown("cash_size=1"));
        assert_eq!(words("bayou mount s3://b /m -o print-konfig"), unknown("print-konfig"));
        assert_eq!(words("bayou mount s3://b /m -o"), Err(BadInvocation::NoValue { letter: "-o" }));
        let unsupported = Err(BadInvocation::Unsupported { letter: "-N".to_owned() });
        assert_eq!(words("mount.bayou s3://b /m -N 7"), unsupported);
    }

    #[test]
    fn words_behind_two_dashes_are_left_alone() {
        assert_eq!(words("bayou mount -- -o /m").unwrap(), "bayou mount -- -o /m");
    }
}
