//! Standard normals from random words, by the Box-Muller transform in portable arithmetic.
//!
//! The radius is `sqrt(-2 ln u)` with `u` in `(0, 1]`; the angle is a whole number of quarter turns (the nearest, from
//! the top bits of its word) plus a remainder in `[-1/8, 1/8)` turn, so that sine and cosine need no range reduction
//! and are exact at multiples of a quarter turn.

use super::philox;
use crate::portable::{ln_f32, ln_normal_f64, sin_cos_f32, sin_cos_f64};

/// 2^-32 and 2^-33.
const UNIT_32: f64 = 2.3283064365386963e-10;
const HALF_32: f64 = 1.1641532182693481e-10;

/// Counters of f32 normals handled at once in long requests: enough independent chains of operations to hide their
/// latency. Without wide vectors more of them would only overfill the registers.
const BULK: usize = if cfg!(feature = "simd") { 32 } else { WIDE };
/// Counters handled at once: enough to fill the vector units, few enough to stay in registers and L1 cache.
const WIDE: usize = 16;
/// Counters handled at once for short requests.
const NARROW: usize = 4;

/// Two f32 normals from a word for the radius and a word for the angle.
#[inline(always)]
fn box_muller_f32(radius: u32, angle: u32) -> [f32; 2] {
    let r = radius_f32(radius);
    let [cos, sin] = direction_f32(angle);
    [r * cos, r * sin]
}

#[inline(always)]
fn radius_f32(word: u32) -> f32 {
    let u = word as f32 * UNIT_32 as f32 + HALF_32 as f32;
    (-2.0 * ln_f32(u)).sqrt()
}

/// Cosine and sine of the angle.
#[inline(always)]
fn direction_f32(word: u32) -> [f32; 2] {
    let quarters = nearest_quarter(word);
    // The remainder in quarter turns, [-1/2, 1/2), then in radians.
    let remainder = (word << 2) as i32 as f32 * UNIT_32 as f32;
    let (s, c) = sin_cos_f32(remainder * std::f32::consts::FRAC_PI_2);
    let odd = quarters & 1 == 1;
    let (cos, sin) = (if odd { s } else { c }, if odd { c } else { s });
    let cos = f32::from_bits(cos.to_bits() ^ cos_sign(quarters));
    let sin = f32::from_bits(sin.to_bits() ^ sin_sign(quarters));
    [cos, sin]
}

/// Two f64 normals from two words for the radius and two for the angle, the more significant word first.
#[inline(always)]
fn box_muller_f64(radius: [u32; 2], angle: [u32; 2]) -> [f64; 2] {
    // Each sum of two words is a single, correctly rounded conversion of the 64-bit number; all products are exact.
    let fraction = |high: f64, low: u32| high * UNIT_32 + f64::from(low) * (UNIT_32 * UNIT_32);
    let u = fraction(f64::from(radius[0]), radius[1]) + HALF_32 * UNIT_32;
    let r = (-2.0 * ln_normal_f64(u)).sqrt();
    let quarters = nearest_quarter(angle[0]);
    let high = (angle[0] << 2) | (angle[1] >> 30);
    let remainder = fraction(f64::from(high as i32), angle[1] << 2);
    let (s, c) = sin_cos_f64(remainder * std::f64::consts::FRAC_PI_2);
    let odd = quarters & 1 == 1;
    let (cos, sin) = (if odd { s } else { c }, if odd { c } else { s });
    let cos = f64::from_bits(cos.to_bits() ^ u64::from(cos_sign(quarters)) << 32);
    let sin = f64::from_bits(sin.to_bits() ^ u64::from(sin_sign(quarters)) << 32);
    [r * cos, r * sin]
}

/// The multiple of a quarter turn (0..4) nearest to `word / 2^32` turns.
#[inline(always)]
fn nearest_quarter(word: u32) -> u32 {
    word.wrapping_add(0x2000_0000) >> 30
}

/// Sign bit of the cosine in a quadrant: negative in 1 and 2.
#[inline(always)]
fn cos_sign(quarters: u32) -> u32 {
    ((quarters + 1) & 2) << 30
}

/// Sign bit of the sine in a quadrant: negative in 2 and 3.
#[inline(always)]
fn sin_sign(quarters: u32) -> u32 {
    (quarters & 2) << 30
}

/// The four normals of each of `N` neighbouring counters.
///
/// Pairs of words, and so pairs of normals, are in the order of the sequence. Only the two halves of a pair are
/// kept apart, so a vector of pairs needs one interleaving on the way in and one on the way out.
#[inline(always)]
fn normals_f32<const N: usize>(counter: [u32; 4], key: [u32; 2]) -> [[f32; 4]; N] {
    let [w0, w1, w2, w3] = philox::lanes::<N>(counter, key);
    let (mut radii, mut angles) = ([[0; 2]; N], [[0; 2]; N]);
    for i in 0..N {
        radii[i] = [w0[i], w2[i]];
        angles[i] = [w1[i], w3[i]];
    }
    let (mut x, mut y) = ([[0.0; 2]; N], [[0.0; 2]; N]);
    let pairs = x.as_flattened_mut().iter_mut().zip(y.as_flattened_mut()).zip(angles.as_flattened());
    if N > WIDE {
        // Two passes, since the chain of operations from a word to a radius is long.
        let mut r = [[0.0; 2]; N];
        for (r, &word) in r.as_flattened_mut().iter_mut().zip(radii.as_flattened()) {
            *r = radius_f32(word);
        }
        for (((x, y), &angle), r) in pairs.zip(r.as_flattened()) {
            let [cos, sin] = direction_f32(angle);
            [*x, *y] = [r * cos, r * sin];
        }
    } else {
        for (((x, y), &angle), &radius) in pairs.zip(radii.as_flattened()) {
            [*x, *y] = box_muller_f32(radius, angle);
        }
    }
    let mut normals = [[0.0; 4]; N];
    for i in 0..N {
        normals[i] = [x[i][0], y[i][0], x[i][1], y[i][1]];
    }
    normals
}

/// The two f64 normals of each of `N` neighbouring counters.
#[inline(always)]
fn normals_f64<const N: usize>(counter: [u32; 4], key: [u32; 2]) -> [[f64; 2]; N] {
    let [w0, w1, w2, w3] = philox::lanes::<N>(counter, key);
    let mut soa = [[0.0_f64; N]; 2];
    for i in 0..N {
        [soa[0][i], soa[1][i]] = box_muller_f64([w0[i], w1[i]], [w2[i], w3[i]]);
    }
    std::array::from_fn(|i| soa.map(|lane| lane[i]))
}

/// Elements `first ..` of the sequence of f32 normals of the counters `(block, step, sample, stream)`, four per
/// block; the block number wraps modulo 2^32.
pub(super) fn fill_f32([step, sample, stream]: [u32; 3], key: [u32; 2], first: usize, out: &mut [f32]) {
    crate::simd::dispatch(
        #[inline(always)]
        || {
            fill(
                #[inline(always)]
                |block| normals_f32::<BULK>([block, step, sample, stream], key),
                #[inline(always)]
                |block| normals_f32::<WIDE>([block, step, sample, stream], key),
                #[inline(always)]
                |block| normals_f32::<NARROW>([block, step, sample, stream], key),
                first,
                out,
            );
        },
    );
}

/// The values of [`fill_f32`], as f64.
pub(super) fn fill_widened([step, sample, stream]: [u32; 3], key: [u32; 2], first: usize, out: &mut [f64]) {
    crate::simd::dispatch(
        #[inline(always)]
        || {
            fill(
                #[inline(always)]
                |block| normals_f32::<BULK>([block, step, sample, stream], key),
                #[inline(always)]
                |block| normals_f32::<WIDE>([block, step, sample, stream], key),
                #[inline(always)]
                |block| normals_f32::<NARROW>([block, step, sample, stream], key),
                first,
                out,
            );
        },
    );
}

/// As [`fill_f32`] for f64 normals, two per block.
pub(super) fn fill_f64([step, sample, stream]: [u32; 3], key: [u32; 2], first: usize, out: &mut [f64]) {
    crate::simd::dispatch(
        #[inline(always)]
        || {
            fill(
                #[inline(always)]
                |block| normals_f64::<WIDE>([block, step, sample, stream], key),
                #[inline(always)]
                |block| normals_f64::<WIDE>([block, step, sample, stream], key),
                #[inline(always)]
                |block| normals_f64::<NARROW>([block, step, sample, stream], key),
                first,
                out,
            );
        },
    );
}

/// Writes elements `first ..` of a sequence that is generated in blocks of `PER` elements, `N`, `WIDE` or `NARROW`
/// blocks at a time.
#[inline(always)]
fn fill<V: Copy, T: From<V>, const PER: usize, const N: usize>(
    bulk: impl Fn(u32) -> [[V; PER]; N],
    wide: impl Fn(u32) -> [[V; PER]; WIDE],
    narrow: impl Fn(u32) -> [[V; PER]; NARROW],
    first: usize,
    mut out: &mut [T],
) {
    let mut block = (first / PER) as u32;
    let mut skip = first % PER;
    while !out.is_empty() {
        let lanes;
        if skip == 0 && out.len() >= N * PER {
            // The common case: the length is known to the compiler, so values go straight from registers to `out`.
            lanes = N;
            let whole;
            (whole, out) = out.split_at_mut(N * PER);
            write(whole, bulk(block).as_flattened());
        } else if skip + out.len() > NARROW * PER {
            lanes = WIDE;
            out = write(out, &wide(block).as_flattened()[skip..]);
        } else {
            lanes = NARROW;
            out = write(out, &narrow(block).as_flattened()[skip..]);
        }
        block = block.wrapping_add(lanes as u32);
        skip = 0;
    }
}

/// Writes as many values as fit and returns the rest of `out`.
#[inline(always)]
fn write<'a, V: Copy, T: From<V>>(out: &'a mut [T], values: &[V]) -> &'a mut [T] {
    let (now, later) = out.split_at_mut(values.len().min(out.len()));
    for (out, &value) in now.iter_mut().zip(values) {
        *out = T::from(value);
    }
    later
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::philox4x32_10;
    use std::f64::consts::TAU;

    const KEY: [u32; 2] = [0x89ab_cdef, 0x0123_4567];
    const PLACE: [u32; 3] = [5, 6, 7];

    fn words(block: u32) -> [u32; 4] {
        philox4x32_10([block, PLACE[0], PLACE[1], PLACE[2]], KEY)
    }

    /// One element of the f32 sequence by the scalar formula.
    fn one_f32(element: usize) -> f32 {
        let w = words((element / 4) as u32);
        let pair = if element % 4 < 2 { [w[0], w[1]] } else { [w[2], w[3]] };
        box_muller_f32(pair[0], pair[1])[element % 2]
    }

    fn one_f64(element: usize) -> f64 {
        let [w0, w1, w2, w3] = words((element / 2) as u32);
        box_muller_f64([w0, w1], [w2, w3])[element % 2]
    }

    /// Lengths around every switch between wide, narrow and partial blocks, at all offsets within a block.
    #[test]
    fn vector_code_has_the_bits_of_the_scalar_formula() {
        for len in
            [0, 1, 2, 3, 4, 5, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 131, 255, 256, 257, 1000, 1027]
        {
            for first in [0, 1, 2, 3, 4, 5, 7, 62, 1_000_003] {
                let (mut single, mut widened, mut double) = (vec![9.0; len], vec![9.0; len], vec![9.0; len]);
                fill_f32(PLACE, KEY, first, &mut single);
                fill_widened(PLACE, KEY, first, &mut widened);
                fill_f64(PLACE, KEY, first, &mut double);
                for i in 0..len {
                    let reference = one_f32(first + i);
                    assert_eq!(single[i].to_bits(), reference.to_bits(), "{first} + {i}");
                    assert_eq!(widened[i].to_bits(), f64::from(reference).to_bits(), "{first} + {i}");
                    assert_eq!(double[i].to_bits(), one_f64(first + i).to_bits(), "{first} + {i}");
                }
            }
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn block_numbers_wrap() {
        let (mut single, mut double) = ([0.0; 40], [0.0; 40]);
        fill_f32(PLACE, KEY, (4 << 32) - 9, &mut single);
        fill_f64(PLACE, KEY, (2 << 32) - 9, &mut double);
        for i in 9..40 {
            assert_eq!(single[i].to_bits(), one_f32(i - 9).to_bits());
            assert_eq!(double[i].to_bits(), one_f64(i - 9).to_bits());
        }
        fill_f32(PLACE, KEY, usize::MAX, &mut single);
        fill_f64(PLACE, KEY, usize::MAX, &mut double);
    }

    /// Compares with the transform in the platform's f64 arithmetic, which shares no code with this module.
    #[test]
    fn transform_matches_the_textbook_formula() {
        let mut worst = [0.0_f64; 2];
        for block in 0..100_000 {
            let w = words(block).map(f64::from);
            let [w0, w1, w2, w3] = words(block);
            let unit = 2.0_f64.powi(-32);
            let mut compare = |place: usize, got: [f64; 2], u: f64, turns: f64| {
                // Rounding errors of about r, and that of u, which the square root amplifies.
                let epsilon = [f64::from(f32::EPSILON), f64::EPSILON][place];
                let r = (-2.0 * u.ln()).sqrt();
                let exact = [r * (TAU * turns).cos(), r * (TAU * turns).sin()];
                for (got, exact) in got.into_iter().zip(exact) {
                    let error = (got - exact).abs() / (epsilon * (r + 1.0 / r));
                    worst[place] = worst[place].max(error);
                }
            };
            compare(0, box_muller_f32(w0, w1).map(f64::from), (w[0] + 0.5) * unit, w[1] * unit);
            let (high, low) = (w[0] + w[1] * unit, w[2] + w[3] * unit);
            compare(1, box_muller_f64([w0, w1], [w2, w3]), high * unit, low * unit);
        }
        // The f64 reference itself rounds its angle, of up to one turn.
        assert!(worst[0] < 2.0 && worst[1] < 8.0, "{worst:?}");
    }

    #[test]
    fn ends_of_radius_and_angle() {
        let largest = 6.763706_f32; // sqrt(66 ln 2)
        for (angle, sign) in [(0, [1.0, 0.0]), (1 << 30, [0.0, 1.0]), (2 << 30, [-1.0, 0.0]), (3 << 30, [0.0, -1.0])] {
            let got = box_muller_f32(0, angle);
            assert!((got[0] - sign[0] * largest).abs() < 1e-6 && (got[1] - sign[1] * largest).abs() < 1e-6);
            let got = box_muller_f64([0, 0], [angle, 0]);
            let largest = 9.49258307694975; // sqrt(130 ln 2)
            assert!((got[0] - f64::from(sign[0]) * largest).abs() < 1e-14);
            assert!((got[1] - f64::from(sign[1]) * largest).abs() < 1e-14);
            // The largest word rounds to u = 1 and radius 0.
            assert_eq!(box_muller_f32(u32::MAX, angle), [0.0, 0.0]);
            assert_eq!(box_muller_f64([u32::MAX; 2], [angle, 0]), [0.0, 0.0]);
        }
        // Both sides of every quadrant boundary.
        for eighth in [1_u32, 3, 5, 7] {
            let at = eighth << 29;
            let (below, above) = (box_muller_f32(1, at - 1), box_muller_f32(1, at));
            assert!((below[0] - above[0]).abs() < 1e-6 && (below[1] - above[1]).abs() < 1e-6);
        }
    }
}
