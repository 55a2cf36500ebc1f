//! Looking at files without a server: what they are, and all of it as one snapshot (`slotwise-dump info` and `merge`).
//!
//! Nothing is changed where the files lie.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::clock::unix_ms;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::persistence::Status;
use crate::persistence::aof::manifest::{self, Durability, FileKind, Manifest};
use crate::persistence::aof::reader::{Item, LogReader};
use crate::persistence::file::RealDisk;
use crate::persistence::parts;
use crate::persistence::rdb::{Event, Limits, Reader, Usage};
use crate::persistence::snapshot::{self, About, Header};
use crate::script::Scripts;

use super::choice::{Foreign, own_manifest};
use super::feed::SNAPSHOT_MAGIC;
use super::own::Files;
use super::redis_set::RedisManifest;
use super::{FunctionChange, Halt, foreign, functions, number_of, own};

/// Databases that files may have: more than any server is given.
const DATABASES: u32 = 16384;

/// What lies at a path.
#[derive(Debug)]
pub enum Source {
    /// A set of our own.
    Own(PathBuf, Manifest),
    /// Redis's directory: the manifest's name and its files.
    Redis(PathBuf, RedisManifest),
    /// Snapshots, one for each shard.
    Snapshots(Vec<PathBuf>),
    /// A snapshot or a log.
    File(PathBuf),
}

/// Finds out what lies at a path: a file, a directory of append-only files, or a server's directory.
pub fn find(path: &Path) -> Result<Source, String> {
    // A manifest that lists nothing was written before the first files were complete.
    let listing = |path: &Path| {
        let manifest = own_manifest(path)?;
        Ok::<_, String>(manifest.filter(|manifest| !manifest.generations.is_empty()))
    };
    if path.is_file() {
        return match path.file_name() {
            Some(name) if name == manifest::NAME => find(path.parent().unwrap_or(Path::new("."))),
            Some(name)
                if Path::new(name)
                    .extension()
                    .is_some_and(|ext| ext == "manifest") =>
            {
                redis_manifest(path)
            }
            _ => Ok(Source::File(path.to_owned())),
        };
    }
    let entries = fs::read_dir(path).map_err(|error| cannot_read(path, &error))?;
    if let Some(manifest) = listing(path)? {
        return Ok(Source::Own(path.to_owned(), manifest));
    }
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    let with = |ending: &str| -> Vec<PathBuf> {
        let fits = |path: &&PathBuf| path.extension().is_some_and(|ext| ext == ending);
        found.iter().filter(fits).cloned().collect()
    };
    let manifests = with("manifest");
    match &manifests[..] {
        [] => {}
        [only] => return redis_manifest(only),
        [first, second, ..] => {
            return Err(format!(
                "'{}' has several manifests: name one ('{}' or '{}')",
                path.display(),
                first.display(),
                second.display()
            ));
        }
    }
    let mut below = found.iter().filter(|path| path.is_dir());
    if let Some(directory) = below.find(|path| !matches!(listing(path), Ok(None))) {
        return find(directory);
    }
    let snapshots = with("rdb");
    if snapshots.is_empty() {
        return Err(format!(
            "There is nothing in '{}' that a server would start from: no manifest and no snapshot",
            path.display()
        ));
    }
    Ok(Source::Snapshots(snapshots))
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("Can't read '{}': {error}", path.display())
}

fn redis_manifest(path: &Path) -> Result<Source, String> {
    let text = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    let manifest = RedisManifest::parse(&text)
        .map_err(|(line, reason)| format!("'{}', line {line}: {reason}", path.display()))?;
    Ok(Source::Redis(path.to_owned(), manifest))
}

/// Reads all that lies at a path and writes it into one snapshot, which replaces the file at `out` when it is whole.
/// Gives the number of keys.
pub fn merge(path: &Path, out: &Path) -> Result<u64, String> {
    let mut config = Config::default();
    config.databases = DATABASES;
    let config = Arc::new(config);
    let status = Status::default();
    let (mut keyspaces, changes) =
        read(find(path)?, &config, &status).map_err(|halt| halt.text(true))?;
    let scripts = Arc::new(Scripts::default());
    functions::apply(&changes, &scripts)?;
    let libraries = scripts.libraries();
    let functions: Vec<Vec<u8>> = libraries.codes().map(<[u8]>::to_vec).collect();
    let about = About {
        header: Header {
            now: unix_ms(),
            used_memory: 0,
            aof_base: false,
            functions,
            stream: None,
        },
        compress: config.rdbcompression,
        check_sum: config.rdbchecksum,
        incremental_sync: true,
        key_delay_us: 0,
        usage: &|_| Usage::None,
    };
    let shares: Vec<&Keyspace> = keyspaces.iter_mut().map(|one| &*one).collect();
    let mut files = parts::Files::one(Arc::new(RealDisk), out.to_owned());
    snapshot::save(&mut files, &[&shares[..]], &about)
        .map_err(|error| format!("Can't write '{}': {error}", out.display()))
}

fn read(
    source: Source,
    config: &Arc<Config>,
    status: &Status,
) -> Result<(Vec<Keyspace>, Vec<FunctionChange>), Halt> {
    let files = match source {
        Source::Own(directory, manifest) => {
            let read = own::recover(&directory, manifest, config, 1, status, Files::Leave)?;
            return Ok((read.keyspaces, read.functions));
        }
        Source::Redis(path, manifest) => {
            let directory = path.parent().unwrap_or(Path::new("."));
            manifest.files().map(|name| directory.join(name)).collect()
        }
        Source::Snapshots(files) => files,
        Source::File(file) => vec![file],
    };
    let foreign = Foreign {
        files,
        ..Foreign::default()
    };
    let read = foreign::recover(&foreign, config, 1, status)?;
    Ok((read.keyspaces, read.functions))
}

/// Tells what lies at a path.
pub fn info(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    match find(path)? {
        Source::Own(directory, manifest) => own_info(&mut text, &directory, &manifest),
        Source::Redis(path, manifest) => {
            let _ = writeln!(text, "Redis append-only files: {}", path.display());
            let directory = path.parent().unwrap_or(Path::new("."));
            for name in manifest.files() {
                file_info(&mut text, &directory.join(name), "  ");
            }
        }
        Source::Snapshots(files) => {
            let _ = writeln!(text, "{} snapshots", files.len());
            files
                .iter()
                .for_each(|file| file_info(&mut text, file, "  "));
        }
        Source::File(file) => file_info(&mut text, &file, ""),
    }
    Ok(text)
}

fn own_info(text: &mut String, directory: &Path, manifest: &Manifest) {
    let durability = match manifest.durability {
        Durability::Always => "acknowledged writes are on disk",
        Durability::Relaxed => "acknowledged writes are on disk within two seconds",
    };
    let _ = writeln!(
        text,
        "Append-only files of Slotwise: {}",
        directory.display()
    );
    let _ = writeln!(text, "  boot id {}; {durability}", manifest.boot);
    for taken in &manifest.taken {
        let _ = writeln!(text, "  made from {} ({} bytes)", taken.name, taken.bytes);
    }
    for generation in &manifest.generations {
        let _ = writeln!(
            text,
            "  generation {}, written under {} shards",
            generation.number, generation.shards
        );
        for file in &generation.files {
            let kind = match file.kind {
                FileKind::Base => "base",
                FileKind::Incremental => "log",
            };
            let _ = writeln!(text, "    shard {}, {kind}:", file.shard);
            file_info(text, &directory.join(&file.name), "      ");
        }
    }
}

/// What one file holds; what is wrong with it is a part of that.
fn file_info(text: &mut String, path: &Path, indent: &str) {
    let size = fs::metadata(path).map_or(0, |facts| facts.len());
    let _ = writeln!(text, "{indent}{} ({size} bytes)", path.display());
    let told = look(path).map_err(|error| cannot_read(path, &error));
    match told {
        Ok((lines, problem)) => {
            for line in lines.into_iter().chain(problem) {
                let _ = writeln!(text, "{indent}  {line}");
            }
        }
        Err(error) => {
            let _ = writeln!(text, "{indent}  {error}");
        }
    }
}

/// Whether a snapshot or a log can be read to its end; else what is wrong, with the offset.
pub(super) fn readable(path: &Path) -> Result<(), String> {
    let (_, problem) = look(path).map_err(|error| cannot_read(path, &error))?;
    problem.map_or(Ok(()), Err)
}

/// What a file holds, and what keeps it from being read to its end.
fn look(path: &Path) -> io::Result<(Vec<String>, Option<String>)> {
    let mut file = File::open(path)?;
    let mut first = Vec::new();
    (&mut file)
        .take(SNAPSHOT_MAGIC.len() as u64)
        .read_to_end(&mut first)?;
    let mut lines = Vec::new();
    if first != SNAPSHOT_MAGIC {
        let problem = look_at_log(first.chain(file), 0, &mut lines);
        return Ok((lines, problem));
    }
    let end = match look_at_snapshot(first.chain(file), &mut lines)? {
        Ok(end) => end,
        Err(problem) => return Ok((lines, Some(problem))),
    };
    let mut problem = None;
    // What follows is a log that begins with a snapshot.
    let mut again = File::open(path)?;
    if again.metadata()?.len() > end {
        io::Seek::seek(&mut again, io::SeekFrom::Start(end))?;
        problem = look_at_log(again, end, &mut lines);
    }
    Ok((lines, problem))
}

/// What a snapshot holds; where it ends, or what is wrong with it.
fn look_at_snapshot(
    mut input: impl Read,
    lines: &mut Vec<String>,
) -> io::Result<Result<u64, String>> {
    let mut reader = Reader::new(Limits::of(&Config::default()), true);
    let mut chunk = vec![0; 1 << 20];
    let mut keys: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut functions = 0;
    let mut facts = Vec::new();
    let outcome = loop {
        match reader.next_event() {
            Ok(Event::More) => match input.read(&mut chunk)? {
                0 => reader.end(),
                got => reader.feed(&chunk[..got]),
            },
            Ok(Event::Aux(name, value)) => {
                let (name, value) = (
                    String::from_utf8_lossy(&name),
                    String::from_utf8_lossy(&value),
                );
                facts.push(format!("{name} {value}"));
            }
            Ok(Event::Function(_)) => functions += 1,
            Ok(Event::Key(loaded)) => {
                let (count, volatile) = keys.entry(loaded.db).or_default();
                *count += 1;
                *volatile += u64::from(loaded.expire_at.is_some());
            }
            Ok(Event::ModuleAux(name)) => facts.push(format!("data of module {name}")),
            Ok(Event::Sizes(..)) => {}
            Ok(Event::End) => break Ok(()),
            Err(problem) => break Err(problem),
        }
    };
    lines.push(format!(
        "snapshot, version {}: {}",
        reader.version(),
        facts.join(", ")
    ));
    for (db, (count, volatile)) in keys {
        lines.push(format!("db {db}: {count} keys, {volatile} with an expiry"));
    }
    if functions > 0 {
        lines.push(format!("{functions} function libraries"));
    }
    Ok(match outcome {
        Ok(()) => Ok(reader.offset()),
        Err(problem) => Err(format!("it cannot be read on: {problem}")),
    })
}

fn look_at_log(input: impl Read, offset: u64, lines: &mut Vec<String>) -> Option<String> {
    let mut reader = LogReader::new(input, offset);
    let (mut commands, mut steps, mut epochs) = (0u64, 0u64, 0u64);
    let mut first_second = None;
    let mut last_second = None;
    let problem = loop {
        match reader.next_item() {
            Ok(Some(Item::Command(_))) => commands += 1,
            Ok(Some(Item::Annotation(text))) => match number_of(text) {
                Some((_, true)) => steps += 1,
                Some((_, false)) => epochs += 1,
                None => {
                    if let Some(second) = text.strip_prefix(crate::effect::TIME_MARK) {
                        let second = String::from_utf8_lossy(second).into_owned();
                        first_second.get_or_insert(second.clone());
                        last_second = Some(second);
                    }
                }
            },
            Ok(None) => break None,
            Err(problem) => break Some(problem),
        }
    };
    lines.push(format!(
        "log: {commands} commands, parts of {steps} steps over several shards, {epochs} epochs"
    ));
    if let (Some(first), Some(last)) = (first_second, last_second) {
        lines.push(format!("written from Unix time {first} to {last}"));
    }
    problem.map(|problem| problem.to_string())
}
