//! What tells a path with independent normals from others.

use crate::reference::{Chain, DIM, Run, State, denoised, dot};

/// Standard errors from what independent normals would give.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// |zeta|^2 of all steps.
    pub size: f64,
    /// zeta along the last change of the data prediction, and its square.
    pub along: f64,
    pub along_squared: f64,
    /// The noise of judged nodes along delta, before the judgement.
    pub before: f64,
    /// The recovered noise of judged nodes along delta, after it.
    pub after: f64,
    /// Kolmogorov-Smirnov: the last states along the modes against those of sequential sampling, sqrt(n/2) D.
    pub ends: f64,
    /// Acceptance against its expectation, the sum of 2 Phi(-|delta|/2).
    pub kept: f64,
}

impl Errors {
    pub fn largest(&self) -> f64 {
        let all = [self.size, self.along, self.along_squared, self.before, self.after, self.kept];
        all.iter().fold(0.0, |max, z| f64::max(max, z.abs()))
    }

    /// Whether any of them is beyond chance.
    pub fn red(&self) -> bool {
        !(self.largest() < 5.0 && self.ends < 2.6)
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [self.size, self.along, self.along_squared, self.before, self.after, self.kept, self.ends];
        all.iter().try_for_each(|z| write!(f, "{z:>9.1}"))
    }
}

/// The names of the columns.
pub const COLUMNS: [&str; 7] = ["|zeta|^2", "G", "G^2", "M1", "M2", "kept", "KS"];

/// The noise with which the final states were made, by the step's own formula.
fn recovered(chain: &Chain, states: &[State], j: usize) -> State {
    let (step, x, d) = (chain.steps[j - 1], states[j - 1], denoised(&chain.levels[j - 1], &states[j - 1]));
    std::array::from_fn(|e| (states[j][e] - step.a * x[e] - step.b * d[e]) / step.c)
}

pub fn errors(chain: &Chain, runs: &[Run], sequential: &[f64]) -> Errors {
    let (mut size, mut along, mut along_squared, mut steps) = (0.0, 0.0, 0.0, 0.0);
    let (mut before, mut after, mut square, mut judged) = (0.0, 0.0, 0.0, 0.0);
    let (mut kept, mut spread) = (0.0, 0.0);
    for run in runs {
        let zeta: Vec<State> = (1..=chain.len()).map(|j| recovered(chain, &run.states, j)).collect();
        let predicted: Vec<State> = (0..chain.len()).map(|j| denoised(&chain.levels[j], &run.states[j])).collect();
        for (j, z) in zeta.iter().enumerate().skip(1) {
            size += dot(z, z) - DIM as f64;
            let g: State = std::array::from_fn(|e| predicted[j][e] - predicted[j - 1][e]);
            let g = dot(z, &g) / dot(&g, &g).sqrt();
            along += g;
            along_squared += g * g - 1.0;
            steps += 1.0;
        }
        for one in &run.judged {
            let (length, j) = (dot(&one.delta, &one.delta).sqrt(), one.node - 1);
            if length == 0.0 {
                continue;
            }
            before += dot(&one.delta, &run.noise[j]) / length;
            after += dot(&one.delta, &zeta[j]);
            square += length * length;
            judged += 1.0;
            let expected = libm::erfc(length / 8f64.sqrt());
            kept += f64::from(u8::from(one.kept)) - expected;
            spread += expected * (1.0 - expected);
        }
    }
    let ends = runs.iter().map(|run| run.states[chain.len()]).map(|x| x[0]).collect();
    Errors {
        size: size / (2.0 * DIM as f64 * steps).sqrt(),
        along: along / f64::sqrt(steps),
        along_squared: along_squared / f64::sqrt(2.0 * steps),
        before: before / f64::sqrt(judged),
        after: after / f64::sqrt(square),
        kept: kept / f64::sqrt(spread),
        ends: apart(ends, sequential.to_vec()),
    }
}

/// The two-sample Kolmogorov-Smirnov statistic, sqrt(n m / (n + m)) D; 2.6 has a probability of 3e-6.
pub fn apart(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let (n, m) = (a.len() as f64, b.len() as f64);
    let below = |sorted: &[f64], x: f64| sorted.partition_point(|y| *y <= x) as f64;
    let distance = |x: &f64| (below(&a, *x) / n - below(&b, *x) / m).abs();
    let largest = a.iter().chain(&b).map(distance).fold(0.0, f64::max);
    (n * m / (n + m)).sqrt() * largest
}
