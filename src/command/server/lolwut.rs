//! LOLWUT: a drawing, another one each time, and the version below it.
//!
//! A maze out of two characters: every tile is one diagonal or the other by the toss of a coin, and the eye finds the
//! walls.

use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::base::sys;
use crate::command::client::{Context, Step};
use crate::command::connection::REDIS_VERSION;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

/// Columns and rows when it is not told how many.
const SIZE: (i64, i64) = (48, 12);
/// Columns and rows at most.
const SIZE_MAX: i64 = 200;

/// LOLWUT [VERSION version] [columns [rows]]. Every version draws the same kind of picture here.
pub(super) fn lolwut(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let number = |place: usize, default: i64| match args.opt(place) {
        Some(word) => parse_i64(word).ok_or(ErrorReply::NOT_INTEGER),
        None => Ok(default),
    };
    let mut size_at = 1;
    if args.len() >= 3 && args.is(1, "VERSION") {
        number(2, 0)?;
        size_at = 3;
    }
    let columns = number(size_at, SIZE.0)?.clamp(1, SIZE_MAX);
    let rows = number(size_at + 1, SIZE.1)?.clamp(1, SIZE_MAX);
    let text = drawing(
        columns as usize,
        rows as usize,
        &mut Random::new(sys::entropy()),
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(Step::Done)
}

fn drawing(columns: usize, rows: usize, random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..rows {
        for _ in 0..columns {
            text.push(if random.below(2) == 0 {
                '\u{2571}'
            } else {
                '\u{2572}'
            });
        }
        text.push('\n');
    }
    text += "\nEvery wall was tossed for. Redis ver. ";
    text += REDIS_VERSION;
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::desk::Desk;

    #[test]
    fn a_drawing_has_its_size_and_tells_the_version() {
        let text = drawing(7, 3, &mut Random::new(1));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[..3].iter().all(|line| line.chars().count() == 7));
        assert!(text.ends_with("Redis ver. 7.2.4\n"));
        let mut desk = Desk::new();
        assert!(desk.line("LOLWUT").ends_with("Redis ver. 7.2.4\n\r\n"));
        assert!(desk.line("LOLWUT VERSION 5 1 1").contains("Redis ver."));
        assert!(
            desk.line("LOLWUT VERSION x")
                .starts_with("-ERR value is not an integer")
        );
        assert!(
            desk.line("LOLWUT 5 x")
                .starts_with("-ERR value is not an integer")
        );
    }
}
