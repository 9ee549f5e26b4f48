//! What the lock of a bucket says: who holds it, since when and for how long.
//!
//! Written as swamp writes it, byte for byte, because swamp's clients show it to people and
//! decide by it. Reading is lenient: older clients wrote no nonce. What cannot be read is a
//! lock all the same, of which nobody knows when it ends.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::timestamp::{Stamp, Timestamp};

/// What a lock says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockBody {
    /// The holder, `user@host`.
    pub holder: String,
    /// The holder's machine.
    pub hostname: String,
    /// The holder's process on that machine, if it says so.
    pub pid: Option<u64>,
    /// When the lock was taken or last renewed, by the holder's clock.
    pub acquired_at: Stamp,
    /// How long it counts after it was last renewed.
    pub ttl: Duration,
    /// The mark of this holding; older clients write none.
    pub nonce: Option<String>,
}

/// The members in the order that swamp writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    holder: &'a str,
    hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    acquired_at: &'a str,
    ttl_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

impl LockBody {
    /// Reads a lock; `None` if it does not say how long it counts.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let members = value.as_object()?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let ttl_ms = members.get("ttlMs").and_then(Value::as_f64).filter(|ms| *ms >= 0.0)?;
        Some(Self {
            holder: text("holder").unwrap_or("unknown").to_owned(),
            hostname: text("hostname").unwrap_or("unknown").to_owned(),
            pid: members.get("pid").and_then(Value::as_u64),
            acquired_at: Stamp::read(text("acquiredAt").unwrap_or_default()),
            ttl: Duration::try_from_secs_f64(ttl_ms / 1000.0).unwrap_or(Duration::MAX),
            nonce: text("nonce").filter(|nonce| !nonce.is_empty()).map(str::to_owned),
        })
    }

    /// Returns the bytes that swamp would write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = Wire {
            holder: &self.holder,
            hostname: &self.hostname,
            pid: self.pid,
            acquired_at: self.acquired_at.as_str(),
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            nonce: self.nonce.as_deref(),
        };
        serde_json::to_vec_pretty(&wire).expect("text and numbers can be written")
    }

    /// Returns the same lock, renewed at `now`.
    pub fn renewed(&self, now: Timestamp) -> Self {
        Self { acquired_at: Stamp::from(now), ..self.clone() }
    }
}

/// `alice@build-3 (pid 4711)`.
impl fmt::Display for LockBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.holder)?;
        self.pid.map_or(Ok(()), |pid| write!(f, " (pid {pid})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> LockBody {
        LockBody {
            holder: "alice@build-3".to_owned(),
            hostname: "build-3".to_owned(),
            pid: Some(4711),
            acquired_at: Stamp::read("2026-08-01T09:31:12.500Z"),
            ttl: Duration::from_secs(30),
            nonce: Some("6a2f3f0e-8c1e-4e6f-9f2e-0a0b0c0d0e0f".to_owned()),
        }
    }

    #[test]
    fn a_lock_is_written_as_swamp_writes_it() {
        let expected = "{\n  \"holder\": \"alice@build-3\",\n  \"hostname\": \"build-3\",\n  \"pid\": 4711,\n  \
            \"acquiredAt\": \"2026-08-01T09:31:12.500Z\",\n  \"ttlMs\": 30000,\n  \
            \"nonce\": \"6a2f3f0e-8c1e-4e6f-9f2e-0a0b0c0d0e0f\"\n}";
        assert_eq!(String::from_utf8(body().to_bytes()).unwrap(), expected);
        assert_eq!(LockBody::parse(expected.as_bytes()), Some(body()));
        assert_eq!(body().to_string(), "alice@build-3 (pid 4711)");
    }

    #[test]
    fn a_renewed_lock_differs_in_its_time_alone() {
        let later = body().renewed(Timestamp::from_unix_ms(0));
        assert_eq!(later.acquired_at.as_str(), "1970-01-01T00:00:00.000Z");
        assert_eq!(LockBody { acquired_at: body().acquired_at, ..later }, body());
    }

    #[test]
    fn what_does_not_say_how_long_it_counts_is_unreadable() {
        for text in ["", "{", "[]", "null", "{}", "not json", r#"{"holder":"a"}"#, r#"{"ttlMs":"30000"}"#] {
            assert_eq!(LockBody::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(LockBody::parse(br#"{"ttlMs":-1}"#), None);
    }

    #[test]
    fn what_older_and_other_clients_leave_out_is_not_missed() {
        let bare = LockBody::parse(br#"{"ttlMs":1500.5,"pid":"x","extra":[1]}"#).unwrap();
        assert_eq!((bare.pid, &bare.nonce, bare.to_string().as_str()), (None, &None, "unknown"));
        assert_eq!(bare.ttl, Duration::from_micros(1_500_500));
        assert_eq!(LockBody::parse(br#"{"ttlMs":1e300}"#).unwrap().ttl, Duration::MAX);
    }
}
