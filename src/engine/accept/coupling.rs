//! The maximal coupling behind [`Acceptance::Law`](crate::Acceptance::Law): what becomes of one guess.
//!
//! Given the final states before it, a node has the law N(m, C C^T), and its guess is mhat + C xi, where mhat was made
//! without xi. With delta = C^+ (m - mhat), the guess is kept with the probability min(1, phi(xi - delta) / phi(xi));
//! otherwise xi is reflected, x = m + C (xi - 2 <xi, e> e) with e = delta / |delta|. Either way x has exactly the law
//! N(m, C C^T) (docs/law.md has the proof).

use crate::backend::MOST_VECTORS;
use crate::error::{Error, Result, reserved};
use crate::nodes::{MOST_COMPONENTS, Nodes};
use crate::noise::stream;

/// What becomes of a guess x, where x' = m + C xi is the node's exact state for its own noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// x is final as it is.
    Keep,
    /// x' - beta (x' - x) is final.
    Reflect {
        /// 2 <xi, delta> / |delta|^2.
        beta: f64,
    },
    /// x' is final.
    Take,
}

/// What the verdicts on a window's guesses leave to be done: its first nodes are final, the next one is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// Number of guesses that are kept.
    pub kept: usize,
    /// The reflection of the node after them; `None` if it takes its exact state.
    pub beta: Option<f64>,
}

/// The verdict for <xi, delta> and |delta|^2, with a uniform number in (0, 1].
pub(crate) fn verdict(u: f64, inner: f64, square: f64) -> Verdict {
    if !(inner.is_finite() && square.is_finite()) {
        // a choice by delta alone is exact too
        return Verdict::Take;
    }
    if square <= 0.0 {
        // a change too small to square
        return Verdict::Take;
    }
    if crate::portable::ln_f64(u) <= inner - 0.5 * square {
        return Verdict::Keep;
    }
    Verdict::Reflect { beta: 2.0 * inner / square }
}

/// The inner products that a verdict needs: those of the changes Delta_a = x'_a - x_a of the components with each
/// other, and with the normals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Products<'a> {
    pub components: usize,
    pub values: &'a [f64],
}

impl Products<'_> {
    /// The pairs of a group's vectors: the changes, then the normals.
    pub fn pairs(components: usize, normals: usize) -> impl Iterator<Item = (usize, usize)> {
        let changes = (0..components).flat_map(|a| (0..=a).map(move |b| (a, b)));
        changes.chain((0..normals).flat_map(move |k| (0..components).map(move |a| (components + k, a))))
    }

    /// How many these are.
    pub fn count(components: usize, normals: usize) -> usize {
        components * (components + 1) / 2 + components * normals
    }

    /// <Delta_a, Delta_b>.
    fn changes(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (a.max(b), a.min(b));
        self.values[a * (a + 1) / 2 + b]
    }

    /// <xi_k, Delta_a>.
    fn noise(&self, k: usize, a: usize) -> f64 {
        self.values[self.components * (self.components + 1) / 2 + k * self.components + a]
    }

    /// <xi, delta> and |delta|^2 at a node, where delta = C^T (C C^T)^-1 Delta over the components that have noise.
    pub fn whitened(&self, list: &Nodes, node: usize) -> (f64, f64) {
        let (factor, noisy) = factor(list, node);
        let rows = noisy.count();
        let on_noise = |a: usize, b: usize| -> f64 {
            let own = list.noise(node, noisy.component(a)).iter();
            own.map(|(k, c)| c * self.noise(*k as usize, noisy.component(b))).sum()
        };
        let inner = factor.trace(rows, on_noise);
        let square = factor.trace(rows, |a, b| self.changes(noisy.component(a), noisy.component(b)));
        (inner, square)
    }
}

/// The components of a node that have noise.
#[derive(Clone, Copy, Debug)]
struct Noisy {
    components: [usize; MOST_COMPONENTS],
    count: usize,
}

impl Noisy {
    fn of(list: &Nodes, node: usize) -> Self {
        let mut noisy = Noisy { components: [0; MOST_COMPONENTS], count: 0 };
        for to in (0..list.nodes()[node].width).filter(|to| !list.noise(node, *to).is_empty()) {
            noisy.components[noisy.count] = to;
            noisy.count += 1;
        }
        noisy
    }

    fn count(&self) -> usize {
        self.count
    }

    fn component(&self, a: usize) -> usize {
        self.components[..self.count][a]
    }
}

/// L with L L^T = C C^T, over the components that have noise.
struct Factor {
    l: [[f64; MOST_COMPONENTS]; MOST_COMPONENTS],
    /// Whether the rows of C do not depend on each other.
    full: bool,
}

impl Factor {
    /// tr((C C^T)^-1 M^T) for a matrix M.
    fn trace(&self, rows: usize, m: impl Fn(usize, usize) -> f64) -> f64 {
        let solve = |x: &mut [f64; MOST_COMPONENTS]| {
            for row in 0..rows {
                let known: f64 = self.l[row].iter().zip(&*x).take(row).map(|(l, x)| l * x).sum();
                x[row] = (x[row] - known) / self.l[row][row];
            }
        };
        // the rows of A^T with A = L^-1 M^T, then the diagonal of L^-1 A^T
        let columns: [[f64; MOST_COMPONENTS]; MOST_COMPONENTS] = std::array::from_fn(|a| {
            let mut x = std::array::from_fn(|b| if a.max(b) < rows { m(a, b) } else { 0.0 });
            solve(&mut x);
            x
        });
        let of = |row: usize| {
            let mut x = columns.map(|column| column[row]);
            solve(&mut x);
            x[row]
        };
        (0..rows).map(of).sum()
    }
}

/// The Cholesky factor of a node's noise map.
fn factor(list: &Nodes, node: usize) -> (Factor, Noisy) {
    let noisy = Noisy::of(list, node);
    let product = |a: usize, b: usize| -> f64 {
        let other = list.noise(node, noisy.component(b));
        let shared = |k: u32| other.iter().find(|(other, _)| *other == k).map_or(0.0, |(_, c)| *c);
        list.noise(node, noisy.component(a)).iter().map(|(k, c)| c * shared(*k)).sum()
    };
    let mut factor = Factor { l: [[0.0; MOST_COMPONENTS]; MOST_COMPONENTS], full: true };
    let l = &mut factor.l;
    for a in 0..noisy.count() {
        for b in 0..=a {
            let known: f64 = (0..b).map(|k| l[a][k] * l[b][k]).sum();
            let rest = product(a, b) - known;
            l[a][b] = if a == b { rest.max(0.0).sqrt() } else { rest / l[b][b] };
            if a == b {
                factor.full &= rest > LEAST_PIVOT * product(a, a);
            }
        }
    }
    (factor, noisy)
}

/// A pivot over its diagonal element below which the rows of a noise map count as dependent.
const LEAST_PIVOT: f64 = 1e-12;

const WHAT: &str = "Acceptance::Law";

/// Whether guesses on these lists can be verified in one batch.
pub(crate) fn check<'a>(lists: impl Iterator<Item = &'a Nodes> + Clone) -> Result<()> {
    let most = |of: fn(&Nodes) -> usize| lists.clone().map(of).max().unwrap_or(0);
    let vectors = most(Nodes::components) + most(Nodes::most_normals);
    if vectors > MOST_VECTORS {
        let with = format!("{vectors} components and normals of a node");
        return Err(Error::unsupported(WHAT, with, "there may be 8 of both together"));
    }
    lists.clone().try_for_each(check_list)
}

/// Whether a list has noise, its nodes share no normals with each other or with the start, and the rows of each noise
/// map that are not zero are independent.
fn check_list(list: &Nodes) -> Result<()> {
    if !list.has_noise() {
        let instead = "the law of a path without noise is the path itself: take another acceptance";
        return Err(Error::unsupported(WHAT, "nodes without noise", instead));
    }
    let count = (0..list.nodes().len()).map(|j| list.normals(j).len()).sum();
    let mut normals = reserved("addresses of noise", count)?;
    for j in 0..list.nodes().len() {
        normals.extend(list.normals(j).iter().map(|normal| (normal.stream, normal.step, j)));
        if j > 0 && !factor(list, j).0.full {
            let with = format!("node {j}, whose components have noise that is not independent");
            return Err(Error::unsupported(WHAT, with, "give every noisy component noise of its own"));
        }
    }
    normals.sort_unstable();
    let twice = normals.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1));
    let initial = normals.iter().find(|normal| (normal.0, normal.1) == (stream::INITIAL, 0)).map(|normal| normal.2);
    match twice.map(|pair| pair[1].2).or(initial) {
        Some(j) => {
            let with = format!("node {j}, whose noise is used elsewhere too");
            Err(Error::unsupported(WHAT, with, "give every node normals of its own"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Products, Verdict, check, verdict};
    use crate::nodes::{Langevin, NodeTerms, Nodes, Normal};
    use crate::noise::{Address, NoiseKey, stream};
    use crate::schedule::{Level, Ou};
    use crate::score::Prediction;

    const DRAWS: u32 = 20_000;

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// Addressed normals and a uniform number of their own.
    fn draw(sample: u32, n: usize) -> (Vec<f64>, f64) {
        let (key, address) = (NoiseKey::new(3), Address { stream: stream::USER, step: 0, sample });
        let mut xi = vec![0.0; n];
        key.fill_f64(address, 0, &mut xi);
        (xi, key.uniform(address, u32::MAX))
    }

    /// How many standard errors apart the recovered noise zeta and N(0, 1) are: mean and mean square along delta and
    /// across it, and the rate of acceptance against 2 Phi(-|delta|/2).
    fn largest(draws: u32, rule: impl Fn(&[f64], &[f64], f64) -> (Vec<f64>, bool)) -> f64 {
        let delta = [0.6, 0.0, -0.8];
        let across = [0.8, 0.0, 0.6];
        let mut sums = [0.0; 5];
        for sample in 0..draws {
            let (xi, u) = draw(sample, 3);
            let (zeta, kept) = rule(&xi, &delta, u);
            let (along, across) = (dot(&zeta, &delta), dot(&zeta, &across));
            let of = [along, (along * along - 1.0) / 2f64.sqrt(), across, (across * across - 1.0) / 2f64.sqrt()];
            sums.iter_mut().zip(of).for_each(|(sum, x)| *sum += x);
            const RATE: f64 = 0.617075077; // 2 Phi(-1/2)
            sums[4] += (f64::from(u8::from(kept)) - RATE) / (RATE * (1.0 - RATE)).sqrt();
        }
        sums.iter().map(|sum| sum.abs() / f64::from(draws).sqrt()).fold(0.0, f64::max)
    }

    /// The rule for c = 0.5 and m = 0 by the state it leaves.
    fn by_state(xi: &[f64], delta: &[f64], u: f64) -> (Vec<f64>, bool) {
        let c = 0.5;
        let exact: Vec<f64> = xi.iter().map(|xi| c * xi).collect();
        let guess: Vec<f64> = exact.iter().zip(delta).map(|(x, d)| x - c * d).collect();
        let change: Vec<f64> = exact.iter().zip(&guess).map(|(x, guess)| x - guess).collect();
        let verdict = verdict(u, dot(xi, &change) / c, dot(&change, &change) / (c * c));
        let state = match verdict {
            Verdict::Keep => guess,
            Verdict::Take => exact,
            Verdict::Reflect { beta } => exact.iter().zip(&change).map(|(x, d)| x - beta * d).collect(),
        };
        (state.iter().map(|x| x / c).collect(), verdict == Verdict::Keep)
    }

    #[test]
    fn the_map_leaves_normals() {
        let z = largest(DRAWS, by_state);
        assert!(z < 4.5, "{z}");
    }

    /// The same rule with one formula changed: after some draws each is far from normal.
    #[test]
    fn mutations_of_the_map_are_seen() {
        type Rule = fn(&[f64], &[f64], f64) -> (Vec<f64>, bool);
        fn made(xi: &[f64], delta: &[f64], kept: bool, refused: impl Fn(f64) -> f64) -> (Vec<f64>, bool) {
            let along = dot(xi, delta);
            let zeta = xi.iter().zip(delta).map(|(xi, d)| if kept { xi - d } else { xi + refused(along) * d });
            (zeta.collect(), kept)
        }
        let mutations: [(&str, Rule); 9] = [
            ("the square whole", |xi, d, u| made(xi, d, u.ln() <= dot(xi, d) - 1.0, |a| -2.0 * a)),
            ("no square", |xi, d, u| made(xi, d, u.ln() <= dot(xi, d), |a| -2.0 * a)),
            ("the other sign of the product", |xi, d, u| made(xi, d, u.ln() <= -dot(xi, d) - 0.5, |a| -2.0 * a)),
            ("u for its logarithm", |xi, d, u| made(xi, d, u <= dot(xi, d) - 0.5, |a| -2.0 * a)),
            ("always kept", |xi, d, _| made(xi, d, true, |a| -2.0 * a)),
            ("refused where it is to be kept", |xi, d, u| made(xi, d, u.ln() > dot(xi, d) - 0.5, |a| -2.0 * a)),
            ("beta without its 2", |xi, d, u| made(xi, d, u.ln() <= dot(xi, d) - 0.5, |a| -a)),
            ("reflected to the other side", |xi, d, u| made(xi, d, u.ln() <= dot(xi, d) - 0.5, |a| 2.0 * a)),
            ("not reflected", |xi, d, u| made(xi, d, u.ln() <= dot(xi, d) - 0.5, |_| 0.0)),
        ];
        for (name, rule) in mutations {
            let z = largest(2_000, rule);
            println!("{name}: {z:.1} standard errors");
            assert!(z > 5.0, "{name}: {z}");
        }
    }

    /// A 2 x 2 map: position and velocity of a Langevin step share a normal. The recovered noise is C^-1 (x - m).
    #[test]
    fn two_components_that_share_noise() {
        let list = Langevin { friction: 2.0, step: 0.4, steps: 1 };
        let list = list.list(Level::at(&Ou, 1.0), Prediction::Score, 0).unwrap();
        let c: Vec<Vec<f64>> = (0..2).map(|to| (0..2).map(|k| list.c(1, to, k)).collect()).collect();
        assert_eq!(c[1][1], 0.0);
        let delta = [[0.3, -0.5, 0.2], [0.1, 0.4, -0.6]];
        let change: Vec<Vec<f64>> =
            (0..2).map(|a| (0..3).map(|e| (0..2).map(|k| c[a][k] * delta[k][e]).sum()).collect()).collect();
        let size = dot(&delta.concat(), &delta.concat());
        let mut sums = [0.0; 4];
        for sample in 0..DRAWS {
            let (flat, u) = draw(sample, 6);
            let xi = [&flat[..3], &flat[3..]];
            let rows = [&change[0][..], &change[1], xi[0], xi[1]];
            let values: Vec<f64> = Products::pairs(2, 2).map(|(a, b)| dot(rows[a], rows[b])).collect();
            assert_eq!(values.len(), Products::count(2, 2));
            let (inner, square) = Products { components: 2, values: &values }.whitened(&list, 1);
            assert!((square - size).abs() < 1e-12 * size, "{square} for {size}");
            assert!((inner - dot(&flat, &delta.concat())).abs() < 1e-12 * (1.0 + inner.abs()));
            let verdict = verdict(u, inner, square);
            // x' = C xi, x = x' - C delta
            let zeta: Vec<f64> = (0..6)
                .map(|i| match verdict {
                    Verdict::Keep => flat[i] - delta[i / 3][i % 3],
                    Verdict::Take => flat[i],
                    Verdict::Reflect { beta } => flat[i] - beta * delta[i / 3][i % 3],
                })
                .collect();
            let (along, all) = (dot(&zeta, &delta.concat()) / size.sqrt(), dot(&zeta, &zeta));
            let of = [along, (along * along - 1.0) / 2f64.sqrt(), (all - 6.0) / 12f64.sqrt(), zeta[3]];
            sums.iter_mut().zip(of).for_each(|(sum, x)| *sum += x);
        }
        let z = sums.iter().map(|sum| sum.abs() / f64::from(DRAWS).sqrt()).fold(0.0, f64::max);
        assert!(z < 4.5, "{z}");
    }

    #[test]
    fn numbers_at_the_edge() {
        assert_eq!(verdict(1.0, 0.0, 1e-300), Verdict::Reflect { beta: 0.0 });
        for (inner, square) in
            [(0.0, 0.0), (-1e-300, 0.0), (f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0), (1.0, f64::INFINITY)]
        {
            assert_eq!(verdict(0.5, inner, square), Verdict::Take);
        }
    }

    fn lawful(nodes: impl FnOnce(&mut Nodes)) -> Result<(), String> {
        let mut list = Nodes::empty(Level::at(&Ou, 1.0));
        nodes(&mut list);
        check(std::iter::once(&list)).map_err(|error| error.to_string())
    }

    #[test]
    fn noise_that_cannot_be_verified() {
        let level = Level::at(&Ou, 0.5);
        let one = |m: usize, c: f64| NodeTerms::new().a(1, [0, 0], 1.0).c(0, Normal::dynamics(m), c);
        assert_eq!(lawful(|list| list.push(level, true, &one(1, 0.1)).unwrap()), Ok(()));
        assert!(lawful(|list| list.push(level, true, &one(1, 0.0)).unwrap()).unwrap_err().contains("without noise"));
        let shared = lawful(|list| (0..2).for_each(|_| list.push(level, true, &one(7, 0.1)).unwrap()));
        assert!(shared.unwrap_err().contains("node 2"));
        let start = NodeTerms::new().a(1, [0, 0], 1.0).c(0, Normal::new(stream::INITIAL, 0), 0.1);
        assert!(lawful(|list| list.push(level, true, &start).unwrap()).unwrap_err().contains("used elsewhere"));
        // both components have the same noise, and both a share of their own
        let both = |own: f64| {
            let (shared, other) = (Normal::dynamics(1), Normal::new(stream::USER, 1));
            let terms = NodeTerms::wide(3).c(0, shared, 0.3).c(2, shared, 0.6).c(2, other, own);
            lawful(|list| list.push(level, true, &terms).unwrap())
        };
        assert!(both(0.0).unwrap_err().contains("not independent"));
        assert_eq!(both(0.1), Ok(()));
    }
}
