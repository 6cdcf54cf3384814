//! Works a recipe out on a schedule.

use crate::error::{Error, Result};
use crate::grid::times::{self, MAX_STEPS, TimeGrid};
use crate::grid::{Grid, Last, Resolution, Rule, index, piadm, sigmas};
use crate::schedule::{Level, NoiseSchedule};

impl Grid {
    /// The times, for a network trained on a range of them.
    pub(crate) fn resolve(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<TimeGrid> {
        let mut times = self.points(schedule, trained)?;
        if self.last == Last::InPlace {
            times.pop();
        }
        if self.shift != 1.0 {
            self.move_by_shift(&mut times, schedule)?;
        }
        for _ in 0..usize::from(self.last != Last::Spaced) + usize::from(self.then_data) {
            if times.is_empty() {
                return Err(times::length_error(0));
            }
            times::check_within(&times, schedule)?;
            times.push(times::data_time(schedule)?);
        }
        let grid = TimeGrid::new(times)?;
        times::check_within(grid.times(), schedule)?;
        Ok(grid)
    }

    /// The spaced times.
    fn points(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<Vec<f64>> {
        let steps = self.spaced_steps(schedule)?;
        if let (Some(ends), false) = (self.ends, self.rule.has_free_ends()) {
            return Err(Error::Unsupported {
                what: "Grid::between",
                with: format!("{ends:?} on a grid with ends of its own"),
                instead: "leave it out, or take Grid::uniform, Grid::log_snr, Grid::sigmas or Grid::piadm",
            });
        }
        let counted = self.rule.steps().is_some();
        match self.rule {
            Rule::Times(ref times) => Ok(times.clone()),
            Rule::Ratios(ref ratios) => sigmas::given(schedule, ratios),
            _ if counted && steps == 0 && self.rule.has_free_ends() => self.noisy_end(schedule, trained),
            Rule::Uniform { .. } => times::uniform(self.ends(schedule, trained)?, steps),
            Rule::LinearQuadratic { threshold, .. } => {
                times::linear_quadratic(self.ends(schedule, trained)?, threshold, steps)
            }
            Rule::Sigmas { spacing, sigmas, .. } => {
                let ends = match sigmas {
                    Some(sigmas) => sigmas::Ends::of_sigmas(schedule, sigmas, steps)?,
                    None => sigmas::Ends::of_times(schedule, self.ends(schedule, trained)?, steps)?,
                };
                sigmas::spaced(schedule, ends, spacing, steps)
            }
            Rule::AlignYourSteps { model, .. } => sigmas::given(schedule, &model.sigmas(steps)),
            Rule::Piadm { h, resolution } => {
                let ends = match self.ends {
                    Some(ends) => ends,
                    None => {
                        let (t_max, t_min) = self.ends(schedule, trained)?;
                        (Level::at(schedule, t_max).ou_time(), Level::at(schedule, t_min).ou_time())
                    }
                };
                let resolution = match resolution {
                    Resolution::Steps(_) => Resolution::Steps(steps),
                    step => step,
                };
                piadm::times(schedule, ends, h, resolution)
            }
            Rule::Table { spacing, .. } => index::entries(table(schedule)?, spacing, steps),
            Rule::Levels { interpolation, .. } => Ok(index::levels(schedule, table(schedule)?, interpolation, steps)),
            Rule::BetaTable { alpha, beta, .. } => index::beta(table(schedule)?, (alpha, beta), steps),
        }
    }

    /// How many steps the rule spaces; none where the data follow a single time, or where it does not count them.
    fn spaced_steps(&self, schedule: &dyn NoiseSchedule) -> Result<usize> {
        let Some(given) = self.rule.steps() else { return Ok(0) };
        let (least, most) = match (self.then_data, self.last) {
            (true, Last::Spaced) => (0, MAX_STEPS - 1),
            _ => (1, MAX_STEPS),
        };
        if !(least..=most).contains(&given) {
            return Err(Error::setting("steps", given, "1 to 2^24 steps, a last one to the data included"));
        }
        let steps = given - usize::from(self.last == Last::Data);
        let of_entries = matches!(self.rule, Rule::Table { .. } | Rule::BetaTable { .. });
        if of_entries && steps >= table(schedule)? {
            return Err(Error::setting("steps", given, index::DISTINCT));
        }
        Ok(steps)
    }

    /// Multiplies the noise-to-signal ratio of every time by the shift.
    fn move_by_shift(&self, times: &mut [f64], schedule: &dyn NoiseSchedule) -> Result<()> {
        times::check_positive("shift", self.shift)?;
        times::check_within(times, schedule)?;
        for time in times {
            let lambda = schedule.log_snr(*time) - self.shift.ln();
            // nothing is noisier than pure noise
            if lambda != f64::NEG_INFINITY {
                times::check_reach(schedule, "shift", self.shift, lambda, times::END_SLACK)?;
            }
            *time = schedule.time_of_log_snr(lambda);
        }
        Ok(())
    }

    /// The ends that were given, or those of the schedule and the network.
    fn ends(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<(f64, f64)> {
        if let Some(ends) = self.ends {
            return Ok(ends);
        }
        let (first, last) = schedule.range();
        let first = if schedule.table().is_some() { 0.0 } else { first };
        let (least, most) = trained.unwrap_or((first, last));
        Ok((self.own_end("t_max", last.min(most), schedule)?, self.own_end("t_min", first.max(least), schedule)?))
    }

    /// The noisy end alone.
    fn noisy_end(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<Vec<f64>> {
        let most = trained.map_or(f64::INFINITY, |(_, most)| most);
        match (self.ends, &self.rule) {
            (None, _) => Ok(vec![self.own_end("t_max", schedule.range().1.min(most), schedule)?]),
            (Some((t_max, t_min)), rule) => {
                times::check_ends(t_max, t_min)?;
                let piadm = matches!(rule, Rule::Piadm { .. });
                Ok(vec![if piadm { piadm::noisy_end(schedule, t_max)? } else { t_max }])
            }
        }
    }

    /// An end that nobody has set: it must be one that a grid can have, and leave room for a last step to the data.
    fn own_end(&self, end: &'static str, time: f64, schedule: &dyn NoiseSchedule) -> Result<f64> {
        let in_time = matches!(self.rule, Rule::Uniform { .. } | Rule::LinearQuadratic { .. });
        let has_log_snr = in_time || schedule.log_snr(time).is_finite();
        let is_data = self.then_data && end == "t_min" && schedule.sigma(time) == 0.0;
        if time.is_finite() && has_log_snr && !is_data { Ok(time) } else { Err(Error::GridEnd { end, time }) }
    }
}

impl Rule {
    /// The number of steps, where it is given.
    pub(super) fn steps(&self) -> Option<usize> {
        match *self {
            Rule::Uniform { steps }
            | Rule::LinearQuadratic { steps, .. }
            | Rule::Sigmas { steps, .. }
            | Rule::AlignYourSteps { steps, .. }
            | Rule::Piadm { resolution: Resolution::Steps(steps), .. }
            | Rule::Table { steps, .. }
            | Rule::Levels { steps, .. }
            | Rule::BetaTable { steps, .. } => Some(steps),
            Rule::Times(_) | Rule::Ratios(_) | Rule::Piadm { .. } => None,
        }
    }

    /// Whether the ends are not part of the rule.
    pub(super) fn has_free_ends(&self) -> bool {
        match self {
            Rule::Uniform { .. } | Rule::LinearQuadratic { .. } | Rule::Piadm { .. } => true,
            Rule::Sigmas { sigmas, .. } => sigmas.is_none(),
            _ => false,
        }
    }
}

/// Number of entries of the schedule's table.
fn table(schedule: &dyn NoiseSchedule) -> Result<usize> {
    match schedule.table() {
        Some(n) if (1..=MAX_STEPS).contains(&n) => Ok(n),
        Some(n) => Err(Error::setting("schedule.table()", n, "1 to 2^24 entries")),
        None => Err(Error::Unsupported {
            what: "a grid of table entries",
            with: format!("{schedule:?}"),
            instead: "take a schedule with a table (Discrete), or another grid",
        }),
    }
}
