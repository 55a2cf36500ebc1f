//! Snapshots of all shards: a cut through all of them, what is begun at it, and the save that everybody waits for.
//!
//! [`cut`] is for whoever wants the data set as it is now while the server goes on: snapshot files here, the bases of
//! append-only files and full copies for replicas elsewhere, each with a [`Consumer`] of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::access::usage;
use super::own::Shard;
use super::shards::Shards;
use crate::persistence::background::{self, Bound, Consumer, Ending, Feed, Layout, Plan, Wake};
use crate::persistence::file::{Disk, Output, RealDisk};
use crate::persistence::parts::Files;
use crate::persistence::snapshot::{self, About, Header, StreamPlace};
use crate::persistence::status::Purpose;

/// What is cut out of the data set, and how it is written.
pub struct Cut {
    /// What for.
    pub purpose: Purpose,
    /// One output or one for each shard.
    pub layout: Layout,
    /// Where files are made.
    pub disk: Arc<dyn Disk>,
    /// A path that temporary names are made from.
    pub spill: std::path::PathBuf,
}

/// Begins a walk through all shards, which must all be at hand: what `consumer` gets is the data set as it is now.
/// `on_end` is called on the writer's thread when it is over, before anybody is told that nothing is under way any more.
///
/// # Errors
/// The system's, when there is no thread to be had. Nothing has begun then.
///
/// # Panics
/// If a walk is under way: callers ask `Saves::under_way` first, with all shards at hand.
pub fn cut(
    shards: &mut Shards<'_>,
    cut: Cut,
    consumer: Box<dyn Consumer>,
    on_end: impl FnOnce(&Ending) + Send + 'static,
) -> io::Result<Arc<Feed>> {
    assert_eq!(
        shards.held(),
        shards.total(),
        "a cut goes through all shards"
    );
    let any = shards.any();
    let (config, now, status) = (any.config.clone(), any.now, any.snapshots.clone());
    assert!(
        status.saves.under_way().is_none(),
        "there is one walk at a time"
    );
    let mut sizes = vec![Vec::new(); shards.total()];
    for shard in shards.iter() {
        let of = |db: usize| shard.keyspace.db(db);
        sizes[shard.index] = (0..shard.keyspace.databases())
            .map(|db| (db, of(db).keys(), of(db).expires()))
            .filter(|(_, keys, _)| *keys > 0)
            .collect();
    }
    let consumer: Box<dyn Consumer> = match cut.purpose {
        Purpose::Snapshot => Box::new(Placed {
            inner: consumer,
            asked: mark(shards),
            place: None,
        }),
        _ => consumer,
    };
    let nobody: Wake = Arc::new(|_| ());
    status.set_key_delay(&config);
    let memory_limit = config.snapshot_memory_limit as usize * shards.total();
    let plan = Plan {
        header: header(now, &status, cut.purpose == Purpose::Rewrite),
        sizes,
        layout: cut.layout,
        compress: config.rdbcompression,
        check_sum: config.rdbchecksum,
        incremental_sync: config.rdb_save_incremental_fsync,
        memory_limit,
        bound: match cut.purpose {
            Purpose::Snapshot | Purpose::Rewrite => Bound::Wait(status.saves.crowds.clone()),
            // What is kept for a replica that is slow counts like its output buffer.
            Purpose::Sync => Bound::GiveUp(match config.client_output_buffer_limit[1].hard_bytes {
                0 => usize::MAX,
                most => memory_limit.saturating_add(most as usize),
            }),
        },
        key_delay_us: status.key_delay_us.clone(),
        disk: cut.disk,
        spill: cut.spill,
        wake: status.saves.wake().unwrap_or(nobody),
        beside: status.beside.clone(),
    };
    let ended = status.clone();
    let feed = background::start(plan, consumer, move |feed, ending| {
        on_end(&ending);
        ended.saves.writer_ends(feed);
        if let Some(wake) = ended.saves.wake() {
            wake(0); // where what waits for the end is begun
        }
    })?;
    status.saves.begins(cut.purpose, feed.clone());
    for shard in shards.iter_mut() {
        shard.begin_walk(feed.clone());
    }
    feed.open();
    Ok(feed)
}

/// How long a save waits to hear where it stands in the stream. It takes a moment; a stream that is lost just now has
/// no place to tell.
const PLACE_WITHIN: Duration = Duration::from_secs(2);

/// Marks this moment in the stream that replicas follow, all shards being at hand, and gives where its place will be
/// told. None where nobody follows, and in the middle of a step, which stands in the stream as a whole or not at all.
fn mark(shards: &mut Shards<'_>) -> Option<Receiver<StreamPlace>> {
    let is_markable = |shard: &Shard| shard.flow.is_some() && !shard.effects.has_part();
    if !shards.iter().all(is_markable) {
        return None;
    }
    let (status, total) = (shards.any().snapshots.clone(), shards.total());
    let (number, place) = status.moments.ask();
    for shard in shards.iter_mut() {
        let Shard { flow, effects, .. } = shard;
        if let Some(flow) = flow {
            flow.barrier(effects, number);
        }
    }
    if let Some(wake) = status.saves.wake() {
        wake(total); // the control core, which merges
    }
    Some(place)
}

/// Files that say where they stand in the stream: a server started from them can go on there.
struct Placed {
    inner: Box<dyn Consumer>,
    asked: Option<Receiver<StreamPlace>>,
    place: Option<StreamPlace>,
}

impl Consumer for Placed {
    fn open(&mut self, number: usize) -> io::Result<Box<dyn Output>> {
        if let Some(asked) = self.asked.take() {
            self.place = asked.recv_timeout(PLACE_WITHIN).ok();
        }
        self.inner.open(number)
    }

    fn place(&self) -> Option<StreamPlace> {
        self.place.clone()
    }

    fn commit(&mut self) -> io::Result<()> {
        self.inner.commit()
    }

    fn abandon(&mut self) {
        self.inner.abandon();
    }
}

fn header(now: i64, status: &crate::persistence::Status, aof_base: bool) -> Header {
    Header {
        now,
        used_memory: tikv_jemalloc_ctl::stats::allocated::read().unwrap_or(0) as u64,
        aof_base,
        functions: status.functions.sources(),
        stream: status.followed(),
    }
}

/// Begins a snapshot in the background (BGSAVE, save points). False when it could not be begun; the log says why.
pub fn begin_snapshot(shards: &mut Shards<'_>) -> bool {
    let any = shards.any();
    let (config, now, status) = (any.config.clone(), any.now, any.snapshots.clone());
    let saves = &status.saves;
    status.begun.fetch_add(1, Relaxed);
    saves.scheduled.store(false, Relaxed);
    saves.tried_at.store(now / 1000, Relaxed);
    let path = config.dir.join(&config.dbfilename);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (layout, files) = match config.snapshot_files {
        crate::config::SnapshotFiles::One => {
            (Layout::Joined, Files::one(disk.clone(), path.clone()))
        }
        crate::config::SnapshotFiles::PerShard => {
            let files = Files::set(disk.clone(), path.clone(), now, shards.total());
            (Layout::Apart, files)
        }
    };
    let what = Cut {
        purpose: Purpose::Snapshot,
        layout,
        disk,
        spill: files.spill(),
    };
    let changes = shards.iter().map(|shard| shard.effects.changes()).sum();
    let report = status.clone();
    let begun = cut(shards, what, Box::new(files), move |ending| match ending {
        Ending::Done { bytes, at } => {
            report.saved(*at, changes);
            log::info!("DB saved on disk");
            log::info!("Background saving terminated with success, {bytes} bytes");
        }
        Ending::Failed(error) => {
            log::warn!(
                "Write error saving DB on disk '{}': {error}",
                path.display()
            );
            log::warn!("Background saving error");
            report.saves.set_failed(true);
        }
        Ending::Cancelled => log::warn!("Background saving was given up"),
    });
    match begun {
        Ok(_) => {
            log::info!("Background saving started by a thread of its own");
            true
        }
        Err(error) => {
            log::warn!("Can't save in background: {error}");
            saves.set_failed(true);
            false
        }
    }
}

/// Writes all shards into the file, or the files, that the configuration names, while everything waits. False when the
/// disk failed; the log says how.
pub fn save_now(shards: &mut Shards<'_>) -> bool {
    let any = shards.any();
    let (config, now, status) = (any.config.clone(), any.now, any.snapshots.clone());
    let place = mark(shards).and_then(|asked| asked.recv_timeout(PLACE_WITHIN).ok());
    let about = About {
        header: Header {
            stream: place.or_else(|| status.followed()),
            ..header(now, &status, false)
        },
        compress: config.rdbcompression,
        check_sum: config.rdbchecksum,
        incremental_sync: config.rdb_save_incremental_fsync,
        key_delay_us: u64::try_from(config.rdb_key_save_delay_us).unwrap_or(0),
        usage: &|entry| usage(entry, &config, now),
    };
    let path = config.dir.join(&config.dbfilename);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut keyspaces: Vec<_> = shards.iter().map(|shard| &shard.keyspace).collect();
    let written = match config.snapshot_files {
        crate::config::SnapshotFiles::One => {
            let mut files = Files::alone(disk, path.clone());
            snapshot::save(&mut files, &[&keyspaces[..]], &about)
        }
        crate::config::SnapshotFiles::PerShard => {
            keyspaces.sort_by_key(|keyspace| keyspace.slot_at(0));
            let mut files = Files::set(disk, path.clone(), now, keyspaces.len());
            let each: Vec<_> = keyspaces.chunks(1).collect();
            snapshot::save(&mut files, &each, &about)
        }
    };
    match written {
        Ok(_) => {
            let changes = shards.iter().map(|shard| shard.effects.changes()).sum();
            status.saved(now, changes);
            log::info!("DB saved on disk");
            true
        }
        Err(error) => {
            log::warn!("Can't write the snapshot '{}': {error}", path.display());
            false
        }
    }
}
