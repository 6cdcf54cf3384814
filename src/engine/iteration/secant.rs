//! Slopes of the network's output along the trajectory, measured between the last two evaluations of a node.

use crate::backend::{Backend, Plane, Real, RowRef, Vector};
use crate::engine::iteration::linearisation::FIRST_VARIANCE;
use crate::engine::machine::Machine;
use crate::engine::ring::Ring;
use crate::engine::rows::Evaluated;
use crate::engine::sizes::Sizes;
use crate::engine::span::Span;
use crate::error::{Result, filled, reserve};
use crate::problem::Prepared;

/// Upper bound on the data variance that is passed on, for slopes that no Gaussian has or only a very wide one. At
/// high noise, states move along the widest directions of the data, where images have variances near 100.
const MOST_VARIANCE: f64 = 100.0;

/// The vectors are the change df of the output, the change dy of the point and the point y; needed are <df, dy>,
/// <dy, dy>, <y, y>.
const PAIRS: [(usize, usize); 3] = [(0, 1), (1, 1), (2, 2)];

/// Slopes at the nodes of all windows, indexed by place.
#[derive(Debug)]
pub(crate) struct Slopes {
    values: Vec<f64>,
    /// Whether the slope was measured at the node itself.
    own: Vec<bool>,
    /// Per sample, the data variance that corresponds to the last measured slope.
    variances: Vec<f64>,
    measured: Vec<(usize, usize)>,
    vectors: Vec<Vector>,
    products: Vec<f64>,
}

impl Slopes {
    /// For windows of these sizes; empty if no slopes are measured.
    pub fn new(sizes: &Sizes, samples: usize) -> Result<Self> {
        let what = "measured slopes";
        let (places, samples) = if sizes.earlier { (sizes.places(), samples) } else { (0, 0) };
        let mut slopes = Slopes {
            values: filled(what, places, f64::NAN)?,
            own: filled(what, places, false)?,
            variances: filled(what, samples, FIRST_VARIANCE)?,
            measured: Vec::new(),
            vectors: Vec::new(),
            products: Vec::new(),
        };
        let groups = sizes.targets().min(places);
        reserve(what, &mut slopes.measured, groups)?;
        reserve(what, &mut slopes.vectors, groups.saturating_mul(3 * sizes.layout.seen))?;
        reserve(what, &mut slopes.products, groups.saturating_mul(3 * sizes.layout.seen))?;
        Ok(slopes)
    }

    /// The slope at a place, if there is one.
    pub fn at(&self, place: usize) -> Option<f64> {
        self.values.get(place).copied().filter(|s| s.is_finite())
    }

    /// Forgets the slopes of a ring that a new sample takes over.
    pub fn begin(&mut self, slot: usize, ring: Ring) {
        if !self.values.is_empty() {
            self.values[ring.places()].fill(f64::NAN);
            self.own[ring.places()].fill(false);
            self.variances[slot] = FIRST_VARIANCE;
        }
    }

    /// Forgets the slope of the node that had this place.
    pub fn clear(&mut self, place: usize) {
        if !self.values.is_empty() {
            (self.values[place], self.own[place]) = (f64::NAN, false);
        }
    }

    /// Measures the slope of the output at every node that was evaluated in this round and in the one before:
    /// J = <df, dy> / <dy, dy>, clamped to its bounds, over all components that the network sees. Nodes without a
    /// slope borrow that of the nearest node before them; those before the first slope of a window that of the window's
    /// end in the round before, unless `causal`: then no node uses what a later one has told.
    pub fn measure<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        evaluated: &Evaluated,
        spans: &[Span],
        causal: bool,
    ) -> Result<()> {
        self.products(machine, evaluated, spans)?;
        let seen = machine.layout.seen;
        let mut sums = self.products.chunks_exact(3 * seen);
        // below this, dy is rounding error
        let rounding = (8.0 * <B::Elem as num_traits::Float>::epsilon().wide()).powi(2);
        let prediction = prepared.prediction();
        let mut measured = self.measured.iter().peekable();
        for span in spans {
            let nodes = prepared.list(span.slot).nodes();
            let variance = &mut self.variances[span.slot];
            if causal {
                *variance = FIRST_VARIANCE;
            }
            for (j, node) in nodes.iter().enumerate().take(span.hi).skip(span.lo) {
                let place = span.ring.place(j);
                let (alpha, sigma) = (node.level.alpha, node.level.sigma);
                if measured.next_if_eq(&&(j, place)).is_some()
                    && let Some(sums) = sums.next()
                {
                    let of = |pair: usize| sums.iter().skip(pair + 3).step_by(3).fold(sums[pair], |sum, s| sum + s);
                    let (change, square, size) = (of(0), of(1), of(2));
                    let slope = change / square;
                    let is_clear = square.is_finite() && square > rounding * size && slope.is_finite();
                    let (low, high) = prediction.slope_bounds(alpha, sigma);
                    if is_clear && low <= high {
                        (self.values[place], self.own[place]) = (slope.clamp(low, high), true);
                    }
                }
                if !self.own[place] {
                    self.values[place] = prediction.gaussian_slope(alpha, sigma, *variance);
                    continue;
                }
                let stands_for = prediction.variance_of_slope(alpha, sigma, self.values[place]);
                if !stands_for.is_nan() {
                    *variance = stands_for.clamp(0.0, MOST_VARIANCE);
                }
            }
        }
        Ok(())
    }

    /// Computes the inner products for all nodes evaluated in two consecutive rounds.
    fn products<B: Backend>(&mut self, machine: &mut Machine<B>, evaluated: &Evaluated, spans: &[Span]) -> Result<()> {
        self.vectors.clear();
        self.measured.clear();
        let layout = machine.layout;
        let earlier = |plane, row: RowRef| Some(RowRef::new(plane, row.row));
        for span in spans {
            for j in span.lo..span.hi {
                let rows = (evaluated.row(span.ring, j), evaluated.earlier_row(span.ring, j));
                let (Some(now), Some(before)) = rows else { continue };
                for component in 0..layout.seen {
                    let (point, output) = (layout.point(now, component), layout.output(now, component));
                    let point_before = earlier(Plane::EarlierPoint, layout.point(before, component));
                    let output_before = earlier(Plane::EarlierOutput, layout.output(before, component));
                    self.vectors.extend([
                        Vector { row: output, minus: output_before },
                        Vector { row: point, minus: point_before },
                        Vector { row: point, minus: None },
                    ]);
                }
                self.measured.push((j, span.ring.place(j)));
            }
        }
        machine.products(&self.vectors, 3, &PAIRS, &mut self.products)
    }
}
