//! The schedule of CHORDS: where each core starts, and what it does in each round.

use crate::error::{Error, Result};

/// Number of cores if none is given.
const USUAL_CORES: usize = 8;
/// Maximum number of cores for which there are default starts.
const MOST_CORES: usize = 9;

/// The cores that run, slowest first; all are numbered from 0. In round r core k takes step start + r - k.
pub(super) struct Plan {
    /// Per core, the node at which it starts.
    pub(super) starts: Vec<usize>,
    steps: usize,
}

impl Plan {
    /// The cores up to number `output`, counted from 1. Faster ones would not change its result.
    pub(super) fn new(
        cores: Option<usize>,
        starts: Option<&Vec<usize>>,
        output: Option<usize>,
        steps: usize,
    ) -> Result<Self> {
        let cores = cores.or(starts.map(Vec::len)).unwrap_or(USUAL_CORES);
        let given = starts.is_some();
        let wrong = |starts: &[usize], expected| match given {
            true => Error::setting("starts", format!("{starts:?}"), expected),
            false => Error::setting("cores", cores, "fewer, or a grid of more steps"),
        };
        let mut starts = match starts {
            Some(starts) if starts.len() != cores => {
                return Err(Error::setting("cores", cores, "the number of starts, or leave it out"));
            }
            Some(starts) => starts.clone(),
            None if !(1..=MOST_CORES).contains(&cores) => {
                return Err(Error::setting("cores", cores, "1 to 9; for more, give their starts"));
            }
            None => default_starts(cores, steps),
        };
        if starts.first() != Some(&0) || !starts.is_sorted_by(|a, b| a < b) {
            return Err(wrong(&starts, "0 and then ascending steps"));
        }
        if starts.iter().any(|start| *start >= steps) {
            return Err(wrong(&starts, "less than the number of steps"));
        }
        let output = output.unwrap_or(cores);
        if !(1..=cores).contains(&output) {
            return Err(Error::setting("output", output, "1 to the number of cores"));
        }
        starts.truncate(output);
        let plan = Plan { starts, steps };
        if (1..output).any(|core| core + plan.gap(core) > plan.rounds()) {
            let expected = "starts so close that every core is rectified before the run ends";
            return Err(wrong(&plan.starts, expected));
        }
        Ok(plan)
    }

    pub(super) fn cores(&self) -> usize {
        self.starts.len()
    }

    /// Number of rounds until the fastest core has taken the last step.
    pub(super) fn rounds(&self) -> usize {
        let fastest = self.cores() - 1;
        fastest + self.steps - self.starts[fastest]
    }

    /// How far a core starts ahead of the next slower one; the slowest core has none.
    fn gap(&self, core: usize) -> usize {
        self.starts[core] - self.starts[core - 1]
    }

    /// The node at which a core is evaluated in a round.
    pub(super) fn at(&self, core: usize, round: usize) -> Option<usize> {
        let node = self.starts[core] + round.checked_sub(core)?;
        (node < self.steps).then_some(node)
    }

    /// Nodes at which the next slower core may rectify a core: its start, then those where it has been rectified.
    pub(super) fn anchors(&self, core: usize) -> Vec<usize> {
        (self.starts[core]..=self.steps).step_by(self.gap(core)).collect()
    }

    /// Whether a core is evaluated at one of its anchors in this round.
    pub(super) fn at_anchor(&self, core: usize, round: usize) -> bool {
        core > 0 && (round - core).is_multiple_of(self.gap(core))
    }

    /// The number of the anchor at which a core arrives in this round, from 1 on, if the next slower core is
    /// evaluated at the anchor before it.
    pub(super) fn arrives(&self, core: usize, round: usize) -> Option<usize> {
        let taken = round + 1 - core;
        (core > 0 && taken.is_multiple_of(self.gap(core))).then(|| taken / self.gap(core))
    }
}

/// The starts that the paper gives for 50 steps and 4, 6 or 8 cores, and those of other numbers by the rule that they
/// follow: the fastest core starts 2 steps later per core, and start k is the larger of half of start k + 1 and 2
/// start k + 1 - start k + 2 (theorem 2.5, with two steps left after the last rectification).
fn default_starts(cores: usize, steps: usize) -> Vec<usize> {
    let (mut start, mut next) = ((24 + 2 * cores).min(24 * (cores - 1)) as f64, 48.0f64);
    let mut starts = vec![0; cores];
    for node in starts.iter_mut().skip(1).rev() {
        *node = (start / 50.0 * steps as f64).round() as usize;
        (start, next) = ((start / 2.0).max(2.0 * start - next), start);
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::default_starts;

    #[test]
    fn the_starts_of_the_paper() {
        assert_eq!(default_starts(4, 50), [0, 8, 16, 32]);
        assert_eq!(default_starts(6, 50), [0, 3, 6, 12, 24, 36]);
        assert_eq!(default_starts(8, 50), [0, 2, 4, 8, 16, 24, 32, 40]);
        assert_eq!(default_starts(8, 100), [0, 4, 8, 16, 32, 48, 64, 80]);
        assert_eq!(default_starts(1, 50), [0]);
        assert_eq!(default_starts(2, 50), [0, 24]);
        assert_eq!(default_starts(9, 50), [0, 3, 6, 12, 18, 24, 30, 36, 42]);
    }
}
