//! Checking files without a server, and mending what can be (`slotwise-dump check`).
//!
//! What a start would do anyway (a unit that breaks off, a step without all its parts) is told beforehand. What stops a
//! start, damage in the middle of a log, can be mended by giving up what follows it, on all shards together, so that
//! what remains is one moment; nobody but the operator may decide that. Files that are changed are copied first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::clock::unix_ms;
use crate::base::sys;
use crate::persistence::Status;
use crate::persistence::aof::manifest::{self, Manifest};
use crate::persistence::aof::recovery::Position;

use super::inspect::{Source, find};
use super::own::{Logs, cut_file, has_lost_power, judge, judge_damaged};
use super::{Halt, inspect};

/// What a check has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Each a sentence.
    pub lines: Vec<String>,
    /// A start would refuse the files.
    pub stops_start: bool,
    /// What mending would do; none when there is nothing to mend, or nothing that can be.
    pub mend: Option<Mend>,
}

impl Findings {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Changes that make files loadable.
#[derive(Debug)]
pub struct Mend {
    directory: PathBuf,
    /// Files to cut, and to how many bytes.
    cuts: Vec<(PathBuf, u64)>,
    /// The manifest without the generations that follow the damage, where there are some.
    manifest: Option<Manifest>,
}

impl Mend {
    /// What it would do, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .cuts
            .iter()
            .map(|(path, keep)| {
                let size = fs::metadata(path).map_or(0, |facts| facts.len());
                format!(
                    "cut {} from {size} to {keep} bytes ({} dropped)",
                    path.display(),
                    size.saturating_sub(*keep)
                )
            })
            .collect();
        if self.manifest.is_some() {
            lines.push("take the generations after the damage out of the manifest".to_owned());
        }
        lines
    }

    /// Does it. Each file that changes is copied first, to a name that says when; gives these names.
    pub fn apply(self) -> io::Result<Vec<PathBuf>> {
        let stamp = unix_ms();
        let mut copies = Vec::new();
        let mut keep_copy = |path: &Path| -> io::Result<()> {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".before-fix-{stamp}"));
            let copy = path.with_file_name(name);
            fs::copy(path, &copy)?;
            fs::File::open(&copy)?.sync_all()?;
            copies.push(copy);
            Ok(())
        };
        for (path, length) in &self.cuts {
            keep_copy(path)?;
            cut_file(path, *length).map_err(|halt| io::Error::other(halt.text(true)))?;
        }
        if let Some(manifest) = &self.manifest {
            let path = self.directory.join(manifest::NAME);
            keep_copy(&path)?;
            sys::replace_file(&path, manifest.to_text().as_bytes())?;
        }
        fs::File::open(&self.directory)?.sync_all()?;
        Ok(copies)
    }
}

/// Checks what lies at a path.
pub fn check(path: &Path) -> Result<Findings, String> {
    match find(path)? {
        Source::Own(directory, manifest) => {
            check_own(&directory, &manifest).map_err(|halt| halt.text(true))
        }
        Source::Redis(path, manifest) => {
            let directory = path.parent().unwrap_or(Path::new("."));
            let files: Vec<PathBuf> = manifest.files().map(|name| directory.join(name)).collect();
            Ok(check_files(&files))
        }
        Source::Snapshots(files) => Ok(check_files(&files)),
        Source::File(file) => Ok(check_files(&[file])),
    }
}

/// Files of Redis and snapshots: told about, and mended by Redis's own tools.
fn check_files(files: &[PathBuf]) -> Findings {
    let mut findings = Findings::default();
    for path in files {
        if let Err(text) = inspect::readable(path) {
            findings.stops_start = true;
            findings.lines.push(format!("{}: {text}", path.display()));
        }
    }
    findings
}

fn check_own(directory: &Path, manifest: &Manifest) -> Result<Findings, Halt> {
    let mut findings = Findings::default();
    let status = Status::default();
    let last = manifest.generations.len();
    for (at, generation) in manifest.generations.iter().enumerate() {
        let set = Logs {
            directory,
            generation,
            is_last: at + 1 == last,
        };
        let missing = generation
            .files
            .iter()
            .filter(|file| !directory.join(&file.name).is_file());
        for file in missing {
            findings.stops_start = true;
            findings.lines.push(format!(
                "{}: the manifest lists it, and it is not there. Restore it from a backup",
                file.name
            ));
        }
        for shard in 0..generation.shards {
            if let Some(base) = set.base(shard).filter(|base| base.is_file())
                && let Err(text) = inspect::readable(&base)
            {
                findings.stops_start = true;
                findings.lines.push(format!(
                    "{}: {text}. A base cannot be mended: restore it from a backup",
                    base.display()
                ));
            }
        }
        if findings.stops_start {
            return Ok(findings);
        }
        let lost = set.is_last && has_lost_power(manifest);
        // A loss of power leaves what a start deals with by itself; only what it does not is damage.
        let judged = match judge(&set, lost.then_some(manifest.durability), &status) {
            Ok(judged) => judged,
            Err(_) => judge_damaged(&set, &status)?,
        };
        let mut is_broken = !judged.damaged.is_empty();
        for (shard, reason) in &judged.damaged {
            let end = judged.ends[*shard].0;
            let path = &set.incrementals(*shard)[end.file];
            findings.stops_start = true;
            findings
                .lines
                .push(format!("{}: damaged {reason}", path.display()));
        }
        for (shard, (end, is_whole)) in judged.ends.iter().enumerate() {
            let damaged = judged.damaged.iter().any(|(other, _)| *other == shard);
            if *is_whole || damaged {
                continue;
            }
            let path = &set.incrementals(shard)[end.file];
            findings.lines.push(format!(
                "{}: it breaks off within a unit; what is whole ends at offset {}",
                path.display(),
                end.offset
            ));
            if !set.is_last {
                findings.stops_start = true;
                is_broken = true;
            }
        }
        if judged.verdict.steps_dropped > 0 {
            findings.lines.push(format!(
                "{} parts of steps over several shards are without their other parts; nothing from there on was acknowledged",
                judged.verdict.steps_dropped
            ));
        }
        if let Some(epoch) = judged.verdict.cut_to_epoch {
            let why = match is_broken {
                true => "for one moment on all shards, they are cut to",
                false => "the machine went down; what is on disk everywhere ends with",
            };
            findings.lines.push(format!("{why} epoch {epoch}"));
        }
        let cuts = cuts_of(&set, &judged.verdict.keep);
        if is_broken && !set.is_last {
            findings.lines.push(format!(
                "the generations after {} were built on what is damaged, so they go with it",
                generation.number
            ));
        }
        if !cuts.is_empty() || is_broken {
            let manifest = (is_broken && !set.is_last).then(|| Manifest {
                generations: manifest.generations[..=at].to_vec(),
                ..manifest.clone()
            });
            findings.mend = Some(Mend {
                directory: directory.to_owned(),
                cuts,
                manifest,
            });
        }
        if is_broken {
            break;
        }
    }
    Ok(findings)
}

/// The files that are longer than what is kept of them.
fn cuts_of(set: &Logs<'_>, keep: &[Position]) -> Vec<(PathBuf, u64)> {
    let mut cuts = Vec::new();
    for (shard, keep) in keep.iter().enumerate() {
        for (at, path) in set.incrementals(shard).into_iter().enumerate() {
            let length = match at.cmp(&keep.file) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => keep.offset,
                std::cmp::Ordering::Greater => 0,
            };
            if fs::metadata(&path).is_ok_and(|facts| facts.len() > length) {
                cuts.push((path, length));
            }
        }
    }
    cuts
}
