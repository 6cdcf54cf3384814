//! How the example `frontier` chooses among its runs.

use lab::frontier::{Field, Findings, MEASURES, Run};
use serde_json::{Value, json};

/// A run of these rounds, rows and errors (rms, median).
fn run(parallel: bool, rounds: usize, rows: f64, errors: Option<(f64, f64)>) -> Value {
    json!({
        "rival": "DPM-Solver++(2M)",
        "steps": 50,
        "parallel": parallel.then(|| json!({ "window": 32, "tolerance": 1e-3 })),
        "rounds": rounds,
        "mean_rounds": rounds,
        "rows": rows,
        "path": errors.map(|(rms, median)| json!({ "rms": rms, "median": median, "worst": rms })),
        "law": null,
    })
}

fn findings() -> Findings {
    let runs = [
        run(true, 12, 90.0, Some((1e-3, 5e-4))),
        run(true, 8, 70.0, Some((1e-2, 1e-4))),
        // as close as the first in as many rounds, with less work
        run(true, 12, 80.0, Some((1e-3, 5e-4))),
        // farther with more rounds
        run(true, 15, 60.0, Some((2e-3, 5e-4))),
        run(false, 6, 6.0, Some((1e-4, 1e-5))),
        // without a path
        run(true, 5, 50.0, None),
    ];
    let findings = json!({
        "problem": "mixture-64",
        "dim": 64,
        "samples": 2,
        "law_samples": 32,
        "reference_steps": 200,
        "reference_error": 1e-6,
        "grey_level": null,
        "runs": runs,
        "seconds": 1.0,
    });
    serde_json::from_value(findings).unwrap()
}

fn found<'a>(runs: impl IntoIterator<Item = (f64, &'a Run)>) -> Vec<(f64, usize, f64)> {
    runs.into_iter().map(|(error, run)| (error, run.rounds, run.rows)).collect()
}

#[test]
fn the_best_run_is_the_closest_within_the_rounds_and_then_the_one_of_least_work() {
    let findings = findings();
    let parallel = Field::new(&findings, MEASURES[0], Run::is_parallel);
    let best = |rounds| found(parallel.best(rounds));
    assert_eq!(best(7), []);
    assert_eq!(best(8), [(1e-2, 8, 70.0)]);
    assert_eq!(best(11), [(1e-2, 8, 70.0)]);
    assert_eq!(best(12), [(1e-3, 12, 80.0)]);
    assert_eq!(best(100), [(1e-3, 12, 80.0)]);
}

#[test]
fn a_frontier_has_no_run_that_another_one_beats() {
    let findings = findings();
    let [rms, median] = MEASURES.map(|by| found(Field::new(&findings, by, Run::is_parallel).frontier()));
    assert_eq!(rms, [(1e-2, 8, 70.0), (1e-3, 12, 80.0)]);
    assert_eq!(median, [(1e-4, 8, 70.0)]);
    assert_eq!(found(Field::new(&findings, MEASURES[0], |_| true).frontier()), [(1e-4, 6, 6.0)]);
    assert!(Field::new(&findings, MEASURES[0], |_| false).frontier().is_empty());
}
