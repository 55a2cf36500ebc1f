//! INFO. The text is made in `observe/info.rs`; this gathers what it is made of.

use crate::base::clock::unix_us;
use crate::command::client::{Context, Step};
use crate::command::connection::REDIS_VERSION;
use crate::command::table::commands;
use crate::observe::info::{Facts, render, sections};
use crate::resp::Reply;
use crate::resp::request::Args;

use super::Outcome;

pub(super) fn info(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let core = context.core;
    let names: Vec<&str> = commands()
        .all()
        .iter()
        .map(|command| command.name.as_str())
        .collect();
    let now_us = unix_us().max(core.now * 1000);
    let facts = Facts::now(core.observatory, core.config, &names, REDIS_VERSION, now_us);
    let text = render(&sections(args.iter_from(1)), &facts);
    reply.verbatim("txt", text.as_bytes());
    Ok(Step::Done)
}
