//! Grids of rectified flows, shifted towards the noise.

use crate::grid::{Grid, Rule, scheduler::to_data};

impl Grid {
    /// Multiplies the noise-to-signal ratio sigma/alpha of every time by `shift` after they have been spaced; the data
    /// at the end stay. On [`Flow`](crate::schedule::Flow) that is t' = s t / (1 + (s - 1) t), the shift of
    /// Stable Diffusion 3 (Esser et al., arXiv 2403.03206, equation 23), and s = e^mu is that of Flux.
    ///
    /// A shift above 1 leaves the range of a table; one that the schedule does not reach is an error when the times are
    /// worked out, as is one that is not a finite number above 0.
    ///
    /// ```
    /// use piadm::{schedule::Flow, Grid};
    ///
    /// let times = Grid::uniform(4).shift(3.0).times(&Flow)?;
    /// assert!(times.iter().zip([1.0, 0.9, 0.75, 0.5, 0.0]).all(|(t, expected)| (t - expected).abs() < 1e-15));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    #[must_use]
    pub fn shift(mut self, shift: f64) -> Self {
        self.shift = shift;
        self
    }

    /// The timesteps of `FlowMatchEulerDiscreteScheduler` as `set_timesteps(n)` makes them, over 1000 training steps
    /// and with a fixed `shift` (3 for Stable Diffusion 3): `n` times in equal steps from 1 to the scheduler's
    /// smallest, which is 1/1000 shifted, all of them shifted, and then the data.
    ///
    /// The smallest is shifted twice, as it is there. Pipelines that give sigmas of their own, such as Flux', skip
    /// this: [`flux_timesteps`](Self::flux_timesteps).
    ///
    /// ```
    /// use piadm::{schedule::Flow, Grid};
    ///
    /// let times = Grid::flow_match_timesteps(4, 3.0).times(&Flow)?;
    /// assert_eq!((times[0], times[4]), (1.0, 0.0));
    /// assert!((times[3] - 0.00893).abs() < 1e-5);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn flow_match_timesteps(n: usize, shift: f64) -> Self {
        to_data(Rule::Uniform { steps: n }).between(1.0, shift / (1000.0 + (shift - 1.0))).shift(shift)
    }

    /// The timesteps of Flux for an image of `tokens` tokens (width x height / 256 for images in pixels): equal steps
    /// from 1 to the data, shifted by e^mu with mu = 0.5 at 256 tokens and 1.15 at 4096, linear between and beyond
    /// (`base_shift`, `max_shift` of `FlowMatchEulerDiscreteScheduler` with `use_dynamic_shifting`).
    ///
    /// ```
    /// use piadm::{schedule::Flow, Grid};
    ///
    /// // 1024 x 1024 pixels
    /// let times = Grid::flux_timesteps(4, 4096).times(&Flow)?;
    /// let s = 1.15f64.exp();
    /// assert!((times[2] - s / (s + 1.0)).abs() < 1e-15); // of t = 1/2
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn flux_timesteps(n: usize, tokens: usize) -> Self {
        let mu = 0.5 + (1.15 - 0.5) / (4096.0 - 256.0) * (tokens as f64 - 256.0);
        Self::uniform(n).shift(mu.exp())
    }
}
