//! The corrector of PIADM-ODE: Langevin steps between the blocks of a scheme.

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::grid::times::TimeGrid;
use crate::nodes::builder::Assembler;
use crate::nodes::langevin::Langevin;
use crate::nodes::list::Nodes;
use crate::nodes::scheme::Scheme;
use crate::nodes::window::{Extent, Window};
use crate::schedule::{Level, NoiseSchedule};
use crate::score::Prediction;
use crate::setters::setters;
use std::ops::Range;

/// A Langevin correction in units of the noise level: at sigma the friction is `friction`/sigma and a step lasts
/// `step` sigma, because the slope of the score is at most 1/sigma^2.
///
/// The orders of the paper (arXiv 2405.15986, theorem 3.5), with L = 1/sigma^2, are friction O(sqrt L), total time
/// O(1/sqrt L), and steps of O(1/sqrt d) of that time. Set it on a problem with
/// [`Problem::correction`](crate::Problem::correction).
///
/// ```
/// use piadm::{nodes::Correction, schedule::Level, Ou};
/// let langevin = Correction::default().at(&Level::at(&Ou, 0.01));
/// assert!((langevin.friction - 2.0 / 0.0998).abs() < 0.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Correction {
    /// gamma sigma; default 2, which is critical damping.
    pub friction: f64,
    /// Step length divided by sigma; default 0.1.
    pub step: f64,
    /// Number of steps per correction; default 10, so that a correction lasts sigma.
    pub steps: usize,
}

impl Default for Correction {
    fn default() -> Self {
        Correction { friction: 2.0, step: 0.1, steps: 10 }
    }
}

setters! { Correction, "Correction::default()";
    friction: f64 = "1.5",
    step: f64 = "0.05",
    steps: usize = "20",
}

impl Correction {
    /// The orders of the paper for `dim` elements: steps of min(0.1, 1/sqrt d) over a time of 1.
    pub fn for_dim(dim: usize) -> Self {
        let steps = (dim as f64).sqrt().max(10.0).ceil();
        Correction { friction: 2.0, step: 1.0 / steps, steps: steps as usize }
    }

    /// The dynamics at this noise level.
    pub fn at(&self, level: &Level) -> Langevin {
        Langevin { friction: self.friction / level.sigma, step: self.step * level.sigma, steps: self.steps }
    }
}

impl Nodes {
    /// The nodes of `scheme` between two grid points ([`for_steps`](Self::for_steps)), cut into blocks of length
    /// `block`. Each block is followed by the steps of a Langevin correction at the level it has reached, unless
    /// that is sigma = 0. With the probability-flow ODE as the scheme, this is PIADM-ODE (arXiv 2405.15986,
    /// algorithms 2 to 4) as a single list.
    ///
    /// The end of a block has one component and is not evaluated. It is followed by a copy with a new velocity and
    /// then by the Langevin nodes. All of these are stages of the block's last step, and the last of them ends that
    /// step. Multistep schemes restart in every block. Corrector steps are numbered through the whole run and have
    /// their own noise streams. The ends of blocks and of corrections are [marked](Self::mark).
    ///
    /// # Errors
    /// As [`for_steps`](Self::for_steps) and [`Langevin::list`]; [`Error::Unsupported`] for a block given in nodes
    /// or marks, which the list does not have yet.
    pub fn corrected(
        schedule: &dyn NoiseSchedule,
        grid: &Grid,
        scheme: &Scheme,
        prediction: Prediction,
        steps: Range<usize>,
        corrected: (Window, &Correction),
    ) -> Result<Self> {
        Self::corrected_on_times(schedule, &grid.resolve(schedule, None)?, scheme, prediction, steps, corrected)
    }

    /// The same on times that have already been resolved on this schedule.
    pub(crate) fn corrected_on_times(
        schedule: &dyn NoiseSchedule,
        grid: &TimeGrid,
        scheme: &Scheme,
        prediction: Prediction,
        steps: Range<usize>,
        (block, correction): (Window, &Correction),
    ) -> Result<Self> {
        if let Window::Nodes { .. } | Window::Grains { .. } | Window::Marked { .. } = block {
            let instead = "take Window::Steps or Window::OuTime";
            return Err(Error::unsupported("a correction", format!("blocks of {block:?}"), instead));
        }
        let plain = Self::on_times(schedule, grid, scheme, prediction, steps.clone())?;
        // checked even if no block ends above sigma = 0
        correction.at(&plain.nodes()[0].level).check(0)?;
        let extent = Extent::new(block, &plain)?;
        let mut list = Assembler::new(plain.nodes()[0].level, steps.start, prediction)?;
        let mut corrections = 0;
        for ends in extent.boundaries().windows(2) {
            let (begin, end) = (plain.nodes()[ends[0]], plain.nodes()[ends[1]]);
            let corrects = end.level.sigma > 0.0;
            scheme.push_steps(&mut list, schedule, grid, begin.step..end.step, corrects)?;
            list.mark();
            if corrects {
                correction.at(&end.level).correct(&mut list, end.level, prediction, corrections)?;
                corrections += correction.steps;
                list.mark();
            }
        }
        Ok(list.finish())
    }
}
