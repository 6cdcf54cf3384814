//! What the `chords` example measures: the results of all cores, on a grid that is uniform in flow time.

use lab::chords::{Plan, core_results, flow_uniform, measure, text};
use lab::subject::random_mixture;
use piadm::{Cpu, NoiseSchedule, Ou, Problem, Scheme};

#[test]
fn flow_times_are_uniform() {
    let times = flow_uniform(40).times(&Ou).unwrap();
    let flow: Vec<f64> = times.iter().map(|t| Ou.sigma(*t) / (Ou.alpha(*t) + Ou.sigma(*t))).collect();
    assert!((times[0] - 8.0).abs() < 1e-9 && (times[40] - 0.01).abs() < 1e-9);
    let step = (flow[0] - flow[40]) / 40.0;
    assert!(flow.windows(2).all(|pair| (pair[0] - pair[1] - step).abs() < 1e-12));
}

#[test]
fn faster_cores_take_fewer_rounds_and_err_more() {
    let mut score = random_mixture(8, 16, 0.3, 1).unwrap();
    let problem = Problem::on(Cpu::new(), Ou, flow_uniform(50), Scheme::ddim()).samples(6).shape([16]).seed(2);
    let results = core_results(&problem, &mut score, 8).unwrap();
    assert_eq!(results.iter().map(|r| r.rounds).collect::<Vec<_>>(), [50, 49, 48, 45, 38, 31, 24, 17]);
    assert_eq!((results[0].rows, results[0].error), (1.0, 0.0));
    assert!(results.iter().all(|r| r.rows <= 8.0) && results[4].error < results[7].error);
}

#[test]
fn every_core_has_its_line() {
    let plan = Plan { problem: "mixture-2".into(), steps: 50, samples: 2, cores: vec![1, 4], seeds: vec![3, 4] };
    let text = text(&measure(&plan).unwrap());
    // for each grid and number of cores a title, the names of the columns and the cores
    assert_eq!(text.lines().count(), 2 + 2 * (3 + 1) + 2 * (3 + 4), "{text}");
    assert!(text.contains("uniform in flow time, 4 cores") && text.contains("seed 4"));
}
