//! What the public face promises: batches however they are put together, ends that the network decides, and errors
//! that name what was asked for.

mod common;

use common::two_modes;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use piadm::prelude::*;
use piadm::score::{EdmPrecondition, Guided};
use piadm::{BoxError, Error, Parareal, Rows};

type P = Problem<Cpu<f32>>;

fn request(steps: usize) -> P {
    Problem::new(Ou, Grid::log_snr(steps).between(6.0, 0.02), Scheme::default()).shape([2])
}

fn run(problem: &P) -> piadm::Result<Array2<f32>> {
    Ok(Picard::default().sample(problem, &mut two_modes::<f32>(Prediction::Noise))?.samples)
}

/// In a batch every request keeps its number of samples: ids and states are shared out in order, and what is too many
/// or too few is an error, whichever comes first.
#[test]
fn a_batch_keeps_its_counts() {
    let batch = || Problem::join([request(10), request(20).samples(2)]).unwrap();
    let states = |n: usize| Array2::from_shape_fn((n, 2), |(i, j)| 0.1 * (i + j) as f32);
    assert_eq!(batch().count(), 3);
    let both = run(&batch().ids(4..7).init(states(3))).unwrap();
    assert_eq!(both, run(&batch().init(states(3)).ids(4..7)).unwrap());
    assert_eq!(both, run(&batch().ids(0..9).ids(4..7).init(states(1)).init(states(3))).unwrap());
    for n in [1, 2, 4, 9] {
        assert!(matches!(run(&batch().init(states(n))), Err(Error::Shape { .. })), "{n} states");
        let ids = run(&batch().ids(0..n as u32));
        assert!(matches!(ids, Err(Error::Unsupported { what: "Problem::ids", .. })), "{n} ids");
    }
    // alone, ids and states say how many there are, and a number that is said too must be theirs
    assert_eq!(run(&request(10).init(states(4))).unwrap().nrows(), 4);
    assert_eq!(run(&request(10).ids([7, 9])).unwrap().nrows(), 2);
    assert_eq!(run(&request(10).init(states(4)).samples(4)).unwrap().nrows(), 4);
    assert!(matches!(run(&request(10).init(states(4)).samples(3)), Err(Error::Shape { .. })));
    assert!(matches!(run(&request(10).samples(3).ids([7, 9])), Err(Error::Unsupported { .. })));
}

#[test]
fn a_problem_needs_a_shape_before_anything_is_made() {
    let bare = Problem::new(Ou, Grid::log_snr(10).between(6.0, 0.02), Scheme::default());
    let shapes: [&[usize]; 4] = [&[], &[3, 0], &[usize::MAX, 2], &[1 << 40]];
    for shape in shapes {
        let problem = bare.clone().shape(shape);
        assert!(matches!(run(&problem), Err(Error::Setting { name: "shape", .. })), "{shape:?}");
        assert!(matches!(problem.coarse(2), Err(Error::Setting { name: "shape", .. })), "{shape:?}");
    }
}

/// A network with a trained range.
struct Trained(f64, f64);

impl Model for Trained {
    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        Some((self.0, self.1))
    }
}

impl ScoreFn<Cpu<f32>> for Trained {
    fn eval(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        assert!(rows.t.iter().all(|t| *t > self.0 * (1.0 - 1e-6) && *t < self.1 * (1.0 + 1e-6)), "{:?}", rows.t);
        out.assign(&(&x * 0.5));
        Ok(())
    }
}

/// A range that is open on one side is one on the other.
#[test]
fn a_network_is_not_asked_outside_its_range() {
    let problem = request(12);
    let outside = Sequential.sample(&problem, &mut Trained(1.0, f64::INFINITY));
    assert!(matches!(outside, Err(Error::TimeRange { time, .. }) if time < 1.0));
    assert!(Sequential.sample(&problem, &mut Trained(0.02, f64::INFINITY)).is_ok());
    let outside = Sequential.sample(&problem, &mut Trained(f64::NEG_INFINITY, 3.0));
    assert!(matches!(outside, Err(Error::TimeRange { time, .. }) if time > 3.0));
}

/// A grid without ends takes them from the network, and so does its coarse form once it is resolved.
#[test]
fn coarse_forms_have_the_ends_of_the_network() {
    let problem = Problem::new(Discrete::stable_diffusion(), Grid::log_snr(12), Scheme::ddim()).shape([2]).seed(3);
    let mut score = Trained(10.0, 900.0);
    let resolved = problem.resolved(&score).unwrap();
    let rough = Sequential.sample(&resolved.coarse(3).unwrap(), &mut score).unwrap();
    let guesses = resolved.refine(&rough.path, 3).unwrap();
    let fine = Picard::default().sample(&resolved.guesses(guesses), &mut score).unwrap();
    let plain = Picard::default().sample(&problem, &mut score).unwrap();
    assert!((&fine.samples - &plain.samples).iter().all(|d| d.abs() < 1e-2));
    assert!(Parareal::default().sample(&problem, &mut score).is_ok());
    // without the network they are those of the table
    let rough = Sequential.sample(&problem.coarse(3).unwrap(), &mut score);
    assert!(matches!(rough, Err(Error::TimeRange { time, .. }) if time == 999.0));
}

#[test]
fn parareal_says_that_it_takes_one_request() {
    let same = Problem::join([request(10), request(10).seed(1)]).unwrap();
    let unlike = Problem::join([request(10), request(20)]).unwrap();
    for batch in [same, unlike] {
        let error = Parareal::default().sample(&batch, &mut two_modes::<f32>(Prediction::Noise)).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: "Parareal", .. }), "{error}");
    }
}

#[test]
fn kernels_are_neither_guided_nor_preconditioned() {
    let kernel = || score_map(Prediction::Next, |x, _rows| x.mapv(|v: f32| 0.5 * v));
    let rows = Rows::new(&[0.3], &[0.9], &[0.4], &[7], &[0]).unwrap();
    let x = Array2::<f32>::zeros((1, 2));
    let mut out = Array2::<f32>::zeros((1, 2));
    let mut guided = Guided::new(kernel(), 2.0).unwrap();
    let mut edm = EdmPrecondition::new(kernel(), 0.5).unwrap();
    let scores: [&mut dyn ScoreFn<Cpu<f32>>; 2] = [&mut guided, &mut edm];
    for score in scores {
        let error = score.eval(x.view(), &rows, out.view_mut()).unwrap_err();
        assert!(error.to_string().contains("a kernel, which answers the next state"), "{error}");
    }
}
