//! Slopes of the network's output along the way, measured between the last two evaluations of a node.

use super::picard::FIRST_VARIANCE;
use super::workspace::{NO_ROW, Span, Workspace};
use crate::backend::{Backend, Plane, Real, RowRef, Vector};
use crate::error::Result;

/// The largest data variance that is handed on, where no Gaussian has the slope or only a very wide one. While the noise is large states
/// move along the data's widest directions, and images have variances near 100 there.
const MOST_VARIANCE: f64 = 100.0;

/// Slopes at the nodes of all windows, place by place of the rings.
#[derive(Debug)]
pub(super) struct Slopes {
    values: Vec<f64>,
    /// Whether the slope was measured at the node itself.
    own: Vec<bool>,
    /// Of every lane, the data variance that the last measured slope stands for.
    variances: Vec<f64>,
    capacity: usize,
    measured: Vec<(usize, usize)>,
    vectors: Vec<Vector>,
    products: Vec<f64>,
}

impl Slopes {
    pub fn new(lanes: usize, capacity: usize) -> Self {
        let places = lanes * capacity;
        Slopes {
            values: vec![f64::NAN; places],
            own: vec![false; places],
            variances: vec![FIRST_VARIANCE; lanes],
            capacity,
            measured: Vec::new(),
            vectors: Vec::new(),
            products: Vec::new(),
        }
    }

    /// The slope at a place, if there is one.
    pub fn at(&self, place: usize) -> Option<f64> {
        self.values.get(place).copied().filter(|s| s.is_finite())
    }

    /// A new sample takes the lane.
    pub fn begin(&mut self, lane: usize) {
        (lane * self.capacity..(lane + 1) * self.capacity).for_each(|place| self.clear(place));
        if let Some(variance) = self.variances.get_mut(lane) {
            *variance = FIRST_VARIANCE;
        }
    }

    /// Forgets the slope of the node that had the place.
    pub fn clear(&mut self, place: usize) {
        if let (Some(value), Some(own)) = (self.values.get_mut(place), self.own.get_mut(place)) {
            (*value, *own) = (f64::NAN, false);
        }
    }
}

impl<B: Backend> Workspace<'_, '_, B> {
    /// Measures the slope of the output at every node that this round and the one before evaluated: J = <df, dy> / <dy, dy>, within
    /// its bounds. Nodes without one borrow that of the nearest node before them.
    pub fn measure_slopes(&mut self, spans: &[Span]) -> Result<()> {
        const PAIRS: [(usize, usize); 3] = [(0, 1), (1, 1), (2, 2)];
        let slopes = &mut self.slopes;
        slopes.vectors.clear();
        slopes.measured.clear();
        for span in spans {
            for j in span.lo..span.hi {
                let place = span.lane * self.capacity + j % self.capacity;
                let rows = (self.row_of.get(place), self.earlier_row_of.get(place));
                let (Some(&now), Some(&before)) = rows else { continue };
                if now == NO_ROW || before == NO_ROW {
                    continue;
                }
                let row = |plane, row| RowRef { plane, row };
                let (point, output) = (row(Plane::Point, now), row(Plane::Output, now));
                slopes.vectors.extend([
                    Vector { row: output, minus: Some(row(Plane::EarlierOutput, before)) },
                    Vector { row: point, minus: Some(row(Plane::EarlierPoint, before)) },
                    Vector { row: point, minus: None },
                ]);
                slopes.measured.push((j, place));
            }
        }
        let backend = self.problem.backend();
        let planes = self.arrays.planes();
        backend.products(&slopes.vectors, 3, &PAIRS, planes, &mut self.scratch, &mut slopes.products)?;
        // below this dy is rounding
        let rounding = (8.0 * <B::Elem as num_traits::Float>::epsilon().wide()).powi(2);
        for (&(j, place), &[change, square, size]) in slopes.measured.iter().zip(slopes.products.as_chunks::<3>().0) {
            let slope = change / square;
            let is_clear = square.is_finite() && square > rounding * size && slope.is_finite();
            let Some(node) = self.list.nodes().get(j).filter(|_| is_clear) else { continue };
            let (low, high) = self.prediction.slope_bounds(node.level.alpha, node.level.sigma);
            if let (Some(value), Some(own)) = (slopes.values.get_mut(place), slopes.own.get_mut(place))
                && low <= high
            {
                (*value, *own) = (slope.clamp(low, high), true);
            }
        }
        for span in spans {
            let Some(variance) = slopes.variances.get_mut(span.lane) else { continue };
            for (j, node) in self.list.nodes().iter().enumerate().take(span.hi).skip(span.lo) {
                let place = span.lane * self.capacity + j % self.capacity;
                let (Some(value), Some(own)) = (slopes.values.get_mut(place), slopes.own.get(place)) else { continue };
                let (alpha, sigma) = (node.level.alpha, node.level.sigma);
                if !own {
                    *value = self.prediction.gaussian_slope(alpha, sigma, *variance);
                    continue;
                }
                let measured = self.prediction.variance_of_slope(alpha, sigma, *value);
                if !measured.is_nan() {
                    *variance = measured.clamp(0.0, MOST_VARIANCE);
                }
            }
        }
        Ok(())
    }
}
