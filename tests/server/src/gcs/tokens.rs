//! The token endpoint: OAuth 2.0 grants of service accounts and of refresh tokens.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Door;
use super::accounts::Accounts;
use super::params::Params;

/// How long a token is good for, in seconds.
const LIFETIME: u32 = 3600;

/// The grant of a service account that signs a statement.
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The endpoint; it can be told to refuse.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    refused: Mutex<Option<String>>,
}

/// An error of OAuth and its description.
pub(crate) struct Refused {
    error: String,
    description: String,
}

impl Refused {
    fn new(error: &str, description: impl Into<String>) -> Self {
        Self { error: error.to_owned(), description: description.into() }
    }
}

impl Tokens {
    /// Answers all grants with this error of OAuth, or grants them.
    pub(crate) fn refuse(&self, error: Option<&str>) {
        *self.refused.lock() = error.map(str::to_owned);
    }

    /// Decides about a request for a token. `url` is the endpoint's own.
    pub(crate) fn grant(
        &self,
        accounts: &Accounts,
        url: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(), Refused> {
        if let Some(error) = self.refused.lock().as_deref() {
            return Err(Refused::new(error, EXPIRED));
        }
        let grant = Grant::of(headers, body);
        match grant.get("grant_type") {
            "refresh_token" => grant.refresh(accounts),
            JWT_GRANT => grant.statement(accounts, url),
            other => Err(Refused::new("unsupported_grant_type", format!("Invalid grant_type: {other}"))),
        }
    }
}

const EXPIRED: &str = "Token has been expired or revoked.";

/// Answers a request for a token.
pub(crate) fn answer(granted: Result<(), Refused>, door: &Door) -> Response<Bytes> {
    match granted {
        Ok(()) => {
            let token = format!("ya29.{}", Uuid::new_v4().simple());
            door.issue(&token);
            let granted = json!({
                "access_token": token, "expires_in": LIFETIME, "token_type": "Bearer",
                "scope": "https://www.googleapis.com/auth/cloud-platform",
            });
            shown(StatusCode::OK, &granted)
        }
        Err(refused) => failure(400, &refused.error, &refused.description),
    }
}

/// Returns an error in the form of OAuth.
pub(crate) fn failure(status: u16, error: &str, description: &str) -> Response<Bytes> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    shown(status, &json!({"error": error, "error_description": description}))
}

fn shown(status: StatusCode, value: &Value) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(value.to_string()));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// What is asked for, as a form or as JSON.
struct Grant(Value);

impl Grant {
    fn of(headers: &HeaderMap, body: &Bytes) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") {
            return Self(serde_json::from_slice(body).unwrap_or_default());
        }
        let form = Params::parse(&String::from_utf8_lossy(body));
        let names = ["grant_type", "assertion", "refresh_token", "client_id", "client_secret"];
        let pairs = names.iter().filter_map(|name| Some(((*name).to_owned(), json!(form.get(name)?))));
        Self(Value::Object(pairs.collect()))
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn refresh(&self, accounts: &Accounts) -> Result<(), Refused> {
        let names = ["refresh_token", "client_id", "client_secret"];
        if let Some(name) = names.into_iter().find(|name| self.get(name).is_empty()) {
            return Err(Refused::new("invalid_request", format!("Missing required parameter: {name}")));
        }
        if !accounts.knows(self.get("refresh_token")) {
            return Err(Refused::new("invalid_grant", EXPIRED));
        }
        Ok(())
    }

    fn statement(&self, accounts: &Accounts, url: &str) -> Result<(), Refused> {
        let invalid = |why: &str| Refused::new("invalid_grant", format!("Invalid JWT: {why}."));
        let claims = accounts.verify(self.get("assertion")).map_err(invalid)?;
        if claims["aud"] != json!(url) {
            return Err(invalid("it is for another audience"));
        }
        if !claims["scope"].is_string() {
            return Err(Refused::new("invalid_scope", "Empty or missing scope not allowed."));
        }
        Ok(())
    }
}
