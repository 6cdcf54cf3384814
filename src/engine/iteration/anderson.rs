//! Triangular Anderson acceleration of sweeps (ParaTAA, Tang et al., arXiv 2402.09970).
//!
//! Let Y_k be the states before sweep k, G_k those after it, R_k = G_k - Y_k, and dR, dG the differences between
//! consecutive sweeps. Node j continues from G_k - dG theta_j, where theta_j minimises |R_k - dR theta| over the
//! unfinished nodes up to j: like the nodes, it only looks back.

use crate::backend::{Backend, Real, Vector};
use crate::engine::machine::Machine;
use crate::engine::ring::Kept;
use crate::engine::sizes::Sizes;
use crate::engine::span::Span;
use crate::error::{Result, reserve};
use crate::problem::Prepared;

/// Largest number of differences.
pub(crate) const MOST_MEMORY: usize = 6;
/// Pairs among that many differences and the residual.
const PAIRS: usize = (MOST_MEMORY + 1) * (MOST_MEMORY + 2) / 2;
/// Regularisation of the normal equations, relative to their trace.
const REGULARISATION: f64 = 1e-8;

/// A window that has been swept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swept {
    pub span: Span,
    /// New start of the window.
    pub lo: usize,
    /// Number of sweeps of the sample so far.
    pub now: usize,
    /// Index of the first sweep count of this window's nodes in the list of the counts of all windows.
    pub first: usize,
}

impl Swept {
    /// Number of differences available at a node, at most `most`.
    fn columns(&self, counts: &[usize], node: usize, most: usize) -> usize {
        counts[self.first + node - self.span.lo - 1].saturating_sub(1).min(most)
    }
}

/// The vectors and their inner products.
#[derive(Debug, Default)]
pub(crate) struct Anderson {
    /// Number of differences used, m.
    memory: usize,
    vectors: Vec<Vector>,
    /// The pairs of vectors whose products are needed, the same for every group.
    pairs: Vec<(usize, usize)>,
    products: Vec<f64>,
}

impl Anderson {
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let memory = sizes.layout.history.saturating_sub(1);
        // the differences dR_1 .. dR_m, then R
        let pairs: Vec<_> = (0..=memory).flat_map(|a| (0..=a).map(move |b| (a, b))).collect();
        let (what, groups) = ("Anderson's products", if memory > 0 { sizes.targets() } else { 0 });
        let mut anderson = Anderson { memory, ..Anderson::default() };
        reserve(what, &mut anderson.vectors, groups.saturating_mul(memory + 1))?;
        reserve(what, &mut anderson.products, groups.saturating_mul(pairs.len()))?;
        Ok(Anderson { pairs, ..anderson })
    }
}

impl Anderson {
    /// Stores the states before a sweep, which is number `sweep(slot)` of each sample.
    pub fn keep<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        spans: &[Span],
        sweep: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let Machine { layout, program, .. } = machine;
        program.clear();
        for span in spans {
            let width = |j: usize| prepared.list(span.slot).nodes()[j].width;
            for j in span.lo + 1..=span.hi {
                for component in 0..width(j) {
                    program.term(-1.0, layout.state(span.ring, j, component));
                    program.target(layout.history(span.ring, j, sweep(span.slot), Kept::Residual, component), None);
                }
            }
            program.segment(layout.slot(span.ring));
        }
        machine.run()
    }

    /// Stores the result of the last sweep, and accelerates the nodes after the windows' new starts.
    pub fn accelerate<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        swept: &[Swept],
        counts: &[usize],
    ) -> Result<()> {
        self.keep_residuals(prepared, machine, swept)?;
        self.residual_products(prepared, machine, swept, counts)?;
        let Machine { layout, program, .. } = machine;
        program.clear();
        let (m, each) = (self.memory, self.pairs.len());
        let mut products = self.products.chunks(each.max(1));
        for one in swept {
            let Swept { span, now, .. } = one;
            let width = |j: usize| prepared.list(span.slot).nodes()[j].width;
            let mut sums = [0.0; PAIRS];
            for j in one.lo + 1..=span.hi {
                for products in products.by_ref().take(width(j)) {
                    sums.iter_mut().zip(products).for_each(|(sum, p)| *sum += p);
                }
                let columns = one.columns(counts, j, m);
                let Some(theta) = solve(&sums, columns, m) else { continue };
                for component in 0..width(j) {
                    let g = |back: usize| layout.history(span.ring, j, now - back, Kept::State, component);
                    program.term(1.0, g(0));
                    for (a, t) in theta.iter().take(columns).enumerate() {
                        program.correction(<B::Elem as Real>::of(-t), g(a), g(a + 1), None);
                    }
                    program.target(layout.state(span.ring, j, component), None);
                }
            }
            program.segment(layout.slot(span.ring));
        }
        if machine.program.targets.is_empty() { Ok(()) } else { machine.run() }
    }

    /// Stores R and G of the last sweep.
    fn keep_residuals<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        swept: &[Swept],
    ) -> Result<()> {
        let Machine { layout, program, .. } = machine;
        program.clear();
        for Swept { span, now, .. } in swept {
            let width = |j: usize| prepared.list(span.slot).nodes()[j].width;
            for j in span.lo + 1..=span.hi {
                for component in 0..width(j) {
                    let state = layout.state(span.ring, j, component);
                    let r = layout.history(span.ring, j, *now, Kept::Residual, component);
                    // so far this row holds the negated state before the sweep
                    program.term(1.0, state);
                    program.term(1.0, r);
                    program.target(r, None);
                    program.copy(state, layout.history(span.ring, j, *now, Kept::State, component));
                }
            }
            program.segment(layout.slot(span.ring));
        }
        machine.run()
    }

    /// Inner products of the residuals and their differences at all nodes that stay.
    fn residual_products<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        swept: &[Swept],
        counts: &[usize],
    ) -> Result<()> {
        self.vectors.clear();
        let (m, layout) = (self.memory, machine.layout);
        for one in swept {
            let Swept { span, now, .. } = one;
            let width = |j: usize| prepared.list(span.slot).nodes()[j].width;
            for j in one.lo + 1..=span.hi {
                let columns = one.columns(counts, j, m);
                for component in 0..width(j) {
                    let r = |back: usize| layout.history(span.ring, j, now - back, Kept::Residual, component);
                    // a node with too few sweeps contributes nothing to the older differences
                    let difference = |a: usize| if a < columns { (r(a), r(a + 1)) } else { (r(0), r(0)) };
                    let differences = (0..m).map(difference).map(|(row, minus)| Vector { row, minus: Some(minus) });
                    self.vectors.extend(differences);
                    self.vectors.push(Vector { row: r(0), minus: None });
                }
            }
        }
        machine.products(&self.vectors, m + 1, &self.pairs, &mut self.products)
    }
}

/// Solves (M + 1e-8 tr(M) I) theta = r for theta, from the products of dR_1 .. dR_m and R; only the first `columns`
/// differences exist. `None` if there is nothing to accelerate, if numbers are not finite, or if the residual has
/// grown.
fn solve(sums: &[f64], columns: usize, m: usize) -> Option<[f64; MOST_MEMORY]> {
    let product = |a: usize, b: usize| {
        let (a, b) = (a.max(b), a.min(b));
        sums.get(a * (a + 1) / 2 + b).copied().unwrap_or(f64::NAN)
    };
    let trace: f64 = (0..columns).map(|a| product(a, a)).sum();
    if columns == 0 || !trace.is_finite() || trace <= 0.0 {
        return None;
    }
    // |R_k|^2 against |R_{k-1}|^2 = |R_k - dR_1|^2
    let (now, before) = (product(m, m), product(m, m) - 2.0 * product(0, m) + product(0, 0));
    if now.is_nan() || now > before {
        return None;
    }
    // the rows of (M, r); a positive definite matrix needs no pivoting
    let mut rows = [[0.0; MOST_MEMORY + 1]; MOST_MEMORY];
    for (a, row) in rows.iter_mut().enumerate().take(columns) {
        for (b, x) in row.iter_mut().enumerate().take(columns) {
            *x = product(a, b) + if a == b { REGULARISATION * trace } else { 0.0 };
        }
        row[MOST_MEMORY] = product(a, m);
    }
    for k in 0..columns {
        let pivot = rows[k];
        for row in rows.iter_mut().take(columns).skip(k + 1) {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
        }
    }
    let mut theta = [0.0; MOST_MEMORY];
    for k in (0..columns).rev() {
        let row = rows[k];
        let known: f64 = theta.iter().zip(&row).take(columns).skip(k + 1).map(|(t, x)| t * x).sum();
        theta[k] = (row[MOST_MEMORY] - known) / row[k];
    }
    theta.iter().all(|t| t.is_finite()).then_some(theta)
}

#[cfg(test)]
mod tests {
    use super::solve;
    use approx::assert_relative_eq;

    #[test]
    fn least_squares_by_hand() {
        // R = 2 dR_1 - 3 dR_2 with dR_1 = (1, 0), dR_2 = (1, 1): R = (-1, -3); products (11), (21, 22), (R1, R2, RR)
        let sums = [1.0, 1.0, 2.0, -1.0, -4.0, 10.0];
        let theta = solve(&sums, 2, 2).unwrap();
        assert_relative_eq!(theta[0], 2.0, max_relative = 1e-6);
        assert_relative_eq!(theta[1], -3.0, max_relative = 1e-6);
        // with the first column only: <dR_1, R> / <dR_1, dR_1>
        assert_relative_eq!(solve(&sums, 1, 2).unwrap()[0], -1.0, max_relative = 1e-6);
        assert_eq!(solve(&sums, 0, 2), None);
        // |R|^2 = 10 came from |R - dR_1|^2 = 10 + 2 - ..: with <dR_1, R> = 1 the residual has grown
        assert_eq!(solve(&[1.0, 1.0, 2.0, 1.0, -4.0, 10.0], 2, 2), None);
        assert_eq!(solve(&[0.0; 6], 2, 2), None);
        assert_eq!(solve(&[f64::NAN; 6], 2, 2), None);
    }
}
