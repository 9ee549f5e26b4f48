//! Buckets as the real services left them: what we see is what the real reader saw, or what it
//! should have seen where it lost something. And what we write there loses nothing of it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::Deserialize;

use super::neighbour::Neighbour;
use super::peer::{LOCK, Peer, PeerOptions};
use super::world::{World, fixture};

/// How many buckets are looked at at once.
const AT_ONCE: usize = 8;

/// A recorded bucket.
#[derive(Deserialize)]
struct Recorded {
    objects: BTreeMap<String, Body>,
    /// What there is to see, by namespace; the empty one is the bucket itself.
    sees: BTreeMap<String, View>,
}

/// The bytes of an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    /// These.
    Text(String),
    /// Those of a document in `tests/data/swamp/golden`.
    Document { document: String },
    /// So many; which ones does not matter.
    Zeros { size: usize },
}

/// What there is to see.
#[derive(Deserialize)]
struct View {
    /// The files and their sizes.
    files: BTreeMap<String, u64>,
    /// Those among them whose objects are gone.
    dangling: Vec<String>,
    /// Keys that cannot be files.
    refused: Vec<String>,
    /// Those that an entry says to be symbolic links, in a member that swamp does not know.
    #[serde(default)]
    links: Vec<String>,
    /// What is missing so that nothing can be seen.
    fails: Option<String>,
}

fn recordings() -> Vec<(String, Recorded)> {
    let folder = fs::read_dir(fixture("golden/buckets")).unwrap();
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let recorded = serde_json::from_slice(&fs::read(entry.path()).unwrap());
        (name.clone(), recorded.unwrap_or_else(|odd| panic!("{name}: {odd}")))
    };
    let mut all: Vec<_> = folder.map(|entry| read(entry.unwrap())).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

impl Recorded {
    fn body(&self, key: &str) -> String {
        match &self.objects[key] {
            Body::Text(text) => text.clone(),
            Body::Document { document } => {
                fs::read_to_string(fixture(&format!("golden/{document}"))).unwrap()
            }
            Body::Zeros { size } => "\0".repeat(*size),
        }
    }

    /// Returns whether a folder can hold these keys.
    fn fits_a_folder(&self) -> bool {
        self.objects.keys().all(|key| {
            let is_also_a_folder = self.objects.keys().any(|other| other.starts_with(&format!("{key}/")));
            bayou::model::key::check_path(key).is_ok() && !is_also_a_folder
        })
    }

    async fn rebuild(&self, world: &World) {
        for key in self.objects.keys() {
            world.put_foreign(key, self.body(key)).await;
        }
        // Whoever held a lock is long gone.
        world.clock.advance(Duration::from_secs(3600));
    }
}

/// Checks names, sizes and bytes.
async fn check(peer: &Peer, recorded: &Recorded, namespace: &str, name: &str) {
    let view = &recorded.sees[namespace];
    let sizes: BTreeMap<String, u64> = peer
        .files()
        .into_iter()
        .map(|path| {
            let size = peer.cache.attr(peer.ino(&path)).unwrap().size;
            (path, size)
        })
        .collect();
    assert_eq!(sizes, view.files, "{name}");
    let mut refused = peer.sync.health().refused;
    // Zombies are in no view, but where they wait for the next writer.
    refused.retain(|key| !bayou::model::internal_name::is_internal(key));
    refused.sort_unstable();
    assert_eq!(refused, view.refused, "{name}");
    for path in view.files.keys() {
        let key = if namespace.is_empty() { path.clone() } else { format!("{namespace}/{path}") };
        if view.dangling.contains(path) {
            assert!(peer.try_read(path).await.is_err(), "{name}: {path} has no object");
        } else if view.links.contains(path) {
            assert!(peer.cache.read_link(peer.ino(path)).is_ok(), "{name}: {path}");
        } else if !matches!(recorded.objects[&key], Body::Zeros { .. }) {
            assert!(peer.text(path).await == recorded.body(&key), "{name}: {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_bucket_is_seen_as_it_is_to_be_seen() {
    look_at_all(async |recorded| match recorded.fits_a_folder() {
        true => World::folder().await,
        false => World::s3().await,
    })
    .await;
}

/// Whatever service it was written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_bucket_is_seen_so_on_google_cloud_storage_too() {
    look_at_all(async |_| World::gcs().await).await;
}

async fn look_at_all<W>(world: W)
where
    W: AsyncFn(&Recorded) -> World + Copy,
{
    let looking = recordings().into_iter().map(async |(name, recorded)| {
        let world = Arc::new(world(&recorded).await);
        look_at(name, recorded, world).await;
    });
    let seen = stream::iter(looking).buffer_unordered(AT_ONCE).count().await;
    assert_eq!(seen, 83);
}

async fn look_at(name: String, recorded: Recorded, world: Arc<World>) {
    recorded.rebuild(&world).await;
    for (namespace, view) in &recorded.sees {
        let options =
            PeerOptions { namespace: (!namespace.is_empty()).then_some("infra"), ..PeerOptions::default() };
        let peer = world.stranger(options).await;
        match (peer.sync.start().await, &view.fails) {
            (Ok(_), None) => {}
            (Err(failed), Some(missing)) => {
                let told = bayou::sync::describe(&failed);
                return assert!(told.contains(missing), "{name}: {told}");
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
        check(&peer, &recorded, namespace, &name).await;
    }
    check_written(&world, &recorded, &name).await;
}

/// Writes into the bucket and checks that nothing is lost and that swamp sees what is new.
async fn check_written(world: &Arc<World>, recorded: &Recorded, name: &str) {
    world.delete(LOCK).await;
    let peer = world.peer().await;
    peer.write("audit/of-ours", "ours");
    peer.push().await;
    let mut names: Vec<_> = recorded.sees[""].files.keys().cloned().collect();
    names.push("audit/of-ours".to_owned());
    names.sort_unstable();
    assert_eq!(world.peer().await.files(), names, "{name}");
    if recorded.sees[""].refused.is_empty() {
        let swamp = Neighbour::new(world);
        swamp.pull().await;
        assert_eq!(swamp.text("audit/of-ours").as_deref(), Some("ours"), "{name}");
    }
}
