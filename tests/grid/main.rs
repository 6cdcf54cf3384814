//! Time grids: numbers computed independently (numpy, mpmath), properties of the builders, and refusals.

mod ends;
mod peers;
mod refusals;
mod sigmas;
#[cfg(feature = "serde")]
mod written;

use piadm::grid::{Grid, MAX_STEPS, Resolution, Spacing};
use piadm::schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};
use piadm::{Error, Model, Prediction, Problem, Scheme};
use std::sync::Arc;

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= relative * b.abs(), "point {i}: {a:e} instead of {b:e}");
    }
}

/// A uniform, a log-SNR and a PIADM grid for each schedule, with its ends.
fn schedules() -> [(Box<dyn NoiseSchedule>, f64, f64); 7] {
    [
        (Box::new(Ou), 8.0, 1e-3),
        (Box::new(VpLinear::default()), 1.0, 1e-5),
        (Box::new(VpCosine::default()), 0.9946, 1e-3),
        (Box::new(Discrete::linear(1000, 1e-4, 0.02).unwrap()), 999.0, 0.0),
        (Box::new(Ve), 6400.0, 4e-6),
        (Box::new(Edm), 80.0, 0.002),
        (Box::new(Flow), 0.999, 0.001),
    ]
}

/// Variance exploding with sigma = e^t, on a range of one's choice.
#[derive(Debug)]
struct Line(f64, f64);

const EVERYWHERE: Line = Line(f64::NEG_INFINITY, f64::INFINITY);

impl NoiseSchedule for Line {
    fn log_alpha(&self, _t: f64) -> f64 {
        0.0
    }
    fn sigma(&self, t: f64) -> f64 {
        t.exp()
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        (-lambda).clamp(self.0, self.1)
    }
    fn range(&self) -> (f64, f64) {
        (self.0, self.1)
    }
    fn rates(&self, t: f64) -> (f64, f64) {
        (0.0, 2.0 * (2.0 * t).exp())
    }
}

const SPACINGS: [Spacing; 3] = [Spacing::Leading { offset: 0 }, Spacing::Trailing, Spacing::Linspace];

/// The first `n` entries of a cosine table of 1000.
fn table_of(n: usize) -> Discrete {
    Discrete::new(&Discrete::cosine(1000).unwrap().alphas_cumprod()[..n]).unwrap()
}

#[track_caller]
fn times(grid: Grid, schedule: &dyn NoiseSchedule) -> Vec<f64> {
    grid.times(schedule).unwrap()
}

#[track_caller]
fn refused(result: piadm::Result<Vec<f64>>, setting: &str) {
    match result {
        Err(Error::Setting { name, .. }) => assert_eq!(name, setting),
        other => panic!("{other:?} instead of a refusal of {setting}"),
    }
}

/// A refusal of the number that the user gave.
#[track_caller]
fn refused_number(result: piadm::Result<Vec<f64>>, setting: &str, number: usize) {
    match result {
        Err(Error::Setting { name, value, .. }) => assert_eq!((name, value), (setting, number.to_string())),
        other => panic!("{other:?} instead of a refusal of {setting} = {number}"),
    }
}

#[test]
fn uniform_steps_are_equal() {
    let found = times(Grid::uniform(7).between(3.0, -1.0), &EVERYWHERE);
    let expected: Vec<f64> = (0..8).map(|i| 3.0 - 4.0 * f64::from(i) / 7.0).collect();
    assert_eq!(found.len() - 1, 7);
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-15);
    }
    assert_eq!(times(Grid::uniform(1).between(0.3, 0.1), &EVERYWHERE), [0.3, 0.1]);
    // Ends of opposite sign whose distance is no f64.
    let wide = times(Grid::uniform(2).between(f64::MAX, f64::MIN), &EVERYWHERE);
    assert_eq!(wide, [f64::MAX, 0.0, f64::MIN]);
}

#[test]
fn log_snr_steps_are_equal() {
    for (schedule, t_max, t_min) in schedules() {
        let found = times(Grid::log_snr(50).between(t_max, t_min), &*schedule);
        assert_eq!(found.len() - 1, 50);
        assert_eq!((found[0], found[50]), (t_max, t_min));
        let lambda: Vec<f64> = found.iter().map(|&t| schedule.log_snr(t)).collect();
        let h = (lambda[50] - lambda[0]) / 50.0;
        for pair in lambda.windows(2) {
            assert!((pair[1] - pair[0] - h).abs() < 1e-12, "{schedule:?}");
        }
    }
    // The middle of [1e-3, 1] in log-SNR, by mpmath.
    let middle = times(Grid::log_snr(2).between(1.0, 1e-3), &VpLinear::default())[1];
    assert_close(&[middle], &[0.30463140976877486], 1e-14);
}

#[test]
fn karras_is_the_published_formula() {
    // (80^(1/7) + i/5 (0.002^(1/7) - 80^(1/7)))^7, by mpmath.
    let expected = [80.0, 24.40834178658011, 5.838947631011887, 0.9654169263318948, 0.08508720268939023, 0.002];
    let grid = Grid::karras(5, 0.002, 80.0, 7.0);
    let found = times(grid.clone(), &Edm);
    assert_close(&found, &expected, 1e-14);
    assert_eq!((found[0], found[5]), (80.0, 0.002));
    // The same ratios sigma/alpha for other schedules; Ve has sigma^2 for time.
    let squares = expected.map(|ratio| ratio * ratio);
    assert_close(&times(grid.clone(), &Ve), &squares, 1e-14);
    for schedule in [&Ou as &dyn NoiseSchedule, &VpLinear::default(), &Flow] {
        let ratios: Vec<f64> = times(grid.clone(), schedule).iter().map(|&t| (-schedule.log_snr(t)).exp()).collect();
        assert_close(&ratios, &expected, 1e-12);
    }
    // rho = 1 is uniform in sigma, rho to infinity geometric; neither extreme overflows.
    assert_close(&times(Grid::karras(3, 1.0, 4.0, 1.0), &Edm), &[4.0, 3.0, 2.0, 1.0], 1e-15);
    assert_close(&times(Grid::karras(3, 1.0, 8.0, 1e300), &Edm), &[8.0, 4.0, 2.0, 1.0], 1e-15);
    let steep = times(Grid::karras(2, 1.0, 4.0, 1e-3), &Edm);
    assert_close(&steep, &[4.0, 4.0 * 0.5f64.powf(1e-3), 1.0], 1e-15);
}

#[test]
fn karras_reaches_the_ends_of_a_table() {
    // The extreme sigmas as somebody computes them in f32 from the table.
    let table = Discrete::scaled_linear(1000, 0.00085, 0.012).unwrap();
    let sigma = |k: usize| {
        let a = table.alphas_cumprod()[k] as f32;
        f64::from(((1.0 - a) / a).sqrt())
    };
    let found = times(Grid::karras(20, sigma(0), sigma(999), 7.0), &table);
    assert!((found[0] - 999.0).abs() < 1e-3 && found[20].abs() < 1e-3);
    // Within a millionth above the end it is the end, beyond it is an error.
    let top = table.sigma(999.0) / table.alpha(999.0);
    let found = times(Grid::karras(20, 0.1, top * (1.0 + 5e-7), 7.0), &table);
    assert_eq!(found[0], 999.0);
    refused(Grid::karras(20, 0.1, 14.7, 7.0).times(&table), "sigma_max");
}

#[test]
fn piadm_cuts_blocks_and_shrinks_steps() {
    let (t_max, t_min, eps) = (4.3, 0.01, 0.1);
    let times = times(Grid::piadm(1.0, Resolution::Step(eps)).between(t_max, t_min), &Ou);
    // Clock lengths: 1, 1, 1, 0.3 + log(1/0.3) = 1.504 and log 30 = 3.401.
    assert_eq!(times.len() - 1, 10 + 10 + 10 + 16 + 35);
    for (index, end) in [(0, 4.3), (10, 3.3), (20, 2.3), (30, 1.3), (46, 0.3), (81, 0.01)] {
        assert!((times[index] - end).abs() < 1e-15, "block end {end}");
    }
    assert_eq!((times[0], times[81]), (t_max, t_min));
    for (i, pair) in times.windows(2).enumerate() {
        let step = pair[0] - pair[1];
        // Never longer than e min(1, t): below 1 the clock is log t, and 1 - e^{-e} < e.
        assert!(step <= eps * pair[0].min(1.0) * (1.0 + 1e-12), "step {i}");
        if i >= 46 {
            assert!(((pair[0] / pair[1]).ln() - 30f64.ln() / 35.0).abs() < 1e-13, "geometric at {i}");
        }
    }
}

#[test]
fn piadm_spends_a_given_number_of_steps() {
    // Seven blocks of 6.5 -> 0.01; counts and times from an independent numpy version.
    let spend = |n: usize| times(Grid::piadm(1.0, Resolution::Steps(n)).between(6.5, 0.01), &Ou);
    let found = spend(40);
    let picked: Vec<f64> = [1, 15, 20, 25, 30, 39].iter().map(|&i| found[i]).collect();
    let expected = [6.25, 2.75, 1.5, 0.5, 0.13572088082974537, 0.01297970036552327];
    assert_eq!(found.len() - 1, 40);
    assert_close(&picked, &expected, 1e-14);
    // One step for each block, although the last has most of the clock.
    assert_eq!(spend(7), [6.5, 5.5, 4.5, 3.5, 2.5, 1.5, 0.5, 0.01]);
    // Any number from the number of blocks on is hit exactly.
    for n in 7..200 {
        let found = spend(n);
        assert_eq!(found.len() - 1, n);
        for end in [5.5, 4.5, 3.5, 2.5, 1.5, 0.5] {
            assert!(found.contains(&end), "{n} steps, block end {end}");
        }
    }
}

#[test]
fn piadm_ignores_rounding_in_block_and_step_counts() {
    // 0.3 / 0.1 and 0.7 / 0.1 are not integers in f64.
    for (t_max, t_min, blocks) in [(1.3, 1.0, 3), (1.7, 1.0, 7), (2.1, 2.0, 1)] {
        let coarse = times(Grid::piadm(0.1, Resolution::Step(1.0)).between(t_max, t_min), &Ou);
        assert_eq!(coarse.len() - 1, blocks);
        let fine = times(Grid::piadm(0.1, Resolution::Step(0.01)).between(t_max, t_min), &Ou);
        assert_eq!(fine.len() - 1, 10 * blocks);
    }
    // A block longer than the grid is one block.
    let one = times(Grid::piadm(100.0, Resolution::Steps(4)).between(3.0, 2.0), &Ou);
    assert_eq!(one, [3.0, 2.75, 2.5, 2.25, 2.0]);
}

#[test]
fn piadm_has_the_same_noise_levels_for_every_schedule() {
    let grid = Grid::piadm(1.0, Resolution::Step(0.2)).between(5.0, 0.05);
    let reference = times(grid.clone(), &Ou);
    for (schedule, ..) in schedules() {
        let found = times(grid.clone(), &*schedule);
        assert_eq!(found.len(), reference.len());
        for (&t, &tau) in found.iter().zip(&reference) {
            let error = schedule.log_snr(t) - Ou.log_snr(tau);
            assert!(error.abs() < 1e-12, "{schedule:?} {t} {tau}");
        }
    }
    assert_eq!(grid.times(&Flow).unwrap().len(), reference.len());
}

#[test]
fn index_spacings_are_those_of_diffusers() {
    // numpy: arange(0, n) * (N // n) + 1; round(arange(N, 0, -N/n)) - 1; round(linspace(0, N-1, n)).
    let table = Discrete::cosine(1000).unwrap();
    let check = |steps: usize, spacing: Spacing, first: [f64; 5], last: [f64; 3], sum: f64| {
        let times = times(Grid::table(steps, spacing), &table);
        assert_eq!(times[..5], first);
        assert_eq!(times[times.len() - 3..], last);
        assert_eq!(times.iter().sum::<f64>(), sum);
    };
    let first = [941.0, 921.0, 901.0, 881.0, 861.0];
    check(47, Spacing::Leading { offset: 1 }, first, [41.0, 21.0, 1.0], 22608.0);
    // N/n = 20.83..: 937.5 goes to 937 in f64, as it does in numpy.
    let first = [999.0, 978.0, 957.0, 936.0, 916.0];
    check(47, Spacing::Trailing, first, [61.0, 41.0, 20.0], 24448.0);
    let first = [999.0, 979.0, 959.0, 939.0, 919.0];
    check(49, Spacing::Trailing, first, [59.0, 39.0, 19.0], 25450.0);
    let first = [999.0, 978.0, 956.0, 935.0, 914.0];
    check(47, Spacing::Linspace, first, [43.0, 21.0, 0.0], 23976.0);
    // Halves go to even: 832.5 and 499.5 and 166.5.
    let halves = times(Grid::table(6, Spacing::Linspace), &table);
    assert_eq!(halves, [999.0, 832.0, 666.0, 500.0, 333.0, 166.0, 0.0]);
    let halves = times(Grid::table(15, Spacing::Trailing), &table);
    assert_eq!(halves[..6], [999.0, 937.0, 874.0, 811.0, 749.0, 687.0]);
    // All indices of the table.
    let all: Vec<f64> = (0..50).rev().map(f64::from).collect();
    for spacing in SPACINGS {
        assert_eq!(times(Grid::table(49, spacing), &table_of(50)), all);
    }
    for steps in 1..1000 {
        for spacing in SPACINGS {
            assert_eq!(times(Grid::table(steps, spacing), &table).len() - 1, steps);
        }
    }
}
