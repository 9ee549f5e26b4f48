//! The requests to Google Cloud Storage that change nothing: get, head, list.
//!
//! Bytes come over HTTP, where an answer tells the size and the generation but neither the time
//! nor, in every case, the metadata; all of these come over gRPC. A body that breaks off is
//! handed up with what had arrived: the crate's own resuming is off.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use google_cloud_storage::model::Object;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;

use super::body::{Expected, nothing};
use super::gcs::{GcsStore, generation, modified, version};
use super::gcs_error::{Asked, status};
use super::gcs_name::{key_of, name_of, name_prefix_of};
use super::meta_text::decode_meta;
use super::{
    Condition, ErrorKind, Fetched, FetchedMeta, Listed, ObjectMeta, Result, StoreError, Taker, Version,
};
use crate::model::key::ObjectKey;

/// How many objects a page of a listing has at most: as many as the service gives.
const PAGE: i32 = 1000;

impl GcsStore {
    pub(super) async fn read_object(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        match self.begin_read(key, range, if_version).await? {
            Answer::Nothing(fetched) => Ok(fetched),
            Answer::Body(expected, body) => expected.take(&self.patience, pieces(body)).await,
        }
    }

    /// The client compares whole objects with their checksum, never ranges.
    pub(super) async fn hand_over_object(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        match self.begin_read(key, Some(range), Some(version)).await? {
            Answer::Nothing(_) => Ok(()),
            Answer::Body(expected, body) => expected.hand_over(&self.patience, pieces(body), taker).await,
        }
    }

    /// Asks for bytes; returns when the answer has begun.
    async fn begin_read<'k>(
        &self,
        key: &'k ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Answer<'k>> {
        if range.as_ref().is_some_and(|range| range.is_empty()) {
            let meta = self.describe_object(key).await?;
            return nothing(key.as_str(), meta, None, if_version).map(Answer::Nothing);
        }
        let asked = self.asked("get", key.as_str(), &Condition::Always);
        let mut request = self.clients.storage.read_object(&self.bucket, name_of(key.as_str()));
        if let Some(range) = &range {
            request = request.set_read_range(ReadRange::segment(range.start, range.end - range.start));
        }
        if let Some(version) = if_version {
            request = request.set_if_generation_match(generation(version));
        }
        let answer = match self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))? {
            Ok(answer) => answer,
            Err(error) if status(&error) == Some(416) => {
                let start = range.map_or(0, |range| range.start);
                let meta = self.describe_object(key).await?;
                return nothing(key.as_str(), meta, Some(start), if_version).map(Answer::Nothing);
            }
            Err(error) => return Err(self.is_absent(key, self.failed(&asked, error)).await?),
        };
        let said = answer.object();
        let size = u64::try_from(said.size).map_err(|_| asked.corrupt("the answer has no size"))?;
        let meta =
            FetchedMeta { size, version: version(&asked, said.generation)?, modified: None, age: None };
        if if_version.is_some_and(|version| *version != meta.version) {
            return Err(asked.error(ErrorKind::Changed).detail("the server ignored the condition"));
        }
        let bytes = range.map_or(size, |range| range.end.min(size).saturating_sub(range.start));
        Ok(Answer::Body(Expected { key: key.as_str(), meta, bytes }, answer))
    }

    /// The service may say of an absent object that it does not have the version.
    async fn is_absent(&self, key: &ObjectKey, refused: StoreError) -> Result<StoreError> {
        if refused.kind == ErrorKind::Changed && self.describe_object(key).await?.is_none() {
            return Ok(StoreError { kind: ErrorKind::NotFound, ..refused });
        }
        Ok(refused)
    }

    pub(super) async fn describe_object(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        let asked = self.asked("head", key.as_str(), &Condition::Always);
        let request =
            self.clients.control.get_object().set_bucket(&self.bucket).set_object(name_of(key.as_str()));
        match self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))? {
            Ok(object) => Ok(Some(ObjectMeta {
                size: size(&asked, &object)?,
                version: version(&asked, object.generation)?,
                modified: modified(&object).unwrap_or(std::time::SystemTime::UNIX_EPOCH),
                answered: self.time.now(),
                user: decode_meta(&object.metadata),
            })),
            Err(error) => match self.failed(&asked, error) {
                absent if absent.is_not_found() => Ok(None),
                refused => Err(refused),
            },
        }
    }

    pub(super) fn list_objects(
        &self,
        prefix: &str,
        start_after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<Vec<Listed>>> {
        let after = start_after.map(|key| name_of(key.as_str()).into_owned());
        let first = Position { after, token: String::new() };
        let prefix = prefix.to_owned();
        stream::unfold(Some(first), move |position| {
            let prefix = prefix.clone();
            async move {
                match self.list_page(&prefix, position?).await {
                    Ok((page, next)) => Some((Ok(page), next)),
                    Err(error) => Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn list_page(&self, prefix: &str, at: Position) -> Result<(Vec<Listed>, Option<Position>)> {
        let asked = self.asked("list", prefix, &Condition::Always);
        let request = self
            .clients
            .control
            .list_objects()
            .set_parent(&self.bucket)
            .set_prefix(name_prefix_of(prefix))
            .set_page_size(PAGE)
            .set_page_token(&at.token)
            .set_lexicographic_start(at.after.as_deref().unwrap_or_default());
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        let answer = answer.map_err(|error| self.failed(&asked, error))?;
        let page = answer
            .objects
            .iter()
            // The start itself is among what begins there.
            .filter(|object| at.after.as_deref().is_none_or(|after| object.name.as_str() > after))
            .map(|object| listed(&asked, object))
            .filter(|listed| listed.as_ref().map_or(true, |one| one.key.as_str().starts_with(prefix)))
            .collect::<Result<Vec<_>>>()?;
        let token = answer.next_page_token;
        Ok((page, (!token.is_empty()).then_some(Position { after: at.after, token })))
    }
}

/// What came of a get.
enum Answer<'k> {
    /// There are no bytes there.
    Nothing(Fetched),
    /// They follow.
    Body(Expected<'k>, ReadObjectResponse),
}

fn pieces(
    body: ReadObjectResponse,
) -> impl Stream<Item = std::result::Result<Bytes, google_cloud_storage::Error>> + Send {
    stream::unfold(body, async |mut body| Some((body.next().await?, body)))
}

/// Where a listing goes on.
struct Position {
    /// The name that the whole listing begins after.
    after: Option<String>,
    token: String,
}

fn listed(asked: &Asked<'_>, object: &Object) -> Result<Listed> {
    Ok(Listed {
        key: ObjectKey::new(&*key_of(&object.name)),
        size: size(asked, object)?,
        modified: modified(object).unwrap_or(std::time::SystemTime::UNIX_EPOCH),
        version: Some(version(asked, object.generation)?),
    })
}

fn size(asked: &Asked<'_>, object: &Object) -> Result<u64> {
    u64::try_from(object.size).map_err(|_| asked.corrupt("the answer has no size"))
}
