//! Triangular Anderson acceleration of sweeps (ParaTAA, Tang et al., arXiv 2402.09970).
//!
//! With Y_k the states before sweep k, G_k those after it, R_k = G_k - Y_k, and differences dR, dG of consecutive sweeps, node j goes
//! on from G_k - dG theta_j, where theta_j minimises |R_k - dR theta| over the unfinished nodes up to j: looking back only, as the nodes do.

use super::workspace::{Span, Workspace};
use crate::backend::{Backend, Plane, Real, RowRef, Term, Vector};
use crate::error::Result;

/// The most differences of sweeps.
pub(super) const MOST_MEMORY: usize = 6;
/// Pairs of that many differences and the residual.
const PAIRS: usize = (MOST_MEMORY + 1) * (MOST_MEMORY + 2) / 2;
/// Keeps the normal equations solvable, relative to their trace.
const REGULARISATION: f64 = 1e-8;

/// What is kept of a sweep: R and G.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Residual,
    State,
}

/// A window that has been swept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swept {
    pub span: Span,
    /// Its new start.
    pub lo: usize,
    /// Sweeps of the sample so far.
    pub now: usize,
    /// Where the counts of its nodes' sweeps begin, in a list of those of all windows.
    pub first: usize,
}

impl Swept {
    /// Differences of sweeps that a node has, at most `most`.
    fn columns(&self, counts: &[usize], node: usize, most: usize) -> usize {
        counts.get(self.first + node - self.span.lo - 1).map_or(0, |n| n.saturating_sub(1).min(most))
    }
}

/// Vectors, and what came of their products.
#[derive(Debug, Default)]
pub(super) struct Anderson {
    /// Differences of sweeps that are used, m.
    memory: usize,
    vectors: Vec<Vector>,
    /// Of every group of vectors, the pairs whose products are needed.
    pairs: Vec<(usize, usize)>,
    products: Vec<f64>,
}

impl Anderson {
    pub fn new(memory: usize) -> Self {
        // the differences dR_1 .. dR_m, then R
        let pairs = (0..=memory).flat_map(|a| (0..=a).map(move |b| (a, b))).collect();
        Anderson { memory, pairs, ..Anderson::default() }
    }
}

impl<B: Backend> Workspace<'_, '_, B> {
    /// What sweep `sweep` of its sample left at a node: the residual R or the state G.
    fn history_row(&self, span: &Span, node: usize, sweep: usize, what: Kept, component: usize) -> RowRef {
        let kept = self.anderson.memory + 1;
        let place = (node % self.capacity * kept + sweep % kept) * self.list.components() + component;
        let first = span.lane * self.arrays.memory_rows() + self.lookback_rows();
        RowRef { plane: Plane::Memory, row: (first + 2 * place + what as usize) as u32 }
    }

    /// Keeps the states before a sweep.
    pub fn keep_states(&mut self, spans: &[Span], sweep: impl Fn(usize) -> usize) -> Result<()> {
        self.clear_program();
        for span in spans {
            let first = self.program.targets.len();
            for j in span.lo + 1..=span.hi {
                for component in 0..self.list.components() {
                    let state = RowRef { plane: Plane::State, row: self.state_row(span.lane, j, component) };
                    let r = self.history_row(span, j, sweep(span.slot), Kept::Residual, component);
                    self.push_combination(r, &[(-1.0, state, None)]);
                }
            }
            self.close_segment(span.lane, first);
        }
        self.run_program()
    }

    /// Keeps what the last sweep did and moves on the nodes behind the windows' new starts.
    pub fn accelerate(&mut self, swept: &[Swept], counts: &[usize]) -> Result<()> {
        let n = self.list.components();
        self.clear_program();
        for Swept { span, now, .. } in swept {
            let now = *now;
            let first = self.program.targets.len();
            for j in span.lo + 1..=span.hi {
                for component in 0..n {
                    let state = RowRef { plane: Plane::State, row: self.state_row(span.lane, j, component) };
                    let r = self.history_row(span, j, now, Kept::Residual, component);
                    let g = self.history_row(span, j, now, Kept::State, component);
                    // so far it holds the state before the sweep, negative
                    self.push_combination(r, &[(1.0, state, None), (1.0, r, None)]);
                    self.push_combination(g, &[(1.0, state, None)]);
                }
            }
            self.close_segment(span.lane, first);
        }
        self.run_program()?;
        self.residual_products(swept, counts)?;
        self.clear_program();
        let m = self.anderson.memory;
        let each = self.anderson.pairs.len();
        let mut group = 0;
        for one in swept {
            let Swept { span, now, .. } = one;
            let first = self.program.targets.len();
            let mut sums = [0.0; PAIRS];
            for j in one.lo + 1..=span.hi {
                for _ in 0..n {
                    let products = self.anderson.products.iter().skip(group * each).take(each);
                    sums.iter_mut().zip(products).for_each(|(sum, p)| *sum += p);
                    group += 1;
                }
                let columns = one.columns(counts, j, m);
                let Some(theta) = solve(&sums, columns, m) else { continue };
                for component in 0..n {
                    let g = |back: usize| self.history_row(span, j, now - back, Kept::State, component);
                    let mut terms = [(1.0, g(0), None); MOST_MEMORY + 1];
                    for (a, (term, t)) in terms.iter_mut().skip(1).zip(theta).take(columns).enumerate() {
                        *term = (-t, g(a), Some(g(a + 1)));
                    }
                    let out = RowRef { plane: Plane::State, row: self.state_row(span.lane, j, component) };
                    self.push_combination(out, terms.get(..=columns).unwrap_or(&[]));
                }
            }
            self.close_segment(span.lane, first);
        }
        if self.program.targets.is_empty() { Ok(()) } else { self.run_program() }
    }

    /// Products of the residuals' differences at all nodes that stay.
    fn residual_products(&mut self, swept: &[Swept], counts: &[usize]) -> Result<()> {
        let mut vectors = std::mem::take(&mut self.anderson.vectors);
        vectors.clear();
        let m = self.anderson.memory;
        for one in swept {
            let Swept { span, now, .. } = one;
            for j in one.lo + 1..=span.hi {
                let columns = one.columns(counts, j, m);
                for component in 0..self.list.components() {
                    let r = |back: usize| self.history_row(span, j, now - back, Kept::Residual, component);
                    // a node without so many sweeps has no part in the older differences
                    let difference = |a: usize| if a < columns { (r(a), r(a + 1)) } else { (r(0), r(0)) };
                    let differences = (0..m).map(difference).map(|(row, minus)| Vector { row, minus: Some(minus) });
                    vectors.extend(differences);
                    vectors.push(Vector { row: r(0), minus: None });
                }
            }
        }
        let planes = self.arrays.planes();
        let (scratch, products) = (&mut self.scratch, &mut self.anderson.products);
        let answer = self.problem.backend().products(&vectors, m + 1, &self.anderson.pairs, planes, scratch, products);
        self.anderson.vectors = vectors;
        answer
    }

    fn push_combination(&mut self, out: RowRef, terms: &[(f64, RowRef, Option<RowRef>)]) {
        let first = self.program.terms.len();
        let of = |&(coef, row, minus): &(f64, RowRef, Option<RowRef>)| Term {
            coef: <B::Elem as Real>::of(coef),
            row,
            minus,
            shift: None,
        };
        self.program.terms.extend(terms.iter().map(of));
        self.close_target(out.plane, out.row, first);
    }
}

/// theta of (M + 1e-8 tr(M) I) theta = r from the products of dR_1 .. dR_m and R, of which the first `columns` differences are there. `None` where
/// there is nothing to accelerate, numbers are not finite, or the residual has risen.
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
    // rows of (M, r); a positive definite matrix needs no pivots
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
        // with the first column alone: <dR_1, R> / <dR_1, dR_1>
        assert_relative_eq!(solve(&sums, 1, 2).unwrap()[0], -1.0, max_relative = 1e-6);
        assert_eq!(solve(&sums, 0, 2), None);
        // |R|^2 = 10 came from |R - dR_1|^2 = 10 + 2 - .. : with <dR_1, R> = 1 the residual has risen
        assert_eq!(solve(&[1.0, 1.0, 2.0, 1.0, -4.0, 10.0], 2, 2), None);
        assert_eq!(solve(&[0.0; 6], 2, 2), None);
        assert_eq!(solve(&[f64::NAN; 6], 2, 2), None);
    }
}
