//! Who is let in: anybody, the bearer of a token, or nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::HeaderMap;
use parking_lot::Mutex;

use super::accounts::Accounts;
use super::options::Access;
use super::problem::{Kind, Outcome, Problem};
use crate::operation::Op;
use crate::request_log::text;

/// The rule that is in force, and the tokens that were given out.
#[derive(Debug)]
pub(crate) struct Door {
    rule: Mutex<Access>,
    issued: Mutex<BTreeSet<String>>,
    accounts: Arc<Accounts>,
}

impl Door {
    pub(crate) fn new(rule: Access, accounts: Arc<Accounts>) -> Self {
        Self { rule: Mutex::new(rule), issued: Mutex::default(), accounts }
    }

    pub(crate) fn set(&self, rule: Access) {
        *self.rule.lock() = rule;
    }

    /// Lets the bearer of this token in from now on.
    pub(crate) fn issue(&self, token: &str) {
        self.issued.lock().insert(token.to_owned());
    }

    /// Makes all tokens that were given out worthless.
    pub(crate) fn expire_all(&self) {
        self.issued.lock().clear();
    }

    fn is_good(&self, token: &str) -> bool {
        self.issued.lock().contains(token) || self.accounts.verify(token).is_ok()
    }

    /// Fails with `authError` or `forbidden` if the request is not let in.
    pub(crate) fn judge(&self, op: Op, headers: &HeaderMap) -> Outcome {
        let shown = bearer(headers);
        let known = match &*self.rule.lock() {
            Access::Open => true,
            Access::ReadOnly if !op.is_write() => true,
            Access::Bearer(token) => shown.as_ref() == Some(token),
            Access::Issued => shown.as_ref().is_some_and(|token| self.is_good(token)),
            Access::ReadOnly | Access::Denied => {
                let message = "The caller may not do this.";
                return Err(Problem::new(Kind::Forbidden, message));
            }
        };
        match (known, shown) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(Problem::new(Kind::Unauthorized, "Invalid Credentials")),
            (false, None) => {
                let message = "Anonymous caller does not have access.";
                Err(Problem::new(Kind::Unauthorized, message))
            }
        }
    }
}

/// Returns the token that a request shows.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let authorization = text(headers, "authorization")?;
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
