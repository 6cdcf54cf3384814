//! The overlap of two covariances, tr (A^1/2 B A^1/2)^1/2, without a matrix square root.

use super::sum_pairs;
use ndarray::{Array2, ArrayView2, Axis, Slice};

/// A pivot below this fraction of its diagonal element is rounding error: the coordinate depends on those before
/// it.
const PIVOT: f64 = 1e-13;
/// Rows whose cosine is below this count as orthogonal; the error of the sum of the norms is of the order of its
/// square.
const COSINE: f64 = 1e-9;
/// Why a row is a slice.
const CONTIGUOUS: &str = "rows of a matrix made here are contiguous";
/// Maximum number of sweeps of rotations; usually fewer than ten are needed.
const SWEEPS: usize = 60;

/// The lower triangle L with A = L L^T for a positive semidefinite A, of which only the lower triangle is read.
///
/// A dependent coordinate has a column of zeros, which leaves an error of the order of 1e-7 of its deviation.
pub(super) fn cholesky(a: ArrayView2<'_, f64>) -> Array2<f64> {
    let n = a.nrows();
    let mut l = Array2::zeros((n, n));
    for (j, target) in a.rows().into_iter().enumerate() {
        let (done, mut rest) = l.view_mut().split_at(Axis(0), j);
        let Some(row) = rest.row_mut(0).into_slice() else { unreachable!("{CONTIGUOUS}") };
        for (i, (other, diagonal)) in done.rows().into_iter().zip(done.diag()).enumerate() {
            let before = other.to_slice().unwrap_or(&[]).iter().zip(&*row).take(i);
            let residual = target[i] - before.fold(0.0, |sum, (a, b)| sum + a * b);
            row[i] = if *diagonal > 0.0 { residual / diagonal } else { 0.0 };
        }
        let pivot = target[j] - row.iter().take(j).fold(0.0, |sum, v| sum + v * v);
        row[j] = if pivot > PIVOT * target[j] { pivot.sqrt() } else { 0.0 };
    }
    l
}

/// The sum of the singular values of L_a^T L_b, for lower triangles.
///
/// With A = L_a L_a^T and B = L_b L_b^T this is tr (A^1/2 B A^1/2)^1/2: the two matrices have the same singular values
/// as A^1/2 B^1/2. Rows of the product are made orthogonal by plane rotations, two at a time (one-sided Jacobi:
/// Hestenes, "Inversion of matrices by biorthogonalization and related results", J. SIAM 6, 1958); the singular values
/// are then the norms of the rows.
pub(super) fn overlap(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let n = a.nrows();
    let mut product = Array2::<f64>::zeros((n, n));
    for (k, (a, b)) in a.rows().into_iter().zip(b.rows()).enumerate() {
        let b = b.slice_axis(Axis(0), Slice::from(..=k));
        for (mut row, &factor) in product.rows_mut().into_iter().zip(a.iter().take(k + 1)) {
            row.slice_axis_mut(Axis(0), Slice::from(..=k)).scaled_add(factor, &b);
        }
    }
    let mut squares = vec![0.0; n];
    for _ in 0..SWEEPS {
        for (square, row) in squares.iter_mut().zip(product.rows()) {
            let row = row.to_slice().unwrap_or(&[]);
            *square = dot(row, row);
        }
        if !sweep(&mut product, &mut squares) {
            break;
        }
    }
    squares.iter().map(|s| s.max(0.0).sqrt()).sum()
}

/// Rotates every pair of rows once and returns whether any pair was not orthogonal. `squares` are updated.
fn sweep(rows: &mut Array2<f64>, squares: &mut [f64]) -> bool {
    let n = rows.nrows();
    let mut turned = false;
    for p in 0..n {
        let (mut head, mut tail) = rows.view_mut().split_at(Axis(0), p + 1);
        let Some(row) = head.row_mut(p).into_slice() else { unreachable!("{CONTIGUOUS}") };
        let (head, tail_squares) = squares.split_at_mut(p + 1);
        let square = &mut head[p];
        for (mut other, other_square) in tail.rows_mut().into_iter().zip(tail_squares) {
            let Some(other) = other.as_slice_mut() else { unreachable!("{CONTIGUOUS}") };
            let product = dot(row, other);
            if product.abs() > COSINE * (square.max(0.0) * other_square.max(0.0)).sqrt() {
                turned = true;
                let slope = (*other_square - *square) / (2.0 * product);
                let tangent = 1.0f64.copysign(slope) / (slope.abs() + (1.0 + slope * slope).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                let sine = cosine * tangent;
                for (a, b) in row.iter_mut().zip(other.iter_mut()) {
                    (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
                }
                *square -= tangent * product;
                *other_square += tangent * product;
            }
        }
    }
    turned
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_pairs(a, b, |a, b| a * b)
}
