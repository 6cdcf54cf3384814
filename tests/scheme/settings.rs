//! Settings outside their range, grids outside the schedule, runs from inside a grid.

use crate::common::push;
use crate::oracle::{
    MODES, data_form, exponential, normals, oracle, other_forms, row, run, schedules, sde_two_m, starts,
};
use ndarray::Array2;
use piadm::{
    Cpu, Error, Flow, Grid, Nodes, NoiseSchedule, Ou, Prediction, Problem, Sampler, Save, Scheme, Sequential,
    nodes::{DdpmVariance, Form},
    schedule::Level,
};

fn refused(scheme: Scheme) -> (&'static str, String) {
    let grid = Grid::uniform(4).between(2.0, 1.0);
    match Nodes::new(&Ou, &grid, &scheme, Prediction::Data) {
        Err(Error::Setting { name, value, .. }) => (name, value),
        other => panic!("{scheme:?}: {other:?}"),
    }
}

#[test]
fn noise_levels_have_ranges() {
    for bad in [-1e-9, 1.0 + 1e-9, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let value = bad.to_string();
        for form in [Form::Score, Form::Noise, Form::Data] {
            assert_eq!(refused(exponential(form, bad)), ("stochasticity", value.clone()));
        }
        let euler = Scheme::EulerMaruyama { stochasticity: bad };
        assert_eq!(refused(euler), ("stochasticity", value.clone()));
        assert_eq!(refused(Scheme::Ddim { eta: bad }), ("eta", value));
    }
    for bad in [-1e-9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for scheme in [Scheme::SdeDpmSolverPp1 { eta: bad }, sde_two_m(bad, false)] {
            assert_eq!(refused(scheme), ("eta", bad.to_string()));
        }
    }
}

#[test]
fn grids_outside_the_schedule_are_refused() {
    let grid = Grid::uniform(4).between(1.5, 0.5);
    match Nodes::new(&Flow, &grid, &Scheme::default(), Prediction::Data) {
        Err(Error::GridRange { index: 0, time, max, .. }) => assert_eq!((time, max), (1.5, 1.0)),
        other => panic!("{other:?}"),
    }
}

/// Times closer than the rounding of the log-SNR have no step between them, and a schedule whose log-SNR falls towards
/// the data is none. Either is refused by name, not by numbers that are not finite.
#[test]
fn steps_without_length_are_refused() {
    let refused = |schedule: &dyn NoiseSchedule, times: &[f64]| {
        let grid = Grid::new(times);
        for scheme in data_form().into_iter().chain(other_forms()) {
            let list = Nodes::new(schedule, &grid, &scheme, Prediction::Noise);
            assert!(matches!(list, Err(Error::Setting { name: "log-SNR step", .. })), "{list:?}");
        }
    };
    assert_eq!(Ou.log_snr(1e-3), Ou.log_snr(1e-3f64.next_down()));
    refused(&Ou, &[2.0, 1.0, 1e-3, 1e-3f64.next_down()]);
    refused(&Backwards, &[0.9, 0.5]);
}

/// Not a schedule: it gets noisier towards t = 0.
#[derive(Debug)]
struct Backwards;

impl NoiseSchedule for Backwards {
    fn log_alpha(&self, _t: f64) -> f64 {
        0.0
    }
    fn sigma(&self, t: f64) -> f64 {
        1.0 - t
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        1.0 - (-lambda).exp()
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
    fn rates(&self, t: f64) -> (f64, f64) {
        (0.0, -2.0 * (1.0 - t))
    }
}

fn one_step() -> impl Iterator<Item = Scheme> {
    let all = data_form().into_iter().chain(other_forms());
    all.filter(|s| !matches!(s, Scheme::DpmSolverPp2M { .. } | Scheme::SdeDpmSolverPp2M { .. } | Scheme::Heun {}))
}

/// A list from inside a grid is the tail of the whole one and keeps the numbers of its steps.
#[test]
fn a_list_from_a_later_step_is_the_tail() {
    for (schedule, grid) in schedules() {
        let steps = grid.times(&schedule).unwrap().len() - 1;
        for scheme in one_step() {
            let kind = Prediction::Velocity;
            let whole = Nodes::new(&*schedule, &grid, &scheme, kind).unwrap();
            for first in [0, 1, 7, steps - 1] {
                let tail = Nodes::for_steps(&*schedule, &grid, &scheme, kind, first..steps).unwrap();
                assert_eq!(tail.nodes().len(), steps - first + 1);
                assert_eq!((tail.first_step(), tail.last_step()), (first, steps));
                assert_eq!(tail.steps(), steps - first);
                for j in 1..tail.nodes().len() {
                    assert_eq!(tail.nodes()[j], whole.nodes()[first + j]);
                    assert_eq!(row(&tail, j), row(&whole, first + j));
                }
            }
        }
    }
}

/// A multistep scheme has no past at its start; only its first node differs.
#[test]
fn a_multistep_list_restarts_with_first_order() {
    let grid = Grid::log_snr(10).between(4.0, 0.1);
    let scheme = sde_two_m(1.0, false);
    let from = |first| Nodes::for_steps(&Ou, &grid, &scheme, Prediction::Noise, first..10).unwrap();
    let (whole, tail) = (from(0), from(4));
    assert_eq!(tail.b(1, 2, 0, 0), 0.0);
    assert_ne!(row(&tail, 1), row(&whole, 5));
    for j in 2..=6 {
        assert_eq!(row(&tail, j), row(&whole, 4 + j));
        assert_eq!(tail.b(j, 2, 0, 0), whole.b(4 + j, 2, 0, 0));
    }
}

#[test]
fn a_start_must_leave_a_step() {
    let grid = Grid::uniform(4).between(2.0, 1.0);
    for first in [4, 5, usize::MAX] {
        let list = Nodes::for_steps(&Ou, &grid, &Scheme::default(), Prediction::Data, first..4);
        assert!(matches!(list, Err(Error::Setting { name: "start step", .. })));
    }
}

/// Going on from a saved state gives the same samples to the bit: the noise goes with the step's number, whether it is
/// given or addressed.
#[test]
fn a_run_can_be_taken_up_in_the_middle() {
    let (schedule, first) = (Ou, 5);
    let grid = Grid::log_snr(12).between(4.0, 0.1);
    let bits = |x: &Array2<f64>| x.mapv(f64::to_bits);
    for scheme in one_step() {
        let (x, noise) = (starts(3, 1.0), normals(12, 3));
        let mut score = oracle(Prediction::Noise, MODES);
        let whole = run(&schedule, &grid, &scheme, &mut score, &x, &noise);
        let middle = whole.path.at(first).unwrap().to_owned();
        let problem = || Problem::on(Cpu::<f64>::new(), schedule, grid.clone(), scheme.clone()).samples(3).shape([1]);
        let given = problem().noise(noise.clone()).init_at(first, middle.clone());
        let rest = Sequential.sample(&given, &mut score).unwrap();
        assert_eq!(bits(&rest.samples), bits(&whole.samples), "{scheme:?}");

        let addressed = problem().seed(3).save(Save::Steps(vec![first]));
        let whole = Sequential.sample(&addressed, &mut score).unwrap();
        let middle = whole.path.at(first).unwrap().to_owned();
        let rest = problem().seed(3).init_at(first, middle.clone());
        let rest = Sequential.sample(&rest, &mut score).unwrap();
        assert_eq!(bits(&rest.samples), bits(&whole.samples), "{scheme:?}");
    }
}

/// The Ornstein-Uhlenbeck time of a level is that of the same signal-to-noise ratio.
#[test]
fn levels_know_their_ornstein_uhlenbeck_time() {
    for t in [1e-12, 0.3, 2.0, 5.0, 30.0, 45.0, 600.0] {
        let found = Level::at(&Ou, t).ou_time();
        assert!((found / t - 1.0).abs() < 1e-14 * (1.0 + Ou.log_snr(t).abs()), "{found} at {t}");
    }
    assert_eq!(Level::at(&Flow, 1.0).ou_time(), f64::INFINITY);
    assert_eq!(Level::at(&Flow, 0.0).ou_time(), 0.0);
}

/// The yardstick of a node is the standard deviation of DDPM's posterior over its step, stages included.
#[test]
fn nodes_know_the_posterior() {
    for (schedule, grid) in schedules() {
        let ddpm = Scheme::Ddpm { variance: DdpmVariance::Small };
        let new = |s: &Scheme| Nodes::new(&*schedule, &grid, s, Prediction::Data).unwrap();
        let (ddpm, heun) = (new(&ddpm), new(&Scheme::Heun {}));
        for node in heun.nodes() {
            assert_eq!(node.posterior_std, ddpm.nodes()[node.step].posterior_std);
        }
        for (j, node) in ddpm.nodes().iter().enumerate() {
            assert!((node.posterior_std - ddpm.c(j, 0, 0)).abs() < 1e-15 * node.posterior_std.max(1e-300));
        }
        // A list of one's own knows it as well.
        let level = |m: usize| ddpm.nodes()[m].level;
        let mut own = Nodes::empty(level(0));
        push(&mut own, level(1), true, (&[1.0], &[0.0], &[0.0])).unwrap();
        assert_eq!(own.nodes()[1].posterior_std, ddpm.nodes()[1].posterior_std);
    }
}
