//! Parallel flows, the primary's side: how the bytes of the stream are shared out to the connections of one replica.
//!
//! The main connection carries frames, which say in the order of the stream where its bytes are: on a flow, or behind
//! the frame itself. A flow carries what one shard has brought about alone, or one of those shards that share it. What
//! concerns several shards goes over the main connection, and so does what stands alone between two such things: to wait
//! for all flows would cost more there than they gain. Whatever was begun on one connection is ended there.

use super::Backlog;

/// Bytes of a frame: way, database, length.
pub(super) const FRAME: usize = 9;
/// In the byte that says the way: the commands that begin here do not end with this frame.
pub(super) const GOES_ON: u8 = 0x80;
/// No database is named: it is as it is.
pub(super) const NO_DB: u32 = u32::MAX;
/// Flows there may be at most.
pub(super) const FLOWS_MAX: u16 = 127;
/// Bytes between two things that concern several shards that are worth being shared out.
const SPREAD_MIN: u64 = 2048;

/// See the head of the file. Ways are numbered: 0 is the main connection, flows follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    flows: u16,
    /// The way on which something was begun that has not ended.
    going: Option<u16>,
    /// Up to this byte it has been decided whether flows carry what they can.
    decided_to: u64,
    by_flows: bool,
    /// Bytes that flows have carried.
    carried: u64,
}

impl Spread {
    /// For a primary with so many shards, and a replica that can make use of so many flows; none where it is of no use.
    pub fn between(shards: usize, wanted: u16) -> Option<Spread> {
        let flows = wanted
            .min(FLOWS_MAX)
            .min(u16::try_from(shards).unwrap_or(FLOWS_MAX));
        (flows > 1).then_some(Spread {
            flows,
            going: None,
            decided_to: 0,
            by_flows: false,
            carried: 0,
        })
    }

    /// How many flows there are.
    pub fn flows(&self) -> u16 {
        self.flows
    }

    /// Bytes that flows have carried.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Shares out up to `max` bytes from number `next` on: what each way is to carry is appended to its part of `out`.
    /// Gives the number of the next byte. Flows are used where `ready`.
    pub fn cut(
        &mut self,
        backlog: &mut Backlog,
        next: u64,
        max: usize,
        ready: bool,
        out: &mut [Vec<u8>],
    ) -> u64 {
        let limit = backlog.next().min(next + max as u64);
        let mut at = next;
        // Where the length of the frame is that more bytes may be put behind, on the main connection.
        let mut open = None;
        while at < limit {
            let stretch = backlog.stretch(at);
            let way = match (self.going, stretch.source) {
                (Some(way), _) => way,
                (None, Some(source))
                    if ready && stretch.is_start && self.is_spread(backlog, at, limit) =>
                {
                    1 + source % self.flows
                }
                (None, _) => 0,
            };
            let end = stretch.end.min(limit);
            let goes_on = end < stretch.end;
            self.going = goes_on.then_some(way);
            let length = (end - at) as u32;
            let kind = way as u8 | if goes_on { GOES_ON } else { 0 };
            match open {
                Some(frame) if way == 0 => {
                    // One frame with what stands before it.
                    let main: &mut [u8] = &mut out[0][frame..];
                    main[0] = kind;
                    let before = u32::from_le_bytes([main[5], main[6], main[7], main[8]]);
                    main[5..FRAME].copy_from_slice(&(before + length).to_le_bytes());
                }
                _ => {
                    let main = &mut out[0];
                    open = (way == 0).then_some(main.len());
                    main.push(kind);
                    main.extend_from_slice(&stretch.db.unwrap_or(NO_DB).to_le_bytes());
                    main.extend_from_slice(&length.to_le_bytes());
                }
            }
            backlog.read(at, length as usize, &mut out[usize::from(way)]);
            if way > 0 {
                self.carried += u64::from(length);
            }
            at = end;
        }
        if at == backlog.next() {
            backlog.seal();
        }
        at
    }

    /// Whether what begins at `at` is among enough of its kind.
    fn is_spread(&mut self, backlog: &Backlog, at: u64, limit: u64) -> bool {
        if at >= self.decided_to {
            let mut end = at;
            while end < limit {
                let stretch = backlog.stretch(end);
                if stretch.source.is_none() {
                    break;
                }
                end = stretch.end;
            }
            self.decided_to = end.min(limit);
            self.by_flows = self.decided_to - at >= SPREAD_MIN;
        }
        self.by_flows
    }
}
