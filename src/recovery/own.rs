//! A set of our own: which parts of its logs count, and what they hold.
//!
//! The generations before the last one were cut when the next one began. The last one's logs end where a crash left them:
//! their ends are surveyed side by side, `persistence/aof/recovery.rs` decides how much of each counts, and before
//! anything is built on that, the rest is cut off and what is kept is on disk. A single log needs no survey while the
//! machine stayed up: any beginning of it is a cut, and replaying finds its end.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::unix_ms;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::persistence::Status;
use crate::persistence::aof::manifest::{self, Durability, FileKind, Generation, Manifest};
use crate::persistence::aof::reader::LogProblem;
use crate::persistence::aof::recovery::{CutTo, Position, Survey, Verdict, common_epochs, decide};
use crate::persistence::aof::set::boot_id;
use crate::persistence::file::{self, RealDisk};

use super::executor::Executor;
use super::feed::{Counted, Feed};
use super::foreign::truncated;
use super::{FunctionChange, Halt, Recovered, damage, empty, in_parallel};

/// Epochs that may have been on their way to the disk when power was lost. Each begins when the one before it is there.
const EPOCHS_UNSURE: usize = 2;

pub(super) fn recover(
    directory: &Path,
    mut manifest: Manifest,
    config: &Arc<Config>,
    shards: usize,
    status: &Status,
    files: Files,
) -> Result<Recovered, Halt> {
    let power_lost = has_lost_power(&manifest);
    if files == Files::Cut && !power_lost {
        // Before anything is read, which takes its time: should the machine go down meanwhile, nothing is lost that has
        // been there at the start.
        note_whole(directory, &mut manifest)?;
    }
    let mut keyspaces: Vec<Keyspace> = Vec::new();
    let mut functions = Vec::new();
    let mut number_max = 0;
    let last = manifest.generations.len();
    for (at, generation) in manifest.generations.clone().iter().enumerate() {
        keyspaces = if keyspaces.is_empty() {
            empty(config, generation.shards)
        } else {
            Keyspace::redistribute(keyspaces, generation.shards)
        };
        let set = Logs {
            directory,
            generation,
            is_last: at + 1 == last,
        };
        let mut limits = set.all();
        let is_surveyed = set.is_last && (generation.shards > 1 || power_lost);
        if is_surveyed {
            let lost = power_lost.then_some(manifest.durability);
            let judged = judge(&set, lost, status)?;
            number_max = number_max.max(judged.number_max);
            report(&set, &judged, config)?;
            if files == Files::Cut {
                set.cut(&judged.verdict.keep)?;
                if power_lost {
                    note_whole(directory, &mut manifest)?;
                }
            }
            limits = judged.verdict.keep;
        }
        let read = set.replay(keyspaces, &limits, (is_surveyed, files), config, status)?;
        keyspaces = Vec::new();
        for share in read {
            number_max = number_max.max(share.number_max);
            functions.extend(share.functions);
            keyspaces.push(share.keyspace);
        }
        if set.is_last && files == Files::Cut {
            set.sync()?;
        }
    }
    if keyspaces.is_empty() {
        keyspaces = empty(config, shards);
    }
    manifest.next_number = manifest.next_number.max(number_max + 1);
    Ok(Recovered {
        manifest,
        keyspaces: Keyspace::redistribute(keyspaces, shards),
        functions,
        needs_base: false,
        keys: 0,
    })
}

/// What becomes of files that hold more than counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// The rest is cut off, and what is kept is on disk: a server goes on in them.
    Cut,
    /// They stay as they are: somebody only looks.
    Leave,
}

/// Whether the machine has been down since the files were written.
pub(super) fn has_lost_power(manifest: &Manifest) -> bool {
    let boot = boot_id();
    if boot.is_empty() {
        log::warn!(
            "The machine does not tell its boot id, so it is not known whether it went down since the files were written; \
             they are taken as they are"
        );
        return false;
    }
    !manifest.boot.is_empty() && manifest.boot != boot
}

/// Syncs what the files hold, then notes in the manifest that all of it is on disk: from then on a loss of power is none to
/// them. Whoever writes to them notes its boot id before it does.
fn note_whole(directory: &Path, manifest: &mut Manifest) -> Result<(), Halt> {
    if manifest.boot.is_empty() {
        return Ok(());
    }
    if let Some(generation) = manifest.generations.last() {
        let last = Logs {
            directory,
            generation,
            is_last: true,
        };
        last.sync()?; // those before were synced when this one began
    }
    manifest.boot.clear();
    let path = directory.join(manifest::NAME);
    let text = manifest.to_text();
    let written = file::replace(&RealDisk, &path, false, |output| {
        output.append(text.as_bytes())
    });
    if let Err(error) = written {
        // What it says is still true. Whoever goes on in the files has to write it anyway.
        log::warn!(
            "Can't note in '{}' that the files are whole: {error}",
            path.display()
        );
    }
    Ok(())
}

/// The logs of one generation.
pub(super) struct Logs<'a> {
    pub directory: &'a Path,
    pub generation: &'a Generation,
    /// It is the last one: its logs may break off.
    pub is_last: bool,
}

/// What came of one shard's files.
struct Share {
    keyspace: Keyspace,
    functions: Vec<FunctionChange>,
    number_max: u64,
}

/// How much of the logs counts, and what was found on the way.
pub(super) struct Judged {
    pub verdict: Verdict,
    pub number_max: u64,
    /// Where each log's last whole unit ends, and whether the log ends there.
    pub ends: Vec<(Position, bool)>,
    /// Shards whose log cannot be read on there, and why. Only where damage is tolerated.
    pub damaged: Vec<(usize, String)>,
}

/// What may be wrong with a log without being an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// It may break off.
    End,
    /// It may have lost what was not synced.
    Torn,
    /// It may be damaged anywhere.
    Anything,
}

/// One log as its survey found it.
struct Surveyed {
    survey: Survey,
    ends_whole: bool,
    damage: Option<String>,
}

impl Logs<'_> {
    /// A shard's incremental files, in order.
    pub fn incrementals(&self, shard: usize) -> Vec<PathBuf> {
        self.generation
            .of_shard(shard)
            .filter(|file| file.kind == FileKind::Incremental)
            .map(|file| self.directory.join(&file.name))
            .collect()
    }

    pub fn base(&self, shard: usize) -> Option<PathBuf> {
        self.generation
            .of_shard(shard)
            .find(|file| file.kind == FileKind::Base)
            .map(|file| self.directory.join(&file.name))
    }

    /// Everything counts.
    fn all(&self) -> Vec<Position> {
        let everything = Position {
            file: usize::MAX,
            offset: u64::MAX,
        };
        vec![everything; self.generation.shards]
    }

    /// Cuts off what does not count.
    pub fn cut(&self, keep: &[Position]) -> Result<(), Halt> {
        for (shard, keep) in keep.iter().enumerate() {
            for (at, path) in self.incrementals(shard).iter().enumerate() {
                let length = match at.cmp(&keep.file) {
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => keep.offset,
                    std::cmp::Ordering::Greater => 0,
                };
                cut_file(path, length)?;
            }
        }
        Ok(())
    }

    /// Returns when what the logs hold survives a loss of power.
    fn sync(&self) -> Result<(), Halt> {
        for shard in 0..self.generation.shards {
            for path in self.incrementals(shard) {
                let synced = File::open(&path).and_then(|file| file.sync_all());
                synced.map_err(|error| failed("sync", &path, &error))?;
            }
        }
        let synced = File::open(self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed("sync", self.directory, &error))
    }

    fn replay(
        &self,
        keyspaces: Vec<Keyspace>,
        limits: &[Position],
        (is_surveyed, cut): (bool, Files),
        config: &Arc<Config>,
        status: &Status,
    ) -> Result<Vec<Share>, Halt> {
        let now = unix_ms();
        in_parallel(keyspaces, status, |keyspace| {
            let shard = keyspace.index();
            let executor = Executor::new(keyspace, config, now);
            let mut feed = Feed::new(executor, config, status);
            if let Some(path) = self.base(shard) {
                let bytes = std::fs::metadata(&path).map_or(0, |facts| facts.len());
                let end = feed.log(&path, u64::MAX)?;
                if !end.is_whole || bytes == 0 {
                    return Err(Halt::Fatal(format!(
                        "The base '{}' breaks off at offset {}: it was whole when the manifest came to list it, so the disk \
                         has lost it. Restore it from a backup.",
                        path.display(),
                        end.offset
                    )));
                }
            }
            let limit = limits[shard];
            let mut number_max = 0;
            let files = self.incrementals(shard);
            for (at, path) in files.iter().enumerate() {
                if at > limit.file {
                    break;
                }
                let bytes = if at == limit.file {
                    limit.offset
                } else {
                    u64::MAX
                };
                let end = feed.log(path, bytes)?;
                number_max = number_max.max(end.number_max);
                if end.is_whole {
                    continue;
                }
                let is_last = self.is_last && at + 1 == files.len() && !is_surveyed;
                truncated(path, end.offset, is_last, config)?;
                if cut == Files::Cut {
                    cut_file(path, end.offset)?;
                }
            }
            let (keyspace, functions) = feed.executor.into_keyspace();
            Ok(Share {
                keyspace,
                functions,
                number_max,
            })
        })
    }
}

/// Cuts a file to so many bytes, on the disk as well.
pub(super) fn cut_file(path: &Path, length: u64) -> Result<(), Halt> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        let before = file.metadata()?.len();
        if before > length {
            log::warn!("Truncating the AOF {} at offset {length}", path.display());
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(())
    };
    cut().map_err(|error| failed("truncate", path, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Halt {
    Halt::Fatal(format!("Can't {what} '{}': {error}", path.display()))
}

/// Says what is dropped, or refuses where it may not be.
fn report(set: &Logs<'_>, judged: &Judged, config: &Config) -> Result<(), Halt> {
    for (shard, (end, is_whole)) in judged.ends.iter().enumerate() {
        if !is_whole && let Some(path) = set.incrementals(shard).get(end.file) {
            truncated(path, end.offset, true, config)?;
        }
    }
    if judged.verdict.steps_dropped > 0 {
        log::warn!(
            "{} parts of steps over several shards are dropped with what follows them: their other parts are in no file, so \
             none of this was acknowledged",
            judged.verdict.steps_dropped
        );
    }
    if let Some(epoch) = judged.verdict.cut_to_epoch {
        log::warn!(
            "The machine went down since the files were written, and acknowledged writes were not synced one by one: all \
             shards go on from epoch {epoch}, the last one that is whole on all of them"
        );
    }
    Ok(())
}

/// Surveys the logs and decides. `lost`: power was lost, and this is what acknowledged writes were like.
pub(super) fn judge(
    set: &Logs<'_>,
    lost: Option<Durability>,
    status: &Status,
) -> Result<Judged, Halt> {
    let tolerance = match lost {
        Some(_) => Tolerance::Torn,
        None => Tolerance::End,
    };
    let surveyed = survey_all(set, tolerance, status)?;
    let cut = |surveys: &[Survey]| match lost {
        Some(Durability::Relaxed) => cut_after_loss(set, surveys),
        Some(Durability::Always) => Ok(CutTo::Seals),
        None => Ok(CutTo::Ends),
    };
    judge_surveyed(surveyed, cut)
}

/// The same of logs that may be damaged anywhere: all are cut to the last epoch before the damage.
pub(super) fn judge_damaged(set: &Logs<'_>, status: &Status) -> Result<Judged, Halt> {
    let surveyed = survey_all(set, Tolerance::Anything, status)?;
    let is_damaged = surveyed.iter().any(|one| one.damage.is_some());
    judge_surveyed(surveyed, |surveys| {
        if !is_damaged || surveys.len() < 2 {
            return Ok(CutTo::Ends);
        }
        let epochs = common_epochs(surveys);
        Ok(epochs
            .first()
            .map_or(CutTo::Start, |last| CutTo::Epoch(*last)))
    })
}

fn survey_all(
    set: &Logs<'_>,
    tolerance: Tolerance,
    status: &Status,
) -> Result<Vec<Surveyed>, Halt> {
    let shards: Vec<usize> = (0..set.generation.shards).collect();
    in_parallel(shards, status, |shard| {
        survey(&set.incrementals(shard), tolerance, status)
    })
}

fn judge_surveyed(
    surveyed: Vec<Surveyed>,
    cut: impl FnOnce(&[Survey]) -> Result<CutTo, Halt>,
) -> Result<Judged, Halt> {
    let damaged = surveyed
        .iter()
        .enumerate()
        .filter_map(|(shard, one)| Some((shard, one.damage.clone()?)))
        .collect();
    let ends = surveyed
        .iter()
        .map(|one| (one.survey.end(), one.ends_whole))
        .collect();
    let surveys: Vec<Survey> = surveyed.into_iter().map(|one| one.survey).collect();
    let cut = cut(&surveys)?;
    Ok(Judged {
        damaged,
        number_max: surveys
            .iter()
            .map(|survey| survey.number_max)
            .max()
            .unwrap_or(0),
        verdict: decide(&surveys, cut),
        ends,
    })
}

fn survey(files: &[PathBuf], tolerance: Tolerance, status: &Status) -> Result<Surveyed, Halt> {
    let mut survey = Survey::default();
    let mut damage = None;
    for (at, path) in files.iter().enumerate() {
        let file = Counted::open(path, status)?.uncounted();
        let ends_whole = match survey.read(at, file) {
            Ok(is_whole) => is_whole,
            Err(LogProblem::Malformed { offset, reason }) => {
                let is_fine = match tolerance {
                    Tolerance::End => false,
                    Tolerance::Torn => is_torn(&survey, path, offset)?,
                    Tolerance::Anything => {
                        damage = Some(format!("at offset {offset}: {reason}"));
                        true
                    }
                };
                if !is_fine {
                    return Err(Halt::Malformed {
                        path: path.clone(),
                        offset,
                        reason,
                    });
                }
                false
            }
            Err(LogProblem::Truncated { .. }) => false,
            Err(LogProblem::Disk(_)) if status.stopping.load(Relaxed) => return Err(Halt::Stopped),
            Err(LogProblem::Disk(error)) => return Err(failed("read", path, &error)),
        };
        if ends_whole {
            continue;
        }
        // What was not synced may be missing at the end of any file after a loss of power, and then it is where the
        // log ends; else only the last file can break off.
        if at + 1 < files.len() && tolerance == Tolerance::End {
            return Err(Halt::Fatal(format!(
                "Fatal error: the truncated file is not the last file: {} breaks off at offset {}",
                path.display(),
                survey.end().offset
            )));
        }
        return Ok(Surveyed {
            survey,
            ends_whole,
            damage,
        });
    }
    Ok(Surveyed {
        survey,
        ends_whole: true,
        damage,
    })
}

/// Whether what cannot be read is what a loss of power has left: there is a hole, and no more epochs follow than may
/// have been on their way to the disk.
fn is_torn(survey: &Survey, path: &Path, offset: u64) -> Result<bool, Halt> {
    let look = || -> std::io::Result<bool> {
        // Appends are whole units, so a part of a sector that is missing begins where a unit does.
        if !damage::is_zero_at(path, offset)? && !damage::has_hole(path, offset, u64::MAX)? {
            return Ok(false);
        }
        // One that is known stands in front of the damage as well: text within a value.
        let known = survey.epochs().next_back().unwrap_or(0);
        let new = damage::epochs_after(path, offset)?;
        Ok(new.iter().filter(|number| **number > known).count() <= EPOCHS_UNSURE)
    };
    look().map_err(|error| failed("read", path, &error))
}

/// Where to cut after a loss of power: at the last epoch that all logs hold. Its seal says that it is whole.
fn cut_after_loss(set: &Logs<'_>, surveys: &[Survey]) -> Result<CutTo, Halt> {
    let last = common_epochs(surveys).first().copied();
    if let [survey] = surveys {
        // A single log may be kept to its end, when nothing is missing behind the last epoch: in its file, since another one
        // may be there though the end of this one is not. A value that is full of zeros looks as if something were missing;
        // then it is no older than what is promised.
        let proven = last.and_then(|number| survey.epoch_end(number));
        let proven = proven.unwrap_or_default();
        let has_gap = proven.file < survey.end().file;
        let hole = hole_between(set, 0, proven, survey.end());
        if !has_gap && !hole.map_err(|error| failed("read", set.directory, &error))? {
            return Ok(CutTo::Ends);
        }
    }
    if let Some(number) = last {
        return Ok(CutTo::Epoch(number));
    }
    if let Some(shard) = surveys.iter().position(Survey::has_forgotten) {
        return Err(Halt::Fatal(format!(
            "The logs in '{}' have no epoch in common, though that of shard {shard} holds many: one of them is not what it \
             was. Restore the directory from a backup, or have 'slotwise-dump check' tell what each file holds.",
            set.directory.display()
        )));
    }
    Ok(CutTo::Start)
}

/// Whether a shard's log has a hole between two places.
fn hole_between(
    set: &Logs<'_>,
    shard: usize,
    from: Position,
    to: Position,
) -> std::io::Result<bool> {
    for (at, path) in set.incrementals(shard).iter().enumerate() {
        if at < from.file || at > to.file {
            continue;
        }
        let first = if at == from.file { from.offset } else { 0 };
        let last = if at == to.file { to.offset } else { u64::MAX };
        if damage::has_hole(path, first, last)? {
            return Ok(true);
        }
    }
    Ok(false)
}
