//! Optimised noise levels of published models.

use crate::grid::{Grid, Last, Rule};
use crate::names::names;

/// A model for which Align Your Steps has optimised the noise levels of ten steps (Sabour et al., arXiv 2404.14507,
/// table 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AlignYourSteps {
    /// Stable Diffusion 1.5.
    StableDiffusion,
    /// Stable Diffusion XL.
    StableDiffusionXl,
    /// DeepFloyd-IF, stage 1.
    DeepFloydIf,
    /// Stable Video Diffusion.
    StableVideoDiffusion,
}

names! { AlignYourSteps, "model of Align Your Steps";
    StableDiffusion = "stable_diffusion", StableDiffusionXl = "stable_diffusion_xl",
    DeepFloydIf = "deep_floyd_if", StableVideoDiffusion = "stable_video_diffusion",
}

impl AlignYourSteps {
    /// The published levels, from the noise down.
    fn table(self) -> [f64; 11] {
        match self {
            Self::StableDiffusion => [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
            Self::StableDiffusionXl => [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
            Self::DeepFloydIf => [160.41, 8.081, 3.315, 1.885, 1.207, 0.785, 0.553, 0.293, 0.186, 0.030, 0.006],
            Self::StableVideoDiffusion => {
                [700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002]
            }
        }
    }

    /// `steps` + 1 of them: those of the table, or between them linear in their logarithm.
    pub(super) fn sigmas(self, steps: usize) -> Vec<f64> {
        let table = self.table();
        let last = table.len() - 1;
        let at = |i: usize| {
            // exact as integers: a level of the table is hit exactly
            let (below, part) = (i * last / steps.max(1), i * last % steps.max(1));
            match table.get(below + 1).filter(|_| part > 0) {
                Some(next) => {
                    let part = part as f64 / steps as f64;
                    ((1.0 - part) * table[below].ln() + part * next.ln()).exp()
                }
                None => table[below],
            }
        };
        (0..=steps).map(at).collect()
    }
}

impl Grid {
    /// The noise levels of Align Your Steps, sigma/alpha, of which the last gives way to the data. For other numbers of
    /// steps than ten, the published levels are interpolated linearly in log sigma, as the authors do it.
    ///
    /// The sigmas are those of diffusers' `AysSchedules` and of ComfyUI's `AlignYourStepsScheduler`, up to the digits
    /// to which they are printed.
    ///
    /// ```
    /// use piadm::{grid::AlignYourSteps, schedule::{Discrete, Edm}, Grid};
    ///
    /// let grid = Grid::align_your_steps(10, AlignYourSteps::StableDiffusion);
    /// assert_eq!(grid.times(&Edm)?[..3], [14.615, 6.475, 3.861]);
    /// // the timesteps that are published with them begin 999, 850, 736
    /// let times = grid.times(&Discrete::stable_diffusion())?;
    /// assert_eq!(times[..3].iter().map(|t| t.round()).collect::<Vec<_>>(), [999.0, 850.0, 736.0]);
    /// assert_eq!((times.len(), times[10]), (11, -1.0));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn align_your_steps(steps: usize, model: AlignYourSteps) -> Self {
        Grid { last: Last::InPlace, ..Grid::of(Rule::AlignYourSteps { steps, model }) }
    }
}
