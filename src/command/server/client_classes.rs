//! Size classes of clients, by which `maxmemory-clients` chooses whom to close, and DEBUG CLIENT-EVICTION, which shows
//! them. Sizes are told apart by powers of two, as in Redis.

use std::fmt::Write;

use crate::command::client::{Context, Step, Whom};
use crate::config::ClientMemory;
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

/// Powers of two from the smallest clients (below 64 KiB) to the largest (8 GiB and more).
const CLASS_MIN_LOG: u32 = 15;
/// See above.
const CLASS_MAX_LOG: u32 = 33;

/// How many size classes there are.
pub const CLIENT_CLASSES: u8 = (CLASS_MAX_LOG - CLASS_MIN_LOG) as u8 + 1;

/// The size class of a client of so many bytes.
pub fn class_of(bytes: u64) -> u8 {
    let log = bytes.max(1).ilog2();
    (log.clamp(CLASS_MIN_LOG, CLASS_MAX_LOG) - CLASS_MIN_LOG) as u8
}

/// DEBUG CLIENT-EVICTION.
pub(super) fn client_eviction(context: &mut Context<'_>) -> Outcome {
    if matches!(
        context.core.config.maxmemory_clients,
        ClientMemory::Bytes(0)
    ) {
        return Err(ErrorReply::text("ERR maxmemory-clients is disabled."));
    }
    Ok(Step::Ask {
        whom: Whom::Cores,
        ask: CoreAsk::CountClients,
        then: show,
    })
}

fn show(
    _: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut total = [(0, 0); CLIENT_CLASSES as usize];
    for answer in answers {
        let CoreAnswer::Classes(classes) = answer else {
            continue;
        };
        for (sum, (clients, bytes)) in total.iter_mut().zip(classes) {
            *sum = (sum.0 + clients, sum.1 + bytes);
        }
    }
    let mut text = String::new();
    for (class, (clients, bytes)) in (0..).zip(total) {
        let least = if class == 0 {
            0
        } else {
            1_u64 << (class + CLASS_MIN_LOG)
        };
        let most = if class + 1 == u32::from(CLIENT_CLASSES) {
            "+            ".to_owned()
        } else {
            format!(" - {:10}", (1_u64 << (class + 1 + CLASS_MIN_LOG)) - 1)
        };
        writeln!(
            text,
            "bucket {least:10}{most}: tot-mem: {bytes:10}, clients: {clients}"
        )
        .expect("a string takes everything");
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::command::desk::Desk;
    use crate::config::{Config, ProtectedAction};

    #[test]
    fn classes_are_powers_of_two_between_32_kib_and_4_gib() {
        assert_eq!(class_of(0), 0);
        assert_eq!(class_of(65_535), 0);
        assert_eq!(class_of(65_536), 1);
        assert_eq!(class_of(u64::MAX), 18);
    }

    #[test]
    fn the_classes_of_all_cores_are_added_up() {
        let mut desk = Desk::new();
        let allow = |desk: &mut Desk| {
            let mut config = Config::clone(&desk.config);
            config.enable_debug_command = ProtectedAction::Yes;
            desk.config = Arc::new(config);
        };
        allow(&mut desk);
        assert_eq!(
            desk.line("DEBUG CLIENT-EVICTION"),
            "-ERR maxmemory-clients is disabled.\r\n"
        );
        desk.set("maxmemory-clients", "1mb");
        allow(&mut desk);
        let mut classes = vec![(0, 0); usize::from(CLIENT_CLASSES)];
        classes[1] = (2, 140_000);
        desk.answers = vec![CoreAnswer::Classes(classes); 2];
        let text = desk.line("DEBUG CLIENT-EVICTION");
        assert!(
            text.contains("bucket          0 -      65535: tot-mem:          0, clients: 0\n"),
            "{text}"
        );
        assert!(
            text.contains("bucket      65536 -     131071: tot-mem:     280000, clients: 4\n"),
            "{text}"
        );
        assert_eq!(text.matches("bucket").count(), usize::from(CLIENT_CLASSES));
    }
}
