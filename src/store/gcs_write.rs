//! The requests to Google Cloud Storage that write or delete one object.
//!
//! Every body is in memory and carries a CRC-32C that the server checks. What a condition's
//! refusal means is settled here, so that callers see one meaning on every store.

use std::convert::Infallible;

use bytes::Bytes;
use google_cloud_storage::model::Object;
use google_cloud_storage::model::compose_object_request::SourceObject;
use google_cloud_storage::streaming_source::{Seek, SizeHint, StreamingSource};

use super::gcs::{GcsStore, generation, must_match};
use super::gcs_name::name_of;
use super::meta_text::encode_meta;
use super::patience::Progress;
use super::{Component, Condition, ErrorKind, PutOptions, Result, StoreError, Version};
use crate::model::key::ObjectKey;

/// What swamp writes, too.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";

impl GcsStore {
    pub(super) async fn write_object(
        &self,
        key: &ObjectKey,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<Version> {
        let _turn = self.pace.turn(key.as_str()).await;
        let asked = self.asked("put", key.as_str(), &options.condition);
        let progress = Progress::default();
        let checksum = crc32c::crc32c(&body);
        let source = CountedBody { rest: body.clone(), body, progress: progress.clone() };
        let mut request = self
            .clients
            .storage
            .write_object(&self.bucket, self.name(&asked, key)?, source)
            .with_resumable_upload_threshold(usize::MAX)
            .with_known_crc32c(checksum)
            .set_content_type(CONTENT_TYPE)
            .set_metadata(encode_meta(options));
        if let Some(generation) = must_match(&options.condition) {
            request = request.set_if_generation_match(generation);
        }
        let answer = self.patience.watch(&progress, request.send_unbuffered()).await;
        match answer.map_err(|s| asked.unanswered(s))? {
            Ok(object) => self.written(&asked, &object),
            Err(error) => Err(self.failed(&asked, error)),
        }
    }

    pub(super) async fn delete_object(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        let asked = self.asked("delete", key.as_str(), condition);
        if *condition == Condition::IfAbsent {
            return Err(asked.error(ErrorKind::Unsupported).detail("a delete cannot ask for absence"));
        }
        let _turn = self.pace.turn(key.as_str()).await;
        let request = self.clients.control.delete_object();
        let request = request
            .set_bucket(&self.bucket)
            .set_object(name_of(key.as_str()))
            .set_or_clear_if_generation_match(must_match(condition));
        let answer = self.patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        match answer.map_err(|error| self.failed(&asked, error)) {
            Ok(()) => Ok(()),
            Err(absent) if absent.is_not_found() => Ok(()),
            Err(refused) if refused.kind == ErrorKind::Changed => match self.describe_object(key).await? {
                None => Ok(()),
                Some(_) => Err(refused),
            },
            Err(refused) => Err(refused),
        }
    }

    pub(super) async fn rewrite_object(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let _turn = self.pace.turn(to.as_str()).await;
        let asked = self.asked("copy", to.as_str(), &options.condition);
        let described = Object::new().set_content_type(CONTENT_TYPE).set_metadata(encode_meta(options));
        let request = self
            .clients
            .control
            .rewrite_object()
            .set_source_bucket(&self.bucket)
            .set_source_object(name_of(from.as_str()))
            .set_if_source_generation_match(generation(from_version))
            .set_destination_bucket(&self.bucket)
            .set_destination_name(self.name(&asked, to)?)
            .set_destination(described)
            .set_or_clear_if_generation_match(must_match(&options.condition));
        let patience = self.patience.while_the_server_works();
        let mut token = String::new();
        loop {
            let step = request.clone().set_rewrite_token(&token);
            let answer = patience.wait(step.send()).await.map_err(|s| asked.unanswered(s))?;
            match answer.map_err(|error| self.failed(&asked, error)) {
                Ok(answer) if answer.done => {
                    let object =
                        answer.resource.ok_or_else(|| asked.corrupt("the answer names no object"))?;
                    return self.written(&asked, &object);
                }
                Ok(answer) if answer.rewrite_token.is_empty() => {
                    return Err(asked.corrupt("the copy is not done and has no next step"));
                }
                Ok(answer) => token = answer.rewrite_token,
                Err(refused) => return Err(self.which_side(from, from_version, options, refused).await?),
            }
        }
    }

    pub(super) async fn compose_object(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let _turn = self.pace.turn(to.as_str()).await;
        let asked = self.asked("compose", to.as_str(), &options.condition);
        let described = Object::new()
            .set_bucket(&self.bucket)
            .set_name(self.name(&asked, to)?)
            .set_content_type(CONTENT_TYPE)
            .set_metadata(encode_meta(options));
        // A generation that is not there is said to be absent, so a refused condition is the target's.
        let source = |component: &Component| {
            let (name, generation) = (name_of(component.key.as_str()), generation(&component.version));
            SourceObject::new().set_name(name).set_generation(generation)
        };
        let request = self
            .clients
            .control
            .compose_object()
            .set_destination(described)
            .set_source_objects(components.iter().map(source))
            .set_or_clear_if_generation_match(must_match(&options.condition));
        let patience = self.patience.while_the_server_works();
        let answer = patience.wait(request.send()).await.map_err(|s| asked.unanswered(s))?;
        match answer {
            Ok(object) => self.written(&asked, &object),
            Err(error) => Err(self.failed(&asked, error)),
        }
    }

    /// A refused condition does not say whether the source or the target broke it: looks.
    async fn which_side(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        options: &PutOptions,
        refused: StoreError,
    ) -> Result<StoreError> {
        if !(refused.is_condition_failed() || refused.is_not_found()) {
            return Ok(refused);
        }
        let kind = match self.describe_object(from).await? {
            None => ErrorKind::NotFound,
            Some(source) if source.version != *from_version => ErrorKind::Changed,
            Some(_) if options.condition == Condition::IfAbsent => ErrorKind::Exists,
            Some(_) => ErrorKind::Changed,
        };
        Ok(StoreError { kind, ..refused })
    }
}

/// A body whose progress is seen.
struct CountedBody {
    body: Bytes,
    rest: Bytes,
    progress: Progress,
}

impl StreamingSource for CountedBody {
    type Error = Infallible;

    async fn next(&mut self) -> Option<std::result::Result<Bytes, Infallible>> {
        self.progress.step(&mut self.rest).map(Ok)
    }

    async fn size_hint(&self) -> std::result::Result<SizeHint, Infallible> {
        Ok(SizeHint::with_exact(self.body.len() as u64))
    }
}

impl Seek for CountedBody {
    type Error = Infallible;

    async fn seek(&mut self, offset: u64) -> std::result::Result<(), Infallible> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.body.len());
        self.rest = self.body.slice(offset..);
        Ok(())
    }
}
