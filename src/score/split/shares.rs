//! How many rows of a call each part gets.

use crate::error::{Error, Result};

/// How the rows of a call are shared among the parts of a [`Split`](crate::score::Split) score.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Shares {
    /// As equal as possible, in proportion to what the parts do at once ([`Model::grain`](crate::Model::grain)); the
    /// first parts get one row more than the last ones.
    #[default]
    Equal,
    /// In proportion to these speeds in rows, one per part.
    Speeds(Vec<f64>),
    /// In proportion to the speeds that were measured in the calls before, equal at first. Which part answers which row
    /// then depends on the clock: with parts that do not agree bit for bit, so do the samples.
    Measured,
    /// A part that is done takes more, in ever smaller shares, until no row is left. It suits parts on the cores of a
    /// busy machine, where nobody knows how long a row will take; every part is called several times, so it costs more
    /// where a call is slow to start. [`Report::evaluations`](crate::Report::evaluations) counts as if shares were
    /// equal. As with `Measured`, the clock decides which part answers which row.
    OnDemand,
}

/// A part as far as sharing is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharer {
    /// Rows per unit of time; 0 for a part that gets none.
    pub speed: f64,
    /// Rows that take it as long as one.
    pub grain: usize,
}

impl Shares {
    pub(super) fn check(&self, parts: usize) -> Result<()> {
        let Shares::Speeds(speeds) = self else { return Ok(()) };
        if speeds.len() != parts {
            return Err(Error::Shape { what: "the speeds of parts", found: vec![speeds.len()], expected: vec![parts] });
        }
        match speeds.iter().find(|speed| !(**speed > 0.0 && speed.is_finite())) {
            Some(wrong) => Err(Error::setting("speeds", wrong, "positive finite numbers")),
            None => Ok(()),
        }
    }
}

/// Shares of `rows` rows that end as early as possible: the next grain always goes to the part that is done with it
/// first, among equal ones to the first. All are 0 if no part has any speed.
pub(super) fn shares(rows: usize, sharers: &[Sharer]) -> Vec<usize> {
    let mut out = vec![0; sharers.len()];
    let total: f64 = sharers.iter().map(|part| part.speed).sum();
    if total <= 0.0 {
        return out;
    }
    // most rows follow from the speeds alone: a part can do this many in the time that all rows take together
    let mut left = rows;
    for (share, part) in out.iter_mut().zip(sharers) {
        let grain = part.grain.max(1);
        *share = ((rows as f64 * (part.speed / total)) as usize / grain * grain).min(left);
        left -= *share;
    }
    while left > 0 {
        let done = |part: usize| (out[part] + sharers[part].grain.max(1)) as f64 / sharers[part].speed;
        let able = (0..sharers.len()).filter(|part| sharers[*part].speed > 0.0);
        let Some(first) = able.min_by(|a, b| done(*a).total_cmp(&done(*b))) else { break };
        let more = sharers[first].grain.max(1).min(left);
        out[first] += more;
        left -= more;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Sharer, shares};

    fn of(rows: usize, parts: &[(f64, usize)]) -> Vec<usize> {
        shares(rows, &parts.iter().map(|&(speed, grain)| Sharer { speed, grain }).collect::<Vec<_>>())
    }

    #[test]
    fn equal_parts() {
        let four = [(1.0, 1); 4];
        assert_eq!(of(8, &four), [2, 2, 2, 2]);
        assert_eq!(of(10, &four), [3, 3, 2, 2]);
        assert_eq!(of(3, &four), [1, 1, 1, 0]);
        assert_eq!(of(0, &four), [0, 0, 0, 0]);
        assert_eq!(of(5, &[(0.3, 1)]), [5]);
    }

    #[test]
    fn unequal_parts_end_together() {
        assert_eq!(of(9, &[(1.0, 1), (2.0, 1)]), [3, 6]);
        assert_eq!(of(10, &[(1.0, 1), (2.0, 1)]), [3, 7]);
        // the slow one would take longer for one row than the fast one for all
        assert_eq!(of(4, &[(1.0, 1), (10.0, 1)]), [0, 4]);
        assert_eq!(of(6, &[(0.0, 1), (2.0, 1), (1.0, 1)]), [0, 4, 2]);
        assert_eq!(of(6, &[(0.0, 1)]), [0]);
    }

    #[test]
    fn grains_stay_whole() {
        assert_eq!(of(12, &[(4.0, 4), (4.0, 4)]), [8, 4]);
        assert_eq!(of(7, &[(4.0, 4), (4.0, 4)]), [4, 3]);
        // seven devices and one: all at once
        assert_eq!(of(8, &[(7.0, 7), (1.0, 1)]), [7, 1]);
        assert_eq!(of(17, &[(16.0, 16), (1.0, 1)]), [16, 1]);
    }

    /// No other shares end earlier.
    #[test]
    fn shares_are_the_best() {
        for seed in 0..200u64 {
            let speed = |k: u64| 0.2 + ((seed * 7 + k * 13) % 11) as f64;
            let speeds = [speed(1), speed(2), speed(3)];
            let rows = (seed % 17) as usize;
            let end = |shares: &[usize]| shares.iter().zip(speeds).map(|(n, v)| *n as f64 / v).fold(0.0, f64::max);
            let found = of(rows, &speeds.map(|v| (v, 1)));
            assert_eq!(found.iter().sum::<usize>(), rows);
            for a in 0..=rows {
                for b in 0..=rows - a {
                    assert!(end(&found) <= end(&[a, b, rows - a - b]) + 1e-12, "{speeds:?}, {rows} rows: {found:?}");
                }
            }
        }
    }
}
