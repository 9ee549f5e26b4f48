//! Swamp's lock on S3: created conditionally, renewed and broken unconditionally.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Bucket, Result};

/// How long a lock lives that nobody renews, in milliseconds.
const TTL_MS: u64 = 30_000;

/// One attempt to work alone on a bucket.
pub(crate) struct Lock {
    bucket: Bucket,
    key: String,
    nonce: String,
}

impl Lock {
    /// Returns a lock that is not held.
    pub(crate) fn new(bucket: &Bucket, key: &str) -> Self {
        let nonce = uuid::Uuid::new_v4().to_string();
        Self { bucket: bucket.clone(), key: key.to_owned(), nonce }
    }

    /// Makes one attempt; returns whether the lock is held now. One that is stale by this
    /// machine's clock is deleted, whoever may have renewed it meanwhile, for the next attempt.
    pub(crate) async fn try_acquire(&self) -> Result<bool> {
        if self.bucket.put_if_absent(&self.key, self.body()).await? {
            return Ok(true);
        }
        let Some(holder) = self.read().await? else { return Ok(false) };
        let ttl_ms = holder.get("ttlMs").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let age_ms = self.bucket.head(&self.key).await?.map(|(_, age_ms)| age_ms);
        if age_ms.is_some_and(|age_ms| age_ms > u128::from(ttl_ms)) {
            self.bucket.delete(&self.key).await?;
        }
        Ok(false)
    }

    /// Renews the lock, over whatever was written since it was looked at; returns whether it was ours.
    pub(crate) async fn heartbeat(&self) -> Result<bool> {
        let is_ours = self.is_ours().await?;
        if is_ours {
            self.bucket.put(&self.key, Bytes::from(self.body())).await?;
        }
        Ok(is_ours)
    }

    /// Lets go of the lock if it is still ours.
    pub(crate) async fn release(self) -> Result<()> {
        if self.is_ours().await? { self.bucket.delete(&self.key).await } else { Ok(()) }
    }

    async fn is_ours(&self) -> Result<bool> {
        let holder = self.read().await?;
        Ok(holder.is_some_and(|holder| holder.get("nonce") == Some(&json!(self.nonce))))
    }

    async fn read(&self) -> Result<Option<Value>> {
        let found = self.bucket.get(&self.key).await?;
        // What cannot be read is somebody's for ever.
        Ok(found.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok()))
    }

    fn body(&self) -> Vec<u8> {
        let now = bayou::model::timestamp::Timestamp::from(self.bucket.wall_clock()).to_string();
        let body = json!({
            "holder": "neighbour@swamp", "hostname": "swamp", "pid": 4711,
            "acquiredAt": now, "ttlMs": TTL_MS, "nonce": self.nonce,
        });
        format!("{body:#}").into_bytes()
    }
}
