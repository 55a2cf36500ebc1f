//! Publish and subscribe. What a subscription is and what becomes of a message is in `pubsub/`; who is told of what, and
//! when, in `engine/push.rs`.
//!
//! Rights to channels are a matter for the gates (`admit.rs`), which see the arguments of SUBSCRIBE and PUBLISH as they
//! see keys.

use crate::base::glob;
use crate::pubsub::Topic;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;

use super::client::{Context, Step};
use super::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "PSUBSCRIBE",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.0.0",
            complexity: "O(N), N being the patterns",
            summary: "Begins to receive what is published on channels whose names fit patterns.",
            arguments: &[Argument::new("pattern", ArgumentKind::Pattern).multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(psubscribe),
        subcommands: &[],
    },
    Command {
        name: "PUBLISH",
        arity: Arity::Exactly(3),
        flags: Flags::PUBSUB
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::MAY_REPLICATE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.0.0",
            complexity: "O(N+M), N being the subscribers of the channel and M all patterns with subscribers",
            summary: "Sends a message to the subscribers of a channel.",
            arguments: &[Argument::string("channel"), Argument::string("message")],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Publish(publish),
        subcommands: &[],
    },
    Command {
        name: "PUBSUB",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.8.0",
            complexity: "That of the subcommand",
            summary: "Container of the commands that tell who has subscribed.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: SUBCOMMANDS,
    },
    Command {
        name: "PUNSUBSCRIBE",
        arity: Arity::AtLeast(1),
        flags: Flags::PUBSUB
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.0.0",
            complexity: "O(N), N being the patterns",
            summary: "Ends subscriptions to patterns, or to all of them.",
            arguments: &[Argument::new("pattern", ArgumentKind::Pattern)
                .optional()
                .multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(punsubscribe),
        subcommands: &[],
    },
    Command {
        name: "SPUBLISH",
        arity: Arity::Exactly(3),
        flags: Flags::PUBSUB
            .and(Flags::SHARDED)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::MAY_REPLICATE),
        acl: Acl::NONE,
        keys: &[KeySpec::one(1, Access::NOT_KEY)],
        docs: Docs {
            group: Group::Pubsub,
            since: "7.0.0",
            complexity: "O(N), N being the subscribers of the shard channel",
            summary: "Sends a message to the subscribers of a shard channel.",
            arguments: &[
                Argument::string("shardchannel"),
                Argument::string("message"),
            ],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Publish(spublish),
        subcommands: &[],
    },
    Command {
        name: "SSUBSCRIBE",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB
            .and(Flags::SHARDED)
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::NONE,
        keys: &[KeySpec::range(1, -1, 1, Access::NOT_KEY)],
        docs: Docs {
            group: Group::Pubsub,
            since: "7.0.0",
            complexity: "O(N), N being the shard channels",
            summary: "Begins to receive what is published on shard channels.",
            arguments: &[Argument::string("shardchannel").multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(ssubscribe),
        subcommands: &[],
    },
    Command {
        name: "SUBSCRIBE",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.0.0",
            complexity: "O(N), N being the channels",
            summary: "Begins to receive what is published on channels.",
            arguments: &[Argument::string("channel").multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(subscribe),
        subcommands: &[],
    },
    Command {
        name: "SUNSUBSCRIBE",
        arity: Arity::AtLeast(1),
        flags: Flags::PUBSUB
            .and(Flags::SHARDED)
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::NONE,
        keys: &[KeySpec::range(1, -1, 1, Access::NOT_KEY)],
        docs: Docs {
            group: Group::Pubsub,
            since: "7.0.0",
            complexity: "O(N), N being the shard channels",
            summary: "Ends subscriptions to shard channels, or to all of them.",
            arguments: &[Argument::string("shardchannel").optional().multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(sunsubscribe),
        subcommands: &[],
    },
    Command {
        name: "UNSUBSCRIBE",
        arity: Arity::AtLeast(1),
        flags: Flags::PUBSUB
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.0.0",
            complexity: "O(N), N being the channels",
            summary: "Ends subscriptions to channels, or to all of them.",
            arguments: &[Argument::string("channel").optional().multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(unsubscribe),
        subcommands: &[],
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "CHANNELS",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.8.0",
            complexity: "O(N), N being the channels with subscribers",
            summary: "Names the channels that have subscribers.",
            arguments: &[Argument::new("pattern", ArgumentKind::Pattern).optional()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Any(pubsub_channels),
        subcommands: &[],
    },
    Command {
        name: "HELP",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "6.2.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Any(pubsub_help),
        subcommands: &[],
    },
    Command {
        name: "NUMPAT",
        arity: Arity::Exactly(2),
        flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.8.0",
            complexity: "O(1)",
            summary: "Counts the patterns that have subscribers.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Any(pubsub_numpat),
        subcommands: &[],
    },
    Command {
        name: "NUMSUB",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "2.8.0",
            complexity: "O(N), N being the channels asked about",
            summary: "Counts the subscribers of channels, those by pattern left out.",
            arguments: &[Argument::string("channel").optional().multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Any(pubsub_numsub),
        subcommands: &[],
    },
    Command {
        name: "SHARDCHANNELS",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "7.0.0",
            complexity: "O(N), N being the shard channels with subscribers",
            summary: "Names the shard channels that have subscribers.",
            arguments: &[Argument::new("pattern", ArgumentKind::Pattern).optional()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Any(pubsub_shardchannels),
        subcommands: &[],
    },
    Command {
        name: "SHARDNUMSUB",
        arity: Arity::AtLeast(2),
        flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Pubsub,
            since: "7.0.0",
            complexity: "O(N), N being the shard channels asked about",
            summary: "Counts the subscribers of shard channels.",
            arguments: &[Argument::string("shardchannel").optional().multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Any(pubsub_shardnumsub),
        subcommands: &[],
    },
];

type Outcome = Result<(), ErrorReply>;

/// Declares the handlers that begin or end subscriptions: the engine does it, since it has the subscribers.
macro_rules! changes {
    ($($name:ident: $topic:ident, $begins:literal;)*) => {$(
        fn $name(_: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Result<Step, ErrorReply> {
            Ok(Step::Subscription { topic: Topic::$topic, begins: $begins })
        }
    )*};
}
changes! {
    subscribe: Channel, true;
    unsubscribe: Channel, false;
    psubscribe: Pattern, true;
    punsubscribe: Pattern, false;
    ssubscribe: Shard, true;
    sunsubscribe: Shard, false;
}

fn publish(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(shard.publish(Topic::Channel, args.get(1), args.get(2)));
    tell_others(shard, Topic::Channel, args);
    Ok(())
}

/// Lets other servers have the message: the nodes of the cluster, or the replicas.
fn tell_others(shard: &mut Shard, topic: Topic, args: &Args<'_>) {
    if shard.config.cluster_enabled {
        shard.news.tell_nodes(topic, args.get(1), args.get(2));
        return;
    }
    let effects = &mut shard.effects;
    effects.tell_replicas(args.db(), args.len(), args.iter_from(0));
}

fn spublish(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(shard.publish(Topic::Shard, args.get(1), args.get(2)));
    tell_others(shard, Topic::Shard, args);
    Ok(())
}

/// The names of a topic that fit the pattern in argument 2, if there is one.
fn names(shard: &Shard, topic: Topic, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(ErrorReply::subcommand_syntax(args.get(1), "PUBSUB"));
    }
    let pattern = args.opt(2);
    let header = reply.deferred();
    let mut count = 0;
    for name in shard.news.audience.names(topic) {
        if pattern.is_none_or(|pattern| glob::matches(pattern, name, false)) {
            reply.bulk(name);
            count += 1;
        }
    }
    reply.array_at(header, count);
    Ok(())
}

/// Each name from argument 2 on with the number of its subscribers.
fn counts(shard: &Shard, topic: Topic, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(2 * (args.len() - 2));
    for name in args.iter_from(2) {
        reply.bulk(name);
        reply.count(shard.news.audience.subscribers(topic, name));
    }
    Ok(())
}

fn pubsub_channels(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    names(shard, Topic::Channel, args, reply)
}

fn pubsub_shardchannels(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    names(shard, Topic::Shard, args, reply)
}

fn pubsub_numsub(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    counts(shard, Topic::Channel, args, reply)
}

fn pubsub_shardnumsub(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    counts(shard, Topic::Shard, args, reply)
}

fn pubsub_numpat(shard: &mut Shard, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(shard.news.audience.len(Topic::Pattern));
    Ok(())
}

fn pubsub_help(_: &mut Shard, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "PUBSUB",
        &[
            (
                "CHANNELS [<pattern>]",
                &["The channels with subscribers whose names fit (default: all)."],
            ),
            ("NUMPAT", &["How many patterns have subscribers."]),
            (
                "NUMSUB [<channel> ...]",
                &["How many subscribers the channels have, those by pattern left out."],
            ),
            (
                "SHARDCHANNELS [<pattern>]",
                &["The shard channels with subscribers whose names fit (default: all)."],
            ),
            (
                "SHARDNUMSUB [<shardchannel> ...]",
                &["How many subscribers the shard channels have."],
            ),
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::pubsub::{Subscription, Topic};

    fn listening(topic: Topic, names: &[&str]) -> Harness {
        let mut harness = Harness::new(2);
        for (core, name) in names.iter().enumerate() {
            let change = Subscription {
                topic,
                begins: true,
                name: name.as_bytes().into(),
            };
            for shard in &mut harness.shards {
                shard.news.audience.apply(core as u16, &change);
            }
        }
        harness
    }

    #[test]
    fn a_message_without_subscribers_goes_nowhere_and_into_no_file() {
        let mut harness = Harness::new(1);
        harness.dialogue("PUBLISH c m => :0\nSPUBLISH c m => :0");
        assert!(harness.effects().is_empty());
        assert!(!harness.shards[0].news.has_some());
    }

    #[test]
    fn pubsub_tells_who_has_subscribed_to_what() {
        let mut harness = listening(Topic::Channel, &["news", "news", "weather"]);
        harness.dialogue(
            "PUBLISH news m => :2
             SPUBLISH news m => :0
             PUBSUB NUMSUB news none => *4 $4 news :2 $4 none :0
             PUBSUB NUMSUB => *0
             PUBSUB CHANNELS w* => *1 $7 weather
             PUBSUB CHANNELS x => *0
             PUBSUB NUMPAT => :0
             PUBSUB SHARDCHANNELS => *0
             PUBSUB SHARDNUMSUB news => *2 $4 news :0
             PUBSUB CHANNELS a b => -ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
        );
        assert!(harness.shards[0].news.has_some());
        let mut harness = listening(Topic::Shard, &["s"]);
        harness.dialogue("PUBSUB SHARDCHANNELS => *1 $1 s\nSPUBLISH s m => :1\nPUBLISH s m => :0");
        let mut harness = listening(Topic::Pattern, &["n*", "n*", "m*"]);
        harness.dialogue("PUBSUB NUMPAT => :2\nPUBLISH news m => :2\nPUBSUB CHANNELS => *0");
    }
}
