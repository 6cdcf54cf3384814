//! Linear multistep schemes: an interpolation through the latest outputs, integrated exactly in some clock.

use crate::error::Result;
use crate::nodes::builder::Assembler;
use crate::nodes::exponential;
use crate::nodes::options::BhVariant;
use crate::nodes::phi::{MOST_POINTS, lagrange};
use crate::nodes::step::{Form, Lag, StepEnds};
use crate::schedule::Level;

/// The clock in which an output is a polynomial, for schemes that freeze the noise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interpolation {
    /// Polynomials in the log-SNR: DEIS with log rho (arXiv 2204.13902), exponential Adams methods in noise form.
    LogSnr,
    /// Polynomials in sigma/alpha: LMS.
    Sigma,
    /// Adams-Bashforth coefficients as if all steps had one length: iPNDM (arXiv 2202.09778).
    Even,
}

/// Adams-Bashforth coefficients of orders 1 to 4, latest first.
const ADAMS: [[f64; MOST_POINTS]; 4] = [
    [1.0, 0.0, 0.0, 0.0],
    [3.0 / 2.0, -1.0 / 2.0, 0.0, 0.0],
    [23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0, 0.0],
    [55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// x_u/alpha_u = x_t/alpha_t + integral of eps over sigma/alpha, where eps is interpolated through `order` outputs.
pub(crate) fn push_noise(list: &mut Assembler, step: &StepEnds, order: usize, clock: Interpolation) -> Result<()> {
    let StepEnds { t, u, .. } = *step;
    let (points, n) = step.points(order);
    let endless = u.sigma == 0.0 && matches!(clock, Interpolation::LogSnr);
    if n == 1 || endless {
        let (lags, c) = exponential::data(0.0, &t, &u).lags();
        return list.solution(u, &lags, c);
    }
    let h = u.log_snr - t.log_snr;
    // alpha_u times the length of the step in sigma/alpha, positive
    let length = -u.alpha * t.sigma / t.alpha * (-h).exp_m1();
    let (scale, weights) = match clock {
        Interpolation::LogSnr => (u.sigma * h, lagrange(h, &points[..n])),
        Interpolation::Sigma => (length, lagrange(0.0, &step.sigma_points(n)[..n])),
        Interpolation::Even => (length, ADAMS[n - 1]),
    };
    let mut lags = [Lag::new(1, Form::Noise, u.alpha / t.alpha, -scale * weights[0]); MOST_POINTS];
    for (k, weight) in weights.into_iter().enumerate().skip(1) {
        lags[k] = Lag::new(k + 1, Form::Noise, 0.0, -scale * weight);
    }
    list.solution(u, &lags[..n], 0.0)
}

/// Weights of the latest `points`, of which the first is the step's start, in UniP of their number as order
/// (arXiv 2302.04867): an exponential Adams method in data form, but for order 2, where the weight of the slope is
/// B(h)/2 in place of the exact integral. In units of alpha at the step's end.
fn predictor(h: f64, points: &[f64], variant: BhVariant) -> [f64; MOST_POINTS] {
    if let [_, before] = points {
        let slope = 0.5 * variant.of(h) / before;
        return [-(-h).exp_m1() - slope, slope, 0.0, 0.0];
    }
    lagrange(-h, points).map(|w| h * w)
}

/// The same for UniC, whose first point is the step's end. Order 1 has B(h)/2 in place of the exact integral.
fn corrector(h: f64, points: &[f64], variant: BhVariant) -> [f64; MOST_POINTS] {
    if let [_, _] = points {
        let half = 0.5 * variant.of(h);
        return [half, -(-h).exp_m1() - half, 0.0, 0.0];
    }
    lagrange(-h, points).map(|w| h * w)
}

/// A step of UniPC. The nodes are the predicted states, at which alone the network is evaluated. A corrected state has
/// the same multiple of the state before as the predicted one, so it is that plus outputs, and the next node is an
/// affine combination of the last predicted state and of one output more than the orders say: there is no node for a
/// corrected state, and none to be evaluated.
pub(crate) fn push_uni_pc(
    list: &mut Assembler,
    step: &StepEnds,
    order: usize,
    correct: bool,
    variant: BhVariant,
    lower_order_final: bool,
) -> Result<()> {
    let StepEnds { t, u, .. } = *step;
    let limit = |left: usize| if lower_order_final { order.min(left + 1) } else { order };
    let one = exponential::data(0.0, &t, &u);
    if u.sigma == 0.0 || t.alpha == 0.0 {
        let (lags, c) = one.lags();
        return list.solution(u, &lags, c);
    }
    let (points, n) = step.points(limit(step.left));
    let predicted = predictor(u.log_snr - t.log_snr, &points[..n], variant);
    let mut b = [0.0; MOST_POINTS];
    b.iter_mut().zip(predicted).for_each(|(b, w)| *b = u.alpha * w);

    let before = step.before();
    if let Some(before) = before.filter(|before| correct && before.u.log_snr - before.t.log_snr < f64::INFINITY) {
        let h = before.u.log_snr - before.t.log_snr;
        let (points, n) = before.points(limit(before.left));
        let mut ends = [1.0; MOST_POINTS];
        ends[1..=n].copy_from_slice(&points[..n]);
        let corrected = corrector(h, &ends[..=n], variant);
        let predicted = predictor(h, &points[..n], variant);
        for k in 0..=n {
            let w = if k == 0 { 0.0 } else { predicted[k - 1] };
            b[k] += one.a * t.alpha * (corrected[k] - w);
        }
    }
    let mut lags = [Lag::data(1, one.a, b[0]); MOST_POINTS];
    for (k, b) in b.into_iter().enumerate().skip(1) {
        lags[k] = Lag::data(k + 1, 0.0, b);
    }
    let used = MOST_POINTS.min(step.past.len() + 1);
    list.solution(u, &lags[..used], 0.0)
}

impl BhVariant {
    /// -B(-h): B(h) of a data prediction, positive.
    fn of(self, h: f64) -> f64 {
        match self {
            BhVariant::Bh1 => h,
            BhVariant::Bh2 => -(-h).exp_m1(),
        }
    }
}

impl StepEnds<'_> {
    /// Places of at most `order` known outputs in log-SNR, 0 at the step's start and 1 at its end, latest first, and
    /// their number. Nothing before a level without signal is used.
    pub(crate) fn points(&self, order: usize) -> ([f64; MOST_POINTS], usize) {
        let h = self.u.log_snr - self.t.log_snr;
        let mut points = [0.0; MOST_POINTS];
        if self.t.alpha == 0.0 {
            return (points, 1);
        }
        let known = self.past.iter().take_while(|level| level.alpha > 0.0);
        let mut n = 1;
        for level in known.take(order - 1) {
            points[n] = (level.log_snr - self.t.log_snr) / h;
            n += 1;
        }
        (points, n)
    }

    /// The first `n` of the same places in sigma/alpha. The step may end at sigma = 0.
    fn sigma_points(&self, n: usize) -> [f64; MOST_POINTS] {
        let from_start = |level: &Level| (self.t.log_snr - level.log_snr).exp_m1();
        let mut points = [0.0; MOST_POINTS];
        for (point, level) in points[1..n].iter_mut().zip(self.past) {
            *point = from_start(level) / from_start(&self.u);
        }
        points
    }

    /// The step before this one.
    fn before(&self) -> Option<StepEnds<'_>> {
        let (t, past) = self.past.split_first()?;
        Some(StepEnds { past, t: *t, u: self.t, left: self.left + 1, steps: self.steps })
    }
}
