//! Lists that no scheme of the crate makes, and networks and kernels for them.

use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::nodes::Normal;
use piadm::noise::stream;
use piadm::{
    BoxError, Cpu, Model, Nodes, Ou, Prediction, Rows, ScoreFn, backend::Real, nodes::NodeTerms, schedule::Level,
    score_fn,
};

pub fn level(m: usize, steps: usize) -> Level {
    Level::at(&Ou, 3.0 - 2.9 * m as f64 / steps as f64)
}

/// As randomized midpoints have it: a step has twenty stages, all of which, and the step's own start, make its end.
pub fn far_lags(steps: usize) -> Nodes {
    let stages = 20;
    let mut list = Nodes::empty(level(0, steps));
    for m in 1..=steps {
        for stage in 1..=stages {
            // from the step's start and the stage before; every other one with noise of its own
            let mut terms = NodeTerms::new().a(stage, [0, 0], 0.97).b(stage, [0, 0], 0.02);
            if stage > 1 {
                terms = terms.b(1, [0, 0], 0.01);
            }
            if stage % 2 == 0 {
                terms = terms.c(0, Normal::new(stream::USER + stage as u32, m), 0.02);
            }
            list.push(level(m, steps), false, &terms).unwrap();
        }
        let mut end = NodeTerms::new().a(stages + 1, [0, 0], 0.9).c(0, Normal::dynamics(m), 0.1);
        for lag in 1..=stages + 1 {
            end = end.b(lag, [0, 0], 0.004);
        }
        // and what was two steps ago
        if m > 2 {
            end = end.a(2 * (stages + 1), [0, 0], 0.05);
        }
        list.push(level(m, steps), true, &end).unwrap();
    }
    list
}

/// Nodes of one, two and three components by turns.
pub fn unlike_widths(steps: usize) -> Nodes {
    let start = NodeTerms::wide(3).c(1, Normal::new(stream::USER, 0), 0.5).c(2, Normal::new(stream::USER + 1, 0), 0.5);
    let mut list = Nodes::empty(level(0, steps)).with_start(&start).unwrap();
    for m in 1..=steps {
        let before = list.nodes()[m - 1].width;
        let width = [3, 1, 2][m % 3];
        let mut terms = NodeTerms::wide(width);
        for to in 0..width {
            terms = terms.b(1, [to, 0], 0.05 * (to + 1) as f64);
            for from in 0..before {
                terms = terms.a(1, [to, from], if to == from { 0.9 } else { 0.05 });
            }
            if m > 2 {
                terms = terms.a(2, [to, 0], 0.02).b(2, [to, 0], 0.01);
            }
        }
        list.push(level(m, steps), true, &terms.c(width - 1, Normal::dynamics(m), 0.2)).unwrap();
    }
    list
}

/// f = tanh-like in every element.
pub fn smooth<T: Real>() -> impl ScoreFn<Cpu<T>> {
    score_fn(Prediction::Data, |x: ArrayView2<'_, T>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        out.zip_mut_with(&x, |out, x| *out = T::of((1.3 * x.wide()).tanh() - 0.4 * x.wide()));
        Ok(())
    })
}

/// Sees position and velocity, answers a force for each and, as a third head, how far apart they are.
pub struct PhaseSpace;

impl Model for PhaseSpace {
    fn prediction(&self) -> Prediction {
        Prediction::Score
    }

    fn components(&self) -> usize {
        2
    }

    fn heads(&self) -> usize {
        3
    }
}

impl<T: Real> ScoreFn<Cpu<T>> for PhaseSpace {
    fn eval(&mut self, x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>) -> Result<(), BoxError> {
        assert_eq!((x.nrows(), out.nrows()), (2 * rows.len(), 3 * rows.len()));
        for row in 0..rows.len() {
            for e in 0..x.ncols() {
                let (position, velocity) = (x[[2 * row, e]].wide(), x[[2 * row + 1, e]].wide());
                out[[3 * row, e]] = T::of((position - velocity).tanh() - position);
                out[[3 * row + 1, e]] = T::of(0.5 * position - velocity);
                out[[3 * row + 2, e]] = T::of((position - velocity).powi(2).min(4.0));
            }
        }
        Ok(())
    }
}

/// Position, velocity and a third component that the network does not see.
pub fn phase_space(steps: usize) -> Nodes {
    let start = NodeTerms::wide(3).c(1, Normal::new(stream::CORRECTOR_START, 0), 1.0);
    let mut list = Nodes::empty(level(0, steps)).with_start(&start).unwrap();
    for m in 1..=steps {
        let h = 0.1;
        let position = NodeTerms::wide(3).a(1, [0, 0], 1.0).a(1, [0, 1], h).b(1, [0, 2], 0.01);
        let velocity = position.a(1, [1, 1], 1.0 - 2.0 * h).b(1, [1, 0], h).b(1, [1, 1], 0.5 * h);
        let third = velocity.a(1, [2, 2], 0.9).a(1, [2, 0], 0.1).b(1, [2, 2], 0.05);
        list.push(level(m, steps), true, &third.c(1, Normal::dynamics(m), 0.3)).unwrap();
    }
    list
}

/// A smooth kernel with noise of its own: x' = c x + s tanh(2 x) + b xi, with coefficients of the level that it leads
/// to.
pub fn kernel<T: Real>() -> impl ScoreFn<Cpu<T>> {
    score_fn(Prediction::Next, |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        let mut xi = vec![T::zero(); x.ncols()];
        for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
            T::fill_normals(rows.to.key[i], rows.to.address[i], 0, &mut xi);
            let (alpha, sigma) = (rows.to.alpha[i], rows.to.sigma[i]);
            assert!(rows.to.t[i] < rows.t[i]);
            for ((out, x), xi) in out.iter_mut().zip(&x).zip(&xi) {
                let x = x.wide();
                *out = T::of(0.8 * x + 0.2 * alpha * (2.0 * x).tanh() + 0.3 * sigma * xi.wide());
            }
        }
        Ok(())
    })
}

/// x_j = f(x_{j-1}): the kernel and nothing else.
pub fn chain(steps: usize) -> Nodes {
    let level = |m: usize| Level::at(&Ou, 3.0 - 2.9 * m as f64 / steps as f64);
    let mut list = Nodes::empty(level(0));
    for m in 1..=steps {
        list.push(level(m), true, &NodeTerms::new().b(1, [0, 0], 1.0).prefactor(0.8)).unwrap();
    }
    list
}

/// The same, averaged with the state before and with noise of the list.
pub fn mixed(steps: usize) -> Nodes {
    let level = |m: usize| Level::at(&Ou, 3.0 - 2.9 * m as f64 / steps as f64);
    let mut list = Nodes::empty(level(0));
    for m in 1..=steps {
        let terms = NodeTerms::new().a(1, [0, 0], 0.5).b(1, [0, 0], 0.5).prefactor(0.8);
        list.push(level(m), true, &terms.c(0, Normal::new(piadm::noise::stream::USER, m), 0.1)).unwrap();
    }
    list
}
