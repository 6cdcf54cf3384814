//! What the `short` example measures: steps uniform in flow time, all samplers in the same order for every seed.

use lab::equal_error::{Setting, flow_uniform};
use lab::presets::{OURS, preset};
use lab::short::{Plan, Steps, measure, text};
use lab::subject::random_mixture;
use piadm::sampler::Dynamics;
use piadm::{Cpu, Flow, Grid, NoiseSchedule, Ou, Problem, Sampler, Save, Scheme, Sequential};

#[test]
fn flow_times_are_uniform() {
    let times = flow_uniform(40).times(&Ou).unwrap();
    let flow: Vec<f64> = times.iter().map(|t| Ou.sigma(*t) / (Ou.alpha(*t) + Ou.sigma(*t))).collect();
    assert!((times[0] - 8.0).abs() < 1e-9 && (times[40] - 0.01).abs() < 1e-9);
    let step = (flow[0] - flow[40]) / 40.0;
    assert!(flow.windows(2).all(|pair| (pair[0] - pair[1] - step).abs() < 1e-12));
}

/// The states of a flow are those of this process over alpha + sigma.
#[test]
fn the_steps_are_those_of_a_flow() {
    let mut score = random_mixture(4, 5, 0.3, 1).unwrap();
    let setting = Setting { dynamics: Dynamics::Ode, steps: 20, samples: 3, seed: 2 };
    let ours = Sequential.sample(&setting.flow_euler(5), &mut score).unwrap().samples;
    let times = flow_uniform(20).times(&Ou).unwrap();
    let scale = |t: f64| (Ou.alpha(t) + Ou.sigma(t)) as f32;
    let ends = [times[0], times[20]].map(|t| Ou.sigma(t) / (Ou.alpha(t) + Ou.sigma(t)));
    let start = setting.flow_euler(5).save(Save::All);
    let start = Sequential.sample(&start, &mut score).unwrap().path.at(0).unwrap().mapv(|x| x / scale(times[0]));
    let flow = Problem::on(Cpu::new(), Flow, Grid::uniform(20).between(ends[0], ends[1]), Scheme::euler());
    let flow = Sequential.sample(&flow.shape([5]).init(start), &mut score).unwrap().samples;
    let off = (&ours - &(flow * scale(times[20]))).fold(0.0, |m: f32, e| m.max(e.abs()));
    assert!(off < 1e-5, "{off}");
}

#[test]
fn every_task_has_its_table() {
    let plan = Plan {
        problems: vec!["mixture-2".into()],
        kinds: vec![Steps::Ddim, Steps::SecondOrder, Steps::Sde],
        steps: vec![25],
        windows: vec![4, 8],
        error: 5e-3,
        samples: 2,
        seeds: vec![3, 4],
        samplers: vec![preset(OURS)],
    };
    let text = text(&measure(&plan).unwrap());
    let tables: Vec<Vec<&str>> = text.split("\n\n").skip(1).map(|table| table.lines().collect()).collect();
    let of = |table: usize, name: &str, column: usize| -> Vec<f64> {
        let lines = tables[table].iter().filter(|line| line.starts_with(name));
        let cell = |line: &&&str| line[name.len()..].split_whitespace().nth(column).unwrap().parse().unwrap();
        lines.map(|line| cell(&line)).collect()
    };
    assert_eq!(tables.len(), 3, "{text}");
    for table in 0..3 {
        let (rounds, errors) = (of(table, "default", 1), of(table, "default", 3));
        assert!(rounds.len() == 2 && rounds[1] < rounds[0] && rounds[0] < 25.0, "{text}");
        assert!(errors.iter().all(|error| *error <= 5e-3));
    }
    // starts 0, 3, 6, ... of 25 steps: only fast cores save a fifth, and none takes steps with a memory
    assert_eq!(of(0, "chords 8 of 8", 1), [12.0]);
    assert!(of(0, "chords 1 of 8", 1).is_empty() && of(1, "chords", 1).is_empty());
    let law = of(2, "law", 1);
    assert!((0..3).all(|table| of(table, "newton", 1).len() == 2 && of(table, "newton", 3).iter().all(|e| *e <= 5e-3)));
    assert!(law.len() == 2 && law[1] < law[0] && law[0] < 25.0 && of(0, "law", 1).is_empty());
}
