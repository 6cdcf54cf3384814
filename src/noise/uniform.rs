//! Addressed uniforms.

use crate::noise::{Address, NoiseKey, philox4x32_10};

/// Word 3 of the counter has these bits set for uniforms.
const UNIFORM_DOMAIN: u32 = 0xC000_0000;

impl NoiseKey {
    /// A uniform number in (0, 1] with 53 random bits: `(w + 1) 2^-53`, where `w` is the upper 53 bits of words 0
    /// (high) and 1 (low) of the block with counter `(index, step, sample, stream | 0xC000_0000)`. It shares no
    /// block with normals at the same address.
    ///
    /// ```
    /// use piadm::noise::{Address, NoiseKey, stream};
    /// let address = Address { stream: stream::USER, step: 3, sample: 7 };
    /// let key = NoiseKey::new(1);
    /// let mean = (0..10_000).map(|i| key.uniform(address, i)).sum::<f64>() / 1e4;
    /// assert!((mean - 0.5).abs() < 0.01);
    /// assert_eq!(key.uniform(address, 5), key.uniform(address, 5));
    /// ```
    pub fn uniform(&self, address: Address, index: u32) -> f64 {
        let Address { stream, step, sample } = address;
        let [high, low, ..] = philox4x32_10([index, step, sample, stream | UNIFORM_DOMAIN], self.words());
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        (bits + 1) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::stream;

    #[test]
    fn uniforms_have_their_law_and_their_own_blocks() {
        let address = Address { stream: stream::DYNAMICS, step: 9, sample: 4 };
        let key = NoiseKey::new(3);
        let n = 20_000;
        let mut u: Vec<f64> = (0..n).map(|i| key.uniform(address, i)).collect();
        assert!(u.iter().all(|u| *u > 0.0 && *u <= 1.0));
        u.sort_by(f64::total_cmp);
        // Kolmogorov-Smirnov distance, with a bound far beyond chance
        let distance =
            u.iter().enumerate().map(|(i, u)| (u - (i as f64 + 0.5) / f64::from(n)).abs()).fold(0.0, f64::max);
        assert!(distance < 2.0 / f64::from(n).sqrt(), "{distance}");
        // other uses of the address have other words
        let first = key.uniform(address, 0);
        for stream in [address.stream | 0x8000_0000, address.stream | 0x4000_0000, address.stream] {
            let [high, low, ..] = philox4x32_10([0, address.step, address.sample, stream], key.words());
            assert_ne!(((u64::from(high) << 32 | u64::from(low)) >> 11) + 1, (first * (1u64 << 53) as f64) as u64);
        }
    }
}
