//! Which files hold the data set.
//!
//! Our own append-only set comes first. Without one, whatever Redis would start from is taken in, and `dump.rdb` where
//! Redis would start empty. When something of that kind stands beside our own set, and the set was not made from it,
//! nobody but the operator knows which of the two is to be served: the start stops and asks.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::sys::error_text;
use crate::config::Config;
use crate::persistence::aof::manifest::{self, Manifest, Taken};
use crate::persistence::file::RealDisk;
use crate::persistence::parts;

use super::feed::SNAPSHOT_MAGIC;
use super::redis_set::RedisManifest;

/// Bytes at the beginning of a snapshot in which what it says of itself stands.
const HEADER_BYTES: u64 = 512;
/// What a snapshot of ours says of itself.
const OURS: &[u8] = b"slotwise-ver";

/// Where the data are.
#[derive(Debug)]
pub enum Choice {
    /// Nowhere: the data set is empty.
    Nothing,
    /// In our own append-only files.
    Own {
        /// The directory they are in.
        directory: PathBuf,
        /// Which they are.
        manifest: Manifest,
    },
    /// In files of Redis.
    Foreign(Foreign),
}

/// Files of Redis, or a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    /// In the order in which they are loaded; a base among them is the first.
    pub files: Vec<PathBuf>,
    /// What a later start must not ask about.
    pub taken: Vec<Taken>,
    /// The first one is a base.
    pub has_base: bool,
    /// A snapshot by itself, whose keys past their time are left out.
    pub is_snapshot: bool,
}

impl Choice {
    /// Whether there is nothing to read.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Choice::Nothing)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let size = |path: &Path| fs::metadata(path).map_or(0, |facts| facts.len());
        match self {
            Choice::Nothing => 0,
            Choice::Own {
                directory,
                manifest,
            } => manifest
                .generations
                .iter()
                .flat_map(|generation| &generation.files)
                .map(|file| size(&directory.join(&file.name)))
                .sum(),
            Choice::Foreign(foreign) => foreign.files.iter().map(|path| size(path)).sum(),
        }
    }
}

/// Where a server's files may be.
#[derive(Clone, Debug)]
pub struct Places {
    /// The server's directory.
    pub dir: PathBuf,
    /// `appenddirname`.
    pub log_directory: String,
    /// `appendfilename`.
    pub log_name: String,
    /// `dbfilename`; empty for none.
    pub snapshot: String,
}

impl Places {
    /// As the configuration says.
    pub fn of(config: &Config) -> Places {
        Places {
            dir: config.dir.clone(),
            log_directory: config.appenddirname.clone(),
            log_name: config.appendfilename.clone(),
            snapshot: config.dbfilename.clone(),
        }
    }

    /// The directory of append-only files.
    pub fn logs(&self) -> PathBuf {
        self.dir.join(&self.log_directory)
    }

    fn redis_manifest(&self) -> PathBuf {
        self.logs().join(format!("{}.manifest", self.log_name))
    }

    fn single_log(&self) -> PathBuf {
        self.dir.join(&self.log_name)
    }

    fn snapshot_file(&self) -> PathBuf {
        self.dir.join(&self.snapshot)
    }

    /// What is noted of a file: its name below `dir`, its size, when it was changed.
    fn note(&self, path: &Path) -> Option<Taken> {
        let facts = fs::metadata(path).ok()?;
        let name = path.strip_prefix(&self.dir).unwrap_or(path);
        Some(Taken {
            name: name.to_string_lossy().into_owned(),
            bytes: facts.len(),
            modified_ns: modified_ns(&facts),
        })
    }
}

fn modified_ns(facts: &Metadata) -> u64 {
    let ns = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
    u64::try_from(ns).unwrap_or(0)
}

/// When a file came to be what and where it is: also when it was put here with its old date.
fn arrived_ns(facts: &Metadata) -> u64 {
    let ns = i128::from(facts.ctime()) * 1_000_000_000 + i128::from(facts.ctime_nsec());
    modified_ns(facts).max(u64::try_from(ns).unwrap_or(0))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// Finds out what a server with `appendonly yes` starts from.
pub fn choose(config: &Config) -> Result<Choice, String> {
    choose_in(&Places::of(config))
}

/// The same for these places.
pub fn choose_in(places: &Places) -> Result<Choice, String> {
    let logs = places.logs();
    let redis = redis_set(places)?;
    let manifest = own_manifest(&logs)?;
    // One that lists nothing was written before the first files: they were not complete.
    let was_begun = manifest.is_some();
    if let Some(manifest) = manifest.filter(|manifest| !manifest.generations.is_empty()) {
        ask_about_strangers(places, &manifest, redis.as_ref())?;
        return Ok(Choice::Own {
            directory: logs,
            manifest,
        });
    }
    if let Some(foreign) = redis {
        return Ok(Choice::Foreign(foreign));
    }
    if !was_begun {
        orphans(places)?;
    }
    if is_file(&places.single_log()) {
        let path = places.single_log();
        return Ok(Choice::Foreign(Foreign {
            taken: places.note(&path).into_iter().collect(),
            files: vec![path],
            has_base: true,
            is_snapshot: false,
        }));
    }
    if places.snapshot.is_empty() {
        return Ok(Choice::Nothing);
    }
    let files = parts::find(&RealDisk, &places.snapshot_file()).map_err(|why| why.to_string())?;
    let Some(first) = files.first() else {
        return Ok(Choice::Nothing);
    };
    log::info!(
        "There are no append-only files yet: the data set is loaded from {}",
        first.display()
    );
    Ok(Choice::Foreign(Foreign {
        taken: files.iter().filter_map(|path| places.note(path)).collect(),
        files,
        has_base: true,
        is_snapshot: true,
    }))
}

/// Our manifest in a directory, if there is one.
pub fn own_manifest(logs: &Path) -> Result<Option<Manifest>, String> {
    let path = logs.join(manifest::NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!(
                "Can't read the manifest '{}': {error}",
                path.display()
            ));
        }
    };
    let text = String::from_utf8_lossy(&text);
    match Manifest::parse(&text) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(problem) => Err(format!(
            "The manifest '{}' cannot be relied on: {problem}. It names the files that together are the data set; restore \
             it from a backup of the directory, or move the directory away to start from something else.",
            path.display()
        )),
    }
}

/// What Redis's manifest lists, if there is one.
pub(super) fn redis_set(places: &Places) -> Result<Option<Foreign>, String> {
    let path = places.redis_manifest();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!(
                "Fatal error: can't open the AOF manifest file {} for reading: {error}",
                path.display()
            ));
        }
    };
    let manifest = RedisManifest::parse(&text).map_err(|(line, reason)| {
        let shown = text
            .split(|byte| *byte == b'\n')
            .nth(line.saturating_sub(1));
        format!(
            "\n*** FATAL AOF MANIFEST FILE ERROR ***\nReading the manifest file {}, at line {line}\n>>> '{}'\n{reason}",
            path.display(),
            String::from_utf8_lossy(shown.unwrap_or_default())
        )
    })?;
    let logs = places.logs();
    let mut files: Vec<PathBuf> = manifest.files().map(|name| logs.join(name)).collect();
    if files.is_empty() {
        return Ok(None);
    }
    // Redis before its upgrade of an old file was over: the manifest names it, and it has not been moved yet.
    if let [only] = &files[..]
        && manifest.base.as_deref() == Some(&places.log_name)
        && !is_file(only)
        && is_file(&places.single_log())
    {
        files = vec![places.single_log()];
    }
    for file in &files {
        if !is_file(file) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let error = fs::metadata(file).err().map_or_else(
                || "it is no file".to_owned(),
                |error| error_text(error.raw_os_error().unwrap_or(0)),
            );
            return Err(format!(
                "Unable to obtain the AOF file {name} length. stat: {error}. The manifest {} lists it.",
                path.display()
            ));
        }
    }
    let noted = std::iter::once(&path).chain(&files);
    Ok(Some(Foreign {
        taken: noted.filter_map(|path| places.note(path)).collect(),
        files,
        has_base: manifest.base.is_some(),
        is_snapshot: false,
    }))
}

/// Append-only files without a manifest of either kind: somebody's data, and nothing says which of them count.
fn orphans(places: &Places) -> Result<(), String> {
    let logs = places.logs();
    let Ok(entries) = fs::read_dir(&logs) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_log = name.starts_with(&format!("{}.", places.log_name))
            && [".aof", ".rdb"].iter().any(|ending| name.ends_with(ending));
        if is_log && entry.metadata().is_ok_and(|facts| facts.len() > 0) {
            return Err(format!(
                "There are append-only files in '{}' ({name} for one) and no manifest that says which of them are the data \
                 set. Restore {} (or Redis's {}.manifest) from a backup, or move the directory away to start without them.",
                logs.display(),
                manifest::NAME,
                places.log_name
            ));
        }
    }
    Ok(())
}

/// Stops when there are other data sets beside our own that it was not made from.
fn ask_about_strangers(
    places: &Places,
    manifest: &Manifest,
    redis: Option<&Foreign>,
) -> Result<(), String> {
    let is_known = |noted: &Taken| manifest.taken.contains(noted);
    let question = |stranger: &Path| {
        Err(format!(
            "There are two data sets, and it is not clear which one is to be served: the append-only files of '{own}' and \
             '{stranger}', which they were not made from. To serve '{stranger}', move '{own}' away; to go on with the \
             append-only files, move '{stranger}' away. Then start again.",
            own = places.logs().join(manifest::NAME).display(),
            stranger = stranger.display()
        ))
    };
    if let Some(redis) = redis
        && !redis.taken.iter().all(is_known)
    {
        return question(&places.redis_manifest());
    }
    let single = places.single_log();
    if let Some(noted) = places.note(&single).filter(|_| is_file(&single))
        && noted.bytes > 0
        && !is_known(&noted)
    {
        return question(&single);
    }
    let snapshot = places.snapshot_file();
    if places.snapshot.is_empty() || !is_file(&snapshot) {
        return Ok(());
    }
    let Some(noted) = places.note(&snapshot) else {
        return Ok(());
    };
    if is_known(&noted) || is_ours(&snapshot) || !is_newer(places, manifest, &snapshot) {
        return Ok(());
    }
    question(&snapshot)
}

/// Whether a snapshot says that we wrote it.
fn is_ours(path: &Path) -> bool {
    let mut header = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut header));
    read.is_ok()
        && header.starts_with(SNAPSHOT_MAGIC)
        && memchr::memmem::find(&header, OURS).is_some()
}

/// Whether a file came after the last change of our set.
fn is_newer(places: &Places, manifest: &Manifest, path: &Path) -> bool {
    let logs = places.logs();
    let files = manifest
        .generations
        .iter()
        .flat_map(|generation| &generation.files)
        .map(|file| file.name.as_str())
        .chain([manifest::NAME]);
    let newest = files
        .filter_map(|name| fs::metadata(logs.join(name)).ok())
        .map(|facts| modified_ns(&facts))
        .max();
    fs::metadata(path).is_ok_and(|facts| arrived_ns(&facts) > newest.unwrap_or(0))
}
