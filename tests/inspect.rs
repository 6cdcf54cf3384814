//! Inspections of networks that are wired right and wrong.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, array};
use piadm::backend::Real;
use piadm::inspect::{Difference, Inspect, Inspection, Verdict};
use piadm::prelude::*;
use piadm::schedule::NoiseSchedule;
use piadm::score::{Kernel, Mixture};
use piadm::{BoxError, Error};
use std::sync::Arc;

const KINDS: [Prediction; 5] =
    [Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow, Prediction::Score];

/// A network that says that it answers something else.
struct Says<S>(Prediction, S);

impl<S> Model for Says<S> {
    fn prediction(&self) -> Prediction {
        self.0
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Says<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError> {
        self.1.eval(x, rows, out)
    }
}

fn mixture() -> Mixture {
    Mixture::new([0.5, 0.3, 0.2], array![[-1.0, 0.5], [0.8, -0.6], [0.4, 1.2]], [0.3, 0.2, 0.45]).unwrap()
}

fn schedules() -> [(&'static str, Arc<dyn NoiseSchedule>, Grid); 5] {
    [
        ("vp", Arc::new(VpLinear::default()), Grid::uniform(50).between(1.0, 1e-3)),
        ("ou", Arc::new(Ou), Grid::log_snr(50).between(8.0, 0.01)),
        ("edm", Arc::new(Edm), Grid::get_sigmas_karras(18, 0.002, 80.0, 7.0)),
        ("flow", Arc::new(Flow), Grid::uniform(20)),
        ("table", Arc::new(Discrete::stable_diffusion()), Grid::ddpm_timesteps(20, Spacing::Trailing)),
    ]
}

/// The right kind is found for each that is declared.
fn every_reading_is_told<T: Real>(samples: usize)
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let data = mixture().sample(samples, 3).unwrap().mapv(T::of);
    for (name, schedule, grid) in schedules() {
        for answers in KINDS {
            for says in KINDS {
                // flow networks divide by alpha + sigma only; scores and noise have no answer at alpha = 0
                if name == "flow" && [Prediction::Noise, Prediction::Score].contains(&says) {
                    continue;
                }
                let scheme = Scheme::ddim();
                let problem = Problem::on(Cpu::<T>::new(), schedule.clone(), grid.clone(), scheme).shape([2]);
                let mut score = Says(says, mixture().predicting(answers));
                let settings = Inspect::default().rows(vec![1]);
                let report = settings.run(&problem, &mut score, data.view()).unwrap();
                let expected = if says == answers { Verdict::AsDeclared } else { Verdict::LooksLike(answers) };
                assert_eq!(report.verdict, expected, "{name}, {samples} samples, says {says}:\n{report}");
                assert_eq!(report.is_sound(), says == answers);
                assert_eq!(report.readings[0].0, answers);
                assert!(report.readings.is_sorted_by(|a, b| a.1 <= b.1) && report.readings[0].1 < 1.1);
                assert!(report.repeat.same_bits && report.batch.same_bits);
                // the right reading denoises better than a multiple of the state, wherever it is looked at
                if samples > 100 {
                    assert!(
                        report.levels.iter().all(|level| level.error(answers).unwrap() < 1.15),
                        "{name}:\n{report}"
                    );
                }
                let text = report.to_string();
                assert!(text.contains(&format!("{says}*")) && text.contains(&answers.to_string()), "{text}");
            }
        }
    }
}

#[test]
fn readings_of_many_samples() {
    every_reading_is_told::<f32>(200);
    every_reading_is_told::<f64>(200);
}

/// A single sample of few elements may look like another reading by chance, but raises no false alarm.
#[test]
fn readings_of_one_sample() {
    let line = || Mixture::new([0.5, 0.5], array![[-1.0], [1.0]], [0.2, 0.2]).unwrap();
    for data in [array![[0.9_f32]], array![[-1.3]], array![[0.7, -0.7]], array![[-1.1, 0.4]]] {
        let mut wrong = 0;
        for (name, schedule, grid) in schedules().into_iter().filter(|s| s.0 != "flow") {
            for (answers, says) in KINDS.into_iter().flat_map(|a| KINDS.map(|b| (a, b))) {
                let dim = data.ncols();
                let problem = Problem::new(schedule.clone(), grid.clone(), Scheme::ddim()).shape([dim]);
                let mixture = if dim == 1 { line() } else { mixture() };
                let mut score = Says(says, mixture.predicting(answers));
                let report = Inspect::default().rows(vec![]).run(&problem, &mut score, data.view()).unwrap();
                let alarm = matches!(report.verdict, Verdict::LooksLike(_));
                assert!(says != answers || !alarm, "{name}, says {says}:\n{report}");
                wrong += usize::from(says != answers && alarm);
                assert_eq!((report.costs.len(), report.choice), (0, None));
            }
        }
        assert!(wrong > 40, "{wrong} of 80 wrong ones are found with {data}");
    }
}

/// Of data N(0, 1) on a variance-preserving schedule.
fn normal() -> (Problem<Cpu<f32>>, Array2<f32>) {
    let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::ddim()).shape([2, 2]).seed(5);
    let data = Mixture::new([1.0], Array2::zeros((1, 4)), [1.0]).unwrap().sample(50, 1).unwrap();
    (problem, data.mapv(|v| v as f32))
}

fn look(score: &mut dyn ScoreFn<Cpu<f32>>) -> piadm::Result<Inspection> {
    let (problem, data) = normal();
    piadm::inspect(&problem, score, data.view())
}

#[test]
fn rows_that_depend_on_their_batch_are_found() {
    let mut mixes = score_map(Prediction::Score, |x, _rows| {
        let mean = x.mean_axis(ndarray::Axis(0)).unwrap();
        x.mapv(|v: f32| -v) + &(mean * 0.1)
    });
    let report = look(&mut mixes).unwrap();
    assert!(report.repeat.same_bits && !report.batch.same_bits);
    assert!((0.01..1.0).contains(&report.batch.largest), "{:?}", report.batch);
    assert_eq!(report.verdict, Verdict::AsDeclared);
    // in the last digits only
    let mut rounds =
        score_map(Prediction::Score, |x, rows| x.mapv(|v: f32| if rows.len() == 1 { -v * (1.0 + 2e-7) } else { -v }));
    let report = look(&mut rounds).unwrap();
    assert!(!report.batch.same_bits && report.batch.largest < 1e-5);
    assert!(report.to_string().contains("rounding"), "{report}");
    // by its place
    let mut first = score_map(Prediction::Score, |x, rows| {
        let mut out = x.mapv(|v: f32| -v);
        out.row_mut(rows.len() - 1).mapv_inplace(|v| 1.5 * v);
        out
    });
    assert!(look(&mut first).unwrap().batch.largest > 0.1);
}

#[test]
fn dropout_is_found() {
    let mut call = 0u32;
    let mut drops = score_map(Prediction::Score, |x, _rows| {
        call += 1;
        let mut out = x.mapv(|v: f32| -v);
        let lost = call as usize % out.len();
        out.iter_mut().skip(lost).step_by(11).for_each(|v| *v = 0.0);
        out
    });
    let report = look(&mut drops).unwrap();
    assert!(!report.repeat.same_bits && report.repeat.largest > 0.1);
    assert!(!report.is_sound() && report.to_string().contains("dropout"), "{report}");
}

#[test]
fn numbers_that_are_not_finite_are_told() {
    // from a time on, in one element
    let mut late = score_map(Prediction::Score, |x, rows| {
        let mut out = x.mapv(|v: f32| -v);
        rows.t.iter().enumerate().filter(|(_, t)| **t > 1.0).for_each(|(i, _)| out[[i, 3]] = f32::NAN);
        out
    });
    let report = look(&mut late).unwrap();
    assert_eq!(report.verdict, Verdict::AsDeclared); // by the other levels
    assert!(!report.is_sound() && !report.not_finite.is_empty());
    assert!(report.not_finite.iter().all(|place| place.time > 1.0 && place.elements == 1 && place.row < 50));
    for level in &report.levels {
        assert_eq!(level.bad_rows, if level.time > 1.0 { 64 } else { 0 });
        assert_eq!(level.error(Prediction::Score).unwrap().is_nan(), level.time > 1.0);
    }
    assert!(report.to_string().contains("not finite"));
    for bad in [f32::NAN, f32::INFINITY, f32::MAX, -0.0] {
        let mut all = score_map(Prediction::Score, |x, _rows| x.mapv(|_: f32| bad));
        let report = look(&mut all).unwrap();
        println!("{report}");
        assert!(report.choice.is_some());
        assert_eq!(report.not_finite.len(), if bad.is_finite() { 0 } else { 7 * 64 });
        if bad.abs() > 1.0 || bad.is_nan() {
            assert_eq!(report.verdict, Verdict::NoDenoiser);
        }
    }
    // nothing is written
    let mut idle = score_fn::<f32>(Prediction::Score, |_, _, _| Ok(()));
    let report = look(&mut idle).unwrap();
    assert_eq!((report.verdict, report.not_finite.len()), (Verdict::NoDenoiser, 7 * 64));
    // one of two equal calls
    let mut call = 0;
    let mut sometimes = score_map(Prediction::Score, |x, _rows| {
        call += 1;
        x.mapv(|v: f32| if call == 9 { f32::NAN } else { -v })
    });
    let Difference { same_bits, largest, .. } = look(&mut sometimes).unwrap().repeat;
    assert_eq!((same_bits, largest), (false, f64::INFINITY));
}

#[test]
fn a_network_without_use_is_told() {
    // one that answers noise of its own, and one whose times are on another scale
    let mut random = score_map(Prediction::Noise, |x, rows| {
        Array2::from_shape_fn(x.dim(), |(i, j)| 3.0 * f32::sin(1e4 * (rows.t[i] as f32 + x[[i, j]])))
    });
    assert_eq!(look(&mut random).unwrap().verdict, Verdict::NoDenoiser);
}

#[test]
fn a_network_that_fails_is_told() {
    let mut never = score_fn::<f32>(Prediction::Score, |_, _, _| Err("no weights".into()));
    match look(&mut never) {
        Err(Error::Score { round: 1, sample: 0, source, .. }) => assert_eq!(source.to_string(), "no weights"),
        other => panic!("{other:?}"),
    }
    let wrong_shape = |rows: usize| {
        score_map(
            Prediction::Score,
            move |x: ArrayView2<f32>, _rows: &Rows| {
                if x.nrows() > rows { Array2::zeros((1, 1)) } else { x.mapv(|v| -v) }
            },
        )
    };
    assert!(matches!(look(&mut wrong_shape(1)), Err(Error::Score { .. })));
    // calls that are merely timed
    let (problem, data) = normal();
    let data = data.slice_move(ndarray::s![..1, ..]);
    let settings = Inspect::default().rows(vec![200, 1, 200]);
    let report = settings.run(&problem, &mut wrong_shape(100), data.view()).unwrap();
    assert_eq!(report.costs.iter().map(|cost| cost.rows).collect::<Vec<_>>(), [1, 200]);
    assert!(report.costs[0].seconds.unwrap() > 0.0 && report.costs[1].seconds.is_none());
    assert!(report.costs[1].failure.as_ref().is_some_and(|why| why.contains("shape")), "{:?}", report.costs[1]);
    assert!(report.choice.is_some() && report.to_string().contains("200 rows"), "{report}");
}

#[test]
fn what_cannot_be_inspected_is_refused() {
    let (problem, data) = normal();
    let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    let mut run = |problem: &Problem<Cpu<f32>>, data: &Array2<f32>| piadm::inspect(problem, &mut score, data.view());
    let refused = |result: piadm::Result<Inspection>, words: &str| {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        error
    };
    let no_data = refused(run(&problem, &Array2::zeros((0, 4))), "no rows");
    assert!(matches!(no_data, Error::Setting { .. }));
    for shape in [(3, 5), (3, 0), (1, 2)] {
        let error = refused(run(&problem, &Array2::zeros(shape)), "shape");
        assert!(matches!(error, Error::Shape { .. }));
    }
    let mut holes = data.clone();
    holes[[49, 3]] = f32::NAN;
    refused(run(&problem, &holes), "finite numbers");
    refused(run(&problem.clone().shape([0]), &data), "shape");
    // nothing between pure noise and the data
    let one_step = Problem::new(Flow, Grid::uniform(1), Scheme::ddim()).shape([4]);
    let mut flow = score_map(Prediction::Flow, |x, _rows| x.mapv(|v: f32| -v));
    let error = refused(piadm::inspect(&one_step, &mut flow, data.view()), "nowhere between");
    assert!(matches!(error, Error::Unsupported { .. }));
    // one level is enough
    let two = Problem::new(Flow, Grid::uniform(2), Scheme::ddim()).shape([4]);
    assert_eq!(piadm::inspect(&two, &mut flow, data.view()).unwrap().levels.len(), 1);
    let other = Problem::new(Ou, Grid::log_snr(20).between(6.0, 0.01), Scheme::ddim()).shape([2, 2]);
    refused(run(&Problem::join([problem.clone(), other]).unwrap(), &data), "unlike requests");
    let mut kernel = Kernel::new(score_map(Prediction::Next, |x, _rows| x.mapv(|v: f32| -v)));
    refused(piadm::inspect(&problem, &mut kernel, data.view()), "a kernel");
    struct PhaseSpace;
    impl Model for PhaseSpace {
        fn prediction(&self) -> Prediction {
            Prediction::Score
        }
        fn components(&self) -> usize {
            2
        }
    }
    impl ScoreFn<Cpu<f32>> for PhaseSpace {
        fn eval(&mut self, _: ArrayView2<'_, f32>, _: &Rows<'_>, _: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
            unreachable!("it is refused before")
        }
    }
    refused(piadm::inspect(&problem, &mut PhaseSpace, data.view()), "components");
    for settings in [Inspect::default().levels(0), Inspect::default().rows(vec![4, 0])] {
        assert!(matches!(settings.run(&problem, &mut flow, data.view()), Err(Error::Setting { .. })));
    }
}

#[test]
fn all_but_the_seconds_is_the_same_each_time() {
    let (problem, data) = normal();
    let mut score = score_map(Prediction::Noise, |x, _rows| x.mapv(|v: f32| 0.3 * v.sin()));
    let mut run = |problem: &Problem<Cpu<f32>>| piadm::inspect(problem, &mut score, data.view()).unwrap();
    let (first, second) = (run(&problem), run(&problem));
    let apart = |mut report: Inspection| {
        (report.costs, report.choice) = (vec![], None);
        report
    };
    assert_eq!(apart(first.clone()), apart(second));
    let other = run(&problem.seed(6));
    assert_ne!(other.levels, first.levels);
    let json = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Inspection>(&json).unwrap(), first);
}

/// Row i of the data is seen with the id and the slot of sample i.
#[test]
fn labels_go_with_their_data() {
    let labels = [3.0_f32, -1.0, 4.0];
    let ids = [7, 5, 6];
    for rows in [3, 7] {
        let data = Array2::from_shape_fn((rows, 2), |(i, _)| labels[i % 3]);
        let problem = Problem::new(Flow, Grid::uniform(20), Scheme::ddim()).shape([2]).ids(ids);
        let mut by_id = score_map(Prediction::Data, |x, rows| {
            assert_eq!(rows.shape, [2]);
            Array2::from_shape_fn(x.dim(), |(i, _)| {
                assert_eq!(rows.id[i], ids[rows.slot[i]]);
                labels[ids.iter().position(|id| *id == rows.id[i]).unwrap()]
            })
        });
        let report = piadm::inspect(&problem, &mut by_id, data.view()).unwrap();
        assert!(report.is_sound(), "{report}");
        assert!(report.levels.iter().all(|level| level.error(Prediction::Data) == Some(0.0)));
    }
}

/// Several heads, a bound on rows, and calls in the order that is promised.
#[test]
fn calls_are_those_of_a_sampler() {
    #[derive(Default)]
    struct TwoHeads(Vec<usize>);
    impl Model for TwoHeads {
        fn prediction(&self) -> Prediction {
            Prediction::Score
        }
        fn heads(&self) -> usize {
            2
        }
        fn max_rows(&self) -> Option<usize> {
            Some(5)
        }
    }
    impl ScoreFn<Cpu<f32>> for TwoHeads {
        fn eval(
            &mut self,
            x: ArrayView2<'_, f32>,
            rows: &Rows<'_>,
            mut out: ArrayViewMut2<'_, f32>,
        ) -> Result<(), BoxError> {
            assert_eq!((out.nrows(), rows.len()), (2 * x.nrows(), x.nrows()));
            for (i, x) in x.rows().into_iter().enumerate() {
                out.row_mut(2 * i).assign(&x.mapv(|v| -v));
                out.row_mut(2 * i + 1).fill(f32::NAN); // means nothing here
            }
            self.0.push(x.nrows());
            Ok(())
        }
    }
    let mut score = TwoHeads::default();
    let report = look(&mut score).unwrap();
    assert!(report.is_sound(), "{report}");
    assert!(score.0.iter().all(|rows| *rows <= 5));
    let rows: usize = score.0.iter().sum();
    assert_eq!(rows, 7 * 64 + 3 * 8 + 3 * (1 + 8 + 64));
}

#[test]
fn the_choice_is_that_of_automatic() {
    let (problem, data) = normal();
    let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    let report = piadm::inspect(&problem, &mut score, data.view()).unwrap();
    let choice = report.choice.unwrap();
    let latency = choice.latency.clone().unwrap();
    let points: Vec<_> = report.costs.iter().map(|cost| (cost.rows, cost.seconds.unwrap())).collect();
    assert_eq!(latency.points, points);
    let run = Automatic::default().latency(latency).sample(&problem, &mut score).unwrap();
    let chosen = run.report.choice.unwrap();
    assert_eq!((chosen.window, chosen.reason), (choice.window, choice.reason));
}
