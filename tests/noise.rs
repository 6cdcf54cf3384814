//! Addressed noise: known answers, values that must never change, and the statistics of the normals.
//!
//! Every statistic is reduced to standard normals whose number, size and spread are known; a fit that is too good
//! fails as well as one that is too bad. All seeds are fixed.
#![cfg(feature = "rand")]

use piadm::noise::{Address, MAX_ELEMENTS, NoiseKey, NormalPrecision, Philox, philox4x32_10, stream};
use rand::{Rng, RngCore, SeedableRng};
use rand_distr::StandardNormal;

const HERE: Address = address(stream::DYNAMICS, 11, 5);

const fn address(stream: u32, step: u32, sample: u32) -> Address {
    Address { stream, step, sample }
}

fn double(seed: u64) -> NoiseKey {
    NoiseKey::new(seed).with_precision(NormalPrecision::Double)
}

fn normals(key: NoiseKey, address: Address, len: usize) -> Vec<f64> {
    let mut out = vec![0.0; len];
    key.fill_f64(address, 0, &mut out);
    out
}

// ---- statistics -----------------------------------------------------------------------------------------------

/// Normal distribution function by the series 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ...), which has no cancellation.
fn normal_cdf(x: f64) -> f64 {
    let (mut term, mut sum, mut k) = (x, 0.0, 1.0);
    while sum + term != sum {
        sum += term;
        k += 2.0;
        term *= x * x / k;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Whether independent numbers look like draws from N(0, 1): their sum and their sum of squares, both ways.
fn plausible(draws: &[f64]) -> Result<(), String> {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n.sqrt();
    let chi_square = draws.iter().map(|z| z * z).sum::<f64>();
    // Wilson and Hilferty: the cube root of a chi-square variable is nearly normal.
    let v = 2.0 / (9.0 * n);
    let spread = ((chi_square / n).cbrt() - (1.0 - v)) / v.sqrt();
    if mean.abs() < 4.0 && spread.abs() < 4.0 {
        Ok(())
    } else {
        Err(format!("sum {mean:.2}, spread {spread:.2} standard deviations off"))
    }
}

/// Kolmogorov-Smirnov against N(0, 1): sqrt(n) D is below 0.35 or above 2.1 with probability 3e-4 each.
fn fits_normal(mut sample: Vec<f64>) -> Result<(), String> {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let mut distance = 0.0_f64;
    for (i, x) in sample.iter().enumerate() {
        let p = normal_cdf(*x);
        distance = distance.max(p - i as f64 / n).max((i + 1) as f64 / n - p);
    }
    let k = n.sqrt() * distance;
    if (0.35..2.1).contains(&k) { Ok(()) } else { Err(format!("sqrt(n) D = {k}")) }
}

/// Correlation of two rows, and of their squares, as two standard normals.
fn correlation(x: &[f64], y: &[f64]) -> [f64; 2] {
    let n = x.len().min(y.len()) as f64;
    let pairs = || x.iter().zip(y);
    let product = pairs().map(|(a, b)| a * b).sum::<f64>();
    let squares = pairs().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)).sum::<f64>();
    [product / n.sqrt(), squares / (2.0 * n.sqrt())]
}

/// Correlates many pairs of rows and judges the coefficients together.
fn uncorrelated(pairs: impl Iterator<Item = (Vec<f64>, Vec<f64>)>) -> Result<(), String> {
    let coefficients: Vec<_> = pairs.map(|(x, y)| correlation(&x, &y)).collect();
    for kind in 0..2 {
        let draws: Vec<f64> = coefficients.iter().map(|c| c[kind]).collect();
        plausible(&draws).map_err(|e| format!("power {}: {e}", kind + 1))?;
    }
    Ok(())
}

#[test]
fn normal_cdf_is_accurate() {
    for (x, p) in [
        (0.0, 0.5),
        (0.5, 0.6914624612740131),
        (1.0, 0.8413447460685429),
        (1.959963984540054, 0.975),
        (3.0, 0.9986501019683699),
        (6.0, 0.9999999990134123),
    ] {
        assert!((normal_cdf(x) - p).abs() < 5e-16, "{x}");
        assert!((normal_cdf(-x) - (1.0 - p)).abs() < 5e-16, "{x}");
    }
}

/// The judges reject numbers that are wrong and numbers that are too regular.
#[test]
fn statistics_can_fail() {
    let good = normals(NoiseKey::new(1), HERE, 1 << 16);
    assert!(plausible(&good).is_ok() && fits_normal(good.clone()).is_ok());
    let scaled = |by: f64, shift: f64| good.iter().map(|x| by * x + shift).collect::<Vec<_>>();
    for wrong in [scaled(1.03, 0.0), scaled(0.97, 0.0), scaled(1.0, 0.04)] {
        assert!(plausible(&wrong).is_err());
    }
    assert!(fits_normal(scaled(1.06, 0.0)).is_err() && fits_normal(scaled(1.0, 0.04)).is_err());
    // Quantiles at equal distances fit too well.
    let quantiles: Vec<f64> = (0..1000)
        .map(|i| {
            let (mut low, mut high) = (-6.0, 6.0);
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if normal_cdf(middle) < (i as f64 + 0.5) / 1000.0 { low = middle } else { high = middle }
            }
            low
        })
        .collect();
    assert!(fits_normal(quantiles).is_err());
    assert!(plausible(&[0.0; 64]).is_err());
    let leak = |i: u64| {
        let x = normals(NoiseKey::new(i), HERE, 4096);
        let y = normals(NoiseKey::new(i + 100), HERE, 4096);
        let mixed = x.iter().zip(&y).map(|(x, y)| 0.02 * x + y).collect();
        (x, mixed)
    };
    assert!(uncorrelated((0..64).map(leak)).is_err());
}

// ---- values ---------------------------------------------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn philox_known_answers() {
    let all = u32::MAX;
    for (counter, key, expected) in [
        ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
        ([all; 4], [all; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
        ([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0],
         [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]),
    ] {
        assert_eq!(philox4x32_10(counter, key), expected);
    }
}

/// Seed, address, first block, then the normals as bits. The f32 values were made by a C++ program from the same
/// formulas, the f64 values agree with 50-digit arithmetic to 3e-16.
#[rustfmt::skip]
#[allow(clippy::type_complexity)]
const VALUES: [(u64, Address, u32, [u32; 8], [u64; 4]); 3] = [
    (0, address(stream::INITIAL, 0, 0), 0,
     [0x3f7dbb31, 0xbf6cb6b0, 0xbf1e1b9f, 0xbef6d1b2, 0xbe1d5353, 0x3e392a68, 0x3f54ec97, 0x3e4a2da2],
     [0xbfc4eeedba06d25d, 0xbfe058a37ec16ad2, 0x3fa91d497f0f4331, 0xbff5107cca31852c]),
    (42, address(stream::DYNAMICS, 3, 7), 0,
     [0xbe2c7751, 0xbf8c50ab, 0x3fdf0849, 0xbfad52ce, 0x3dd11ae6, 0x3e8162f5, 0x3d9092aa, 0xbf4d112a],
     [0xbfe4446e83568c24, 0x3feb905d8c86dc74, 0x3ff0d3b9f0da539b, 0xbfe9f11a49f119ed]),
    // The last block before the block number wraps, and the first after it.
    (0xfedcba9876543210, address(stream::USER, 1_000_000, u32::MAX), u32::MAX,
     [0xbfaa3384, 0x3dd31f23, 0xbebb6b74, 0xbf8502dd, 0x3f6890fa, 0x3f1adc28, 0xbf9ca34c, 0x3f25d11d],
     [0xbfe7f5a8f556cd85, 0xbff1331ec40efa32, 0x3fd1db4d415122da, 0x3fdc166dc3ba8315]),
];

#[test]
fn values_never_change() {
    for (seed, address, block, single, wide) in VALUES {
        let (Ok(first4), Ok(first2)) = (usize::try_from(4 * u64::from(block)), usize::try_from(2 * u64::from(block)))
        else {
            continue; // not addressable with 32 bits
        };
        let (mut a, mut b, mut c) = ([0.0_f32; 8], [0.0; 8], [0.0; 4]);
        NoiseKey::new(seed).fill_f32(address, first4, &mut a);
        NoiseKey::new(seed).fill_f64(address, first4, &mut b);
        double(seed).fill_f64(address, first2, &mut c);
        assert_eq!(a.map(f32::to_bits), single);
        assert_eq!(b.map(f64::to_bits), single.map(|bits| f64::from(f32::from_bits(bits)).to_bits()));
        assert_eq!(c.map(f64::to_bits), wide);
        // f32 noise does not depend on the precision of f64 noise.
        let mut d = [0.0_f32; 8];
        double(seed).fill_f32(address, first4, &mut d);
        assert_eq!(a, d);
    }
}

/// A checksum of sixteen million normals, made by the same C++ program.
#[test]
fn checksum_never_changes() {
    let key = NoiseKey::new(0x0123456789abcdef);
    let address = address(7, 5, 6);
    let (mut hash, mut row) = (0_u64, vec![0.0_f32; 1 << 16]);
    let mut first = 0;
    while first < 16_000_000 {
        let len = row.len().min(16_000_000 - first);
        key.fill_f32(address, first, &mut row[..len]);
        for x in &row[..len] {
            hash = (hash ^ u64::from(x.to_bits())).wrapping_mul(0x9e3779b97f4a7c15);
        }
        first += len;
    }
    assert_eq!(hash, 0x22c30d98e285de3f);
}

/// Filling in pieces gives the bits of filling at once.
#[test]
fn pieces_equal_the_whole() {
    let len = 5000;
    let mut cut = Philox::new(17, 3);
    for key in [NoiseKey::new(8), double(8)] {
        let start = 12_345;
        let (mut whole, mut whole32) = (vec![0.0; len], vec![0.0; len]);
        key.fill_f64(HERE, start, &mut whole);
        key.fill_f32(HERE, start, &mut whole32);
        for largest in [3, 20, 300] {
            let (mut pieces, mut pieces32) = (vec![f64::NAN; len], vec![f32::NAN; len]);
            let mut at = 0;
            while at < len {
                let end = len.min(at + cut.random_range(0..=largest));
                key.fill_f64(HERE, start + at, &mut pieces[at..end]);
                key.fill_f32(HERE, start + at, &mut pieces32[at..end]);
                at = end;
            }
            let same64 = pieces.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits());
            let same32 = pieces32.iter().zip(&whole32).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same64 && same32, "{largest}");
        }
    }
}

#[test]
fn no_address_panics() {
    let address = address(u32::MAX, u32::MAX, u32::MAX);
    for first in [MAX_ELEMENTS - 1, MAX_ELEMENTS, usize::MAX - 1, usize::MAX] {
        let (mut a, mut b) = ([9.0_f32; 100], [9.0; 100]);
        NoiseKey::new(u64::MAX).fill_f32(address, first, &mut a);
        double(u64::MAX).fill_f64(address, first, &mut b);
        assert!(a.iter().all(|x| x.abs() < 6.77) && b.iter().all(|x| x.abs() < 9.5));
        NoiseKey::new(0).fill_f32(address, first, &mut []);
    }
}

/// Every bit of the seed and of the address matters.
#[test]
fn neighbours_differ() {
    let [stream, step, sample] = [HERE.stream, HERE.step, HERE.sample];
    let base = normals(NoiseKey::new(0), HERE, 8);
    for bit in 0..64 {
        assert_ne!(base, normals(NoiseKey::new(1 << bit), HERE, 8));
    }
    for flip in (0..32).map(|bit| 1 << bit) {
        for [stream, step, sample] in
            [[stream ^ flip, step, sample], [stream, step ^ flip, sample], [stream, step, sample ^ flip]]
        {
            let other = normals(NoiseKey::new(0), address(stream, step, sample), 8);
            assert_ne!(base, other);
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn settings_survive_json() {
    let key = double(u64::MAX - 5);
    let text = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<NoiseKey>(&text).unwrap(), key);
    assert_eq!(serde_json::from_str::<NoiseKey>(r#"{"seed":5}"#).unwrap(), NoiseKey::new(5));
    let text = serde_json::to_string(&HERE).unwrap();
    assert_eq!(serde_json::from_str::<Address>(&text).unwrap(), HERE);
}

// ---- distribution ---------------------------------------------------------------------------------------------

#[test]
fn normals_follow_the_normal_distribution() {
    let n = 1 << 20;
    for seed in [1, 0x5eed_0000_0000] {
        fits_normal(normals(NoiseKey::new(seed), HERE, n)).unwrap();
        fits_normal(normals(double(seed), HERE, n)).unwrap();
    }
    // Across samples and steps as well as along a row.
    let across = |at: &dyn Fn(u32) -> Address| {
        (0..1 << 18).flat_map(|i| normals(NoiseKey::new(3), at(i), 4)).collect::<Vec<_>>()
    };
    fits_normal(across(&|sample| Address { sample, ..HERE })).unwrap();
    fits_normal(across(&|step| Address { step, ..HERE })).unwrap();
}

/// Moments 1 to 4 of 64 rows. The tail cut at 6.77 changes the fourth moment by 6e-8, far below what can be seen.
#[test]
fn moments_are_those_of_the_normal_distribution() {
    let n = 1 << 16;
    for precise in [false, true] {
        let mut draws = [const { Vec::new() }; 4];
        for seed in 0..64 {
            let key = if precise { double(seed) } else { NoiseKey::new(seed) };
            let row = normals(key, HERE, n);
            assert!(row.iter().all(|x| x.abs() < if precise { 9.5 } else { 6.77 }));
            // Mean and variance of x, x^2, x^3, x^4.
            for (power, mean, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)] {
                let sum: f64 = row.iter().map(|x| x.powi(power) - mean).sum();
                draws[power as usize - 1].push(sum / (variance * n as f64).sqrt());
            }
        }
        for (power, draws) in draws.iter().enumerate() {
            plausible(draws).unwrap_or_else(|e| panic!("moment {}: {e}", power + 1));
        }
    }
}

/// Counts beyond 3, 4 and 4.75 in 16 million normals, as Poisson numbers.
#[test]
fn tails_have_the_right_weight() {
    let (n, rows) = (1 << 20, 16);
    let mut counts = [0_u32; 3];
    let limits = [3.0_f32, 4.0, 4.75];
    let mut row = vec![0.0_f32; n];
    for sample in 0..rows {
        NoiseKey::new(99).fill_f32(Address { sample, ..HERE }, 0, &mut row);
        for (count, limit) in counts.iter_mut().zip(limits) {
            *count += row.iter().filter(|x| x.abs() > limit).count() as u32;
        }
    }
    for (count, limit) in counts.into_iter().zip(limits) {
        let expected = n as f64 * f64::from(rows) * 2.0 * normal_cdf(-f64::from(limit));
        let z = (f64::from(count) - expected) / expected.sqrt();
        assert!(z.abs() < 4.0, "beyond {limit}: {count}, expected {expected:.1}");
    }
}

#[test]
fn neighbouring_addresses_are_uncorrelated() {
    let n = 1 << 13;
    for make in [NoiseKey::new as fn(u64) -> NoiseKey, double] {
        let row = |seed, [stream, step, sample]: [u32; 3]| normals(make(seed), address(stream, step, sample), n);
        let judge = |what: &str, pair: &dyn Fn(u32) -> (Vec<f64>, Vec<f64>)| {
            uncorrelated((0..64).map(pair)).unwrap_or_else(|e| panic!("{what}: {e}"));
        };
        judge("seed bits", &|i| (row(0, [1, 2, 3]), row(1 << i, [1, 2, 3])));
        judge("seeds", &|i| (row(i.into(), [1, 2, 3]), row(u64::from(i) + 1, [1, 2, 3])));
        judge("steps", &|i| (row(7, [1, i, 3]), row(7, [1, i + 1, 3])));
        judge("samples", &|i| (row(7, [1, i, 3]), row(7, [1, i, 4])));
        judge("streams", &|i| (row(7, [1, i, 3]), row(7, [2, i, 3])));
        judge("step and sample", &|i| (row(7, [1, i + 9, 3]), row(7, [1, 3, i + 9])));
        // Lags 1 to 3 stay within a block, 4 to 64 reach over blocks and vector lanes.
        for lag in [1, 2, 3, 4, 5, 8, 16, 32, 64] {
            judge(&format!("lag {lag}"), &|i| {
                let x = row(8, [1, i, 3]);
                (x[..n - lag].to_vec(), x[lag..].to_vec())
            });
        }
        // The two normals of a Box-Muller pair share a radius.
        judge("pairs", &|i| row(9, [1, i, 3]).chunks(2).map(|p| (p[0], p[1])).unzip());
        judge("precisions", &|i| {
            let at = address(1, i, 3);
            (normals(NoiseKey::new(7), at, n), normals(double(7), at, n))
        });
    }
}

// ---- the generator --------------------------------------------------------------------------------------------

#[test]
fn generator_draws_do_not_change() {
    let mut rng = Philox::new(0x0123456789abcdef, stream::USER);
    let block = philox4x32_10([0, 0, 0, 0x4000_0010], [0x89abcdef, 0x01234567]);
    assert_eq!(rng.next_u32(), block[0]);
    assert_eq!(rng.next_u64(), u64::from(block[1]) | u64::from(block[2]) << 32);
    rng.set_position(0);
    let draws: [u64; 3] = std::array::from_fn(|_| rng.next_u64());
    assert_eq!(draws, [0x08d449698d174081, 0x6870aa5657f66235, 0x3556b0baae57f26a]);
    assert_eq!(Philox::seed_from_u64(5), Philox::from_seed([5, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn generator_is_uniform_and_apart_from_the_noise() {
    // Frequencies of bytes: 64 chi-square values with 255 degrees of freedom, as normals.
    let draws: Vec<f64> = (0..64)
        .map(|stream| {
            let mut bytes = vec![0_u8; 1 << 16];
            Philox::new(4, stream).fill_bytes(&mut bytes);
            let mut counts = [0.0_f64; 256];
            for byte in bytes {
                counts[usize::from(byte)] += 1.0;
            }
            let chi_square: f64 = counts.iter().map(|c| (c - 256.0).powi(2) / 256.0).sum();
            let v: f64 = 2.0 / (9.0 * 255.0);
            ((chi_square / 255.0).cbrt() - (1.0 - v)) / v.sqrt()
        })
        .collect();
    plausible(&draws).unwrap();
    let drawn = |stream, n| -> Vec<f64> { Philox::new(4, stream).sample_iter(StandardNormal).take(n).collect() };
    fits_normal(drawn(0, 1 << 20)).unwrap();
    let n = 1 << 13;
    uncorrelated((0..64).map(|i| (drawn(i, n), drawn(i + 1, n)))).unwrap();
    // The same seed and stream number, yet other words than the addressed noise at step 0 of sample 0.
    let first = philox4x32_10([0, 0, 0, stream::INITIAL], [4, 0]);
    assert_ne!(Philox::new(4, stream::INITIAL).next_u32(), first[0]);
}
