//! The same method once more, from the page: plain loops over one sample in f64, for first-order steps of the reverse
//! SDE in data form, with Gaussian slopes and held entries. It can be made wrong on purpose.

use piadm::noise::{Address, NoiseKey, stream};
use piadm::schedule::{Level, Ou};

/// Elements of a sample.
pub const DIM: usize = 8;
pub type State = [f64; DIM];

pub fn dot(a: &State, b: &State) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// x' = a x + b D + c xi from one level to the next.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub a: f64,
    pub b: f64,
    pub c: f64,
}

/// The grid: levels, and the steps between them.
pub struct Chain {
    pub levels: Vec<Level>,
    pub steps: Vec<Step>,
}

impl Chain {
    pub fn new(times: &[f64]) -> Self {
        let levels: Vec<Level> = times.iter().map(|t| Level::at(&Ou, *t)).collect();
        let step = |pair: &[Level]| {
            let [t, u] = [pair[0], pair[1]];
            let r = (t.alpha * u.sigma / (u.alpha * t.sigma)).powi(2); // e^{-2h}
            Step { a: u.sigma / t.sigma * r.sqrt(), b: u.alpha * (1.0 - r), c: u.sigma * (1.0 - r).sqrt() }
        };
        let steps = levels.windows(2).map(step).collect();
        Chain { levels, steps }
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }
}

/// E[x0 | x] where element e is m_e or -m_e, give or take 0.1: elements are decided at unlike noise levels.
pub fn denoised(level: &Level, x: &State) -> State {
    const MODES: State = [0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 5.0, 8.0];
    let (a, var) = (level.alpha, 0.01 * level.alpha * level.alpha + level.sigma * level.sigma);
    std::array::from_fn(|e| {
        let mode = MODES[e] * (a * MODES[e] * x[e] / var).tanh();
        mode + 0.01 * a / var * (x[e] - a * mode)
    })
}

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mutation {
    None,
    /// A refused node gets a new normal in place of the reflected one.
    FreshNormal,
    /// A refused node keeps its normal.
    NotReflected,
    /// Guesses are judged by the sweep with its corrections.
    CorrectionsLeftOn,
    /// What has been accepted is replaced by the exact state for its noise.
    AcceptedOverwritten,
    /// A guess that was copied is judged like one with its own noise.
    CopiesJudged,
    /// Slopes of a window are those measured at its last nodes.
    SlopesFromLater,
    /// What is passed on into a node depends on the slope measured at the node itself.
    OwnSlope,
    /// All nodes of a sample share a uniform number.
    SharedUniform,
}

/// A node that was judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub node: usize,
    /// (m - mhat) / c.
    pub delta: State,
    pub kept: bool,
}

/// A sample, its noise and the verdicts on its guesses.
pub struct Run {
    pub states: Vec<State>,
    /// xi of step j at j - 1.
    pub noise: Vec<State>,
    pub judged: Vec<Judged>,
    pub rounds: usize,
}

/// Settings of the method.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub window: usize,
    /// Variance of the Gaussian slopes.
    pub variance: f64,
    /// Variance of the held entry; `None` copies.
    pub held: Option<f64>,
    /// Whether guesses are made anew instead of being swept.
    pub redraft: bool,
    pub mutation: Mutation,
}

struct Window<'c> {
    chain: &'c Chain,
    settings: Settings,
    noise: Vec<State>,
    states: Vec<State>,
    /// Network outputs and the states where they were evaluated, of this round and of the one before.
    outputs: Vec<Option<(State, State)>>,
    earlier: Vec<Option<(State, State)>>,
    copied: Vec<bool>,
}

/// Samples with this noise. `key` and `id` address the uniform numbers.
pub fn run(chain: &Chain, settings: Settings, (start, noise): (State, Vec<State>), key: NoiseKey, id: u32) -> Run {
    let n = chain.len();
    let mut states = vec![start];
    states.resize(n + 1, [0.0; DIM]);
    let mut w = Window {
        chain,
        settings,
        noise,
        states,
        outputs: vec![None; n + 1],
        earlier: vec![None; n + 1],
        copied: vec![false; n + 1],
    };
    let (mut lo, mut hi) = (0, settings.window.min(n));
    w.enter(0, 0, hi);
    let (mut judged, mut rounds) = (Vec::new(), 0);
    while lo < n {
        rounds += 1;
        w.earlier = std::mem::replace(&mut w.outputs, vec![None; n + 1]);
        for j in lo..hi {
            w.outputs[j] = Some((w.states[j], denoised(&chain.levels[j], &w.states[j])));
        }
        let stop = w.judge(lo, hi, (key, id), &mut judged);
        let end = (stop + settings.window).min(n).max(if settings.redraft { 0 } else { hi });
        if settings.redraft {
            w.enter(lo, stop, end);
        } else {
            w.sweep(stop, hi);
            w.enter(lo, hi, end);
        }
        (lo, hi) = (stop, end);
    }
    Run { states: w.states, noise: w.noise, judged, rounds }
}

impl Window<'_> {
    /// The step into node j from where the network was evaluated.
    fn exact(&self, j: usize) -> State {
        let Step { a, b, c } = self.chain.steps[j - 1];
        let (y, d) = self.outputs[j - 1].expect("evaluated");
        std::array::from_fn(|e| a * y[e] + b * d[e] + c * self.noise[j - 1][e])
    }

    /// The factor by which a change of node i reaches node i + 1.
    fn weight(&self, i: usize, hi: usize) -> f64 {
        let Step { a, b, .. } = self.chain.steps[i];
        let Level { alpha, sigma, .. } = self.chain.levels[i];
        let known = alpha * self.settings.variance / (alpha * alpha * self.settings.variance + sigma * sigma);
        let measured = |at: usize| {
            let (Some((y, d)), Some((y0, d0))) = (self.outputs[at], self.earlier[at]) else { return None };
            let dy: State = std::array::from_fn(|e| y[e] - y0[e]);
            let dd: State = std::array::from_fn(|e| d[e] - d0[e]);
            let slope = dot(&dd, &dy) / dot(&dy, &dy);
            slope.is_finite().then_some(slope.clamp(0.0, 2.0 / alpha))
        };
        let slope = match self.settings.mutation {
            Mutation::SlopesFromLater => (i..hi).rev().find_map(measured),
            Mutation::OwnSlope if i + 1 < hi => measured(i + 1),
            _ => None,
        };
        a + b * slope.unwrap_or(known)
    }

    /// Judges the guesses from the window's start on; returns the node at which it stops, made anew.
    fn judge(&mut self, lo: usize, hi: usize, (key, id): (NoiseKey, u32), judged: &mut Vec<Judged>) -> usize {
        let mutation = self.settings.mutation;
        let mut change = [0.0; DIM];
        for j in lo + 1..=hi {
            let c = self.chain.steps[j - 1].c;
            let (x, xi, mut new) = (self.states[j], self.noise[j - 1], self.exact(j));
            if mutation == Mutation::CorrectionsLeftOn && j > lo + 1 {
                let w = self.weight(j - 1, hi);
                new = std::array::from_fn(|e| new[e] + w * change[e]);
            }
            change = std::array::from_fn(|e| new[e] - x[e]);
            let proposal = !self.copied[j] || mutation == Mutation::CopiesJudged;
            if j == hi || !proposal {
                self.states[j] = new;
                return j;
            }
            let delta = change.map(|d| d / c);
            let (inner, square) = (dot(&xi, &delta), dot(&delta, &delta));
            let step = if mutation == Mutation::SharedUniform { 1 } else { j as u32 };
            let u = key.uniform(Address { stream: stream::DYNAMICS, step, sample: id }, u32::MAX);
            let kept = square == 0.0 || u.ln() <= inner - 0.5 * square;
            judged.push(Judged { node: j, delta, kept });
            if kept {
                if mutation == Mutation::AcceptedOverwritten {
                    self.states[j] = new;
                }
                continue;
            }
            let beta = 2.0 * inner / square;
            self.states[j] = match mutation {
                Mutation::NotReflected => new,
                Mutation::FreshNormal => {
                    let mut fresh = [0.0; DIM];
                    key.fill_f64(Address { stream: stream::USER, step: j as u32, sample: id }, 0, &mut fresh);
                    std::array::from_fn(|e| new[e] + c * (fresh[e] - xi[e]))
                }
                _ => std::array::from_fn(|e| new[e] - beta * change[e]),
            };
            return j;
        }
        hi
    }

    /// The sweep of the nodes after `stop`.
    fn sweep(&mut self, stop: usize, hi: usize) {
        for j in stop + 1..=hi {
            let (w, (y, _)) = (self.weight(j - 1, hi), self.outputs[j - 1].expect("evaluated"));
            let (new, moved) = (self.exact(j), self.states[j - 1]);
            self.states[j] = std::array::from_fn(|e| new[e] + w * (moved[e] - y[e]));
            self.copied[j] = false;
        }
    }

    /// First guesses of the nodes after `hi`: the recurrence under a held centre, or copies.
    fn enter(&mut self, lo: usize, hi: usize, end: usize) {
        let Some(v) = self.settings.held else {
            for j in hi + 1..=end {
                (self.states[j], self.copied[j]) = (self.states[hi], true);
            }
            return;
        };
        let var = |l: &Level| l.alpha * l.alpha * v + l.sigma * l.sigma;
        let last = (lo..hi).rev().find(|i| self.outputs[*i].is_some());
        let centre: State = last.map_or([0.0; DIM], |i| {
            let (l, (y, d)) = (&self.chain.levels[i], self.outputs[i].expect("found"));
            // (y + var s) / alpha with s = (alpha D - y) / sigma^2
            std::array::from_fn(|e| (y[e] + var(l) * (l.alpha * d[e] - y[e]) / (l.sigma * l.sigma)) / l.alpha)
        });
        for j in hi + 1..=end {
            let (Step { a, b, c }, l) = (self.chain.steps[j - 1], &self.chain.levels[j - 1]);
            let (x, xi) = (self.states[j - 1], self.noise[j - 1]);
            let held = |e: usize| (l.alpha * v * x[e] + l.sigma * l.sigma * centre[e]) / var(l);
            self.states[j] = std::array::from_fn(|e| a * x[e] + b * held(e) + c * xi[e]);
        }
    }
}
