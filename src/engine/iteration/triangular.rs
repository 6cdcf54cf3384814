//! Orthonormalising a few vectors by their inner products.

use crate::engine::iteration::probes::MOST_DIRECTIONS;

/// A square matrix of which the first rows and columns are used.
pub(crate) type Small = [[f64; MOST_DIRECTIONS]; MOST_DIRECTIONS];

/// A vector is lost if no more than this share of its square is not along those before it.
const LEAST: f64 = 1e-6;

/// T such that the vectors sum_l T[m][l] v_l are orthonormal, T[m][l] = 0 for l > m: the inverse of the Cholesky factor
/// of `gram`, the inner products of the vectors v. The rows of vectors that depend on those before them are 0.
pub(crate) fn orthonormal(gram: &Small, count: usize) -> Small {
    let (mut factor, mut out) = (Small::default(), Small::default());
    let mut kept = [false; MOST_DIRECTIONS];
    for m in 0..count {
        let mut left = gram[m][m];
        for l in (0..m).filter(|l| kept[*l]) {
            let along = gram[m][l] - (0..l).map(|i| factor[m][i] * factor[l][i]).sum::<f64>();
            factor[m][l] = along / factor[l][l];
            left -= factor[m][l] * factor[m][l];
        }
        // false for a number that is not finite
        kept[m] = left > LEAST * gram[m][m] && left.is_finite();
        if !kept[m] {
            factor[m] = [0.0; MOST_DIRECTIONS];
            continue;
        }
        factor[m][m] = left.sqrt();
        out[m][m] = 1.0;
        let (before, rest) = out.split_at_mut(m);
        for (row, along) in before.iter().zip(factor[m]) {
            rest[0].iter_mut().zip(row).for_each(|(t, other)| *t -= along * other);
        }
        rest[0].iter_mut().for_each(|t| *t /= factor[m][m]);
    }
    out
}

/// The coefficients of the projection on the span of vectors, from the inner products with them: `basis` is what
/// [`orthonormal`] gives for the vectors.
pub(crate) fn project(basis: &Small, products: &[f64]) -> [f64; MOST_DIRECTIONS] {
    let mut out = [0.0; MOST_DIRECTIONS];
    for row in &basis[..products.len()] {
        let along: f64 = row.iter().zip(products).map(|(t, product)| t * product).sum();
        out.iter_mut().zip(row).for_each(|(c, t)| *c += t * along);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn gram(vectors: &[Vec<f64>]) -> Small {
        let mut gram = Small::default();
        for (m, a) in vectors.iter().enumerate() {
            vectors.iter().enumerate().for_each(|(l, b)| gram[m][l] = dot(a, b));
        }
        gram
    }

    fn vectors() -> Vec<Vec<f64>> {
        (0..5).map(|m| (0..9).map(|i| ((7 * m + 3 * i * i + m * i) as f64).sin() + m as f64).collect()).collect()
    }

    fn sums(t: &Small, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let sum =
            |row: &[f64]| (0..vectors[0].len()).map(|i| vectors.iter().zip(row).map(|(v, t)| t * v[i]).sum()).collect();
        t.iter().take(vectors.len()).map(|row| sum(row)).collect()
    }

    #[test]
    fn sums_are_orthonormal() {
        let vectors = vectors();
        let t = orthonormal(&gram(&vectors), 5);
        let found = sums(&t, &vectors);
        for m in 0..5 {
            assert!(t[m][m + 1..].iter().all(|t| *t == 0.0));
            for l in 0..5 {
                assert_relative_eq!(dot(&found[m], &found[l]), f64::from(u8::from(m == l)), epsilon = 1e-9);
            }
        }
    }

    #[test]
    fn what_depends_on_others_is_lost() {
        let mut vectors = vectors();
        vectors[0].fill(0.0);
        vectors[3] = vectors[1].iter().zip(&vectors[2]).map(|(a, b)| 2.0 * a - b).collect();
        let t = orthonormal(&gram(&vectors), 5);
        let found = sums(&t, &vectors);
        let squares: Vec<f64> = found.iter().map(|v| dot(v, v)).collect();
        for (square, expected) in squares.iter().zip([0.0, 1.0, 1.0, 0.0, 1.0]) {
            assert_relative_eq!(*square, expected, epsilon = 1e-9);
        }
        assert_relative_eq!(dot(&found[4], &found[2]), 0.0, epsilon = 1e-9);
        let mut wrong = gram(&vectors);
        wrong[2][2] = f64::NAN;
        let t = orthonormal(&wrong, 5);
        assert!(t.iter().flatten().all(|t| t.is_finite()) && t[2] == [0.0; 7] && t[4][4] > 0.0);
    }

    #[test]
    fn projections_leave_a_remainder_across() {
        let vectors = vectors();
        let z: Vec<f64> = (0..9).map(|i| (i as f64).cos()).collect();
        let products: Vec<f64> = vectors.iter().map(|v| dot(v, &z)).collect();
        let c = project(&orthonormal(&gram(&vectors), 5), &products);
        let rest: Vec<f64> = (0..9).map(|i| z[i] - vectors.iter().zip(c).map(|(v, c)| c * v[i]).sum::<f64>()).collect();
        assert!(vectors.iter().all(|v| dot(v, &rest).abs() < 1e-9) && dot(&rest, &rest) > 1e-3);
    }
}
