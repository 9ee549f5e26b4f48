//! Who may ask for tokens: service accounts with a key of their own, and users who have logged in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::object::base64;
use super::store::now;

/// Longest life of a statement, in seconds.
const MAX_LIFETIME: i64 = 3600;

/// The accounts that a server made.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// Public keys of service accounts, by their e-mail address.
    keys: Mutex<BTreeMap<String, Vec<u8>>>,
    refresh_tokens: Mutex<BTreeSet<String>>,
}

impl Accounts {
    /// Makes a service account and returns its key file.
    pub(crate) fn service(&self, token_url: &str) -> String {
        let id = Uuid::new_v4().simple().to_string();
        let email = format!("robot-{id}@project.iam.gserviceaccount.com");
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
        self.keys.lock().insert(email.clone(), pair.public_key().as_ref().to_vec());
        let file = json!({
            "type": "service_account", "project_id": "project", "private_key_id": id,
            "private_key": pem(private.as_ref()), "client_email": email, "client_id": "1",
            "token_uri": token_url, "universe_domain": "googleapis.com",
        });
        file.to_string()
    }

    /// Makes a user who has logged in and returns their credentials file.
    pub(crate) fn user(&self, token_url: &str) -> String {
        let refresh_token = format!("1//{}", Uuid::new_v4().simple());
        self.refresh_tokens.lock().insert(refresh_token.clone());
        let file = json!({
            "type": "authorized_user", "client_id": "client.apps.googleusercontent.com",
            "client_secret": "secret", "refresh_token": refresh_token, "token_uri": token_url,
        });
        file.to_string()
    }

    /// Returns whether this refresh token was given to a user.
    pub(crate) fn knows(&self, refresh_token: &str) -> bool {
        self.refresh_tokens.lock().contains(refresh_token)
    }

    /// Returns what a signed statement of a service account says, or what is wrong with it.
    pub(crate) fn verify(&self, statement: &str) -> Result<Value, &'static str> {
        let now = now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.verify_at(statement, i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// Does what [`Accounts::verify`] does, at a time in seconds since 1970.
    fn verify_at(&self, statement: &str, now: i64) -> Result<Value, &'static str> {
        let (signed, signature) = statement.rsplit_once('.').ok_or("it is no JWT")?;
        let (head, claims) = signed.split_once('.').ok_or("it is no JWT")?;
        let (head, claims) = (decode(head)?, decode(claims)?);
        if head["alg"] != json!("RS256") {
            return Err("it is not signed with RS256");
        }
        let key = claims["iss"].as_str().and_then(|issuer| self.keys.lock().get(issuer).cloned());
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.ok_or("its issuer is unknown")?);
        let signature = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(signature).map_err(|_| "it is no JWT")?;
        key.verify(signed.as_bytes(), &signature).map_err(|_| "its signature is wrong")?;
        let (issued, expires) =
            (claims["iat"].as_i64().unwrap_or(i64::MAX), claims["exp"].as_i64().unwrap_or(0));
        if issued > now || expires <= now || expires - issued > MAX_LIFETIME + 60 {
            return Err("it is not good at this time");
        }
        Ok(claims)
    }
}

fn decode(part: &str) -> Result<Value, &'static str> {
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_| "it is no JWT")?;
    serde_json::from_slice(&bytes).map_err(|_| "it is no JWT")
}

fn pem(key: &[u8]) -> String {
    let text = base64(key);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::RSA_PKCS1_SHA256;

    use super::*;

    /// Returns a statement that the account of a key file signs.
    fn sign(file: &str, head: &Value, claims: &Value) -> String {
        let file: Value = serde_json::from_str(file).expect("the file is JSON");
        let pem = file["private_key"].as_str().expect("the file has a key");
        let key: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = base64_simd::STANDARD.decode_to_vec(key).expect("the key is base64");
        let pair = KeyPair::from_pkcs8(&key).expect("the key is a key");
        let encode = |value: &Value| base64_simd::URL_SAFE_NO_PAD.encode_to_string(value.to_string());
        let signed = format!("{}.{}", encode(head), encode(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        let random = SystemRandom::new();
        pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("the key signs");
        format!("{signed}.{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(signature))
    }

    #[test]
    fn statements_are_good_for_their_time_only() {
        let accounts = Accounts::default();
        let file = accounts.service("http://127.0.0.1/token");
        let email = serde_json::from_str::<Value>(&file).expect("the file is JSON")["client_email"].clone();
        let (head, claims) = (json!({"alg": "RS256"}), json!({"iss": email, "iat": 1_000, "exp": 4_600}));
        let statement = sign(&file, &head, &claims);
        for (now, good) in [(999, false), (1_000, true), (4_599, true), (4_600, false)] {
            assert_eq!(accounts.verify_at(&statement, now).is_ok(), good, "{now}");
        }
        let long = sign(&file, &head, &json!({"iss": email, "iat": 1_000, "exp": 9_000}));
        assert_eq!(accounts.verify_at(&long, 2_000), Err("it is not good at this time"));
        let endless = sign(&file, &head, &json!({"iss": email}));
        assert_eq!(accounts.verify_at(&endless, 2_000), Err("it is not good at this time"));
        let unsigned = sign(&file, &json!({"alg": "none"}), &claims);
        assert_eq!(accounts.verify_at(&unsigned, 2_000), Err("it is not signed with RS256"));
        let stranger = Accounts::default();
        assert_eq!(stranger.verify_at(&statement, 2_000), Err("its issuer is unknown"));
        for odd in ["", "a.b", "a.b.c", statement.rsplit_once('.').expect("it has dots").0] {
            assert_eq!(accounts.verify_at(odd, 2_000), Err("it is no JWT"), "{odd}");
        }
    }
}
