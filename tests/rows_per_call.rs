//! Networks that take a fixed number of rows, and networks that take one at a time.

mod common;

use common::lists::{PhaseSpace, chain, kernel, phase_space};
use common::{Gathering, bits, two_modes};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};
use piadm::backend::Real;
use piadm::problem::Latency;
use piadm::sampler::on_round;
use piadm::score::{Guided, Padded};
use piadm::{
    Acceptance, Automatic, BoxError, Cpu, Error, Grid, Model, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme,
    ScoreFn, Sequential, score_fn, score_rows,
};
use std::ops::ControlFlow;

/// Says how many rows a call had.
struct Fixed<S> {
    inner: S,
    rows: usize,
    calls: usize,
}

impl<S: Model> Model for Fixed<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }
}

impl<T: Real, S: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for Fixed<S> {
    fn eval(&mut self, x: ArrayView2<'_, T>, rows: &Rows<'_>, out: ArrayViewMut2<'_, T>) -> Result<(), BoxError> {
        assert_eq!((rows.len(), x.nrows()), (self.rows, self.rows * self.components()));
        self.calls += 1;
        self.inner.eval(x, rows, out)
    }
}

fn padded<T: Real, S: ScoreFn<Cpu<T>>>(problem: &Problem<Cpu<T>>, mut score: impl FnMut() -> S) {
    for window in [1, 5, 16] {
        let sampler = Picard::default().window(window).acceptance(Acceptance::Exact);
        let whole = sampler.sample(problem, &mut score()).unwrap();
        for rows in [1, 4, 7] {
            let mut fixed = Padded::new(Fixed { inner: score(), rows, calls: 0 }, rows).unwrap();
            assert_eq!((fixed.max_rows(), fixed.grain()), (Some(rows), rows));
            let found = sampler.sample(problem, &mut fixed).unwrap();
            assert_eq!(bits(&found.samples), bits(&whole.samples), "window {window}, {rows} rows a call");
            assert_eq!(found.report.score_rows, whole.report.score_rows);
            assert_eq!(found.report.evaluations, rows * found.report.score_calls);
            assert!(rows == 1 || found.report.evaluations > found.report.score_rows);
        }
    }
}

fn problem<T: Real>() -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(30).between(6.0, 0.02);
    Problem::on(Cpu::new(), Ou, grid, Scheme::default()).samples(3).shape([5]).seed(2)
}

#[test]
fn a_padded_network_has_the_bits_of_the_network() {
    padded::<f32, _>(&problem(), || two_modes(Prediction::Noise));
    padded::<f64, _>(&problem(), || two_modes(Prediction::Data));
    let of_list = |list| Problem::from_nodes(Cpu::<f64>::new(), list).samples(2).shape([4]).seed(1);
    // components, heads, and rows that lead somewhere
    padded(&of_list(phase_space(20)), || PhaseSpace);
    padded(&of_list(chain(20)), kernel);
}

/// A budget is cut to whole calls, where a window fits: rows beyond them would cost a call of their own.
#[test]
fn budgets_fill_the_calls() {
    let many = problem::<f32>().samples(30);
    for (window, budget, largest) in [(5, 40, 35), (5, 38, 35), (5, 6, 6), (16, 20, 20)] {
        let sampler = Picard::default().window(window).row_budget(budget);
        let mut most = 0;
        let mut watch = on_round(|round| {
            most = most.max(round.rows);
            ControlFlow::Continue(())
        });
        let mut fixed = Padded::new(two_modes::<f32>(Prediction::Data), 7).unwrap();
        let found = sampler.run(&many, &mut fixed, &mut watch).unwrap();
        assert!(most <= largest, "window {window}, budget {budget}: {most} rows");
        let whole = Picard::default().window(window).sample(&many, &mut two_modes::<f32>(Prediction::Data)).unwrap();
        assert_eq!(found.samples, whole.samples);
    }
}

/// A network that tells conditional rows from the others by their place in the call, as guidance asks of it.
fn halves() -> impl ScoreFn<Cpu<f32>> + Send {
    let mut modes = two_modes::<f32>(Prediction::Noise);
    score_fn(Prediction::Noise, move |x: ArrayView2<'_, f32>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
        modes.eval(x, rows, out.view_mut())?;
        out.slice_mut(ndarray::s![rows.len() / 2.., ..]).mapv_inplace(|v| 0.9 * v);
        Ok(())
    })
}

/// Guidance goes inside: outside, it would tell the rows apart by places that calls of another size do not keep.
#[test]
fn guided_networks_are_padded_and_split() {
    let run = |score: &mut dyn ScoreFn<Cpu<f32>>| Picard::default().window(7).sample(&problem(), score);
    let whole = run(&mut Guided::new(halves(), 2.0).unwrap()).unwrap();
    let fixed = || Padded::new(Guided::new(Fixed { inner: halves(), rows: 8, calls: 0 }, 2.0).unwrap(), 4).unwrap();
    assert_eq!((fixed().grain(), fixed().evaluations(3), fixed().evaluations(5)), (4, 8, 16));
    let found = run(&mut fixed()).unwrap();
    assert_eq!(found.samples, whole.samples);
    let refused = |error: Error| {
        let Error::Score { source, .. } = error else { panic!("{error}") };
        assert!(matches!(source.downcast_ref(), Some(Error::Unsupported { what: "Guided", .. })), "{source}");
    };
    refused(run(&mut Guided::new(Padded::new(halves(), 8).unwrap(), 2.0).unwrap()).unwrap_err());
    // each of two scores may be cut, since it has all rows of its kind
    let pair = || Guided::pair(Padded::new(halves(), 2).unwrap(), Padded::new(halves(), 3).unwrap(), 2.0).unwrap();
    assert_eq!((pair().grain(), pair().evaluations(4)), (2, 4 + 6));
    assert!(run(&mut pair()).is_ok());
    #[cfg(feature = "rayon")]
    {
        use piadm::score::Split;
        let parts = || (0..3).map(|_| Guided::new(halves(), 2.0).unwrap());
        assert_eq!(run(&mut Split::new(parts()).unwrap()).unwrap().samples, whole.samples);
        refused(run(&mut Guided::new(Split::new((0..3).map(|_| halves())).unwrap(), 2.0).unwrap()).unwrap_err());
    }
}

#[test]
fn what_cannot_be_padded() {
    for rows in [0, 4, usize::MAX] {
        let bounded = piadm::score::Chunked::new(two_modes::<f32>(Prediction::Data), 3).unwrap();
        let error = Padded::new(bounded, rows).err().unwrap();
        assert!(matches!(error, Error::Setting { name: "rows", .. }), "{error}");
    }
    let mut fixed = Padded::new(two_modes::<f32>(Prediction::Data), 4).unwrap();
    let (x, known) = (Array2::ones((2, 3)), Rows::new(&[0.1], &[0.9], &[0.2], &[0], &[0]).unwrap());
    assert!(fixed.eval(x.view(), &known, Array2::zeros((2, 3)).view_mut()).is_err());
    assert!(fixed.eval(x.view(), &known.range(0..0), Array2::zeros((0, 3)).view_mut()).is_err());
    let none = Array2::<f32>::zeros((0, 3));
    fixed.eval(none.view(), &known.range(0..0), none.clone().view_mut()).unwrap();
}

/// The score of [`two_modes`], a row at a time.
fn one_row<T: Real>() -> impl ScoreFn<Cpu<T>> {
    score_rows(Prediction::Data, |x: ArrayView1<'_, T>, row: &Rows<'_>, out: ArrayViewMut1<'_, T>| {
        assert_eq!((row.len(), row.shape), (1, &[5][..]));
        let (x, out) = (x.insert_axis(ndarray::Axis(0)), out.insert_axis(ndarray::Axis(0)));
        two_modes(Prediction::Data).eval(x, row, out)
    })
}

#[test]
fn rows_on_threads_have_the_bits_of_a_batch() {
    let sampler = Picard::default().window(16).acceptance(Acceptance::Exact);
    let whole = sampler.sample(&problem::<f64>(), &mut two_modes(Prediction::Data)).unwrap().samples;
    assert_eq!(bits(&sampler.sample(&problem::<f64>(), &mut one_row()).unwrap().samples), bits(&whole));
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| sampler.sample(&problem::<f64>(), &mut one_row()).unwrap());
        assert_eq!(bits(&found.samples), bits(&whole));
    }
}

#[test]
fn the_first_row_that_fails_is_told() {
    let mut score =
        score_rows(Prediction::Data, |_: ArrayView1<'_, f32>, row: &Rows<'_>, _: ArrayViewMut1<'_, f32>| {
            // the later ones fail earlier
            std::thread::sleep(std::time::Duration::from_micros(500 / (1 + u64::from(row.id[0]))));
            if row.id[0] > 1 { Err(format!("row of sample {}", row.id[0]).into()) } else { Ok(()) }
        });
    let few = problem::<f32>().samples(9);
    for _ in 0..5 {
        let Err(Error::Score { source, .. }) = Sequential.sample(&few, &mut score) else { panic!() };
        assert_eq!(source.to_string(), "row of sample 2");
    }
}

/// Rows run at the same time where there are threads for them.
#[cfg(feature = "rayon")]
#[test]
fn rows_run_side_by_side() {
    let both = Gathering::default();
    let mut score =
        score_rows(Prediction::Data, |x: ArrayView1<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut1<'_, f32>| {
            out.assign(&x);
            both.meet(2)
        });
    let two = problem::<f32>().samples(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    assert_eq!(pool.install(|| Sequential.sample(&two, &mut score).unwrap().report.score_calls), 30);
}

/// Adapters answer for what is inside.
#[test]
fn adapters_hand_on_what_they_do_not_change() {
    struct Trained;
    impl Model for Trained {
        fn prediction(&self) -> Prediction {
            Prediction::Noise
        }
        fn max_rows(&self) -> Option<usize> {
            Some(8)
        }
        fn time_range(&self) -> Option<(f64, f64)> {
            Some((0.01, 8.0))
        }
        fn evaluations(&self, rows: usize) -> usize {
            3 * rows
        }
        fn grain(&self) -> usize {
            4
        }
    }
    use piadm::score::{Chunked, Clip, EdmPrecondition, Kernel, Threshold};
    let of = |model: &dyn Model| (model.max_rows(), model.time_range(), model.evaluations(2), model.grain());
    assert_eq!(of(&Chunked::new(Trained, 5).unwrap()), (Some(5), Some((0.01, 8.0)), 6, 4));
    assert_eq!(of(&Clip::new(Trained, -1.0, 1.0).unwrap()), (Some(8), Some((0.01, 8.0)), 6, 4));
    assert_eq!(of(&Threshold::new(Trained, 0.9, 1.0).unwrap()), (Some(8), Some((0.01, 8.0)), 6, 4));
    assert_eq!(of(&EdmPrecondition::new(Trained, 0.5).unwrap()), (Some(8), None, 6, 4));
    assert_eq!(of(&Guided::new(Trained, 2.0).unwrap()), (Some(4), Some((0.01, 8.0)), 12, 2));
    assert_eq!(of(&Kernel::new(Trained).evaluations_per_row(2)), (Some(8), Some((0.01, 8.0)), 12, 4));
    assert_eq!(of(&Padded::new(Trained, 8).unwrap()), (Some(8), Some((0.01, 8.0)), 24, 8));
    assert_eq!(of(&Box::new(Chunked::new(&mut Trained, 9).unwrap())), (Some(8), Some((0.01, 8.0)), 6, 4));
    let plain = score_fn::<f32>(Prediction::Data, |_, _, _| Ok(()));
    assert_eq!((of(&plain), plain.inner().is_none(), plain.parts().len()), ((None, None, 2, 1), true, 0));
}

/// Where a long call takes longer per row than a short one, rounds are cut.
#[test]
fn rows_per_call() {
    let slow = Automatic::default().latency(Latency { points: vec![(1, 1.0), (8, 1.5), (64, 30.0)] });
    for (steps, samples) in [(200, 24), (1000, 3)] {
        let grid = Grid::log_snr(steps).between(6.0, 0.05);
        let p = Problem::new(Ou, grid, Scheme::default()).samples(samples).shape([3]).seed(5);
        let (mut modes, mut largest) = (two_modes::<f32>(Prediction::Score), 0);
        let mut score = score_fn(Prediction::Score, |x, rows, out| {
            largest = largest.max(rows.len());
            modes.eval(x, rows, out)
        });
        let cut = slow.sample(&p, &mut score).unwrap();
        drop(score);
        let choice = cut.report.choice.as_ref().unwrap();
        assert_eq!((choice.rows_per_call, largest), (Some(8), 8), "{choice}");
        assert!(cut.report.score_calls > cut.report.rounds && choice.to_string().contains("8 rows a call"), "{choice}");
        // the same samples as in one call
        let window = choice.window.unwrap_or(1);
        let whole = Picard::default().window(window).sample(&p, &mut two_modes(Prediction::Score)).unwrap();
        assert_eq!(bits(&cut.samples), bits(&whole.samples));
        for row in [0.0, 0.01] {
            let fast = Latency { points: vec![(1, 1.0 + row), (4096, 1.0 + 4096.0 * row)] };
            let whole = Automatic::default().latency(fast).sample(&p, &mut two_modes(Prediction::Score)).unwrap();
            assert_eq!(whole.report.choice.unwrap().rows_per_call, None);
        }
    }
}

/// A network that takes a row at a time five times faster than in a batch is found out.
#[test]
fn rows_per_call_are_measured() {
    let mut score = score_fn::<f32>(Prediction::Score, |x, rows, mut out| {
        let each = if rows.len() > 2 { 1000 } else { 200 };
        std::thread::sleep(std::time::Duration::from_micros(each * rows.len() as u64));
        out.zip_mut_with(&x, |out, x| *out = -x);
        Ok(())
    });
    let automatic = Automatic::default().probe_share(0.5);
    let p = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.05), Scheme::default()).samples(16).shape([3]);
    let choice = automatic.sample(&p, &mut score).unwrap().report.choice.unwrap();
    assert!(choice.rows_per_call.is_some_and(|rows| rows <= 2), "{choice}");
}
