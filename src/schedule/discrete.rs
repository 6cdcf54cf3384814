//! A table of `alphas_cumprod`, as networks trained on discrete steps bring it with them.

use super::vp::{vp_score_weight, vp_sigma};
use super::{NoiseSchedule, Ou, VpCosine};
use crate::error::{Error, Result};

/// Variance-preserving schedule from a table of `alphas_cumprod`, alpha_k^2 for k = 0..N-1 (DDPM, arXiv 2006.11239).
///
/// Time is the index into the table, t in [-1, N-1]: the entries lie at t = 0..N-1, and t = -1 is the data (alpha = 1,
/// sigma = 0). Between entries, and between the data and entry 0, log alpha is linear in t. The last entry may be 0
/// (zero terminal SNR, Lin et al., arXiv 2305.08891); alpha itself is then linear over the last interval.
///
/// At an entry, where the slope of log alpha jumps, [`rates`](NoiseSchedule::rates) takes the interval that a step
/// towards the data enters, (t - 1, t).
///
/// ```
/// use piadm::schedule::{Discrete, NoiseSchedule};
///
/// // The table of Stable Diffusion 1 and 2.
/// let schedule = Discrete::scaled_linear(1000, 0.00085, 0.012)?;
/// let largest = schedule.sigma(999.0) / schedule.alpha(999.0);
/// assert!((largest - 14.6146).abs() < 1e-4);
/// assert_eq!(schedule.sigma(-1.0), 0.0);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Discrete {
    alphas_cumprod: Vec<f64>,
    /// log alpha at t = -1, 0, .., N-1; kept beside the table because near the data 1 - alpha^2 loses digits.
    log_alpha: Vec<f64>,
}

/// One interval between neighbouring table times, and where `t` lies in it.
struct Piece {
    /// log alpha at the end towards the data.
    data: f64,
    /// log alpha at the end towards the noise.
    noise: f64,
    /// Distance from `t` to the end towards the noise, in [0, 1].
    left: f64,
    /// Distance from the end towards the data to `t`, in [0, 1].
    done: f64,
}

impl Discrete {
    /// The largest number of entries.
    pub const MAX_LEN: usize = 1 << 24;

    /// The schedule of a table of `alphas_cumprod`, alpha_k^2 from the data (near 1) to the noise (near 0).
    ///
    /// # Errors
    /// [`Error::Setting`] unless there is at least one entry (and at most [`MAX_LEN`](Self::MAX_LEN)), every entry is
    /// in (0, 1) (the last may be 0) and they strictly decrease.
    ///
    /// ```
    /// use piadm::schedule::{Discrete, NoiseSchedule};
    ///
    /// let schedule = Discrete::new(vec![0.81, 0.25])?;
    /// assert!((schedule.alpha(0.0) - 0.9).abs() < 1e-15);
    /// assert!((schedule.alpha(0.5) - 0.45f64.sqrt()).abs() < 1e-15); // the geometric mean of 0.9 and 0.5
    /// assert!(Discrete::new(vec![0.25, 0.81]).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(alphas_cumprod: impl Into<Vec<f64>>) -> Result<Self> {
        let table = alphas_cumprod.into();
        check_len("alphas_cumprod.len()", table.len())?;
        let logs = table.iter().map(|&entry| 0.5 * entry.ln());
        let log_alpha = std::iter::once(0.0).chain(logs).collect();
        Self::from_tables(table, log_alpha)
    }

    /// The table of `n` betas in equal steps from `beta_start` to `beta_end` (DDPM: 1000, 1e-4, 0.02):
    /// alphas_cumprod is the running product of 1 - beta.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 1 <= `n` <= [`MAX_LEN`](Self::MAX_LEN), both betas are in (0, 1), and the product
    /// neither underflows nor rounds to 1.
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::linear(1000, 1e-4, 0.02)?;
    /// assert_eq!(schedule.len(), 1000);
    /// assert!((schedule.alphas_cumprod()[0] - 0.9999).abs() < 1e-15);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn linear(n: usize, beta_start: f64, beta_end: f64) -> Result<Self> {
        check_betas(n, beta_start, beta_end)?;
        Self::from_log_ratios(n, |i| (-linspace(beta_start, beta_end, i, n)).ln_1p())
    }

    /// The table whose sqrt(beta) goes in equal steps from sqrt(`beta_start`) to sqrt(`beta_end`) ("scaled linear";
    /// latent diffusion: 1000, 0.00085, 0.012).
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::scaled_linear(1000, 0.00085, 0.012)?;
    /// assert!((schedule.alphas_cumprod()[0] - 0.99915).abs() < 1e-15);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn scaled_linear(n: usize, beta_start: f64, beta_end: f64) -> Result<Self> {
        check_betas(n, beta_start, beta_end)?;
        let (start, end) = (beta_start.sqrt(), beta_end.sqrt());
        Self::from_log_ratios(n, |i| (-linspace(start, end, i, n).powi(2)).ln_1p())
    }

    /// The cosine table of Nichol and Dhariwal (arXiv 2102.09672; `squaredcos_cap_v2`):
    /// beta_i = min(1 - abar((i+1)/n) / abar(i/n), 0.999) with abar = alpha^2 of [`VpCosine`] and s = 0.008.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 1 <= `n` <= [`MAX_LEN`](Self::MAX_LEN).
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::cosine(1000)?;
    /// assert!((schedule.alphas_cumprod()[500] - 0.492285).abs() < 1e-6);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn cosine(n: usize) -> Result<Self> {
        check_len("n", n)?;
        let cosine = VpCosine::default();
        let log_abar = |i: usize| 2.0 * cosine.log_alpha(i as f64 / n as f64);
        let smallest = (-0.999f64).ln_1p();
        Self::from_log_ratios(n, |i| (log_abar(i + 1) - log_abar(i)).max(smallest))
    }

    /// The table of betas of your own (`trained_betas` of diffusers): alphas_cumprod is the running product of
    /// 1 - beta.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there are 1 to [`MAX_LEN`](Self::MAX_LEN) betas in (0, 1) (the last may be 1: zero
    /// terminal SNR), and the product neither underflows nor rounds to 1.
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::from_betas([0.1, 0.5])?;
    /// assert!((schedule.alphas_cumprod()[1] - 0.45).abs() < 1e-15);
    /// assert!(Discrete::from_betas([0.1, 1.5]).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn from_betas(betas: impl AsRef<[f64]>) -> Result<Self> {
        let betas = betas.as_ref();
        check_len("betas.len()", betas.len())?;
        let last = betas.len() - 1;
        let bad = |(k, beta): &(usize, &f64)| !(**beta > 0.0 && (**beta < 1.0 || (**beta == 1.0 && *k == last)));
        if let Some((k, beta)) = betas.iter().enumerate().find(bad) {
            let expected = "numbers between 0 and 1, both excluded; the last may be 1";
            return Err(Error::setting("betas", format!("{beta} at index {k}"), expected));
        }
        Self::from_log_ratios(betas.len(), |i| (-betas[i]).ln_1p())
    }

    /// The table whose betas rise from `beta_start` to `beta_end` like the logistic function from -6 to 6 (`sigmoid` of
    /// diffusers; GeoDiff, arXiv 2203.02923): beta_i = beta_start + (beta_end - beta_start) / (1 + e^{-s_i}) with s_i
    /// in equal steps. The ends themselves are not quite reached.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::sigmoid(1000, 1e-4, 0.02)?;
    /// assert!((1.0 - schedule.alphas_cumprod()[0] - 1.492e-4).abs() < 1e-7);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn sigmoid(n: usize, beta_start: f64, beta_end: f64) -> Result<Self> {
        check_betas(n, beta_start, beta_end)?;
        let rise = |i| 1.0 / (1.0 + (-linspace(-6.0, 6.0, i, n)).exp());
        Self::from_log_ratios(n, |i| (-(beta_start + (beta_end - beta_start) * rise(i))).ln_1p())
    }

    /// The same table rescaled so that its last entry is pure noise, alpha = 0 (Lin et al., arXiv 2305.08891,
    /// algorithm 1; `rescale_betas_zero_snr` of diffusers): alpha is shifted to end at 0 and scaled so that the first
    /// entry keeps its own. A table that ends at 0 stays as it is.
    ///
    /// A network must have been trained on the rescaled table. At alpha = 0 it can answer data, velocity or flow, not
    /// noise.
    ///
    /// # Errors
    /// [`Error::Setting`] for a table of one entry, which cannot be both ends, or one whose alphas do not differ.
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// let (table, rescaled) = (Discrete::stable_diffusion(), Discrete::stable_diffusion().zero_terminal_snr()?);
    /// assert_eq!(rescaled.alphas_cumprod()[0], table.alphas_cumprod()[0]);
    /// assert_eq!(rescaled.alphas_cumprod()[999], 0.0);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn zero_terminal_snr(&self) -> Result<Self> {
        let n = self.len();
        if n < 2 {
            return Err(Error::setting("alphas_cumprod.len()", n, "at least 2 entries"));
        }
        if self.alphas_cumprod[n - 1] == 0.0 {
            return Ok(self.clone());
        }
        // 1 - alpha_k / alpha_0, which is exact near the data
        let first = self.log_alpha[1];
        let fall = |k: usize| -(self.log_alpha[k + 1] - first).exp_m1();
        let logs = (0..n).map(|k| first + (-fall(k) / fall(n - 1)).ln_1p());
        let log_alpha: Vec<f64> = std::iter::once(0.0).chain(logs).collect();
        let first = self.alphas_cumprod[0];
        let table = std::iter::once(first).chain(log_alpha[2..].iter().map(|log| (2.0 * log).exp())).collect();
        Self::from_tables(table, log_alpha)
    }

    /// Number of entries N.
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// assert_eq!(Discrete::new(vec![0.9, 0.5, 0.1])?.len(), 3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "a table has at least one entry")]
    pub fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// The table, alpha^2 at t = 0..N-1.
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// assert_eq!(Discrete::new(vec![0.9, 0.5])?.alphas_cumprod(), &[0.9, 0.5]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// The table of Stable Diffusion 1 and 2: [`scaled_linear`](Self::scaled_linear)(1000, 0.00085, 0.012).
    ///
    /// ```
    /// use piadm::schedule::Discrete;
    ///
    /// assert_eq!(Discrete::stable_diffusion(), Discrete::scaled_linear(1000, 0.00085, 0.012)?);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn stable_diffusion() -> Self {
        let (n, start, end) = (1000, 0.00085f64.sqrt(), 0.012f64.sqrt());
        let (alphas_cumprod, log_alpha) = tables(n, |i| (-linspace(start, end, i, n).powi(2)).ln_1p());
        Discrete { alphas_cumprod, log_alpha }
    }

    /// The running product of `n` factors 1 - beta_i, given as log(1 - beta_i) and summed as logarithms.
    fn from_log_ratios(n: usize, log_ratio: impl Fn(usize) -> f64) -> Result<Self> {
        let (table, log_alpha) = tables(n, log_ratio);
        Self::from_tables(table, log_alpha)
    }

    fn from_tables(alphas_cumprod: Vec<f64>, log_alpha: Vec<f64>) -> Result<Self> {
        let last = alphas_cumprod.len() - 1;
        let mut previous = 1.0;
        for (k, &entry) in alphas_cumprod.iter().enumerate() {
            let zero_terminal = k == last && entry == 0.0;
            // Neighbouring numbers may have the same logarithm. NaN fails the first comparison.
            let falls = entry < previous && log_alpha[k + 1] < log_alpha[k];
            if !(falls && (entry > 0.0 || zero_terminal)) {
                return Err(Error::setting(
                    "alphas_cumprod",
                    format!("{entry} at index {k}"),
                    "entries in (0, 1) that strictly decrease; the last may be 0",
                ));
            }
            previous = entry;
        }
        Ok(Self { alphas_cumprod, log_alpha })
    }

    fn piece(&self, t: f64) -> Piece {
        // The interval (k - 1, k] that holds t; at t = -1 the first. NaN becomes 0 here and stays NaN below.
        let k = t.ceil().clamp(0.0, (self.len() - 1) as f64);
        let index = k as usize;
        Piece { data: self.log_alpha[index], noise: self.log_alpha[index + 1], left: k - t, done: t - (k - 1.0) }
    }
}

impl NoiseSchedule for Discrete {
    fn log_alpha(&self, t: f64) -> f64 {
        let piece = self.piece(t);
        if piece.noise == f64::NEG_INFINITY {
            piece.data + piece.left.ln()
        } else {
            // Both weights are exact, so the entries are hit exactly and t = -1 loses no digits.
            piece.data * piece.left + piece.noise * piece.done
        }
    }

    fn sigma(&self, t: f64) -> f64 {
        vp_sigma(self.log_alpha(t))
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        let log_alpha = -0.5 * Ou.time_of_log_snr(lambda);
        let index = self.log_alpha[1..].partition_point(|&entry| entry > log_alpha);
        if index == self.len() {
            return (self.len() - 1) as f64;
        }
        let (data, noise) = (self.log_alpha[index], self.log_alpha[index + 1]);
        if noise == f64::NEG_INFINITY {
            index as f64 - (log_alpha - data).exp()
        } else {
            index as f64 - 1.0 + (log_alpha - data) / (noise - data)
        }
    }

    fn range(&self) -> (f64, f64) {
        (-1.0, (self.len() - 1) as f64)
    }

    fn table(&self) -> Option<usize> {
        Some(self.len())
    }

    fn rates(&self, t: f64) -> (f64, f64) {
        let piece = self.piece(t);
        let slope = if piece.noise == f64::NEG_INFINITY { -1.0 / piece.left } else { piece.noise - piece.data };
        (slope, -2.0 * slope)
    }

    fn prior_std(&self, _t: f64) -> f64 {
        1.0
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        vp_score_weight(self.log_alpha(u) - self.log_alpha(t))
    }
}

/// `alphas_cumprod` and log alpha of `n` entries, the latter with the data's in front, from log(alpha_i^2 /
/// alpha_(i-1)^2).
fn tables(n: usize, log_ratio: impl Fn(usize) -> f64) -> (Vec<f64>, Vec<f64>) {
    let mut log_alpha = Vec::with_capacity(n + 1);
    log_alpha.push(0.0);
    let mut sum = 0.0;
    for i in 0..n {
        sum += log_ratio(i);
        log_alpha.push(0.5 * sum);
    }
    (log_alpha[1..].iter().map(|&log| (2.0 * log).exp()).collect(), log_alpha)
}

fn check_len(name: &'static str, n: usize) -> Result<()> {
    if (1..=Discrete::MAX_LEN).contains(&n) { Ok(()) } else { Err(Error::setting(name, n, "1 to 2^24 entries")) }
}

fn check_betas(n: usize, beta_start: f64, beta_end: f64) -> Result<()> {
    check_len("n", n)?;
    for (name, beta) in [("beta_start", beta_start), ("beta_end", beta_end)] {
        if !(beta > 0.0 && beta < 1.0) {
            return Err(Error::setting(name, beta, "a number between 0 and 1, both excluded"));
        }
    }
    Ok(())
}

/// Entry `i` of `n` equally spaced numbers from `start` to `end`; `start` alone if n = 1.
fn linspace(start: f64, end: f64, i: usize, n: usize) -> f64 {
    if i == 0 { start } else { start + (end - start) * (i as f64 / (n - 1) as f64) }
}
