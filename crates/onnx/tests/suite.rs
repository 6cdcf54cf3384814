//! The small graphs of `tests/models` in both engines, against what `make.py` says that they give.
//!
//! Tests that load ONNX Runtime are ignored by default: `ORT_DYLIB_PATH=... cargo test -- --include-ignored`.

use piadm::ndarray::{Array2, array};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn, backend::Real};
use piadm_onnx::{Condition, Engine, Error, Onnx, OnnxScore, Time, TimeInput};
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{name}.onnx"))
}

fn onnx(engine: Engine, name: &str) -> Onnx {
    Onnx::file(file(name)).engine(engine)
}

fn load(onnx: &Onnx) -> OnnxScore {
    onnx.load(Prediction::Noise).unwrap()
}

/// Rows with times 1, 2, ..., alpha 0.5, sigma 2, of the samples at these places.
fn call<T: Real>(score: &mut dyn ScoreFn<Cpu<T>>, x: &Array2<T>, slots: &[usize]) -> Result<Array2<T>, BoxError> {
    let n = x.nrows();
    let t: Vec<f64> = (1..=n).map(|i| i as f64).collect();
    let (alpha, sigma, ids) = (vec![0.5; n], vec![2.0; n], vec![0; n]);
    let rows = Rows::new(&t, &alpha, &sigma, &ids, slots).ok_or("lengths differ")?;
    let mut out = Array2::from_elem(x.dim(), T::nan());
    score.eval(x.view(), &rows, out.view_mut())?;
    Ok(out)
}

fn states() -> Array2<f32> {
    array![[1.0, -2.0], [0.5, 4.0], [3.0, 0.25]]
}

fn output(score: &mut dyn ScoreFn<Cpu<f32>>) -> Array2<f32> {
    call(score, &states(), &[0, 1, 0]).unwrap()
}

fn rows_times(factors: [f32; 3]) -> Array2<f32> {
    states() * array![[factors[0]], [factors[1]], [factors[2]]]
}

fn refused(onnx: &Onnx) -> Error {
    onnx.load(Prediction::Noise).map(|score| panic!("{score:?}")).unwrap_err()
}

fn failed(score: &mut dyn ScoreFn<Cpu<f32>>, slots: &[usize]) -> Error {
    *call(score, &states(), slots).unwrap_err().downcast().unwrap()
}

/// States and times of every kind: one time per row, a column, one for all, whole numbers.
fn times_of_every_kind(engine: Engine) {
    for name in ["times", "column", "scalar", "half", "double", "four"] {
        let mut score = load(&onnx(engine, name));
        assert_eq!(output(&mut score), rows_times([1.0, 2.0, 3.0]), "{name}");
        let wide = states().mapv(f64::from);
        let expected = rows_times([1.0, 2.0, 3.0]).mapv(f64::from);
        assert_eq!(call(&mut score, &wide, &[0; 3]).unwrap(), expected, "{name}, f64");
    }
    // f64 states in a graph of f64 keep their bits
    let x = array![[0.1f64, 1.0 / 3.0]];
    assert_eq!(call(&mut load(&onnx(engine, "double")), &x, &[0]).unwrap(), x);
    // in half precision they are rounded
    let found = call(&mut load(&onnx(engine, "half")), &x, &[0]).unwrap();
    assert!(found != x && (&found - &x).iter().all(|d| d.abs() < 2e-4), "{found}");
    let mut score = load(&onnx(engine, "image").shape([1, 2, 1]));
    assert_eq!(score.shape(), [1, 2, 1]);
    assert_eq!(output(&mut score), rows_times([1.0, 2.0, 3.0]));
}

/// t = 1, 2, 3, alpha = 1/2, sigma = 2.
fn what_a_network_is_told(engine: Engine) {
    let told = |time: TimeInput| {
        let score = &mut load(&onnx(engine, "double").time_input(time));
        call(score, &array![[1.0f64, 1.0], [1.0, 1.0]], &[0, 0]).unwrap().column(0).to_vec()
    };
    assert_eq!(told(TimeInput::default()), [1.0, 2.0]);
    assert_eq!(told(TimeInput::new(Time::T).scale(0.25).offset(1.0)), [1.25, 1.5]);
    assert_eq!(told(TimeInput::new(Time::Sigma)), [4.0, 4.0]);
    assert_eq!(told(TimeInput::new(Time::LogSigma).scale(0.25)), [0.25 * 4f64.ln(); 2]);
    assert_eq!(told(TimeInput::new(Time::HalfLogSnr)), [-(4f64.ln()); 2]);
    assert_eq!(told(TimeInput::new(Time::Index).scale(0.7)), [0.7, 1.4]);
    // whole numbers: t - 1 = 0, 1, 2 chooses 1, 10, 100; and what is not whole is rounded
    for (scale, factors) in [(1.0, [1.0, 10.0, 100.0]), (0.9, [1.0, 10.0, 100.0]), (0.5, [1.0, 1.0, 10.0])] {
        let time = TimeInput::new(Time::T).scale(scale).offset(-1.0);
        // -0.1, 0.8, 1.7 and -0.5, 0, 0.5, halves away from 0
        let time = if scale == 0.5 { time.offset(-0.75) } else { time };
        let mut score = load(&onnx(engine, "index").time_input(time));
        let expected = if scale == 0.5 { rows_times([1.0, 1.0, 10.0]) } else { rows_times(factors) };
        assert_eq!(output(&mut score), expected, "{scale}");
    }
    let mut score = load(&onnx(engine, "times").time_input(TimeInput::default().scale(f64::INFINITY)));
    assert!(matches!(failed(&mut score, &[0; 3]), Error::Time { what: Time::T, t: 1.0, .. }));
}

/// Any number of rows in calls of one size: no call sees other rows than its own and copies of its last.
fn calls_of_one_size(engine: Engine) {
    let mean = onnx(engine, "mean");
    assert_eq!(load(&mean).batch(), None);
    assert_eq!(load(&onnx(engine, "four")).batch(), Some(4));
    assert_eq!(load(&onnx(engine, "scalar")).batch(), Some(1));
    let mut alone = load(&mean.clone().batch(1));
    assert_eq!(output(&mut alone), states() * 2.0);
    // rows 1 and 2 with their mean, row 3 with a copy of itself
    let mut two = load(&mean.clone().batch(2));
    assert_eq!(output(&mut two), array![[1.75, -1.0], [1.25, 5.0], [6.0, 0.5]]);
    assert_eq!((two.evaluations(3), two.grain(), two.max_rows()), (4, 2, None));
    for (name, batch) in [("four", 3), ("scalar", 2), ("times", 0)] {
        let error = refused(&onnx(engine, name).batch(batch));
        assert!(matches!(error, Error::Setting { setting: "batch", .. }), "{name}: {error}");
    }
}

fn conditions_by_slot(engine: Engine) {
    let labelled = onnx(engine, "label").condition("label", Condition::labels([2, 0]).no_class([1.0]));
    let offset = |of_row: [[f32; 2]; 3]| rows_times([1.0, 2.0, 3.0]) + Array2::from(of_row.to_vec());
    let mut score = load(&labelled);
    assert_eq!(output(&mut score), offset([[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]));
    assert!(matches!(failed(&mut score, &[0, 2, 0]), Error::Slot { rows: 2, slot: 2, .. }));
    score.set_condition("label", Condition::labels([1, 1])).unwrap();
    assert_eq!(output(&mut score), offset([[3.0, 4.0]; 3]));
    // constants of a row
    let mut score = load(&labelled.clone().condition("label", 0.0));
    assert_eq!(output(&mut score), offset([[1.0, 2.0]; 3]));
    for wrong in [Condition::number(0.5), Condition::number(f64::NAN), Condition::labels([0]).no_class([0.5])] {
        let error = refused(&labelled.clone().condition("label", wrong));
        assert!(matches!(error, Error::Setting { setting: "condition", .. }), "{error}");
    }
    // guidance by 3: 3 with - 2 without; the second half of the rows of the call has no class
    for batch in [None, Some(1), Some(4)] {
        let mut score = load(&labelled.clone().batch(batch)).guided(3.0).unwrap();
        assert_eq!(output(&mut score), offset([[9.0, 10.0], [-3.0, -2.0], [9.0, 10.0]]), "{batch:?}");
    }
    let error = load(&labelled.clone().condition("label", 0.0)).guided(3.0).unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "guided", .. }), "{error}");
    let error = load(&labelled).guided(f64::NAN).unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "guided", .. }), "{error}");
}

fn several_inputs_and_outputs(engine: Engine) {
    let rows = array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
    let full = onnx(engine, "context").condition("context", Condition::by_slot(rows)).condition("scale", 10.0);
    let mut score = load(&full.clone().output("y"));
    let expected = rows_times([1.0, 2.0, 3.0]) + array![[10.0, 20.0], [30.0, 40.0], [10.0, 20.0]];
    assert_eq!(output(&mut score), expected);
    assert_eq!(output(&mut load(&full.clone().output("other"))), -states());
    score.set_condition("scale", 0.0).unwrap();
    assert_eq!(output(&mut score), rows_times([1.0, 2.0, 3.0]));
    let wrong = score.set_condition("scale", Condition::labels([0])).unwrap_err();
    assert!(matches!(wrong, Error::Shape { .. }), "{wrong}");
    assert!(matches!(score.set_condition("t", 0.0).unwrap_err(), Error::Name { .. }));
    // names of everything
    let mut score = load(&full.clone().output("y").state("x").time("t"));
    assert_eq!(output(&mut score), expected);
    // what cannot be told, or is not there
    assert!(matches!(refused(&full), Error::Ambiguous { what: "output", .. }));
    let error = refused(&onnx(engine, "context").condition("scale", 1.0).output("y"));
    assert!(matches!(error, Error::Ambiguous { what: "state", .. }), "{error}");
    let error = refused(&onnx(engine, "context").condition("scale", 1.0).output("y").state("x"));
    assert!(matches!(error, Error::Ambiguous { what: "time", .. }), "{error}");
    let error = refused(&onnx(engine, "context").condition("scale", 1.0).output("y").state("x").time("t"));
    assert!(matches!(error, Error::Ambiguous { what: "use of an input", .. }), "{error}");
    for named in [full.clone().output("z"), full.clone().state("z"), full.clone().time("z"), full.condition("z", 1.0)] {
        let error = refused(&named);
        assert!(matches!(error, Error::Name { .. }), "{error}");
        assert!(
            error.to_string().contains("\"z\"") && error.to_string().contains("y") | error.to_string().contains("x")
        );
    }
    let error = refused(&onnx(engine, "context").condition("context", 1.0).condition("scale", 1.0).output("y"));
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

fn graphs_that_are_no_scores(engine: Engine) {
    assert!(matches!(refused(&onnx(engine, "three")), Error::Shape { .. }));
    assert!(matches!(refused(&onnx(engine, "times").shape([3])), Error::Shape { .. }));
    assert!(matches!(refused(&onnx(engine, "image")), Error::Shape { .. }));
    let error = refused(&onnx(engine, "whole").state("x"));
    assert!(matches!(error, Error::Type { what: "state", .. }), "{error}");
    let error = refused(&onnx(engine, "unknown"));
    assert!(matches!(error, Error::Graph { .. }) && error.to_string().contains("Nothing"), "{error}");
    assert!(matches!(refused(&onnx(engine, "missing")), Error::File { .. }));
    assert!(matches!(refused(&Onnx::bytes(*b"no graph").engine(engine)), Error::Graph { .. }));
    assert!(matches!(refused(&Onnx::file(file("..")).engine(engine)), Error::File { .. } | Error::Graph { .. }));
    // arrays of another shape than the graph's
    let wide = Array2::<f32>::zeros((2, 3));
    let error = call(&mut load(&onnx(engine, "times")), &wide, &[0, 0]).unwrap_err();
    assert!(matches!(*error.downcast().unwrap(), Error::Call { found: [2, 3], expected: [2, 2], .. }));
    let none = Array2::<f32>::zeros((0, 2));
    assert_eq!(call(&mut load(&onnx(engine, "times")), &none, &[]).unwrap(), none);
}

fn bytes_and_arrays_of_any_layout(engine: Engine) {
    let mut score = load(&Onnx::bytes(std::fs::read(file("times")).unwrap()).engine(engine));
    assert_eq!(output(&mut score), rows_times([1.0, 2.0, 3.0]));
    let (x, mut out) = (array![[1.0f32, 2.0], [3.0, 4.0]], Array2::<f32>::zeros((2, 2)));
    let rows = Rows::new(&[1.0, 2.0], &[1.0; 2], &[1.0; 2], &[0; 2], &[0; 2]).unwrap();
    score.eval(x.t(), &rows, out.view_mut().reversed_axes()).unwrap();
    assert_eq!(out, array![[1.0, 4.0], [3.0, 8.0]].t().t());
}

macro_rules! in_both_engines {
    ($($test:ident),* $(,)?) => {
        #[cfg(feature = "tract")]
        mod tract {
            $(#[test]
            fn $test() {
                super::$test(piadm_onnx::Engine::Tract);
            })*
        }

        #[cfg(feature = "ort")]
        mod ort {
            $(#[test]
            #[ignore = "needs ONNX Runtime, in ORT_DYLIB_PATH"]
            fn $test() {
                super::$test(piadm_onnx::Engine::Ort);
            })*
        }
    };
}
in_both_engines! {
    times_of_every_kind, what_a_network_is_told, calls_of_one_size, conditions_by_slot, several_inputs_and_outputs,
    graphs_that_are_no_scores, bytes_and_arrays_of_any_layout,
}
