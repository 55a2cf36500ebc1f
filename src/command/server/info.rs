//! INFO. The text is made in `observe/info.rs`; this gathers what it is made of. How replication stands is asked of the
//! control core, so that it is exact; a script, which cannot wait, sees what was reported last.

use crate::base::clock::unix_us;
use crate::command::client::{Context, Step, Whom};
use crate::command::connection::REDIS_VERSION;
use crate::command::table::commands;
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::observe::info::{Facts, Section, every_section, render, sections};
use crate::replication::report::Report;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

pub(super) fn info(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = sections(args.iter_from(1));
    if wanted.contains(&Section::Replication) && !args.caller.from_script {
        return Ok(Step::Ask {
            whom: Whom::Control,
            ask: CoreAsk::Replication {
                note: as_note(&wanted),
            },
            then: with_report,
        });
    }
    let report = context.core.observatory.replication.last_report();
    write(context, &wanted, report.as_deref(), reply);
    Ok(Step::Done)
}

/// Sections as bits, by their order in INFO.
fn as_note(sections: &[Section]) -> u32 {
    sections
        .iter()
        .fold(0, |bits, section| bits | 1 << *section as u32)
}

fn with_report(
    context: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    for answer in answers {
        if let CoreAnswer::Replication { report, note } = answer {
            let mut wanted = every_section();
            wanted.retain(|section| note & 1 << *section as u32 != 0);
            write(context, &wanted, Some(&report), reply);
        }
    }
    Ok(())
}

fn write(
    context: &Context<'_>,
    sections: &[Section],
    report: Option<&Report>,
    reply: &mut Reply<'_>,
) {
    let core = context.core;
    let names: Vec<&str> = commands()
        .all()
        .iter()
        .map(|command| command.name.as_str())
        .collect();
    let now_us = unix_us().max(core.now * 1000);
    let mut facts = Facts::now(core.observatory, core.config, &names, REDIS_VERSION, now_us);
    facts.replication = report;
    let text = render(sections, &facts);
    reply.verbatim("txt", text.as_bytes());
}
