//! The parameters of an HTTP request's query.

use std::collections::BTreeMap;

use hyper::Uri;
use percent_encoding::percent_decode_str;

use super::conditions::Preconditions;
use super::problem::{Outcome, Problem};

/// The decoded parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// Returns those of a URI.
    pub(crate) fn of(uri: &Uri) -> Self {
        Self::parse(uri.query().unwrap_or(""))
    }

    /// Returns those of a query, or of a form. A `+` is a space.
    pub(crate) fn parse(query: &str) -> Self {
        let decoded =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Fails with `invalid` if the parameter is not a number.
    pub(crate) fn number(&self, name: &str) -> Outcome<Option<i64>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Problem::invalid(format!("Invalid value '{text}' for {name}.")))
        };
        self.get(name).map(parse).transpose()
    }

    /// Returns the conditions on the object that is read or written.
    pub(crate) fn preconditions(&self) -> Outcome<Preconditions> {
        self.conditions("if")
    }

    /// Returns the conditions on the source of a copy.
    pub(crate) fn source_preconditions(&self) -> Outcome<Preconditions> {
        self.conditions("ifSource")
    }

    fn conditions(&self, start: &str) -> Outcome<Preconditions> {
        let number = |name: &str| self.number(&format!("{start}{name}"));
        Ok(Preconditions {
            generation: number("GenerationMatch")?,
            not_generation: number("GenerationNotMatch")?,
            metageneration: number("MetagenerationMatch")?,
            not_metageneration: number("MetagenerationNotMatch")?,
        })
    }
}
