//! The score by which the kernel picks a process to kill when the machine has no memory left (`oom-score-adj`).

use std::io;

use crate::config::{Config, OomScoreAdj};

const FILE: &str = "/proc/self/oom_score_adj";
/// What the kernel takes.
const SCORE_MAX: i32 = 1000;

/// The score that the process had at start, and so the one it goes back to.
#[derive(Clone, Copy, Debug)]
pub struct OomScore {
    at_start: Option<i32>,
}

impl OomScore {
    /// Reads the score.
    pub fn of_this_process() -> Self {
        let text = std::fs::read_to_string(FILE).ok();
        OomScore {
            at_start: text.and_then(|text| text.trim().parse().ok()),
        }
    }

    /// Sets the score that the configuration asks for. Without one the score of the start holds.
    pub fn apply(self, config: &Config) -> io::Result<()> {
        let Some(wanted) = wanted(self.at_start.unwrap_or(0), config) else {
            return match self.at_start {
                Some(score) if score != Self::of_this_process().at_start.unwrap_or(score) => {
                    std::fs::write(FILE, score.to_string())
                }
                _ => Ok(()),
            };
        };
        std::fs::write(FILE, wanted.to_string())
    }
}

/// The score of a primary, which is all that there is; `None` to leave it alone.
fn wanted(at_start: i32, config: &Config) -> Option<i32> {
    let value = config.oom_score_adj_values[0];
    let score = match config.oom_score_adj {
        OomScoreAdj::No => return None,
        OomScoreAdj::Relative => at_start + value,
        OomScoreAdj::Absolute => value,
    };
    Some(score.clamp(-SCORE_MAX, SCORE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_left_alone_added_to_or_replaced() {
        let mut config = Config::default();
        config.oom_score_adj_values = [300, 0, 0];
        assert_eq!(wanted(100, &config), None);
        config.oom_score_adj = OomScoreAdj::Relative;
        assert_eq!(wanted(100, &config), Some(400));
        assert_eq!(wanted(900, &config), Some(1000));
        config.oom_score_adj = OomScoreAdj::Absolute;
        assert_eq!(wanted(100, &config), Some(300));
    }
}
