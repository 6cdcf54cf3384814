//! Newton's method: how many rounds a sweep takes that knows the exact slopes of the network.
//!
//! The nodes of a problem are $x_j = \sum_l A_l x_{j-l} + \sum_l B_l f(x_{j-l}) + C \xi_j$. A sweep takes the old
//! states x, at which f was evaluated, to
//!
//! $$x'_j = \sum_l A_l x_{j-l} + \sum_l B_l f(x_{j-l}) + C \xi_j + \sum_l (A_l + B_l J_{j-l}) (x'_{j-l} - x_{j-l})$$
//!
//! with the Jacobian $J_i = \partial f / \partial x$ at $x_i$. This is Newton's method for all equations of the window
//! at once, solved from front to back. [`Picard`](piadm::Picard) puts a number in place of every J; the rest is as in
//! its default: a window of steps that slides for each sample on its own, the entry, the estimated error and the
//! rounding to f32. The products J v come from an exact derivative in forward mode, not from differences.
//!
//! It is a yardstick and no sampler: the product at a node needs the new state there, so that a sweep takes as many
//! dependent evaluations as the window has nodes. Only its rounds mean something: what exact slopes reach with this
//! window, entry and acceptance. That is no strict bound, since far from the solution exact slopes may overshoot where
//! rough ones do not. The estimated error was made for iterations that converge linearly and is much too careful here,
//! so rounds are to be compared at equal error, not at equal tolerance.

mod equal_error;
mod guess;
mod tangent;

use crate::subject::{Subject, mixture};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, s};
use networks::MlpTangent;
use piadm::noise::{Address, NoiseKey};
use piadm::problem::Prepared;
use piadm::sampler::on_round;
use piadm::{BoxError, Cpu, Error, Nodes, Prediction, Problem, Rows, Sampler, Save, ScoreFn, Sequential};
use std::ops::ControlFlow;
pub use tangent::Tangent;

/// A score with its derivative.
pub struct Newton {
    score: Box<dyn ScoreFn<Cpu<f32>>>,
    tangent: Box<dyn Tangent>,
    /// Numbers of a row.
    pub dim: usize,
}

/// How a problem is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Of the noise, for all of the problem's own.
    pub seed: u64,
    /// Steps of a window.
    pub window: usize,
    /// As in [`Acceptance::Error`](piadm::Acceptance::Error). With 0 only nodes that no longer move are accepted.
    pub tolerance: f64,
    /// Stops after so many rounds and leaves all states as they are.
    pub deadline: Option<usize>,
}

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The newest states: node, sample, element. Nodes that have not entered a window are 0.
    pub states: Array3<f32>,
    /// Rounds in which each sample took part.
    pub sample_rounds: Vec<usize>,
    /// Evaluations of f; those of J v are not counted.
    pub rows: usize,
}

impl Solution {
    /// The states of the last node, one per row.
    pub fn samples(&self) -> ArrayView2<'_, f32> {
        self.states.slice(s![-1, .., ..])
    }
}

impl Newton {
    /// The problem of this name in [`Subject::load`]: `mlp`, `patches` or `mixture-D`. `None` for the others, which
    /// have no derivative here.
    pub fn load(name: &str) -> Result<Option<Self>, BoxError> {
        let tangent: Box<dyn Tangent> = match mixture(name)? {
            Some(mixture) => Box::new(mixture),
            None if name == "mlp" => Box::new(MlpTangent::load(None)?),
            None => return Ok(None),
        };
        let Subject { score, dim } = Subject::load(name)?;
        Ok(Some(Newton { score, tangent, dim }))
    }

    /// A score whose rows have so many numbers, and its derivative.
    pub fn new(score: Box<dyn ScoreFn<Cpu<f32>>>, tangent: Box<dyn Tangent>, dim: usize) -> Self {
        Newton { score, tangent, dim }
    }

    /// The score, for other samplers.
    pub fn score(&mut self) -> &mut dyn ScoreFn<Cpu<f32>> {
        self.score.as_mut()
    }

    /// Runs a problem whose samples share one list of nodes, with one component and no stages. Guesses and noise that
    /// the problem was given are not looked at.
    ///
    /// # Errors
    /// For other problems, as [`Problem::prepare`] and the score, and for states that are not finite.
    pub fn run(&mut self, problem: &Problem<Cpu<f32>>, settings: &Settings) -> Result<Solution, BoxError> {
        let problem = problem.clone().seed(settings.seed);
        let prepared = problem.prepare(self.score.as_ref())?;
        check(&prepared)?;
        let first = prepared.list(0).first_step();
        // the starts are what a run has saved of step 0 before it goes on
        let mut stop = on_round(|_: &_| ControlFlow::Break(()));
        let begun = Sequential.run(&problem.save(Save::Steps(vec![first])), self.score.as_mut(), &mut stop)?;
        let starts = begun.path.at(first).ok_or("the starts were not saved")?;
        let mut run = Run::new(&prepared, settings, starts);
        while run.rounds < settings.deadline.unwrap_or(usize::MAX) && run.open().next().is_some() {
            run.evaluate(self.score.as_mut())?;
            run.sweep(self.tangent.as_ref())?;
            run.slide();
        }
        let sample_rounds = run.tracks.iter().map(|track| track.rounds).collect();
        Ok(Solution { states: run.states, sample_rounds, rows: run.rows })
    }
}

/// Refuses what the sweep does not know.
fn check(prepared: &Prepared<Cpu<f32>>) -> Result<(), BoxError> {
    let list = prepared.list(0);
    if !(1..prepared.count()).all(|slot| std::ptr::eq(prepared.list(slot), list)) {
        return Err("the samples have unlike nodes".into());
    }
    let before_last = &list.nodes()[..list.nodes().len() - 1];
    let simple = list.nodes().iter().all(|node| node.solution && node.width == 1) && list.heads() == 1;
    if !simple || before_last.iter().any(|node| !node.evaluate) || prepared.prediction() == Prediction::Next {
        return Err("the nodes are not those of a scheme with one component and one evaluation per step".into());
    }
    Ok(())
}

/// The window of a sample: node `lo` is final, those up to `hi` are guesses.
struct Track {
    lo: usize,
    hi: usize,
    rounds: usize,
    /// The last two changes of every node, NaN before they are known.
    changes: Vec<[f64; 2]>,
    /// Whether any element of a node changed in the last sweep.
    moved: Vec<bool>,
}

/// A term of a node: lag, A and B.
type Link = (usize, f64, f64);

struct Run<'a> {
    list: &'a Nodes,
    ids: &'a [u32],
    prediction: Prediction,
    settings: &'a Settings,
    key: NoiseKey,
    /// Of every node.
    links: Vec<Vec<Link>>,
    /// By node and sample: the newest state x', the point x of the last evaluation, f and J (x' - x) there.
    states: Array3<f32>,
    points: Array3<f32>,
    outputs: Array3<f32>,
    products: Array3<f32>,
    tracks: Vec<Track>,
    rounds: usize,
    rows: usize,
}

impl<'a> Run<'a> {
    fn new(prepared: &'a Prepared<Cpu<f32>>, settings: &'a Settings, starts: ArrayView2<'_, f32>) -> Self {
        let list = prepared.list(0);
        let nodes = list.nodes().len();
        let links = |j: usize| {
            let all = (1..=list.lookback().min(j)).map(|lag| (lag, list.a(j, lag, 0, 0), list.b(j, lag, 0, 0)));
            all.filter(|(_, a, b)| *a != 0.0 || *b != 0.0).collect()
        };
        let zeros = || Array3::zeros((nodes, prepared.count(), prepared.dim()));
        let track = || Track { lo: 0, hi: 0, rounds: 0, changes: vec![[f64::NAN; 2]; nodes], moved: vec![true; nodes] };
        let mut run = Run {
            list,
            ids: prepared.ids(),
            prediction: prepared.prediction(),
            settings,
            key: NoiseKey::new(settings.seed),
            links: (0..nodes).map(links).collect(),
            states: zeros(),
            points: zeros(),
            outputs: zeros(),
            products: zeros(),
            tracks: (0..prepared.count()).map(|_| track()).collect(),
            rounds: 0,
            rows: 0,
        };
        run.states.slice_mut(s![0, .., ..]).assign(&starts);
        (0..prepared.count()).for_each(|slot| run.begin_at(slot, 0));
        run
    }

    fn last(&self) -> usize {
        self.links.len() - 1
    }

    /// The samples that are not finished.
    fn open(&self) -> impl Iterator<Item = usize> + use<'_, 'a> {
        (0..self.tracks.len()).filter(|slot| self.tracks[*slot].lo < self.last())
    }

    /// Moves the start of a window to `lo` and lets nodes enter at its end.
    fn begin_at(&mut self, slot: usize, lo: usize) {
        let Track { lo: before, hi, .. } = self.tracks[slot];
        let end = lo.saturating_add(self.settings.window.max(1)).min(self.last());
        // the guesses are made from the evaluations of the window before it moves
        for j in hi + 1..=end {
            let guess = self.guess(slot, (before, hi), j);
            self.states.slice_mut(s![j, slot, ..]).assign(&guess);
        }
        let track = &mut self.tracks[slot];
        (track.lo, track.hi) = (lo, end);
    }

    /// Evaluates f at every node of the windows but the last.
    fn evaluate(&mut self, score: &mut dyn ScoreFn<Cpu<f32>>) -> Result<(), BoxError> {
        let windows = self.open().map(|slot| (slot, self.tracks[slot].lo..self.tracks[slot].hi));
        let at: Vec<_> = windows.flat_map(|(slot, nodes)| nodes.map(move |j| (slot, j))).collect();
        for &(slot, j) in &at {
            self.points.slice_mut(s![j, slot, ..]).assign(&self.states.slice(s![j, slot, ..]));
            self.products.slice_mut(s![j, slot, ..]).fill(0.0);
        }
        let x = gather(&self.points, &at);
        let mut out = Array2::zeros(x.dim());
        self.with_rows(&at, |rows| score.eval(x.view(), rows, out.view_mut()))?;
        for (&(slot, j), f) in at.iter().zip(out.rows()) {
            self.outputs.slice_mut(s![j, slot, ..]).assign(&f);
        }
        self.rows += at.len();
        self.rounds += 1;
        Ok(())
    }

    /// One sweep of all windows, side by side.
    fn sweep(&mut self, tangent: &dyn Tangent) -> Result<(), BoxError> {
        let open: Vec<usize> = self.open().collect();
        let longest = open.iter().map(|slot| self.tracks[*slot].hi - self.tracks[*slot].lo).max();
        for k in 1..=longest.unwrap_or(0) {
            let mut at: Vec<(usize, usize)> = open.iter().map(|slot| (*slot, self.tracks[*slot].lo + k)).collect();
            at.retain(|(slot, j)| *j <= self.tracks[*slot].hi);
            for &(slot, j) in &at {
                self.step(slot, j)?;
            }
            // the last node of a window was not evaluated, and nothing follows it
            at.retain(|(slot, j)| *j < self.tracks[*slot].hi && self.tracks[*slot].moved[*j]);
            if at.is_empty() {
                continue;
            }
            let (x, moves) = (gather(&self.points, &at), gather(&self.states, &at) - gather(&self.points, &at));
            let (_, products) = self.with_rows(&at, |rows| tangent.product(x.view(), rows, moves.view()))?;
            for (&(slot, j), product) in at.iter().zip(products.rows()) {
                self.products.slice_mut(s![j, slot, ..]).assign(&product);
            }
        }
        open.into_iter().for_each(|slot| self.tracks[slot].rounds += 1);
        Ok(())
    }

    /// The new state of a node, and its change.
    fn step(&mut self, slot: usize, j: usize) -> Result<(), BoxError> {
        let (mut new, mut correction) = (Array1::zeros(self.states.dim().2), Array1::zeros(self.states.dim().2));
        for &(lag, a, _) in &self.links[j] {
            new.scaled_add(a as f32, &row(&self.points, slot, j - lag));
        }
        for &(lag, _, b) in &self.links[j] {
            new.scaled_add(b as f32, &row(&self.outputs, slot, j - lag));
        }
        self.add_noise(&mut new, slot, j);
        for link in &self.links[j] {
            self.correct(&mut correction, slot, j, link);
        }
        new += &correction;
        let mut old = self.states.slice_mut(s![j, slot, ..]);
        let squares: f64 = old.iter().zip(&new).map(|(x, y)| f64::from(y - x).powi(2)).sum();
        let change = (squares / new.len() as f64).sqrt();
        if !change.is_finite() {
            return Err(Error::StateNotFinite { round: self.rounds, node: j, sample: self.ids[slot] }.into());
        }
        let track = &mut self.tracks[slot];
        track.changes[j] = [change, track.changes[j][0]];
        track.moved[j] = old != new;
        old.assign(&new);
        Ok(())
    }

    /// Adds (A + B J) (x' - x) of a node's link. It is 0 at the start of a window, which has not moved since f was
    /// evaluated there.
    fn correct(&self, sum: &mut Array1<f32>, slot: usize, j: usize, &(lag, a, b): &Link) {
        let i = j - lag;
        sum.scaled_add(a as f32, &(&row(&self.states, slot, i) - &row(&self.points, slot, i)));
        sum.scaled_add(b as f32, &row(&self.products, slot, i));
    }

    fn add_noise(&self, sum: &mut Array1<f32>, slot: usize, j: usize) {
        let mut xi = vec![0.0; sum.len()];
        for (k, normal) in self.list.normals(j).iter().enumerate() {
            let address = Address { stream: normal.stream, step: normal.step, sample: self.ids[slot] };
            self.key.fill_f32(address, 0, &mut xi);
            sum.scaled_add(self.list.c(j, 0, k) as f32, &ArrayView1::from(&xi));
        }
    }

    /// The first guess of node `j`, which is past the end `hi` of a window: its own formula with an output for Gaussian
    /// data in place of those that are missing.
    fn guess(&self, slot: usize, (lo, hi): (usize, usize), j: usize) -> Array1<f32> {
        let mut new = Array1::zeros(self.states.dim().2);
        for link @ &(lag, a, b) in &self.links[j] {
            let i = j - lag;
            if i < hi {
                new.scaled_add(a as f32, &row(&self.points, slot, i));
                new.scaled_add(b as f32, &row(&self.outputs, slot, i));
                self.correct(&mut new, slot, j, link);
            } else {
                let (g, k) = guess::output(&self.list.nodes()[i].level, self.prediction);
                new.scaled_add((a + b * g) as f32, &row(&self.states, slot, i));
                if let Some(centre) = self.centre(slot, (lo, hi), (i, guess::follows(self.list, j))) {
                    new.scaled_add((b * k) as f32, &centre);
                }
            }
        }
        self.add_noise(&mut new, slot, j);
        new
    }

    /// The centre of the data for the level of node `i`, as the last evaluation of a window shows it, or as it
    /// `follows` from two of them; `None` before the first evaluation.
    fn centre(&self, slot: usize, (lo, hi): (usize, usize), (i, follows): (usize, bool)) -> Option<Array1<f32>> {
        let level = |i: usize| &self.list.nodes()[i].level;
        let at = |i: usize| {
            let (u, v) = guess::centre(level(i), self.prediction);
            &row(&self.points, slot, i) * u as f32 + &row(&self.outputs, slot, i) * v as f32
        };
        let last = hi.checked_sub(1).filter(|last| *last >= lo)?;
        match guess::earlier(lo, last, hi - lo).filter(|_| follows) {
            None => Some(at(last)),
            Some(first) => {
                let along = guess::along(level(i), level(last), level(first)) as f32;
                Some(at(last) * (1.0 + along) - at(first) * along)
            }
        }
    }

    /// Moves every window to its first node that fails: that one was still computed from accepted nodes.
    fn slide(&mut self) {
        for slot in self.open().collect::<Vec<_>>() {
            let track = &self.tracks[slot];
            let accepted = (track.lo + 1..=track.hi).take_while(|j| self.accepts(track, *j)).count();
            self.begin_at(slot, (track.lo + accepted + 1).min(track.hi));
        }
    }

    /// The rule of [`Acceptance::Error`](piadm::Acceptance::Error).
    fn accepts(&self, track: &Track, j: usize) -> bool {
        let [change, before] = track.changes[j];
        let ratio = if before.is_nan() { 0.5 } else { (change / before).clamp(0.5, 0.95) };
        let weight = (0.5 * self.list.nodes()[j].level.log_snr).exp().min(1.0);
        let tolerance = self.settings.tolerance;
        // without the floor for roundings, which matters below tolerances of 1e-5
        !track.moved[j] || tolerance > 0.0 && (change <= 0.0 || change * ratio / (1.0 - ratio) <= tolerance * weight)
    }

    /// Calls a score on these samples and nodes.
    fn with_rows<T>(
        &self,
        at: &[(usize, usize)],
        call: impl FnOnce(&Rows<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        let levels = || at.iter().map(|(_, j)| self.list.nodes()[*j].level);
        let (t, alpha): (Vec<f64>, Vec<f64>) = levels().map(|level| (level.t, level.alpha)).unzip();
        let sigma: Vec<f64> = levels().map(|level| level.sigma).collect();
        let (slots, ids): (Vec<usize>, Vec<u32>) = at.iter().map(|(slot, _)| (*slot, self.ids[*slot])).unzip();
        call(&Rows::new(&t, &alpha, &sigma, &ids, &slots).ok_or("lengths differ")?)
    }
}

fn row(all: &Array3<f32>, slot: usize, j: usize) -> ArrayView1<'_, f32> {
    all.slice(s![j, slot, ..])
}

/// The rows of these samples and nodes, one below the other.
fn gather(all: &Array3<f32>, at: &[(usize, usize)]) -> Array2<f32> {
    let mut rows = Array2::zeros((at.len(), all.dim().2));
    at.iter().zip(rows.rows_mut()).for_each(|(&(slot, j), mut to)| to.assign(&row(all, slot, j)));
    rows
}
