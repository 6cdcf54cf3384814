//! What the `devices` example stands on: parts that take exactly as long as they say, and the table.

use lab::devices::{Device, Plan, Recording, Tape, Waiting, measure, text};
use lab::short::Steps;
use ndarray::Array2;
use piadm::{Prediction, Rows, ScoreFn, score_fn};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn device(row: u64) -> Device {
    Device { row: Duration::from_millis(row), latency: Duration::from_micros(50), bytes: 1000, bandwidth: 1e9 }
}

#[test]
fn a_call_takes_its_rows_its_latency_and_its_bytes() {
    assert_eq!(device(20).time(1), Duration::from_micros(20_051));
    assert_eq!(device(20).time(8), Duration::from_micros(160_058));
    // answers by time, in the order in which they were asked for
    let (x, mut out) = (Array2::from_shape_fn((3, 2), |(i, j)| (2 * i + j) as f32), Array2::zeros((3, 2)));
    let rows = Rows::new(&[0.5, 0.25, 0.5], &[0.5; 3], &[0.5; 3], &[0; 3], &[0; 3]).unwrap();
    let tape = Arc::new(Tape::default());
    let mut network = score_fn::<f32>(Prediction::Data, |x, _, mut out| {
        out.assign(&(&x * 2.0));
        Ok(())
    });
    Recording { inner: &mut network, tape: tape.clone() }.eval(x.view(), &rows, out.view_mut()).unwrap();
    let mut waiting = Waiting { tape, prediction: Prediction::Data, device: device(20) };
    out.fill(0.0);
    let clock = Instant::now();
    waiting.eval(x.view(), &rows, out.view_mut()).unwrap();
    assert!(clock.elapsed() >= Duration::from_micros(60_053));
    assert_eq!(out, x * 2.0);
    let error = waiting.eval(out.clone().view(), &rows, out.view_mut()).unwrap_err();
    assert!(error.to_string().contains("not recorded"), "{error}");
}

#[test]
fn rounds_become_seconds() {
    let mut plan = Plan {
        problem: "mixture-2".into(),
        kinds: vec![Steps::Ddim, Steps::Sde],
        steps: vec![25],
        devices: vec![2, 5],
        error: 1e-2,
        samples: 2,
        seed: 3,
        device: device(2),
        model: true,
    };
    let model = measure(&plan).unwrap();
    plan.model = false;
    let waited = measure(&plan).unwrap();
    let tables = [&model, &waited].map(text);
    let table: Vec<Vec<&str>> = tables[0].lines().map(|line| line.split_whitespace().collect()).collect();
    let lines: Vec<_> = table.iter().filter(|line| line.len() == 10 && line[0].parse::<usize>().is_ok()).collect();
    let of = |name: &str, devices: &str| lines.iter().filter(|l| l[0] == devices && l[1] == name).count();
    assert_eq!(
        [of("default", "2"), of("law", "5"), of("chords", "5"), of("chords", "2")],
        [2, 1, 1, 0],
        "{}",
        tables[0]
    );
    for line in &lines {
        let number = |k: usize| line[k].parse::<f64>().unwrap();
        // seconds of the model are rounds of 2.051 ms, and without waiting it is what counts
        assert!((number(9) - number(2) * 2.051e-3).abs() < 6e-4 && line[5] == "-", "{line:?}");
        let faster = 25.0 / number(2);
        assert!((number(6) - faster).abs() < 0.05 * faster, "{line:?}");
    }
    // what waits takes at least as long as the model says
    for line in tables[1].lines().filter(|line| line.contains(" %")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (seconds, model): (f64, f64) = (words[5].parse().unwrap(), words[9].parse().unwrap());
        assert!(seconds > 0.999 * model - 1e-3, "{line}");
    }
}
