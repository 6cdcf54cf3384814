//! Quantiles of the Beta law.

use crate::error::{Error, Result};
use std::cmp::Ordering;

/// The law on [0, 1] with density x^(a-1) (1-x)^(b-1) / B(a, b).
#[derive(Clone, Copy, Debug)]
pub(super) struct Beta {
    a: f64,
    b: f64,
    /// Integrals of x^(a-1) (1-x)^(b-1) from 0 to 1/2 and from 1/2 to 1.
    halves: (f64, f64),
}

impl Beta {
    pub fn new(a: f64, b: f64) -> Result<Self> {
        for (name, value) in [("alpha", a), ("beta", b)] {
            if !(value > 0.0 && value <= 100.0) {
                return Err(Error::setting(name, value, "a number above 0 and at most 100"));
            }
        }
        Ok(Beta { a, b, halves: (incomplete(a, b, 0.5), incomplete(b, a, 0.5)) })
    }

    /// The x below which a share p of the law lies; p is clamped to [0, 1].
    pub fn quantile(&self, p: f64) -> f64 {
        let Beta { a, b, halves: (low, high) } = *self;
        let (below, above) = (p.clamp(0.0, 1.0) * (low + high), (1.0 - p).clamp(0.0, 1.0) * (low + high));
        match below.total_cmp(&low) {
            Ordering::Less => inverse(a, b, below),
            Ordering::Equal => 0.5,
            Ordering::Greater => 1.0 - inverse(b, a, above),
        }
    }
}

/// Integral of s^(a-1) (1-s)^(b-1) from 0 to x <= 1/2: x^a (1-x)^b / a times the sum over n of
/// (a+b)_n / (a+1)_n x^n, whose terms are positive (DLMF 8.17.8).
fn incomplete(a: f64, b: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0, 1.0, 0.0);
    while term > 1e-17 * sum {
        term *= (a + b + n) / (a + 1.0 + n) * x;
        sum += term;
        n += 1.0;
    }
    x.powf(a) * (1.0 - x).powf(b) / a * sum
}

/// The x <= 1/2 at which that integral has this value.
fn inverse(a: f64, b: f64, value: f64) -> f64 {
    // In u = x^a the integral has the slope (1-x)^(b-1)/a, which is monotone and 1/a at 0. So Newton's iteration from
    // a * value, where a line of that slope would end, stays on one side of the root.
    let most = 0.5f64.powf(a);
    let mut u = (a * value).min(most);
    for _ in 0..100 {
        let x = u.powf(1.0 / a);
        if x == 0.0 {
            break;
        }
        let next = (u - (incomplete(a, b, x) - value) * a * (1.0 - x).powf(1.0 - b)).clamp(0.0, most);
        let moved = (next - u).abs();
        u = next;
        if moved <= 1e-15 * u {
            break;
        }
    }
    u.powf(1.0 / a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn quantiles_of_laws_with_closed_forms() {
        for i in 0..=200 {
            let p = f64::from(i) / 200.0;
            let of = |a, b| Beta::new(a, b).expect("a law").quantile(p);
            assert_relative_eq!(of(1.0, 1.0), p, max_relative = 1e-14);
            // 1 - (1 - x)^b and x^a
            assert_relative_eq!(of(1.0, 4.0), -((-p).ln_1p() / 4.0).exp_m1(), max_relative = 1e-13);
            assert_relative_eq!(of(0.25, 1.0), p.powi(4), max_relative = 1e-13);
            // the arcsine law
            let arcsine = (p * std::f64::consts::FRAC_PI_2).sin().powi(2);
            assert_relative_eq!(of(0.5, 0.5), arcsine, max_relative = 1e-13);
        }
    }

    #[test]
    fn the_quantile_inverts_the_integral() {
        for (a, b) in [(0.6, 0.6), (2.0, 5.0), (0.1, 30.0), (100.0, 100.0), (1e-3, 1.0), (50.0, 0.2), (100.0, 0.01)] {
            let law = Beta::new(a, b).expect("a law");
            let all = law.halves.0 + law.halves.1;
            let mut before = -1.0;
            for i in 0..=100 {
                let p = f64::from(i) / 100.0;
                let x = law.quantile(p);
                assert!((0.0..=1.0).contains(&x) && x >= before, "Beta({a}, {b}) at {p}: {x} after {before}");
                before = x;
                if x < f64::MIN_POSITIVE {
                    // no digits are left
                    assert!(incomplete(a, b, f64::MIN_POSITIVE) / all >= p, "Beta({a}, {b}) at {p}");
                } else if x <= 0.5 {
                    assert!((incomplete(a, b, x) / all - p).abs() < 1e-13, "Beta({a}, {b}) at {p}");
                } else if x < 1.0 {
                    // 1 - x has lost digits
                    let slope = x.powf(a - 1.0) * (1.0 - x).powf(b - 1.0) / all;
                    let apart = (incomplete(b, a, 1.0 - x) / all - (1.0 - p)).abs();
                    assert!(apart < 1e-13 + 2e-16 * slope, "Beta({a}, {b}) at {p}: {apart:e}");
                }
            }
            assert_eq!((law.quantile(0.0), law.quantile(1.0)), (0.0, 1.0));
        }
        for bad in [0.0, -1.0, f64::NAN, 101.0] {
            assert!(Beta::new(bad, 1.0).is_err() && Beta::new(1.0, bad).is_err());
        }
    }
}
