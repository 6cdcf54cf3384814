//! Calls of the network on noised data.

use crate::backend::{Backend, Real};
use crate::error::{BoxError, Error, Result};
use crate::inspect::report::{CallCost, Difference};
use crate::noise::{Address, stream};
use crate::problem::Prepared;
use crate::schedule::Level;
use crate::score::{self, ScoreFn};
use ndarray::{Array2, ArrayView2};
use std::time::Instant;

/// Calls that are timed; the fastest counts.
const REPEATS: usize = 3;

/// Which rows a call has: of each, a level and a number that chooses its data and noise.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The only level, or all in turn.
    level: Option<usize>,
    first: usize,
    count: usize,
}

impl Rows {
    pub fn at_level(level: usize, count: usize) -> Self {
        Rows { level: Some(level), first: 0, count }
    }

    pub fn over_levels(count: usize) -> Self {
        Rows { level: None, first: 0, count }
    }

    /// One of them, alone.
    pub fn only(self, row: usize) -> Self {
        Rows { first: self.first + row, count: 1, ..self }
    }

    fn part(self, first: usize, count: usize) -> Self {
        Rows { first: self.first + first, count, ..self }
    }
}

/// The network with what it is called on.
pub(super) struct Caller<'a, B: Backend> {
    prepared: &'a Prepared<B>,
    score: &'a mut dyn ScoreFn<B>,
    data: ArrayView2<'a, B::Elem>,
    levels: &'a [Level],
    /// How many calls there were.
    calls: usize,
}

impl<'a, B: Backend> Caller<'a, B> {
    pub fn new(
        prepared: &'a Prepared<B>,
        score: &'a mut dyn ScoreFn<B>,
        data: ArrayView2<'a, B::Elem>,
        levels: &'a [Level],
    ) -> Self {
        Caller { prepared, score, data, levels, calls: 0 }
    }

    /// Parts of a split score that work.
    pub fn parts(&self) -> usize {
        self.score.parts().iter().filter(|part| part.failure.is_none()).count()
    }

    /// The data, noised.
    pub fn states(&self, rows: Rows) -> Array2<B::Elem> {
        let mut x = Array2::default((rows.count, self.prepared.dim()));
        let mut noise = vec![<B::Elem as Real>::of(0.0); self.prepared.dim()];
        for (i, mut x) in x.rows_mut().into_iter().enumerate() {
            let (level, row) = self.place(rows, i);
            let address = Address { stream: stream::INSPECTION, step: level as u32, sample: row as u32 };
            B::Elem::fill_normals(self.prepared.key(self.slot(row)), address, 0, &mut noise);
            let Level { alpha, sigma, .. } = self.levels[level];
            let data = self.data.row(row % self.data.nrows());
            for ((x, data), noise) in x.iter_mut().zip(data).zip(&noise) {
                *x = <B::Elem as Real>::of(alpha * data.wide() + sigma * noise.wide());
            }
        }
        x
    }

    /// Level and number of a row.
    fn place(&self, rows: Rows, i: usize) -> (usize, usize) {
        let row = rows.first + i;
        (rows.level.unwrap_or(row % self.levels.len()), row)
    }

    /// The sample that a row goes with.
    fn slot(&self, row: usize) -> usize {
        row % self.data.nrows() % self.prepared.count()
    }

    /// The outputs of rows, one each, in as many calls as the network needs; NaN where it writes nothing.
    fn call(&mut self, rows: Rows) -> Result<std::result::Result<Array2<B::Elem>, BoxError>> {
        let (backend, dim, heads) = (self.prepared.backend(), self.prepared.dim(), self.prepared.shape().1);
        let mut all = Array2::default((rows.count, dim));
        let most = self.score.max_rows().unwrap_or(rows.count).max(1);
        for first in (0..rows.count).step_by(most) {
            let part = rows.part(first, most.min(rows.count - first));
            let places: Vec<(usize, usize)> = (0..part.count).map(|i| self.place(part, i)).collect();
            let of = |f: fn(&Level) -> f64| places.iter().map(|p| f(&self.levels[p.0])).collect::<Vec<f64>>();
            let (t, alpha, sigma) = (of(|l| l.t), of(|l| l.alpha), of(|l| l.sigma));
            let slots: Vec<usize> = places.iter().map(|p| self.slot(p.1)).collect();
            let ids: Vec<u32> = slots.iter().map(|slot| self.prepared.ids()[*slot]).collect();
            let Some(seen) = score::Rows::new(&t, &alpha, &sigma, &ids, &slots) else {
                unreachable!("there is one of each for every row")
            };
            let mut x = backend.alloc("states to inspect with", part.count, dim, B::Elem::of(0.0))?;
            backend.upload(self.states(part).view(), &mut x, 0)?;
            let outputs = part.count * heads;
            let mut out = backend.alloc("outputs to inspect", outputs, dim, B::Elem::of(f64::NAN))?;
            self.calls += 1;
            let (x, seen) = (backend.view(&x, 0..part.count), seen.with_shape(self.prepared.axes()));
            if let Err(error) = self.score.eval(x, &seen, backend.view_mut(&mut out, 0..outputs)) {
                return Ok(Err(error));
            }
            let out = backend.download(&out, 0..outputs)?;
            for i in 0..part.count {
                all.row_mut(first + i).assign(&out.row(i * heads));
            }
        }
        Ok(Ok(all))
    }

    /// The same where a network that fails ends the inspection.
    pub fn call_or_fail(&mut self, rows: Rows) -> Result<Array2<B::Elem>> {
        let out = self.call(rows)?;
        let sample = self.prepared.ids()[self.slot(rows.first)];
        let node = self.place(rows, 0).0;
        out.map_err(|source| Error::Score { round: self.calls, node, sample, source })
    }

    /// Times calls of so many rows.
    pub fn time(&mut self, rows: usize) -> Result<CallCost> {
        let mut least = f64::INFINITY;
        for _ in 0..REPEATS {
            let begin = Instant::now();
            if let Err(error) = self.call(Rows::over_levels(rows))? {
                return Ok(CallCost { rows, seconds: None, failure: Some(error.to_string()) });
            }
            least = least.min(begin.elapsed().as_secs_f64());
        }
        Ok(CallCost { rows, seconds: Some(least.max(1e-9)), failure: None })
    }
}

/// How far two outputs of the same rows are apart, in units of their size.
pub(super) fn difference<E: Real>(a: &Array2<E>, b: &Array2<E>) -> Difference {
    let pairs = || a.iter().zip(b).map(|(a, b)| (a.wide(), b.wide()));
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, _) in pairs().filter(|(a, _)| a.is_finite()) {
        sum += a * a;
        n += 1.0;
    }
    let size = (sum / f64::max(n, 1.0)).sqrt();
    let apart = pairs().map(|(a, b)| match (a.is_finite(), b.is_finite()) {
        (true, true) => (a - b).abs(),
        (false, false) => 0.0,
        _ => f64::INFINITY,
    });
    let largest = apart.fold(0.0, f64::max);
    let same_bits = a.iter().zip(b).all(|(a, b)| a.same_bits(*b));
    Difference { same_bits, largest: if largest == 0.0 { 0.0 } else { largest / size } }
}
