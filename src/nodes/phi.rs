//! Integrals of exponentials and polynomials: the coefficients of exponential and of ordinary Adams methods.

/// Most points that an interpolation uses.
pub(crate) const MOST_POINTS: usize = 4;

/// phi_0(z) = e^z, phi_{k+1}(z) = (phi_k(z) - 1/k!)/z, phi_k(0) = 1/k! (Hochbruck and Ostermann, Acta Numerica 2010).
pub(crate) fn phi(k: usize, z: f64) -> f64 {
    if k == 0 {
        return z.exp();
    }
    let factorial = |k: usize| (1..=k).map(|i| i as f64).product::<f64>();
    if z.abs() < 1.0 {
        // the recursion would subtract nearly equal numbers
        let (mut term, mut sum) = (1.0 / factorial(k), 0.0);
        for j in 1..=20 {
            sum += term;
            term *= z / (k + j) as f64;
        }
        return sum;
    }
    (1..k).fold(z.exp_m1() / z, |phi, k| (phi - 1.0 / factorial(k)) / z)
}

/// The integrals of e^{z (1 - s)} l_i(s) over s in [0, 1], where l_i is the Lagrange polynomial of point i; zeros
/// behind the last point.
pub(crate) fn lagrange(z: f64, points: &[f64]) -> [f64; MOST_POINTS] {
    // e^{z (1 - s)} s^j integrates to j! phi_{j+1}(z)
    let mut moments = [0.0; MOST_POINTS];
    let mut factorial = 1.0;
    for (j, moment) in moments.iter_mut().enumerate() {
        factorial *= j.max(1) as f64;
        *moment = factorial * phi(j + 1, z);
    }
    let mut weights = [0.0; MOST_POINTS];
    for (i, (weight, own)) in weights.iter_mut().zip(points).enumerate() {
        let mut polynomial = [1.0, 0.0, 0.0, 0.0];
        for (_, other) in points.iter().enumerate().filter(|(k, _)| *k != i) {
            let scale = 1.0 / (own - other);
            for j in (0..MOST_POINTS).rev() {
                let below = if j == 0 { 0.0 } else { polynomial[j - 1] };
                polynomial[j] = (below - other * polynomial[j]) * scale;
            }
        }
        *weight = polynomial.iter().zip(&moments).map(|(p, m)| p * m).sum();
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against Simpson's rule with many intervals.
    #[test]
    fn weights_are_the_integrals() {
        let points = [0.0, -0.8, 1.0, -2.5];
        for z in [-30.0, -3.0, -1.0, -0.999, -1e-3, 0.0, 1e-9, 0.7, 1.0, 4.0] {
            for n in 1..=4 {
                let weights = lagrange(z, &points[..n]);
                for i in 0..n {
                    let f = |s: f64| {
                        let others = (0..n).filter(|k| *k != i);
                        let l: f64 = others.map(|k| (s - points[k]) / (points[i] - points[k])).product();
                        (z * (1.0 - s)).exp() * l
                    };
                    let (intervals, mut sum) = (4000, 0.0);
                    for m in 0..intervals {
                        let (a, b) = (m as f64 / intervals as f64, (m + 1) as f64 / intervals as f64);
                        sum += (f(a) + 4.0 * f(0.5 * (a + b)) + f(b)) / 6.0 / intervals as f64;
                    }
                    let size = z.exp().max(1.0);
                    assert!((weights[i] - sum).abs() < 1e-11 * size, "z = {z}, {n} points: {} for {sum}", weights[i]);
                }
                assert!(weights[n..].iter().all(|w| *w == 0.0));
            }
        }
    }

    #[test]
    fn series_and_recursion_meet() {
        for k in 1..=4 {
            for z in [-1.0f64, 1.0] {
                let (below, above) = (phi(k, z * (1.0 - 1e-15)), phi(k, z));
                assert!((below / above - 1.0).abs() < 1e-13, "phi_{k}: {below} and {above}");
            }
        }
    }
}
