//! The configuration file `bayou.toml`, and which of several values wins.
//!
//! The command line beats the environment, which beats the file, which beats the default.
//! Values of the file become defaults of the flags, so they pass the same checks and mean the
//! same; a key that is no flag is an error that names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// What a configuration file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigFile {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

/// Why a configuration file cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// It cannot be read.
    #[error("Configuration file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("Configuration file {} is not valid TOML; correct it or remove it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A key that means nothing.
    #[error("Unknown key {key:?} in {}; the keys are the flags that `bayou mount --help` shows with [env: BAYOU_...]", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A value that is a list, a table or a date.
    #[error("The value of {key:?} in {} must be a text, a number, true or false", path.display())]
    NotAValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A variable that is not set, or `${` without its end.
    #[error("The value of {key:?} in {} needs the environment variable {variable:?}, which is not set", path.display())]
    NoVariable {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The variable.
        variable: String,
    },
}

/// Returns the places where a configuration file may be, the preferred one first.
pub(super) fn places() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let user = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    user.into_iter().chain([PathBuf::from("/etc")]).map(|base| base.join("bayou/bayou.toml")).collect()
}

impl ConfigFile {
    /// Returns the first file that exists in these places, or one that says nothing.
    pub(super) fn read_first(places: &[PathBuf], command: &Command) -> Result<Self, ConfigError> {
        for path in places {
            match std::fs::read_to_string(path) {
                Ok(text) => return Self::parse(path, &text, command, |name| std::env::var(name).ok()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
                Err(source) => return Err(ConfigError::Unreadable { path: path.clone(), source }),
            }
        }
        Ok(Self::default())
    }

    fn parse(
        path: &Path,
        text: &str,
        command: &Command,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        let table: toml::Table =
            text.parse().map_err(|source| ConfigError::Malformed { path: path.clone(), source })?;
        let mut values = BTreeMap::new();
        for (written, value) in table {
            let key = written.replace('_', "-");
            if !keys(command).contains(&key) {
                return Err(ConfigError::UnknownKey { path, key: written });
            }
            let Some(text) = plain(value) else {
                return Err(ConfigError::NotAValue { path, key: written });
            };
            match substitute(&text, &variable) {
                Ok(text) => values.insert(key, text),
                Err(variable) => return Err(ConfigError::NoVariable { path, key: written, variable }),
            };
        }
        Ok(Self { path, values })
    }

    /// Returns whether the file sets anything.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the command with the file's values as defaults of its flags.
    pub(super) fn apply(&self, command: Command) -> Command {
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        names.into_iter().fold(command, |command, name| {
            command.mut_subcommand(name, |sub| self.apply(sub.mut_args(|arg| self.with_default(arg))))
        })
    }

    fn with_default(&self, arg: Arg) -> Arg {
        let value = key_of(&arg).and_then(|key| self.values.get(&key)).cloned();
        match value {
            Some(value) => arg.default_value(value),
            None => arg,
        }
    }

    /// Returns each setting of a command with its value and where that came from.
    pub(super) fn explain(&self, command: &Command, matches: &ArgMatches) -> Vec<String> {
        let settings = command.get_arguments().filter_map(|arg| Some((arg, key_of(arg)?)));
        settings.map(|(arg, key)| self.explain_one(arg, &key, matches)).collect()
    }

    fn explain_one(&self, arg: &Arg, key: &str, matches: &ArgMatches) -> String {
        let id = arg.get_id().as_str();
        let raw = matches.get_raw(id).and_then(|mut values| values.next());
        let Some(value) = raw else { return format!("# {key} is not set") };
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "command line".to_owned(),
            Some(ValueSource::EnvVariable) => {
                format!("environment {}", arg.get_env().unwrap_or_default().to_string_lossy())
            }
            _ if self.values.contains_key(key) => format!("file {}", self.path.display()),
            _ => "default".to_owned(),
        };
        format!("{key} = {}  # {origin}", toml::Value::from(value.to_string_lossy().into_owned()))
    }
}

/// Returns the keys that a file may have: the flags that also have an environment variable.
fn keys(command: &Command) -> Vec<String> {
    command.get_subcommands().flat_map(Command::get_arguments).filter_map(key_of).collect()
}

fn key_of(arg: &Arg) -> Option<String> {
    arg.get_env()?;
    arg.get_long().map(str::to_owned)
}

fn plain(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

/// Replaces each `${VAR}`; fails with the name of a variable that is not set.
fn substitute(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { return Err(after.to_owned()) };
        whole.push_str(before);
        whole.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    fn parse(text: &str) -> Result<ConfigFile, ConfigError> {
        let home = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
        ConfigFile::parse(Path::new("/etc/bayou/bayou.toml"), text, &command(), home)
    }

    fn explained(file: &ConfigFile, words: &[&str]) -> Vec<String> {
        let command = file.apply(command());
        let matches = command.clone().try_get_matches_from(words).unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        file.explain(command.find_subcommand(name).unwrap(), matches)
    }

    #[test]
    fn the_command_line_beats_the_file_and_the_file_beats_the_default() {
        let file = parse("cache-size = \"1GiB\"\nrefresh = 9\nread_only = true").unwrap();
        let said = explained(&file, &["bayou", "mount", "s3://bucket", "/mnt", "--cache-size", "2GiB"]);
        for expected in [
            "cache-size = \"2GiB\"  # command line",
            "refresh = \"9\"  # file /etc/bayou/bayou.toml",
            "read-only = \"true\"  # file /etc/bayou/bayou.toml",
            "write-back = \"5s\"  # default",
            "# region is not set",
        ] {
            assert!(said.iter().any(|line| line == expected), "{expected} is not in {said:#?}");
        }
    }

    #[test]
    fn a_flag_that_the_file_sets_can_be_unset_on_the_command_line() {
        let file = parse("read-only = true").unwrap();
        let said = explained(&file, &["bayou", "mount", "s3://bucket", "/mnt", "--read-only=false"]);
        assert!(said.contains(&"read-only = \"false\"  # command line".to_owned()), "{said:#?}");
    }

    #[test]
    fn variables_are_filled_in() {
        let file = parse("cache-dir = \"${HOME}/c${HOME}\"").unwrap();
        assert_eq!(file.values["cache-dir"], "/home/u/c/home/u");
    }

    #[test]
    fn what_the_file_gets_wrong_is_named() {
        let table = [
            ("cash-size = 1", "Unknown key \"cash-size\" in /etc/bayou/bayou.toml"),
            ("[mount]\nrefresh = 1", "Unknown key \"mount\""),
            ("refresh = [1]", "The value of \"refresh\" in /etc/bayou/bayou.toml must be"),
            ("region = \"${NOWHERE}\"", "needs the environment variable \"NOWHERE\""),
            ("region = \"${HOME\"", "needs the environment variable \"HOME\""),
            ("region = ", "Configuration file /etc/bayou/bayou.toml is not valid TOML"),
        ];
        for (text, expected) in table {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn every_long_flag_with_a_variable_is_named_after_it() {
        for sub in command().get_subcommands() {
            for arg in sub.get_arguments() {
                if let (Some(long), Some(env)) = (arg.get_long(), arg.get_env()) {
                    let expected = format!("BAYOU_{}", long.replace('-', "_").to_uppercase());
                    assert_eq!(env.to_str(), Some(expected.as_str()));
                }
            }
        }
    }
}
