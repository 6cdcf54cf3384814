//! Scores with their exact derivatives.

use ndarray::{Array1, Array2, ArrayView2};
use networks::MlpTangent;
use piadm::{BoxError, Model, Rows, score::Mixture};

/// A score in forward mode.
pub trait Tangent {
    /// The output f of every row of `x`, and the product J v of its Jacobian J = df/dx there with the same row of `v`.
    fn product(
        &self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        v: ArrayView2<'_, f32>,
    ) -> Result<(Array2<f32>, Array2<f32>), BoxError>;
}

impl Tangent for MlpTangent {
    fn product(
        &self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        v: ArrayView2<'_, f32>,
    ) -> Result<(Array2<f32>, Array2<f32>), BoxError> {
        MlpTangent::product(self, x, rows.t, v)
    }
}

/// At a level where mode k has the variance $v_k$, the output is $f = \sum_k r_k (g_k x + c_k m_k)$ with the slope
/// $g_k$ of the mode's own output. The responsibilities r are a softmax of $l_k = \ldots - |x - \alpha m_k|^2 / (2
/// v_k)$, which move by $dr_k = r_k (dl_k - \sum_i r_i\, dl_i)$, $dl_k = -\langle x - \alpha m_k, v \rangle / v_k$. So
/// $J v = \sum_k r_k g_k v + \sum_k dr_k (g_k x + c_k m_k)$, here in f64.
impl Tangent for Mixture {
    fn product(
        &self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        v: ArrayView2<'_, f32>,
    ) -> Result<(Array2<f32>, Array2<f32>), BoxError> {
        let (mut f, mut jv) = (Array2::zeros(x.dim()), Array2::zeros(x.dim()));
        for (i, (&alpha, &sigma)) in rows.alpha.iter().zip(rows.sigma).enumerate() {
            let (row, direction) = (x.row(i).mapv(f64::from), v.row(i).mapv(f64::from));
            let [of_row, along] = product(self, &row, (alpha, sigma), &direction);
            f.row_mut(i).assign(&of_row.mapv(|v| v as f32));
            jv.row_mut(i).assign(&along.mapv(|v| v as f32));
        }
        Ok((f, jv))
    }
}

/// f and J v of one row.
fn product(mixture: &Mixture, x: &Array1<f64>, (alpha, sigma): (f64, f64), v: &Array1<f64>) -> [Array1<f64>; 2] {
    let (prediction, half_dim) = (mixture.prediction(), 0.5 * x.len() as f64);
    let (p, q) = prediction.data_map(alpha, sigma);
    let means = mixture.means();
    // log weight and its derivative, g_k and c_k of every mode
    let modes = mixture.weights().iter().zip(mixture.std()).zip(means.rows());
    let modes: Vec<_> = modes
        .map(|((weight, std), mean)| {
            let variance = (alpha * std).powi(2) + sigma * sigma;
            let away = x - &(&mean * alpha);
            let log = weight.ln() - half_dim * variance.ln() - 0.5 * away.dot(&away) / variance;
            let slope = prediction.gaussian_slope(alpha, sigma, std * std);
            // at x = alpha m_k the mode predicts its mean: m_k = p x + q f
            (log, -away.dot(v) / variance, slope, (1.0 - p * alpha) / q - slope * alpha)
        })
        .collect();
    let most = modes.iter().fold(f64::NEG_INFINITY, |most, mode| most.max(mode.0));
    let total: f64 = modes.iter().map(|mode| (mode.0 - most).exp()).sum();
    let share = |log: f64| (log - most).exp() / total;
    let mean_moves: f64 = modes.iter().map(|(log, moves, ..)| share(*log) * moves).sum();
    let (mut f, mut jv) = (Array1::zeros(x.len()), Array1::zeros(x.len()));
    for (&(log, moves, slope, on_mean), mean) in modes.iter().zip(means.rows()) {
        let r = share(log);
        let dr = r * (moves - mean_moves);
        f.scaled_add(r * slope, x);
        f.scaled_add(r * on_mean, &mean);
        jv.scaled_add(r * slope, v);
        jv.scaled_add(dr * slope, x);
        jv.scaled_add(dr * on_mean, &mean);
    }
    [f, jv]
}
