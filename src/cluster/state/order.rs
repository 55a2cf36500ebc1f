//! In which order a turn wants things done, which is the order in which the cores hear of them.
//!
//! Each core reads its mail in order, but between two letters it may serve clients. Who has been replaced must not take a
//! write that was held back for the one who takes over, nor refuse it as a replica where it knows better: so the map, by which
//! such a write is sent away, comes before writes go on and before the node is a replica. Who takes over is a primary
//! before the map sends it clients, and is noted in that order anyway.

use crate::cluster::action::Action;

/// Orders what a turn wants done.
pub(super) fn in_order(mut actions: Vec<Action>) -> Vec<Action> {
    // Writes that are held back anew do not go on in between.
    let pauses = |action: &Action| matches!(action, Action::PauseWrites { .. });
    if let Some(last) = actions.iter().rposition(pauses) {
        let mut at = 0;
        actions.retain(|action| {
            at += 1;
            at > last || !matches!(action, Action::ResumeWrites)
        });
    }
    // Of roles the last one counts: a node that steps down and is reset in one turn must not follow anybody in the end.
    let stops = |action: &Action| matches!(action, Action::StopReplicating);
    if let Some(last) = actions.iter().rposition(stops) {
        let mut at = 0;
        actions.retain(|action| {
            at += 1;
            at > last || !matches!(action, Action::Replicate { .. })
        });
    }
    actions.sort_by_key(|action| match action {
        Action::Replicate { .. } => 1,
        Action::ResumeWrites => 2,
        _ => 0,
    });
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::LinkId;
    use crate::cluster::address::Address;
    use crate::cluster::node_id::NodeId;

    fn letters(actions: Vec<Action>) -> String {
        let letter = |action: Action| match action {
            Action::Replicate { .. } => 'r',
            Action::ResumeWrites => 'w',
            Action::PauseWrites { .. } => 'p',
            Action::StopReplicating => 's',
            _ => '.',
        };
        in_order(actions).into_iter().map(letter).collect()
    }

    #[test]
    fn the_map_goes_before_writes_go_on_and_before_the_role() {
        let (id, address) = (NodeId::NONE, Address::NONE);
        let replicate = || Action::Replicate { id, address };
        let other = || Action::CloseLink(LinkId(1));
        let pause = || Action::PauseWrites { until_ms: 1 };
        let found = letters(vec![replicate(), other(), Action::ResumeWrites, other()]);
        assert_eq!(found, "..rw");
        let found = letters(vec![Action::StopReplicating, other(), Action::DropAllKeys]);
        assert_eq!(found, "s..");
        let found = letters(vec![replicate(), other(), Action::StopReplicating, other()]);
        assert_eq!(found, ".s.", "the last role counts");
        let found = letters(vec![Action::StopReplicating, replicate(), other()]);
        assert_eq!(found, "s.r");
        assert_eq!(letters(vec![Action::ResumeWrites, pause(), other()]), "p.");
        assert_eq!(letters(vec![pause(), Action::ResumeWrites, other()]), "p.w");
    }
}
