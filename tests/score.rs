//! Scores from closures and the adapters around scores, against their formulas.

use piadm::ndarray::{Array, Array2, ArrayView2, ArrayViewMut2, Axis, Dimension, array, concatenate};
use piadm::{
    BoxError, Cpu, Error, Model, Prediction, Rows, ScoreFn,
    score::{Chunked, Clip, EdmPrecondition, Guided, Mixture, Threshold},
    score_fn, score_map,
};
use std::cell::RefCell;

const KINDS: [Prediction; 5] =
    [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];
const T: [f64; 4] = [0.1, 0.2, 0.3, 0.4];
const ALPHA: [f64; 4] = [0.95, 0.6, 1.0, 0.3];
const SIGMA: [f64; 4] = [0.31224989991992, 0.8, 2.0, 0.7];

/// Every element within the larger of two bounds.
fn assert_close<D: Dimension>(found: &Array<f64, D>, expected: &Array<f64, D>, relative: f64, absolute: f64) {
    assert_eq!(found.shape(), expected.shape());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= absolute.max(relative * e.abs()), "{f:e} for {e:e} in {found} for {expected}");
    }
}

fn rows() -> Rows<'static> {
    Rows::new(&T, &ALPHA, &SIGMA, &[5, 6, 7, 8], &[0, 1, 2, 3]).unwrap()
}

/// Four states of three elements.
fn states() -> Array2<f64> {
    Array2::from_shape_fn((4, 3), |(i, j)| ((i * 3 + j) as f64 * 1.7).sin() * 2.0)
}

fn call(score: &mut dyn ScoreFn<Cpu<f64>>, x: &Array2<f64>) -> Result<Array2<f64>, BoxError> {
    let mut out = Array2::from_elem(x.raw_dim(), f64::NAN);
    score.eval(x.view(), &rows(), out.view_mut())?;
    Ok(out)
}

/// A nonlinear network that ignores its time.
fn network(x: ArrayView2<'_, f64>) -> Array2<f64> {
    x.mapv(|x| 1.8 * (1.3 * x).sin() - 0.2)
}

fn plain(kind: Prediction) -> impl ScoreFn<Cpu<f64>> {
    score_map(kind, |x: ArrayView2<'_, f64>, _: &Rows<'_>| Ok(network(x)))
}

/// A network that always fails, and the check that the failure comes through.
fn failing() -> impl ScoreFn<Cpu<f64>> {
    score_fn(Prediction::Noise, |_, _, _| Err("out of tokens".into()))
}

fn setting(error: BoxError) -> &'static str {
    match *error.downcast::<Error>().expect("a typed error") {
        Error::Setting { name, .. } => name,
        other => panic!("{other}"),
    }
}

/// A score with bounds.
struct Bounded(Option<usize>, Option<(f64, f64)>);

impl Model for Bounded {
    fn prediction(&self) -> Prediction {
        Prediction::Flow
    }

    fn max_rows(&self) -> Option<usize> {
        self.0
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.1
    }
}

impl ScoreFn<Cpu<f64>> for Bounded {
    fn eval(&mut self, x: ArrayView2<'_, f64>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>) -> Result<(), BoxError> {
        out.assign(&x);
        Ok(())
    }
}

#[test]
fn closures_and_pointers_are_scores() {
    let x = states();
    let mut fill =
        score_fn(Prediction::Velocity, |x: ArrayView2<'_, f64>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
            for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
                out.assign(&(&x * rows.t[i]));
            }
            Ok(())
        });
    let expected = Array2::from_shape_fn((4, 3), |(i, j)| x[[i, j]] * T[i]);
    assert_eq!(fill.prediction(), Prediction::Velocity);
    assert_eq!(call(&mut fill, &x).unwrap(), expected);
    assert_eq!(call(&mut &mut fill, &x).unwrap(), expected);
    let mut boxed: Box<dyn ScoreFn<Cpu<f64>>> = Box::new(fill);
    assert_eq!(call(&mut boxed, &x).unwrap(), expected);
    assert_eq!(boxed.prediction(), Prediction::Velocity);

    let mut bounded = Bounded(Some(9), Some((0.1, 0.7)));
    fn bounds(score: impl ScoreFn<Cpu<f64>>) -> (Option<usize>, Option<(f64, f64)>) {
        (score.max_rows(), score.time_range())
    }
    assert_eq!(bounds(&mut bounded), (Some(9), Some((0.1, 0.7))));
    assert_eq!(bounds(Box::new(bounded)), (Some(9), Some((0.1, 0.7))));
    assert_eq!(bounds(plain(Prediction::Data)), (None, None));
}

#[test]
fn a_returned_array_of_another_shape_is_a_typed_error() {
    for shape in [(4, 2), (3, 3), (3, 4), (0, 0)] {
        let mut score =
            score_map(Prediction::Data, move |_: ArrayView2<'_, f64>, _: &Rows<'_>| Ok(Array2::zeros(shape)));
        let error = call(&mut score, &states()).unwrap_err().downcast::<Error>().unwrap();
        assert!(matches!(*error, Error::Shape { ref found, .. } if *found == [shape.0, shape.1]), "{error}");
    }
}

#[test]
fn errors_of_the_inner_score_pass_through() {
    let adapters: [Box<dyn ScoreFn<Cpu<f64>>>; 6] = [
        Box::new(Chunked::new(failing(), 2).unwrap()),
        Box::new(Guided::new(failing(), 2.0).unwrap()),
        Box::new(Guided::pair(plain(Prediction::Noise), failing(), 2.0).unwrap()),
        Box::new(Clip::new(failing(), -1.0, 1.0).unwrap()),
        Box::new(Threshold::new(failing(), 0.9, 2.0).unwrap()),
        Box::new(EdmPrecondition::new(failing(), 0.5).unwrap()),
    ];
    for mut score in adapters {
        assert_eq!(call(&mut score, &states()).unwrap_err().to_string(), "out of tokens");
        // and arrays of the wrong shape are refused before anything is called
        let mut out = Array2::zeros((4, 2));
        let result = score.eval(states().view(), &rows(), out.view_mut());
        let wrong = result.unwrap_err();
        assert!(matches!(wrong.downcast_ref(), Some(Error::Shape { .. })) || wrong.to_string() == "out of tokens");
    }
}

#[test]
fn settings_outside_their_range_are_refused() {
    let s = || Bounded(None, None);
    assert!(matches!(Chunked::new(s(), 0), Err(Error::Setting { name: "max_rows", .. })));
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(Guided::new(s(), bad).is_err() && Guided::pair(s(), s(), bad).is_err());
        assert!(Clip::new(s(), -1.0, bad).is_err() && Clip::new(s(), -bad, 1.0).is_err());
        assert!(Threshold::new(s(), bad, 2.0).is_err() && EdmPrecondition::new(s(), bad).is_err());
    }
    assert!(Clip::new(s(), 1.0, 1.0).is_err() && Clip::new(s(), 1.0, -1.0).is_err());
    assert!(Threshold::new(s(), -0.1, 2.0).is_err() && Threshold::new(s(), 1.1, 2.0).is_err());
    assert!(Threshold::new(s(), 0.9, 0.99).is_err() && Threshold::new(s(), 0.9, f64::NAN).is_err());
    assert!(Threshold::new(s(), 1.0, f64::INFINITY).is_ok());
    assert!(EdmPrecondition::new(s(), 0.0).is_err() && EdmPrecondition::new(s(), -1.0).is_err());
}

#[test]
fn bounds_are_forwarded() {
    let range = Some((0.1, 0.7));
    fn bounds(score: &impl ScoreFn<Cpu<f64>>) -> (Option<usize>, Option<(f64, f64)>, Prediction) {
        (score.max_rows(), score.time_range(), score.prediction())
    }
    let flow = Prediction::Flow;
    assert_eq!(bounds(&Chunked::new(Bounded(None, range), 5).unwrap()), (Some(5), range, flow));
    assert_eq!(bounds(&Chunked::new(Bounded(Some(3), range), 5).unwrap()), (Some(3), range, flow));
    assert_eq!(bounds(&Guided::new(Bounded(Some(9), range), 2.0).unwrap()), (Some(4), range, flow));
    let pair = Guided::pair(Bounded(Some(9), range), Bounded(Some(4), Some((0.2, 0.9))), 2.0).unwrap();
    assert_eq!(bounds(&pair), (Some(4), Some((0.2, 0.7)), flow));
    let pair = Guided::pair(Bounded(None, None), Bounded(None, range), 2.0).unwrap();
    assert_eq!(bounds(&pair), (None, range, flow));
    assert_eq!(bounds(&Clip::new(Bounded(Some(9), range), 0.0, 1.0).unwrap()), (Some(9), range, flow));
    assert_eq!(bounds(&Threshold::new(Bounded(Some(9), range), 0.9, 2.0).unwrap()), (Some(9), range, flow));
    assert_eq!(bounds(&EdmPrecondition::new(Bounded(Some(9), range), 0.5).unwrap()), (Some(9), None, Prediction::Data));
    assert_eq!(call(&mut Chunked::new(plain(flow), 1).unwrap(), &states()).unwrap(), network(states().view()));
}

#[test]
fn guidance_is_one_call_on_both_halves() {
    let x = states();
    let calls = RefCell::new(Vec::new());
    let both = score_map(Prediction::Noise, |x: ArrayView2<'_, f64>, rows: &Rows<'_>| {
        calls.borrow_mut().push((
            x.to_owned(),
            rows.t.to_vec(),
            rows.alpha.to_vec(),
            rows.sigma.to_vec(),
            rows.id.to_vec(),
            rows.slot.to_vec(),
        ));
        let half = x.nrows() / 2;
        Ok(Array2::from_shape_fn(x.raw_dim(), |(i, j)| if i < half { x[[i, j]].sin() } else { x[[i, j]].cos() }))
    });
    let out = call(&mut Guided::new(both, 3.5).unwrap(), &x).unwrap();
    let expected = x.mapv(|x: f64| x.cos() + 3.5 * (x.sin() - x.cos()));
    assert_close(&out, &expected, 1e-13, 1e-14);
    let calls = calls.into_inner();
    assert_eq!(calls.len(), 1);
    let (states, t, alpha, sigma, sample, slot) = &calls[0];
    assert_eq!(*states, concatenate![Axis(0), x, x]);
    assert_eq!((t, alpha, sigma), (&T.repeat(2), &ALPHA.repeat(2), &SIGMA.repeat(2)));
    assert_eq!((sample, slot), (&[5, 6, 7, 8].repeat(2), &[0, 1, 2, 3].repeat(2)));

    let sine = || score_map(Prediction::Noise, |x: ArrayView2<'_, f64>, _: &Rows<'_>| Ok(x.mapv(f64::sin)));
    let cosine = || score_map(Prediction::Noise, |x: ArrayView2<'_, f64>, _: &Rows<'_>| Ok(x.mapv(f64::cos)));
    assert_eq!(call(&mut Guided::pair(sine(), cosine(), 3.5).unwrap(), &x).unwrap(), out);
    // scale 1 is the conditional output bit for bit, scale 0 the unconditional one up to rounding
    assert_eq!(call(&mut Guided::pair(sine(), cosine(), 1.0).unwrap(), &x).unwrap(), x.mapv(f64::sin));
    let zero = call(&mut Guided::pair(sine(), cosine(), 0.0).unwrap(), &x).unwrap();
    assert_close(&zero, &x.mapv(f64::cos), 0.0, 1e-15);

    let mixed = Guided::pair(sine(), plain(Prediction::Data), 2.0);
    let error = call(&mut mixed.unwrap(), &x).unwrap_err().downcast::<Error>().unwrap();
    assert!(matches!(*error, Error::Unsupported { .. }), "{error}");
    let narrow = Guided::new(Bounded(Some(1), None), 2.0);
    assert_eq!(setting(call(&mut narrow.unwrap(), &x).unwrap_err()), "max_rows");
}

/// Guiding outputs is guiding data predictions, for every kind.
#[test]
fn guidance_does_not_depend_on_the_kind() {
    let x = states();
    let mixture = |at: f64| Mixture::new([1.0, 2.0], array![[at, 0.0, 1.0], [0.0, -at, 0.5]], [0.3, 0.6]).unwrap();
    let guided = |kind| {
        let pair = (mixture(1.0).predicting(kind), mixture(-0.7).predicting(kind));
        call(&mut Guided::pair(pair.0, pair.1, 2.5).unwrap(), &x).unwrap()
    };
    let data = guided(Prediction::Data);
    for kind in KINDS {
        let f = guided(kind);
        let found = Array2::from_shape_fn((4, 3), |(i, j)| {
            let (p, q) = kind.data_map(ALPHA[i], SIGMA[i]);
            p * x[[i, j]] + q * f[[i, j]]
        });
        assert_close(&found, &data, 0.0, 1e-12);
    }
}

/// The data prediction behind an output, by the definitions of the kinds.
fn data_behind(kind: Prediction, x: f64, f: f64, alpha: f64, sigma: f64) -> f64 {
    match kind {
        Prediction::Score => (x + sigma * sigma * f) / alpha,
        Prediction::Noise => (x - sigma * f) / alpha,
        Prediction::Data => f,
        // v = alpha eps - sigma D and x = alpha D + sigma eps
        Prediction::Velocity => (alpha * x - sigma * f) / (alpha * alpha + sigma * sigma),
        // f = eps - D
        _ => (x - sigma * f) / (alpha + sigma),
    }
}

fn behind(kind: Prediction, x: &Array2<f64>, f: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((4, 3), |(i, j)| data_behind(kind, x[[i, j]], f[[i, j]], ALPHA[i], SIGMA[i]))
}

#[test]
fn clip_clips_the_data_prediction() {
    let x = states();
    for kind in KINDS {
        let raw = network(x.view());
        let found = call(&mut Clip::new(plain(kind), -0.9, 0.6).unwrap(), &x).unwrap();
        let before = behind(kind, &x, &raw);
        assert!(
            before.iter().any(|d| *d > 0.6) && before.iter().any(|d| *d < -0.9) && before.iter().any(|d| d.abs() < 0.6)
        );
        assert_close(&behind(kind, &x, &found), &before.mapv(|d| d.clamp(-0.9, 0.6)), 0.0, 1e-13);
        for ((found, raw), before) in found.iter().zip(&raw).zip(&before) {
            assert!(found == raw || !(-0.9..=0.6).contains(before), "elements inside keep their bits");
        }
        assert_eq!(call(&mut Clip::new(plain(kind), -1e3, 1e3).unwrap(), &x).unwrap(), raw);
    }
}

/// Transcription of Imagen's rule with a sorted copy.
fn thresholded(data: &[f64], quantile: f64, ceiling: f64) -> Vec<f64> {
    let mut sizes: Vec<f64> = data.iter().map(|d| d.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let place = quantile * (sizes.len() - 1) as f64;
    let (low, high) = (sizes[place.floor() as usize], sizes[place.ceil() as usize]);
    let s = (low + place.fract() * (high - low)).max(1.0).min(ceiling);
    data.iter().map(|d| d.max(-s).min(s) / s).collect()
}

#[test]
fn threshold_is_the_rule_of_imagen() {
    let x = states();
    for kind in KINDS {
        for (quantile, ceiling) in
            [(0.995, 10.0), (0.7, 10.0), (0.5, 1.4), (1.0, f64::INFINITY), (0.0, 2.0), (0.6, 1.0)]
        {
            let raw = network(x.view());
            let found =
                behind(kind, &x, &call(&mut Threshold::new(plain(kind), quantile, ceiling).unwrap(), &x).unwrap());
            let before = behind(kind, &x, &raw);
            for (found, before) in found.rows().into_iter().zip(before.rows()) {
                let expected = thresholded(&before.to_vec(), quantile, ceiling);
                assert_close(&found.to_owned(), &expected.into(), 0.0, 1e-13);
            }
        }
    }
    // by hand: |D| = 0.5, 2, 4 has the median 2, so the row becomes 0.25, -1, 1
    let constant = |_: ArrayView2<'_, f64>, _: &Rows<'_>| {
        Ok(array![[0.5, -2.0, 4.0], [0.5, -0.9, 1.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    };
    let out = call(&mut Threshold::new(score_map(Prediction::Data, constant), 0.5, 10.0).unwrap(), &x).unwrap();
    assert_eq!(out, array![[0.25, -1.0, 1.0], [0.5, -0.9, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]);
    let out = call(&mut Threshold::new(score_map(Prediction::Data, constant), 0.75, 10.0).unwrap(), &x).unwrap();
    assert_close(&out.row(0).to_owned(), &array![0.5 / 3.0, -2.0 / 3.0, 1.0], 1e-15, 0.0);
}

#[test]
fn thresholds_name_levels_without_data() {
    let at = |kind, alpha: f64, sigma: f64| {
        let (alpha, sigma) = ([alpha], [sigma]);
        let rows = Rows::new(&[0.0], &alpha, &sigma, &[0], &[0]).unwrap();
        let (x, mut a, mut b) = (array![[2.0, -3.0]], Array2::zeros((1, 2)), Array2::zeros((1, 2)));
        let clip = Clip::new(plain(kind), -1.0, 1.0).unwrap().eval(x.view(), &rows, a.view_mut());
        let threshold = Threshold::new(plain(kind), 0.9, 3.0).unwrap().eval(x.view(), &rows, b.view_mut());
        assert_eq!(clip.is_ok(), threshold.is_ok());
        assert!(clip.is_err() || a.iter().chain(&b).all(|v| v.is_finite()));
        clip.err().map(setting)
    };
    for kind in KINDS {
        let needs_alpha = matches!(kind, Prediction::Score | Prediction::Noise);
        assert_eq!(at(kind, 0.0, 1.0), needs_alpha.then_some("alpha"), "{kind:?}");
        assert_eq!(at(kind, 1.0, 0.0), (kind != Prediction::Data).then_some("sigma"), "{kind:?}");
        assert_eq!(at(kind, 0.8, 0.6), None);
    }
}

#[test]
fn numbers_that_are_not_finite_are_not_hidden() {
    let broken = |_: ArrayView2<'_, f64>, _: &Rows<'_>| {
        Ok(array![[f64::NAN, 0.1, 5.0], [f64::INFINITY, 0.1, 5.0], [f64::NEG_INFINITY, 0.1, 5.0], [0.0, 0.0, 0.0]])
    };
    for kind in KINDS {
        let clipped = call(&mut Clip::new(score_map(kind, broken), -1.0, 1.0).unwrap(), &states()).unwrap();
        let scaled = call(&mut Threshold::new(score_map(kind, broken), 0.5, 2.0).unwrap(), &states()).unwrap();
        for i in 0..3 {
            assert!(!clipped[[i, 0]].is_finite() && !scaled[[i, 0]].is_finite(), "{kind:?}, row {i}");
        }
    }
}

#[test]
fn what_has_the_coefficient_0_is_not_read() {
    let (x, nan) = (states(), |x: ArrayView2<'_, f64>, _: &Rows<'_>| Ok(x.mapv(|_| f64::NAN)));
    // the unconditional output at scale 1
    let mut guided = Guided::pair(plain(Prediction::Noise), score_map(Prediction::Noise, nan), 1.0).unwrap();
    assert_eq!(call(&mut guided, &x).unwrap(), network(x.view()));
    // the state, where the output is the data
    let far = Array2::from_elem((4, 3), f64::INFINITY);
    let five = || score_map(Prediction::Data, |x: ArrayView2<'_, f64>, _: &Rows<'_>| Ok(x.mapv(|_| 5.0)));
    let one = Array2::ones((4, 3));
    assert_eq!(call(&mut Clip::new(five(), -1.0, 1.0).unwrap(), &far).unwrap(), one);
    assert_eq!(call(&mut Threshold::new(five(), 0.9, 9.0).unwrap(), &far).unwrap(), one);
    // the state, where the level is so high that its coefficient rounds to 0
    let raw = score_map(Prediction::Data, |x: ArrayView2<'_, f32>, _: &Rows<'_>| Ok(x.mapv(|_| 2.0)));
    let rows = Rows::new(&[0.0], &[1.0], &[1e25], &[0], &[0]).unwrap();
    let mut out = Array2::zeros((1, 1));
    let x = array![[f32::INFINITY]];
    EdmPrecondition::new(raw, 0.5).unwrap().eval(x.view(), &rows, out.view_mut()).unwrap();
    assert_eq!(out, array![[1.0]]);
}

#[test]
fn edm_preconditioning_is_table_one() {
    let (x, s) = (states(), 0.5);
    let seen = RefCell::new(Vec::new());
    let raw = score_map(Prediction::Noise, |x: ArrayView2<'_, f64>, rows: &Rows<'_>| {
        *seen.borrow_mut() = rows.t.to_vec();
        Ok(network(x))
    });
    let mut score = EdmPrecondition::new(raw, s).unwrap();
    assert_eq!(score.prediction(), Prediction::Data);
    let found = call(&mut score, &x).unwrap();
    for i in 0..4 {
        // on x / alpha at sigma / alpha, as printed
        let sigma: f64 = SIGMA[i] / ALPHA[i];
        let c_skip = s * s / (sigma * sigma + s * s);
        let c_out = sigma * s / (s * s + sigma * sigma).sqrt();
        let c_in = 1.0 / (sigma * sigma + s * s).sqrt();
        assert!((seen.borrow()[i] - sigma.ln() / 4.0).abs() < 1e-15);
        let state = x.row(i).mapv(|x| x / ALPHA[i]);
        let f = network(state.mapv(|x| c_in * x).insert_axis(Axis(0)).view());
        assert_close(&found.row(i).to_owned(), &(c_skip * &state + c_out * &f.row(0)), 0.0, 1e-14);
    }
    for (name, alpha, sigma) in [("alpha", 0.0, 1.0), ("sigma", 1.0, 0.0), ("sigma", 1.0, f64::NAN)] {
        let (alpha, sigma) = ([alpha], [sigma]);
        let rows = Rows::new(&[0.0], &alpha, &sigma, &[0], &[0]).unwrap();
        let mut out = Array2::zeros((1, 3));
        let error = score.eval(array![[1.0, 2.0, 3.0]].view(), &rows, out.view_mut()).unwrap_err();
        assert_eq!(setting(error), name);
    }
}
