//! Plays a recorded scenario and compares everything that was recorded.
//!
//! Times differ from run to run, and so does the order in which entries are written: documents
//! are compared as maps, with times blanked out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bayou::model::content_hash::ContentHash;
use serde_json::{Map, Value, json};

use crate::pace::Pace;
use crate::swamp::{Bucket, Machine, Process, Pull};
use crate::world::{World, fixture};

/// A scenario that is being played.
struct Stage {
    world: Arc<World>,
    bucket: Bucket,
    machines: BTreeMap<String, Arc<Machine>>,
    contents: BTreeMap<String, Vec<u8>>,
}

/// Plays a scenario of `golden/replay`.
pub(crate) async fn play(world: World, name: &str) {
    let text = std::fs::read(fixture(&format!("golden/replay/{name}.json"))).unwrap();
    let script: Value = serde_json::from_slice(&text).unwrap();
    let contents = script["contents"].as_object().unwrap();
    let world = Arc::new(world);
    let mut stage = Stage {
        bucket: Bucket::new(&world, Pace::new()),
        world,
        machines: BTreeMap::new(),
        contents: contents.iter().map(|(hash, content)| (hash.clone(), bytes_of(content))).collect(),
    };
    for (at, step) in script["steps"].as_array().unwrap().iter().enumerate() {
        stage.step(step, &format!("{name}, step {at}")).await;
    }
}

impl Stage {
    async fn step(&mut self, step: &Value, at: &str) {
        let has = |member: &str| step.get(member).is_some();
        if has("write") {
            let machine = self.machine(&step["write"]);
            for (path, hash) in texts(&step["files"]) {
                machine.write(&path, self.contents[&hash].clone()).unwrap();
            }
        } else if has("remove") {
            let machine = self.machine(&step["remove"]);
            step["paths"].as_array().unwrap().iter().for_each(|path| machine.remove(path.as_str().unwrap()));
        } else if has("empty") {
            for key in self.world.keys().await {
                self.world.delete(&key).await;
            }
        } else if has("load") {
            for (key, hash) in texts(&step["load"]) {
                self.world.put_foreign(&key, self.contents[&hash].clone()).await;
            }
        } else if has("process") {
            self.run(step, at).await;
        } else if has("bucket") {
            self.compare_bucket(step, at).await;
        } else {
            self.compare_cache(step, at);
        }
    }

    fn machine(&mut self, name: &Value) -> Arc<Machine> {
        let clock = Arc::new(Arc::clone(&self.world.clock));
        let new = || Machine::new(clock);
        Arc::clone(self.machines.entry(name.as_str().unwrap().to_owned()).or_insert_with(new))
    }

    async fn run(&mut self, step: &Value, at: &str) {
        let machine = self.machine(&step["process"]);
        let mut process = Process::start(&self.bucket, &machine);
        for operation in step["ops"].as_array().unwrap() {
            let outcome = operate(&mut process, operation).await;
            let said = outcome.unwrap_or_else(|failed| panic!("{at}: {operation}: {failed}"));
            if let Some(said) = said {
                let position = if operation[0] == "hydrate" { 2 } else { 1 };
                assert_eq!(said, operation[position], "{at}: {operation}");
            }
        }
        let mut requests = self.bucket.take_requests();
        requests.sort();
        assert_eq!(json!(requests), step["requests"], "{at}: requests of {}", step["ops"]);
    }

    async fn compare_bucket(&self, step: &Value, at: &str) {
        let (mut documents, mut objects) = (Map::new(), Map::new());
        for key in self.world.keys().await {
            let body = self.world.object(&key).await.unwrap();
            if key == ".datastore-index.json" || key.starts_with("_index/") {
                documents.insert(key, serde_json::from_slice(&body).unwrap());
            } else {
                objects.insert(key, json!(ContentHash::of(&body).to_string()));
            }
        }
        assert_eq!(Value::Object(objects), step["objects"], "{at}: objects");
        let recorded = comparable(&step["documents"]);
        assert_eq!(comparable(&Value::Object(documents)), recorded, "{at}: documents");
    }

    fn compare_cache(&mut self, step: &Value, at: &str) {
        let machine = self.machine(&step["cache"]);
        let hash = |path: &String| ContentHash::of(&machine.read(path).unwrap()).to_string();
        let holds: Map<_, _> =
            machine.files().into_iter().map(|path| (path.clone(), json!(hash(&path)))).collect();
        assert_eq!(Value::Object(holds), step["holds"], "{at}: cache");
        let sidecar = machine.sidecar().map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
        assert_eq!(comparable(&sidecar), comparable(&step["sidecar"]), "{at}: sidecar");
    }
}

async fn operate(process: &mut Process, operation: &Value) -> crate::swamp::Result<Option<Value>> {
    let models =
        operation[2].as_array().into_iter().flatten().map(|model| model.as_str().unwrap().to_owned());
    let models: Vec<String> = models.collect();
    let said = match operation[0].as_str().unwrap() {
        "mark" => {
            process.mark_dirty(operation[1].as_str());
            return Ok(None);
        }
        "push" => json!(process.push().await?),
        "pull" => json!(process.pull(&Pull { models, metadata_only: false }).await?),
        "lazy-pull" => json!(process.pull(&Pull { models, metadata_only: true }).await?),
        "two-phase" => {
            let manifest = process.prepare_push().await?;
            json!(process.commit_push(&manifest).await?)
        }
        "migrate" => json!(process.migrate_index().await?),
        "hydrate" => json!(process.hydrate(operation[1].as_str().unwrap()).await?),
        unknown => panic!("{unknown}"),
    };
    Ok(Some(said))
}

/// Returns the same document with what differs from run to run blanked out.
fn comparable(document: &Value) -> Value {
    const TIMES: [&str; 4] = ["lastPulled", "lastModified", "localMtime", "lastVerifiedAt"];
    match document {
        Value::Object(members) => {
            let is_copies = members.get("version") == Some(&json!(1));
            let blank = |(name, value): (&String, &Value)| {
                let value = match name.as_str() {
                    "partitions" if is_copies => json!(in_order(value)),
                    "remoteIndexETag" => json!(value != ""),
                    time if TIMES.contains(&time) => json!(value != ""),
                    _ => comparable(value),
                };
                (name.clone(), value)
            };
            Value::Object(members.iter().map(blank).collect())
        }
        other => other.clone(),
    }
}

/// The names of advisory copies stand in the order of the index, which is that of uploads.
fn in_order(names: &Value) -> Vec<&str> {
    let mut names: Vec<_> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn texts(members: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    members.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn bytes_of(content: &Value) -> Vec<u8> {
    match content.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let pattern = hex::decode(content["hex"].as_str().unwrap()).unwrap();
            pattern.repeat(usize::try_from(content["times"].as_u64().unwrap()).unwrap())
        }
    }
}
