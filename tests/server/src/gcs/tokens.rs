//! The token endpoint: OAuth 2.0 grants of service accounts and of refresh tokens.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Door;
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

impl Tokens {
    /// Answers all grants with this error of OAuth, or grants them.
    pub(crate) fn refuse(&self, error: Option<&str>) {
        *self.refused.lock() = error.map(str::to_owned);
    }

    /// Answers a request of a token.
    pub(crate) fn answer(
        &self,
        door: &Door,
        url: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Response<Bytes> {
        let refused = self.refused.lock().clone();
        let granted = match refused {
            Some(error) => Err((error, "Token has been expired or revoked.".to_owned())),
            None => check(url, &Grant::of(headers, body)),
        };
        match granted {
            Ok(()) => {
                let token = format!("ya29.{}", Uuid::new_v4().simple());
                door.issue(&token);
                shown(
                    StatusCode::OK,
                    &json!({
                        "access_token": token, "expires_in": LIFETIME, "token_type": "Bearer",
                        "scope": "https://www.googleapis.com/auth/cloud-platform",
                    }),
                )
            }
            Err((error, description)) => failure(400, &error, &description),
        }
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
}

/// Fails with an error of OAuth and its description.
fn check(url: &str, grant: &Grant) -> Result<(), (String, String)> {
    let refuse = |error: &str, why: &str| Err((error.to_owned(), why.to_owned()));
    match grant.get("grant_type") {
        "refresh_token" => {
            let missing =
                ["refresh_token", "client_id", "client_secret"].into_iter().find(|n| grant.get(n).is_empty());
            missing.map_or(Ok(()), |name| {
                refuse("invalid_request", &format!("Missing required parameter: {name}"))
            })
        }
        JWT_GRANT => match claims(grant.get("assertion")) {
            None => refuse("invalid_grant", "Invalid JWT: it cannot be read."),
            Some(claims) if claims["aud"] != json!(format!("{url}/token")) => {
                refuse("invalid_grant", "Invalid JWT: wrong audience.")
            }
            Some(claims) if !claims["iss"].is_string() || !claims["scope"].is_string() => {
                refuse("invalid_grant", "Invalid JWT: iss and scope are needed.")
            }
            Some(_) => Ok(()),
        },
        other => refuse("unsupported_grant_type", &format!("Invalid grant_type: {other}")),
    }
}

/// Reads what a signed statement says; its signature is not verified.
fn claims(statement: &str) -> Option<Value> {
    let mut parts = statement.split('.');
    let (_, claims, _) =
        (parts.next()?, parts.next()?, parts.next().filter(|signature| !signature.is_empty())?);
    let decoded = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(claims).ok()?;
    serde_json::from_slice(&decoded).ok()
}
