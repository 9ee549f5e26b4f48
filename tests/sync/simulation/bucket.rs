//! The bucket of a simulation: objects in memory, with every condition of a good store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bayou::model::key::ObjectKey;
use bayou::store::{
    Component, Condition, ErrorKind, Fetched, Listed, Nonce, ObjectMeta, PartSource, PutOptions, Result,
    StoreError, UploadedPart, UserMeta, Version,
};
use bytes::Bytes;

/// Objects by key, and uploads by their id.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    count: u64,
}

pub(super) struct Object {
    pub(super) body: Bytes,
    version: Version,
    modified: SystemTime,
    user: UserMeta,
}

/// A request's operation, key and time of arrival, for what it fails with and what it writes.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) operation: &'static str,
    pub(super) key: ObjectKey,
    pub(super) now: SystemTime,
}

impl Asked {
    fn error(&self, kind: ErrorKind) -> StoreError {
        StoreError::new(kind, self.operation, &self.key)
    }

    /// Servers know whole seconds.
    fn second(&self) -> SystemTime {
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
    }
}

impl Bucket {
    fn at(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key.as_str())
    }

    fn meta(&self, asked: &Asked, object: &Object) -> ObjectMeta {
        ObjectMeta {
            size: object.body.len() as u64,
            version: object.version.clone(),
            modified: object.modified,
            answered: Some(asked.second()),
            user: object.user.clone(),
        }
    }

    fn check(&self, asked: &Asked, condition: &Condition) -> Result<()> {
        match (condition, self.at(&asked.key)) {
            (Condition::IfAbsent, Some(_)) => Err(asked.error(ErrorKind::Exists)),
            (Condition::IfVersion(wanted), there) if there.map(|o| &o.version) != Some(wanted) => {
                Err(asked.error(ErrorKind::Changed))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, asked: &Asked, body: Bytes, options: &PutOptions) -> Result<Version> {
        self.check(asked, &options.condition)?;
        self.count += 1;
        let version = Version::new(&format!("v{}", self.count)).unwrap();
        let mut user = options.meta.clone();
        user.insert(Nonce::META.to_owned(), options.nonce.as_str().to_owned());
        let object = Object { body, version: version.clone(), modified: asked.second(), user };
        self.objects.insert(asked.key.to_string(), object);
        Ok(version)
    }

    pub(super) fn get(
        &self,
        asked: &Asked,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        let object = self.at(&asked.key).ok_or_else(|| asked.error(ErrorKind::NotFound))?;
        if if_version.is_some_and(|wanted| *wanted != object.version) {
            return Err(asked.error(ErrorKind::Changed));
        }
        let size = object.body.len() as u64;
        let range = range.map_or(0..size, |range| range.start.min(size)..range.end.min(size));
        let body = object.body.slice(range.start as usize..range.end as usize);
        Ok(Fetched { body, meta: self.meta(asked, object).into() })
    }

    pub(super) fn put(&mut self, asked: &Asked, body: Bytes, options: &PutOptions) -> Result<Version> {
        self.write(asked, body, options)
    }

    pub(super) fn head(&self, asked: &Asked) -> Option<ObjectMeta> {
        self.at(&asked.key).map(|object| self.meta(asked, object))
    }

    pub(super) fn delete(&mut self, asked: &Asked, condition: &Condition) -> Result<()> {
        if self.at(&asked.key).is_none() {
            return Ok(());
        }
        self.check(asked, condition)?;
        self.objects.remove(asked.key.as_str());
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        asked: &Asked,
        (from, from_version): (&ObjectKey, &Version),
        options: &PutOptions,
    ) -> Result<Version> {
        let source = self.at(from).ok_or_else(|| asked.error(ErrorKind::NotFound))?;
        if source.version != *from_version {
            return Err(asked.error(ErrorKind::Changed));
        }
        let body = source.body.clone();
        self.write(asked, body, options)
    }

    pub(super) fn compose(
        &mut self,
        asked: &Asked,
        components: &[Component],
        options: &PutOptions,
    ) -> Result<Version> {
        let body = |component: &Component| {
            let object = self.at(&component.key).filter(|object| object.version == component.version);
            object.map(|object| object.body.clone()).ok_or_else(|| asked.error(ErrorKind::NotFound))
        };
        let bodies: Vec<Bytes> = components.iter().map(body).collect::<Result<_>>()?;
        self.write(asked, bodies.concat().into(), options)
    }

    pub(super) fn begin(&mut self) -> String {
        self.count += 1;
        let id = format!("u{}", self.count);
        self.uploads.insert(id.clone(), BTreeMap::new());
        id
    }

    pub(super) fn part(
        &mut self,
        asked: &Asked,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let parts = self.uploads.get_mut(upload).ok_or_else(|| asked.error(ErrorKind::NotFound))?;
        parts.insert(number, body);
        Ok(UploadedPart { number, tag: format!("{upload}-{number}") })
    }

    pub(super) fn copy_part(
        &mut self,
        asked: &Asked,
        upload: &str,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let source = self.at(&from.key).ok_or_else(|| asked.error(ErrorKind::NotFound))?;
        if source.version != from.version {
            return Err(asked.error(ErrorKind::Changed));
        }
        let body = source.body.slice(from.range.start as usize..from.range.end as usize);
        self.part(asked, upload, number, body)
    }

    pub(super) fn complete(
        &mut self,
        asked: &Asked,
        upload: &str,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let there = self.uploads.get(upload).ok_or_else(|| asked.error(ErrorKind::NotFound))?;
        let bodies: Option<Vec<_>> =
            parts.iter().map(|part| there.get(&part.number).map(|b| &b[..])).collect();
        let body = bodies.ok_or_else(|| asked.error(ErrorKind::Invalid))?.concat();
        let version = self.write(asked, body.into(), options)?;
        self.uploads.remove(upload);
        Ok(version)
    }

    pub(super) fn abort(&mut self, upload: &str) {
        self.uploads.remove(upload);
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&ObjectKey>) -> Vec<Listed> {
        let is_due =
            |key: &String| key.starts_with(prefix) && after.is_none_or(|after| **key > *after.as_str());
        let listed = |(key, object): (&String, &Object)| Listed {
            key: ObjectKey::new(key.as_str()),
            size: object.body.len() as u64,
            modified: object.modified,
            version: Some(object.version.clone()),
        };
        self.objects.iter().filter(|(key, _)| is_due(key)).map(listed).collect()
    }
}
