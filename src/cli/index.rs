//! `bayou index`: what the index of a bucket says, whether it is true, and making it so.

use clap::{Args, Subcommand};

use super::arguments::{self, BucketArgs};
use super::{output, runtime, units};
use crate::control::{Failure, FailureKind};
use crate::model::entry::Entry;
use crate::os::clock::SharedClock;
use crate::session::index_upkeep::{self, IndexPlace, Purpose};
use crate::sync::upkeep::{Finding, Migrated, Survey, Upkeep, is_at_or_below};

/// How many names of one kind are shown to people.
const MOST_SHOWN: usize = 10;

/// Show, check, repair or migrate the index of a bucket
#[derive(Debug, Args)]
#[command(
    after_help = "Without a mount and without a cache. What changes the index does so under the bucket's lock.\n\nExample:\n  bayou index verify s3://bucket/team"
)]
pub(super) struct IndexArgs {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Show(ShowArgs),
    Verify(VerifyArgs),
    Rebuild(RebuildArgs),
    Migrate(MigrateArgs),
}

/// Show how the index is laid out and what is in it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bayou index show s3://bucket/team audit/2026-08-01.jsonl")]
struct ShowArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Show the entries of these files, or of all below these directories
    #[arg(value_name = "PATH", help_heading = None)]
    paths: Vec<String>,
}

/// Compare the index with the objects
#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 2 if the index is not true. Reads the index and lists the bucket; changes nothing without --repair.\n\nExample:\n  bayou index verify s3://bucket/team --repair"
)]
struct VerifyArgs {
    /// Make the index say what is so; no object is deleted
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    which: WhichArgs,
}

/// Build the index anew from the objects
#[derive(Debug, Args)]
#[command(
    after_help = "For an index that is damaged: what can be read of it is kept where the objects agree.\n\nExample:\n  bayou index rebuild s3://bucket/team"
)]
struct RebuildArgs {
    #[command(flatten)]
    which: WhichArgs,
}

/// Turn a monolithic index into shards, as `swamp datastore migrate-index` does
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bayou index migrate s3://bucket/team")]
struct MigrateArgs {
    /// Migrate although swamp has no shard for some files: only bayou sees them from then on
    #[arg(long)]
    keep_beside: bool,
    #[command(flatten)]
    which: WhichArgs,
}

/// Which index of which bucket.
#[derive(Debug, Args)]
struct WhichArgs {
    /// The bucket: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Print JSON with stable keys
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// A file as JSON.
#[derive(serde::Serialize)]
struct Shown<'a> {
    key: &'a str,
    size: Option<u64>,
    last_modified: Option<&'a str>,
    sha256: Option<String>,
    version: Option<&'a str>,
    symlink: Option<&'a str>,
    special: Option<String>,
    mode: Option<u32>,
}

pub(super) fn run(args: &IndexArgs, clock: SharedClock) -> Result<(), Failure> {
    let (which, purpose) = args.command.what();
    let place = which.place()?;
    runtime()?.block_on(async {
        let upkeep = index_upkeep::open(&place, purpose, &clock).await?;
        match &args.command {
            Sub::Show(args) => show(args, &upkeep).await,
            Sub::Verify(args) => verify(args, &upkeep).await,
            Sub::Rebuild(args) => rebuild(args, &upkeep).await,
            Sub::Migrate(args) => migrate(args, &upkeep).await,
        }
    })
}

impl Sub {
    fn what(&self) -> (&WhichArgs, Purpose) {
        match self {
            Self::Show(args) => (&args.which, Purpose::Look),
            Self::Verify(args) if args.repair => (&args.which, Purpose::Change),
            Self::Verify(args) => (&args.which, Purpose::Look),
            Self::Rebuild(args) => (&args.which, Purpose::Change),
            Self::Migrate(args) => (&args.which, Purpose::Change),
        }
    }
}

impl WhichArgs {
    fn place(&self) -> Result<IndexPlace, Failure> {
        let source = arguments::source(&self.source)?;
        let access = self.bucket.access(&source)?;
        let namespace = self.bucket.namespace().cloned();
        Ok(IndexPlace { source: source.to_string(), access, namespace })
    }

    /// Returns the words that name it in another command.
    fn words(&self) -> String {
        let namespace = self.bucket.namespace().map(|name| format!(" --namespace {name}"));
        format!("{}{}", self.source, namespace.unwrap_or_default())
    }

    fn say(&self, survey: &Survey, lines: Vec<String>) {
        if self.json {
            output::json(survey);
        } else {
            lines.into_iter().for_each(output::line);
        }
    }
}

async fn show(args: &ShowArgs, upkeep: &Upkeep) -> Result<(), Failure> {
    if args.paths.is_empty() {
        let survey = upkeep.show().await.map_err(index_upkeep::failed(upkeep))?;
        args.which.say(&survey, describe(&survey));
        return Ok(());
    }
    let entries = upkeep.entries(&args.paths).await.map_err(index_upkeep::failed(upkeep))?;
    let is_missing = |path: &&String| !entries.iter().any(|(key, _)| is_at_or_below(path, key));
    if let Some(path) = args.paths.iter().find(is_missing) {
        let message =
            format!("The index of {} names neither {path:?} nor anything below it", upkeep.address());
        return Err(Failure::new(FailureKind::System, message));
    }
    let shown: Vec<Shown<'_>> = entries.iter().map(|(key, entry)| shown(key, entry)).collect();
    if args.which.json {
        output::json(&shown);
    } else {
        for one in shown {
            let size = one.size.map_or_else(|| "?".to_owned(), |size| size.to_string());
            output::line(format_args!("{size:>12}  {}  {}", one.last_modified.unwrap_or("-"), one.key));
        }
    }
    Ok(())
}

async fn verify(args: &VerifyArgs, upkeep: &Upkeep) -> Result<(), Failure> {
    let outcome = if args.repair { upkeep.repair().await } else { upkeep.verify().await };
    upkeep.finish().await;
    let survey = outcome.map_err(index_upkeep::failed(upkeep))?;
    let mut lines = describe(&survey);
    lines.extend(survey.findings.iter().flat_map(findings));
    let left = survey.findings.iter().filter(|finding| !finding.problem.is_repairable());
    lines.push(match (survey.findings.is_empty(), args.repair) {
        (true, _) => "The index is true".to_owned(),
        (false, true) if left.count() == survey.findings.len() => "Nothing that could be repaired".to_owned(),
        (false, true) => "Repaired".to_owned(),
        (false, false) => String::new(),
    });
    lines.retain(|line| !line.is_empty());
    args.which.say(&survey, lines);
    if args.repair || survey.findings.iter().all(|finding| !finding.problem.is_repairable()) {
        return Ok(());
    }
    let words = args.which.words();
    let way_out = match survey.findings.iter().any(|finding| finding.problem.needs_rebuild()) {
        true => format!("`bayou index rebuild {words}`"),
        false => format!("`bayou index verify {words} --repair`"),
    };
    let message = format!("The index of {} is not true; {way_out} makes it so", survey.source);
    Err(Failure::new(FailureKind::System, message))
}

async fn rebuild(args: &RebuildArgs, upkeep: &Upkeep) -> Result<(), Failure> {
    let outcome = match upkeep.rebuild().await {
        Ok(found) => upkeep.show().await.map(|survey| Survey { findings: found.findings, ..survey }),
        Err(failed) => Err(failed),
    };
    upkeep.finish().await;
    let survey = outcome.map_err(index_upkeep::failed(upkeep))?;
    let mut lines: Vec<String> = survey.findings.iter().flat_map(findings).collect();
    lines.extend(describe(&survey));
    args.which.say(&survey, lines);
    Ok(())
}

async fn migrate(args: &MigrateArgs, upkeep: &Upkeep) -> Result<(), Failure> {
    let outcome = upkeep.migrate(args.keep_beside).await;
    upkeep.finish().await;
    let migrated = outcome.map_err(index_upkeep::failed(upkeep))?;
    if args.which.json {
        output::json(&migrated);
    } else {
        output::line(conclude(&migrated));
    }
    Ok(())
}

fn shown<'a>(key: &'a str, entry: &'a Entry) -> Shown<'a> {
    Shown {
        key,
        size: entry.size,
        last_modified: entry.last_modified.as_ref().map(|stamp| stamp.as_str()),
        sha256: entry.sha256.as_ref().map(ToString::to_string),
        version: entry.version.as_ref().map(|version| version.as_str()),
        symlink: entry.symlink.as_deref(),
        special: entry.special.map(|special| special.to_string()),
        mode: entry.attributes.mode,
    }
}

/// Returns the lines that say what is in an index.
fn describe(survey: &Survey) -> Vec<String> {
    if survey.layout == "none" {
        return vec![format!("{}: no index", survey.source)];
    }
    let shards = match (survey.shards, survey.commit_seq) {
        (0, _) => String::new(),
        (count, Some(seq)) => format!(" ({count}, commit {seq})"),
        (count, None) => format!(" ({count})"),
    };
    let (entries, bytes) = (units::count(survey.entries, "entry"), units::bytes(survey.bytes));
    vec![format!("{}: {}{shards}, {entries}, {bytes}", survey.source, survey.layout)]
}

/// Returns the lines that say what is wrong.
fn findings(finding: &Finding) -> Vec<String> {
    let names = &finding.names;
    let mut lines = vec![format!("{}: {}", finding.problem.as_str(), names.len())];
    lines.extend(names.iter().take(MOST_SHOWN).map(|name| format!("  {name}")));
    if names.len() > MOST_SHOWN {
        lines.push(format!("  and {} more", names.len() - MOST_SHOWN));
    }
    lines
}

fn conclude(migrated: &Migrated) -> String {
    let Migrated { source, shards, commit_seq, beside, monolith_is_empty } = migrated;
    let kept = match beside {
        0 => String::new(),
        1 => ", 1 file is seen by bayou only".to_owned(),
        count => format!(", {count} files are seen by bayou only"),
    };
    let shards = units::count(*shards, "shard");
    let monolith = if *monolith_is_empty { "is empty now" } else { "says the same as the shards" };
    format!("{source}: {shards}, commit {commit_seq}{kept}; the old monolith {monolith}")
}
