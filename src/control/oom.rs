//! The score by which the kernel picks a process to kill when the machine has no memory left (`oom-score-adj`).

use std::io;

use crate::config::{Config, OomScoreAdj};

const FILE: &str = "/proc/self/oom_score_adj";
/// What the kernel takes.
const SCORE_MAX: i32 = 1000;

/// What the process's score was before we changed it, and so the one it goes back to.
#[derive(Clone, Copy, Debug, Default)]
pub struct OomScore {
    /// None while the score is not ours.
    before: Option<i32>,
}

impl OomScore {
    /// Sets the score that the configuration asks for, of a primary or of a replica. Without one the score of before
    /// holds, and whatever anybody else has written is left alone.
    pub fn apply(&mut self, config: &Config, is_replica: bool) -> io::Result<()> {
        if config.oom_score_adj == OomScoreAdj::No {
            return match self.before.take() {
                Some(score) => std::fs::write(FILE, score.to_string()),
                None => Ok(()),
            };
        }
        let before = match self.before {
            Some(score) => score,
            None => {
                let text = std::fs::read_to_string(FILE)?;
                text.trim().parse().map_err(io::Error::other)?
            }
        };
        self.before = Some(before);
        std::fs::write(FILE, wanted(before, config, is_replica).to_string())
    }
}

/// The third score that the directive has is that of child processes, which there are none of.
fn wanted(before: i32, config: &Config, is_replica: bool) -> i32 {
    let value = config.oom_score_adj_values[usize::from(is_replica)];
    let score = match config.oom_score_adj {
        OomScoreAdj::Relative => before + value,
        OomScoreAdj::Absolute | OomScoreAdj::No => value,
    };
    score.clamp(-SCORE_MAX, SCORE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_added_to_or_replaced_as_the_role_says() {
        let mut config = Config::default();
        config.oom_score_adj_values = [300, 200, 0];
        config.oom_score_adj = OomScoreAdj::Relative;
        assert_eq!(wanted(100, &config, false), 400);
        assert_eq!(wanted(100, &config, true), 300);
        assert_eq!(wanted(900, &config, false), 1000);
        config.oom_score_adj = OomScoreAdj::Absolute;
        assert_eq!(wanted(100, &config, false), 300);
    }
}
