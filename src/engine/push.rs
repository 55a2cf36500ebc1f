//! How any core says something to clients of any core: messages to subscribers and whatever else a client is sent
//! without having asked.
//!
//! What a turn has to say is kept by the core it goes to and leaves once, at the end of the turn and before any reply of
//! it: a client that has read the reply to a PUBLISH can rely on its message being there first. A core reads its mail
//! before it reads its clients, so what has been said before a request was sent is written before its reply.
//!
//! Messages for several cores are put into all their inboxes under one latch, the sender's own inbox included, so that
//! all subscribers see them in the same order. Who has subscribed is known on every shard (`pubsub::Audience`): a
//! message without subscribers costs a look-up.
//!
//! A subscription is confirmed when all shards know of it. Until then the client's output is held back as it is, so
//! that a message that comes meanwhile stands behind the confirmation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::mesh::Place;
use crate::mesh::message::{BusMessage, CoreMessage, Push};
use crate::net::Connection;
use crate::pubsub::{
    Change, Form, Group, Invalidation, Message, Outgoing, Publication, Registry, Subscription,
    Subscriptions, Topic, Tracker, confirmation,
};
use crate::resp::Reply;
use crate::resp::request::Args;
use crate::shard::{Shard, Shards};

use super::core::{Core, Held};

/// Bytes on their way to one core at most. Beyond that nobody's requests are executed here until it has caught up.
const BACKLOG_MAX: usize = 64 << 20;

/// What a core has to say, and to whom.
#[derive(Default)]
pub(super) struct Pushing {
    /// This core's subscribers.
    registry: Registry<Place>,
    /// What each core is to get.
    boxes: Vec<Vec<Push>>,
    /// Something in the boxes goes to several cores.
    spread: bool,
    /// The own inbox holds something that this core has said.
    own_mailed: bool,
    /// Anything at all is to be done at the end of the turn.
    pub(super) due: bool,
    /// Numbers of receivers for connections of each core.
    counts: Vec<Vec<(Place, usize)>>,
    /// The connection whose PUBLISH is being run; it waits if the message goes to other cores.
    asker: Option<Place>,
    /// Whether it must wait.
    asker_waits: bool,
    /// Subscriptions that other cores have not been told of.
    changes: Vec<Change>,
    /// Those that the own shard does not know of, because it was away.
    own_changes: Vec<Change>,
    /// Number of the last announcement of changes.
    announced: u64,
    /// The last announcement that each core's shard has taken in.
    known: Vec<u64>,
    /// Connections whose output is held back until all shards know of an announcement.
    unconfirmed: VecDeque<(u64, Place)>,
    /// Clients with subscriptions.
    clients: u64,
    /// Clients that track keys.
    trackers: u64,
    /// Keys with the prefix of a group that have changed in this turn, each with the client that did it.
    broadcast: Vec<(Arc<Group>, BTreeMap<Box<[u8]>, u64>)>,
    /// Some core is too far behind.
    pub(super) choked: bool,
    /// Room for a list of receivers.
    receivers: Vec<Place>,
}

impl Pushing {
    pub fn new(shards: usize) -> Self {
        Pushing {
            boxes: (0..shards).map(|_| Vec::new()).collect(),
            counts: vec![Vec::new(); shards],
            known: vec![0; shards],
            ..Pushing::default()
        }
    }
}

impl Core {
    // Saying something.

    /// Takes over what a command of `client` on `shard` has said; zero when it was nobody's command.
    #[cold]
    pub(super) fn take_news(&mut self, shard: &mut Shard, client: u64) {
        for (_, outgoing) in shard.news.take() {
            self.say(outgoing, client);
        }
    }

    /// The same for a step over several shards, in the order in which it was said.
    #[cold]
    pub(super) fn take_news_of(&mut self, shards: &mut Shards<'_>, client: u64) {
        let mut all = Vec::new();
        for shard in shards.iter_mut() {
            shard.news.number_by(None);
            all.extend(shard.news.take());
        }
        all.sort_by_key(|(number, _)| *number);
        for (_, outgoing) in all {
            self.say(outgoing, client);
        }
    }

    fn say(&mut self, outgoing: Outgoing, client: u64) {
        match outgoing {
            Outgoing::Publication(cores, publication) => {
                self.send_publication(&cores, publication);
            }
            Outgoing::Invalid(tracker, key) => {
                if !(tracker.noloop && key.is_some() && tracker.client == client) {
                    let invalidation = Invalidation::new(key.map(|key| vec![key]));
                    self.invalidate(&tracker, Arc::new(invalidation));
                }
            }
            Outgoing::ToNodes(topic, channel, message) => {
                let message = BusMessage {
                    is_sharded: topic == Topic::Shard,
                    channel,
                    message,
                };
                self.tell_control(CoreMessage::BusPublish(Box::new(message)));
            }
            Outgoing::Changed { group, key, aside } => {
                let pushing = &mut self.pushing;
                pushing.due = true;
                let known = pushing
                    .broadcast
                    .iter_mut()
                    .find(|(known, _)| Arc::ptr_eq(known, &group));
                let by = if aside { 0 } else { client };
                match known {
                    Some((_, keys)) => {
                        keys.insert(key, by);
                    }
                    None => pushing.broadcast.push((group, BTreeMap::from([(key, by)]))),
                }
            }
        }
    }

    /// Tells a tracking client, or the one that it redirects to.
    fn invalidate(&mut self, tracker: &Tracker, invalidation: Arc<Invalidation>) {
        let own = (tracker.at.0, Place::of_token(tracker.at.1));
        let (core, token) = tracker.redirect.unwrap_or(tracker.at);
        self.pushing.due = true;
        self.pushing.boxes[usize::from(core)].push(Push::Invalidation {
            place: Place::of_token(token),
            on_behalf_of: tracker.redirect.map(|_| own),
            invalidation,
        });
    }

    /// Tells those who listen to prefixes of the turn's changes: one message for each prefix.
    fn broadcast(&mut self) {
        for (group, keys) in std::mem::take(&mut self.pushing.broadcast) {
            let list = |without: Option<u64>| -> Vec<Box<[u8]>> {
                let wanted = keys.iter().filter(|(_, by)| Some(**by) != without);
                wanted.map(|(key, _)| key.clone()).collect()
            };
            let all = Arc::new(Invalidation::new(Some(list(None))));
            for tracker in &group.trackers {
                if !tracker.noloop {
                    self.invalidate(tracker, all.clone());
                    continue;
                }
                let others = list(Some(tracker.client));
                if !others.is_empty() {
                    self.invalidate(tracker, Arc::new(Invalidation::new(Some(others))));
                }
            }
        }
    }

    fn send_publication(&mut self, cores: &[u16], publication: Arc<Publication>) {
        let pushing = &mut self.pushing;
        pushing.due = true;
        let mut asker = None;
        if let Some(place) = pushing.asker {
            // Only own subscribers, to be told at the end of this turn: their number is known.
            let at_once = cores == [self.index as u16]
                && !pushing.spread
                && !pushing.own_mailed
                && self.deferred.is_empty();
            if !at_once {
                asker = Some((self.index as u16, place));
                pushing.asker_waits = true;
                publication.leaves(cores.len());
            }
        }
        pushing.spread |= cores.len() > 1;
        for &core in cores {
            pushing.boxes[usize::from(core)].push(Push::Publication {
                publication: publication.clone(),
                asker,
            });
        }
    }

    /// Runs PUBLISH for a connection. Where the message goes to other cores the connection waits until all of them have
    /// it, and gets the number of receivers that they report.
    pub(super) fn publish_for(
        &mut self,
        connection: &mut Connection,
        run: impl FnOnce(&mut Self, &mut Connection),
    ) {
        self.pushing.asker = Some(connection.place);
        run(self, connection);
        self.pushing.asker = None;
        self.pushing.asker_waits = false;
    }

    /// Whether the message that has just been published is still to be counted.
    pub(super) fn publication_is_under_way(&self) -> bool {
        self.pushing.asker_waits
    }

    // Leaving.

    /// Everything said so far leaves.
    #[inline]
    pub(super) fn flush_pushes(&mut self) {
        let heard = self
            .shard
            .as_ref()
            .is_some_and(|shard| shard.news.has_some());
        if heard | self.pushing.due | self.pushing.choked {
            self.flush_pushes_due();
        }
    }

    #[cold]
    fn flush_pushes_due(&mut self) {
        if let Some(mut shard) = self.shard.take() {
            if shard.news.has_some() {
                self.take_news(&mut shard, 0); // keys that expired or were evicted between requests
            }
            self.shard = Some(shard);
        }
        if self.pushing.choked {
            self.pushing.choked = self.is_choked();
        }
        if !self.pushing.due {
            return;
        }
        self.pushing.due = false;
        let own = self.index;
        self.broadcast();
        if !self.pushing.spread && !self.pushing.own_mailed {
            self.deliver_own(&mut None);
        }
        let spread = std::mem::take(&mut self.pushing.spread);
        let links = self.links.clone();
        let mut told = Vec::new();
        links.together(spread, || {
            for core in 0..self.shards {
                if self.pushing.boxes[core].is_empty() {
                    continue;
                }
                let pushes = std::mem::take(&mut self.pushing.boxes[core]);
                let bytes = pushes.iter().map(Push::size).sum();
                let link = links.core(core);
                let before = link.push_backlog.fetch_add(bytes, Ordering::Relaxed);
                self.pushing.choked |= before + bytes > BACKLOG_MAX;
                link.mail(CoreMessage::Push(pushes));
                told.push(core);
            }
        });
        self.pushing.own_mailed |= told.contains(&own);
        self.announce_changes(&mut told);
        for core in 0..self.shards {
            let counts = &mut self.pushing.counts[core];
            if core != own && !counts.is_empty() {
                let counts = std::mem::take(counts);
                links.core(core).mail(CoreMessage::Counted(counts));
                told.push(core);
            }
        }
        for core in told {
            if core != own {
                self.wake(core);
            }
        }
    }

    fn is_choked(&self) -> bool {
        let backlog = |core: usize| self.links.core(core).push_backlog.load(Ordering::Relaxed);
        (0..self.shards).any(|core| backlog(core) > BACKLOG_MAX)
    }

    // Arriving.

    /// The inbox is about to be read: what this core has told itself is in it.
    pub(super) fn before_mail(&mut self) {
        self.pushing.own_mailed = false;
    }

    /// Other cores have said something to clients of this one.
    pub(super) fn on_pushes(&mut self, pushes: Vec<Push>) {
        let bytes = pushes.iter().map(Push::size).sum();
        self.link().push_backlog.fetch_sub(bytes, Ordering::Relaxed);
        for push in pushes {
            self.deliver(push, &mut None);
        }
    }

    /// Delivers what this core says to its own clients. `current` is the connection that is in hand.
    fn deliver_own(&mut self, current: &mut Option<&mut Connection>) {
        let own = self.index;
        for push in std::mem::take(&mut self.pushing.boxes[own]) {
            self.deliver(push, current);
        }
    }

    fn deliver(&mut self, push: Push, current: &mut Option<&mut Connection>) {
        match push {
            Push::Publication { publication, asker } => {
                let receivers = self.deliver_publication(&publication, current);
                if let Some((home, place)) = asker
                    && let Some(receivers) = publication.delivered(receivers)
                {
                    if usize::from(home) == self.index {
                        self.on_counted(place, receivers);
                    } else {
                        self.pushing.counts[usize::from(home)].push((place, receivers));
                        self.pushing.due = true;
                    }
                }
            }
            Push::Invalidation {
                place,
                on_behalf_of,
                invalidation,
            } => {
                let redirected = on_behalf_of.is_some();
                let told = self.append_with(place, current, |connection| {
                    let client = &connection.client;
                    let form = if client.resp3 {
                        Some(Form::Push)
                    } else {
                        (redirected && client.subscribed).then_some(Form::Message)
                    };
                    form.map(|form| invalidation.bytes(form))
                });
                if let (false, Some((core, place))) = (told, on_behalf_of) {
                    self.pushing.due = true;
                    self.pushing.boxes[usize::from(core)].push(Push::RedirectBroken { place });
                }
            }
            Push::RedirectBroken { place } => {
                let mut message = Vec::new();
                self.append_with(place, current, |connection| {
                    let tracking = connection.client.tracking.as_mut()?;
                    tracking.broken = true;
                    let mut reply = Reply::new(&mut message, true);
                    reply.push(2);
                    reply.bulk(b"tracking-redir-broken");
                    reply.count(tracking.redirect as usize);
                    connection.client.resp3.then_some(&message[..])
                });
            }
        }
    }

    fn deliver_publication(
        &mut self,
        publication: &Publication,
        current: &mut Option<&mut Connection>,
    ) -> usize {
        let (topic, channel) = (publication.topic, publication.channel());
        let mut receivers = std::mem::take(&mut self.pushing.receivers);
        let registry = &self.pushing.registry;
        registry.subscribers(topic, channel, &mut receivers);
        let patterns: Vec<Box<[u8]>> = match topic {
            Topic::Channel => registry.patterns(channel).map(Box::from).collect(),
            Topic::Shard | Topic::Pattern => Vec::new(),
        };
        let mut count = 0;
        for place in receivers.drain(..) {
            count += usize::from(self.append(place, publication.message(), current));
        }
        for pattern in &patterns {
            let message = publication.message_for(pattern);
            let registry = &self.pushing.registry;
            registry.subscribers(Topic::Pattern, pattern, &mut receivers);
            for place in receivers.drain(..) {
                count += usize::from(self.append(place, &message, current));
            }
        }
        self.pushing.receivers = receivers;
        count
    }

    /// Writes a message to a client of this core; false when it has gone.
    fn append(
        &mut self,
        place: Place,
        message: &Message,
        current: &mut Option<&mut Connection>,
    ) -> bool {
        self.append_with(place, current, |connection| {
            Some(message.bytes(connection.client.resp3))
        })
    }

    /// The same with what `bytes` gives for the connection, if anything.
    fn append_with<'a>(
        &mut self,
        place: Place,
        current: &mut Option<&mut Connection>,
        bytes: impl FnOnce(&mut Connection) -> Option<&'a [u8]>,
    ) -> bool {
        if let Some(connection) = current
            && connection.place == place
        {
            return write(connection, bytes); // its block is closed by whoever has it in hand
        }
        let Some(mut connection) = self.take_connection(place) else {
            return false;
        };
        let written = write(&mut connection, bytes);
        connection.output.close_reply();
        self.put_back(connection);
        written
    }

    /// A PUBLISH has reached all its receivers.
    pub(super) fn on_counted(&mut self, place: Place, receivers: usize) {
        let Some(mut connection) = self.take_connection(place) else {
            return;
        };
        connection.waiting = false;
        connection.publishing = false;
        self.write_reply(&mut connection, |reply| reply.count(receivers));
        write_late(&mut connection);
        self.resume(&mut connection);
        self.put_back(connection);
    }

    // Subscriptions.

    /// Messages so far concern the subscriptions so far: they are written before any of them changes.
    pub(super) fn settle_messages(&mut self, connection: &mut Connection) {
        if !self.pushing.spread && !self.pushing.own_mailed {
            self.deliver_own(&mut Some(connection));
        }
    }

    /// Begins or ends subscriptions and confirms each into `out`. `held` are shards that a transaction has in hand.
    pub(super) fn change_subscriptions(
        &mut self,
        connection: &mut Connection,
        (topic, begins): (Topic, bool),
        args: &Args<'_>,
        out: &mut Vec<u8>,
        held: &mut Held,
    ) {
        let mut subscriptions = connection.client.subscriptions.take().unwrap_or_default();
        let mut reply = Reply::new(out, connection.client.resp3);
        let place = connection.place;
        let count = |subscriptions: &Subscriptions| subscriptions.count_beside(topic);
        if begins {
            for name in args.iter_from(1) {
                if subscriptions.add(topic, name) {
                    self.pushing.registry.add(topic, name, place);
                    self.note_change(topic, true, name.into(), held);
                    connection.unconfirmed = true;
                }
                confirmation(topic, true, Some(name), count(&subscriptions), &mut reply);
            }
        } else if args.len() > 1 {
            for name in args.iter_from(1) {
                if subscriptions.remove(topic, name) {
                    self.pushing.registry.remove(topic, name, place);
                    self.note_change(topic, false, name.into(), held);
                    connection.unconfirmed = true;
                }
                confirmation(topic, false, Some(name), count(&subscriptions), &mut reply);
            }
        } else {
            let names = subscriptions.take(topic);
            if names.is_empty() {
                confirmation(topic, false, None, count(&subscriptions), &mut reply);
            }
            let mut left = count(&subscriptions) + names.len();
            for name in names {
                left -= 1;
                confirmation(topic, false, Some(&name), left, &mut reply);
                self.pushing.registry.remove(topic, &name, place);
                self.note_change(topic, false, name, held);
                connection.unconfirmed = true;
            }
        }
        self.keep_subscriptions(connection, subscriptions);
    }

    pub(super) fn keep_subscriptions(
        &mut self,
        connection: &mut Connection,
        subscriptions: Box<Subscriptions>,
    ) {
        let before =
            std::mem::replace(&mut connection.client.subscribed, !subscriptions.is_empty());
        match (before, connection.client.subscribed) {
            (false, true) => self.pushing.clients += 1,
            (true, false) => self.pushing.clients -= 1,
            _ => {}
        }
        self.counters().pubsub_clients.set(self.pushing.clients);
        connection.client.subscriptions = connection.client.subscribed.then_some(subscriptions);
        connection.client.refresh();
    }

    /// Ends all subscriptions without a word: RESET and the end of a connection.
    pub(super) fn forget_subscriptions(&mut self, connection: &mut Connection) {
        let Some(mut subscriptions) = connection.client.subscriptions.take() else {
            return;
        };
        for topic in [Topic::Channel, Topic::Pattern, Topic::Shard] {
            for name in subscriptions.take(topic) {
                self.pushing.registry.remove(topic, &name, connection.place);
                self.note_change(topic, false, name, &mut Held::new());
                connection.unconfirmed = true;
            }
        }
        self.keep_subscriptions(connection, subscriptions);
    }

    /// A subscription has ended, and all shards must know.
    pub(super) fn forget_subscription(
        &mut self,
        connection: &Connection,
        topic: Topic,
        name: Box<[u8]>,
        held: &mut Held,
    ) {
        self.pushing.registry.remove(topic, &name, connection.place);
        self.note_change(topic, false, name, held);
    }

    fn note_change(&mut self, topic: Topic, begins: bool, name: Box<[u8]>, held: &mut Held) {
        let subscription = Subscription {
            topic,
            begins,
            name,
        };
        self.note(Change::Subscription(subscription), held);
    }

    /// A client begins to track keys, changes how, or ends.
    pub(super) fn note_tracking(&mut self, connection: &mut Connection) {
        let client = &mut connection.client;
        if !std::mem::take(&mut client.tracking_changed) {
            return;
        }
        client.refresh();
        let tracker = client.tracking.as_ref().map(|tracking| {
            Arc::new(Tracker {
                client: client.id,
                at: (self.index as u16, connection.place.token()),
                redirect: tracking.redirect_at,
                bcast: tracking.bcast,
                noloop: tracking.noloop,
                prefixes: tracking.prefixes.clone(),
            })
        });
        match (connection.tracks, tracker.is_some()) {
            (false, true) => self.pushing.trackers += 1,
            (true, false) => self.pushing.trackers -= 1,
            _ => {}
        }
        connection.tracks = tracker.is_some();
        self.counters().tracking_clients.set(self.pushing.trackers);
        connection.unconfirmed = true;
        let change = Change::Tracker(connection.client.id, tracker);
        self.note(change, &mut Held::new());
    }

    /// A connection tracks keys no longer, because it ends.
    pub(super) fn forget_tracking(&mut self, connection: &mut Connection) {
        if connection.tracks {
            connection.client.tracking = None;
            connection.client.tracking_changed = true;
            self.note_tracking(connection);
        }
    }

    /// Something changes that all shards must know: the own one knows at once if it is in hand, others at the end of the
    /// turn.
    fn note(&mut self, change: Change, held: &mut Held) {
        let own = self.index;
        let shard = match &mut self.shard {
            Some(shard) => Some(shard),
            None => held.iter_mut().find(|shard| shard.index == own),
        };
        // In the order in which things happen: an end must not be known before its beginning.
        let in_order = self.pushing.own_changes.is_empty() && self.deferred.is_empty();
        match shard {
            Some(shard) if in_order => shard.news.apply(own as u16, &change),
            _ => self.pushing.own_changes.push(change.clone()),
        }
        self.pushing.due = true;
        self.pushing.changes.push(change);
    }

    /// Tells all shards of the turn's changes.
    fn announce_changes(&mut self, told: &mut Vec<usize>) {
        if self.pushing.changes.is_empty() {
            return;
        }
        let own = self.index;
        let changes: Arc<[Change]> = std::mem::take(&mut self.pushing.changes).into();
        self.pushing.announced += 1;
        let number = self.pushing.announced;
        let from = own as u16;
        for core in (0..self.shards).filter(|core| *core != own) {
            self.links.core(core).mail(CoreMessage::Audience {
                from,
                number,
                changes: changes.clone(),
            });
            told.push(core);
        }
        let own_changes = std::mem::take(&mut self.pushing.own_changes);
        if own_changes.is_empty() && self.deferred.is_empty() {
            self.on_audience_known(own, number);
        } else {
            self.on_audience(from, number, own_changes.into());
        }
    }

    /// A core tells of changes among its subscribers.
    pub(super) fn on_audience(&mut self, from: u16, number: u64, changes: Arc<[Change]>) {
        let Some(shard) = &mut self.shard else {
            self.deferred.push(CoreMessage::Audience {
                from,
                number,
                changes,
            });
            return;
        };
        for change in changes.iter() {
            shard.news.apply(from, change);
        }
        let by = self.index as u16;
        if usize::from(from) == self.index {
            self.on_audience_known(self.index, number);
        } else {
            let from = usize::from(from);
            self.links
                .core(from)
                .mail(CoreMessage::AudienceKnown { by, number });
            self.wake(from);
        }
    }

    /// A core's shard knows of an announcement.
    pub(super) fn on_audience_known(&mut self, by: usize, number: u64) {
        let pushing = &mut self.pushing;
        pushing.known[by] = pushing.known[by].max(number);
        let known = pushing.known.iter().copied().min().unwrap_or(0);
        while let Some(&(number, place)) = self.pushing.unconfirmed.front()
            && number <= known
        {
            self.pushing.unconfirmed.pop_front();
            if let Some(mut connection) = self.take_connection(place) {
                connection.waiting = false;
                connection.output.hold(false);
                self.resume(&mut connection);
                self.put_back(connection);
            }
        }
    }

    /// Holds back a connection whose subscriptions have changed until all shards know. Its reply is written.
    pub(super) fn await_confirmation(&mut self, connection: &mut Connection) {
        if !std::mem::take(&mut connection.unconfirmed) || connection.closed {
            return;
        }
        if self.shards == 1 && self.pushing.own_changes.is_empty() {
            return;
        }
        connection.waiting = true;
        connection.output.hold(true);
        let number = self.pushing.announced + 1;
        self.pushing
            .unconfirmed
            .push_back((number, connection.place));
    }
}

/// Writes a message; behind the reply, if one is under way. False when the client has gone.
pub(super) fn write<'a>(
    connection: &mut Connection,
    bytes: impl FnOnce(&mut Connection) -> Option<&'a [u8]>,
) -> bool {
    if connection.closed {
        return false;
    }
    if let Some(bytes) = bytes(connection) {
        if connection.wave.is_some() || connection.publishing {
            connection.late.extend_from_slice(bytes);
        } else {
            connection.output.buffer().extend_from_slice(bytes);
        }
    }
    true
}

/// The reply is written: messages that came meanwhile follow it.
pub(super) fn write_late(connection: &mut Connection) {
    if !connection.late.is_empty() {
        connection.output.buffer().append(&mut connection.late);
        connection.output.close_reply();
    }
}
