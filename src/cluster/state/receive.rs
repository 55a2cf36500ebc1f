//! Packets that arrive (specification, 1.7): who sent it, what its header says, then what it is for.

use super::super::action::{Action, LinkId};
use super::super::flags::NodeFlags;
use super::super::packet::{
    self, Body, Extensions, GossipSection, Header, Kind, Light, Message, MessageFlags, Packet,
};
use super::Cluster;
use super::table::NodeKey;

impl Cluster {
    /// One whole packet, as [`packet::frame`] has cut it from the stream of `link`.
    pub fn packet(&mut self, now_ms: i64, link: LinkId, bytes: &[u8]) {
        self.now_ms = now_ms;
        if !self.links.contains_key(&link) {
            return; // closed while this was on its way
        }
        let packet = match packet::decode(bytes) {
            Ok(packet) => packet,
            Err(ignored) => {
                self.note(log::Level::Warn, format!("Received {ignored}"));
                return;
            }
        };
        if let Some(received) = self.counters.received.get_mut(usize::from(packet.kind())) {
            *received += 1;
        }
        match packet {
            Packet::Full { header, body } => self.on_full(link, &header, body),
            Packet::Light(light) => self.on_light(link, light),
        }
    }

    /// The stream of a link is not that of a bus.
    pub fn bad_frame(&mut self, now_ms: i64, link: LinkId, bad: packet::BadFrame) {
        self.now_ms = now_ms;
        if let Some(of) = self.links.get(&link) {
            let text = format!("Closing the cluster link with {}: {bad}", of.peer_ip);
            self.note(log::Level::Warn, text);
            self.close_link(link);
        }
    }

    fn on_light(&mut self, link: LinkId, light: Light<'_>) {
        let bound = self.links.get(&link).and_then(|of| of.node);
        let Some(sender) = bound.filter(|key| !self.nodes[*key].is_in_handshake()) else {
            // It bears no name, so only a link whose other end is known can carry it.
            self.close_link(link);
            return;
        };
        self.nodes[sender].data_received_ms = self.now_ms;
        match light {
            Light::Publish(message) => self.deliver(message),
            Light::Module(_) => {} // there are no modules here
        }
    }

    fn on_full(&mut self, link: LinkId, header: &Header, body: Body<'_>) {
        let sender = self.sender(link, header);
        if let Some(sender) = sender {
            self.on_header(sender, header);
        }
        match (body, sender) {
            (
                Body::Gossip {
                    kind,
                    gossip,
                    extensions,
                },
                sender,
            ) => self.on_ping(link, kind, header, sender, gossip, extensions),
            // All else is heard from acquaintances only.
            (_, None) => {}
            (Body::Fail(id), Some(sender)) => self.on_fail(sender, id),
            (Body::Publish(message), Some(_)) => self.deliver(message),
            (Body::AuthRequest, Some(sender)) => self.on_auth_request(sender, header),
            (Body::AuthAck, Some(sender)) => self.on_auth_ack(sender, header),
            (
                Body::Update {
                    config_epoch,
                    owner,
                    slots,
                },
                Some(_),
            ) => self.on_update(owner, config_epoch, &slots),
            (Body::MfStart, Some(sender)) => self.on_mf_start(link, sender),
            (Body::Module(_), Some(_)) => {} // there are no modules here
            (Body::Unknown(kind), Some(_)) => {
                self.note(
                    log::Level::Debug,
                    format!("Received packet of unknown type {kind}"),
                );
            }
        }
    }

    fn deliver(&mut self, message: Message<'_>) {
        self.act(Action::Deliver {
            is_sharded: message.is_sharded,
            channel: message.channel.to_vec(),
            message: message.message.to_vec(),
        });
    }

    /// Who sent it: the link's owner whatever the header says, or else whom the header names. An accepted link becomes
    /// the one of the first acquaintance that speaks on it.
    fn sender(&mut self, link: LinkId, header: &Header) -> Option<NodeKey> {
        let of = self.links.get(&link)?;
        let bound = of.node;
        if let Some(key) = bound
            && !self.nodes[key].is_in_handshake()
        {
            return Some(key);
        }
        let key = self.nodes.find(&header.sender)?;
        if self.nodes[key].is_in_handshake() {
            return None; // a makeshift name that somebody has guessed
        }
        if bound.is_none() && key != self.myself {
            self.bind_inbound(link, key);
        }
        Some(key)
    }

    /// What every packet of an acquaintance says.
    fn on_header(&mut self, sender: NodeKey, header: &Header) {
        if sender == self.myself {
            return;
        }
        self.current_epoch = self.current_epoch.max(header.current_epoch);
        let now_ms = self.now_ms;
        let node = &mut self.nodes[sender];
        node.data_received_ms = now_ms;
        node.repl_offset = header.offset;
        // What a replica says is its primary's epoch: of no meaning as its own, and no reason to save. A large cluster that
        // starts would write as many files as it has replicas.
        if header.primary.is_none() && header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.save_durably();
        }
        if self.me().is_replica()
            && self.me().primary == Some(sender)
            && header.message.has(MessageFlags::PAUSED)
        {
            self.on_paused_offset(header.offset);
        }
    }

    /// PING, PONG and MEET.
    fn on_ping(
        &mut self,
        link: LinkId,
        kind: Kind,
        header: &Header,
        sender: Option<NodeKey>,
        gossip: GossipSection<'_>,
        extensions: Extensions<'_>,
    ) {
        if let Some(key) = sender.filter(|key| *key != self.myself) {
            // Known before the answer goes, which then says what this node is called to the first ping of another.
            let reads_extensions = header.message.has(MessageFlags::EXTENSIONS);
            let flags = &mut self.nodes[key].flags;
            flags.put(NodeFlags::EXTENSIONS, reads_extensions);
        }
        if kind != Kind::Pong {
            self.learn_own_address(link, kind);
            if sender.is_none() && kind == Kind::Meet {
                self.on_meet(link, header, gossip);
            }
            // Strangers get an answer too: it is how they learn that they are strangers.
            self.send_gossip(link, Kind::Pong);
        }
        let opened = self.links.get(&link).filter(|of| !of.is_inbound);
        if let Some(key) = opened.and_then(|of| of.node) {
            if self.nodes[key].is_in_handshake() {
                if !self.on_handshake(link, key, sender, header) {
                    return;
                }
            } else if self.nodes[key].id != header.sender {
                self.on_stranger(link, key);
                return;
            }
            if kind == Kind::Pong {
                self.reached(key);
            }
        }
        let Some(sender) = sender.filter(|key| *key != self.myself) else {
            return;
        };
        let flags = &mut self.nodes[sender].flags;
        let no_failover = header.flags.has(NodeFlags::NO_FAILOVER);
        flags.put(NodeFlags::NO_FAILOVER, no_failover);
        let reads_light = header.flags.has(NodeFlags::LIGHT_PUBLISH);
        flags.put(NodeFlags::LIGHT_PUBLISH, reads_light);
        if kind == Kind::Ping {
            self.update_address(sender, link, header);
        }
        self.on_role(sender, header);
        self.on_claims(sender, header);
        self.resolve_collision(sender, header.config_epoch);
        self.on_gossip(Some(sender), gossip);
        self.on_extensions(sender, extensions);
    }

    /// A stranger wants to be let in. What it says of others cannot add anybody.
    fn on_meet(&mut self, link: LinkId, header: &Header, gossip: GossipSection<'_>) {
        let Some(of) = self.links.get(&link) else {
            return;
        };
        let address = header.address(of.peer_ip, self.settings.tls);
        if !address.ip.is_empty() && address.bus_port != 0 {
            self.start_handshake(address, NodeFlags::NONE);
        }
        self.on_gossip(None, gossip);
    }

    /// Whether the sender is a primary or whose replica it is.
    fn on_role(&mut self, sender: NodeKey, header: &Header) {
        if header.primary.is_none() {
            self.set_as_primary(sender);
            return;
        }
        if !self.nodes[sender].is_replica() {
            self.unbind_all(sender);
            let flags = &mut self.nodes[sender].flags;
            flags.put(NodeFlags::PRIMARY | NodeFlags::MIGRATE_TO, false);
            flags.put(NodeFlags::REPLICA, true);
            self.save_soon();
            self.look_soon();
        }
        let primary = self.nodes.find(&header.primary);
        let Some(primary) = primary.filter(|key| *key != sender) else {
            return;
        };
        if self.nodes[sender].primary != Some(primary) {
            self.attach(sender, primary);
            let shard_id = self.nodes[primary].shard_id;
            self.set_shard_id(sender, shard_id);
            self.save_soon();
            self.todo.map = true;
        }
    }
}
