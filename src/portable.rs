//! Elementary functions with the same bits on every machine.
//!
//! They use only IEEE 754 addition, subtraction, multiplication, division, square root, comparisons and integer
//! operations, in a fixed order and without contraction. The standard library's `ln`, `exp`, `sin` and `cos` come
//! from the platform and may differ in the last bit, so a CPU and a GPU would not agree. There are no tables and no
//! data-dependent branches (only selections), so loops over slices vectorise.
//!
//! The f32 logarithm and the f32 sine and cosine use the coefficients of Cephes; the f64 polynomials are minimax
//! fits in relative error, made with the Remez algorithm at 50 digits and rounded to f64.

// The coefficients are written out in full: shorter forms would round to the same numbers but be harder to compare.
#![allow(clippy::excessive_precision)]

const MANTISSA_F64: u64 = (1 << 52) - 1;
/// ln 2 = `LN2_HI + LN2_LO`; `LN2_HI` has 32 significant bits, so that its product with an exponent is exact.
const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LO: f64 = 1.9082149292705877e-10;

/// Natural logarithm of a positive, normal, finite `u`, to about 1 ulp.
///
/// Zero, subnormals, negative numbers, infinities and NaN are not accepted and give a meaningless result. For
/// `u <= 1` the result is never positive, and `ln_f32(1.0)` is 0.
#[inline]
pub(crate) fn ln_f32(u: f32) -> f32 {
    let (m, e) = split_f32(u);
    let x = m - 1.0;
    let z = x * x;
    let mut y = 7.0376836292e-2_f32;
    y = y * x + -1.1514610310e-1;
    y = y * x + 1.1676998740e-1;
    y = y * x + -1.2420140846e-1;
    y = y * x + 1.4249322787e-1;
    y = y * x + -1.6668057665e-1;
    y = y * x + 2.0000714765e-1;
    y = y * x + -2.4999993993e-1;
    y = y * x + 3.3333331174e-1;
    y = (y * x) * z;
    // ln 2 is split in two parts; the larger one has few bits.
    y += e * -2.12194440e-4;
    y += -0.5 * z;
    e * 0.693359375 + (x + y)
}

/// `(m, e)` with `u = m 2^e`, `m` in `[sqrt(1/2), sqrt(2))` and a whole number `e`, for a positive, normal, finite `u`.
#[inline]
fn split_f32(u: f32) -> (f32, f32) {
    // The difference of bit patterns carries into the exponent exactly at m = sqrt(2).
    const SQRT_HALF: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let bits = u.to_bits().wrapping_add(1.0_f32.to_bits() - SQRT_HALF);
    let m = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF);
    (m, ((bits >> 23) as i32 - 127) as f32)
}

/// Sine and cosine of `a` radians for `|a| <= pi/4`, to about 1 ulp; outside that range they lose accuracy.
#[inline]
pub(crate) fn sin_cos_f32(a: f32) -> (f32, f32) {
    let z = a * a;
    let mut s = -1.9515295891e-4_f32 * z + 8.3321608736e-3;
    s = s * z + -1.6666654611e-1;
    s = (s * z) * a + a;
    let mut c = 2.443315711809948e-5_f32 * z + -1.388731625493765e-3;
    c = c * z + 4.166664568298827e-2;
    c = (-0.5 * z + (c * z) * z) + 1.0;
    (s, c)
}

/// Sine and cosine of `a` radians for `|a| <= pi/4`, to about 1 ulp; outside that range they lose accuracy.
#[inline]
pub(crate) fn sin_cos_f64(a: f64) -> (f64, f64) {
    let z = a * a;
    let mut s = 1.5896827685378293e-10 * z + -2.5050758649361576e-08;
    s = s * z + 2.7557313695203547e-06;
    s = s * z + -0.0001984126982981689;
    s = s * z + 0.008333333333322425;
    s = s * z + -0.16666666666666632;
    s = (s * z) * a + a;
    let mut c = -1.1358536351502868e-11 * z + 2.0875700838812654e-09;
    c = c * z + -2.755731417927428e-07;
    c = c * z + 2.480158728885163e-05;
    c = c * z + -0.0013888888888873056;
    c = c * z + 0.041666666666666595;
    c = (-0.5 * z + (c * z) * z) + 1.0;
    (s, c)
}

/// Natural logarithm of any `x`: `-inf` at zero of either sign, `inf` at `inf`, NaN for negative numbers and NaN.
///
/// Subnormals are handled in full. The largest error measured against 40 digits is 0.77 ulp; the result is never
/// more than 1 ulp from that of the standard library.
#[inline]
pub(crate) fn ln_f64(x: f64) -> f64 {
    let subnormal = x < f64::MIN_POSITIVE;
    // 2^54
    let scaled = if subnormal { x * 18014398509481984.0 } else { x };
    let shift = if subnormal { 54.0 } else { 0.0 };
    let value = ln_scaled(scaled, shift);
    let special = if x == 0.0 {
        f64::NEG_INFINITY
    } else if x == f64::INFINITY {
        f64::INFINITY
    } else {
        f64::NAN
    };
    if x > 0.0 && x < f64::INFINITY { value } else { special }
}

/// [`ln_f64`] of a positive, normal, finite `u`; anything else gives a meaningless result.
#[inline]
pub(crate) fn ln_normal_f64(u: f64) -> f64 {
    ln_scaled(u, 0.0)
}

/// `ln(y 2^-shift)` for a positive, normal, finite `y`.
///
/// With `y = 2^k m`, `m` in `[sqrt(1/2), sqrt(2))`, `f = m - 1` and `s = f / (2 + f)`: `ln m = 2 atanh s`, and
/// `2 atanh s = 2 s + s R`, written as `f - (f^2/2 - s (f^2/2 + R))` so that the leading term is exact.
#[inline]
fn ln_scaled(y: f64, shift: f64) -> f64 {
    // Bits of sqrt(1/2); the difference of bit patterns carries into the exponent exactly at m = sqrt(2).
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    let bits = y.to_bits().wrapping_add(ONE - SQRT_HALF);
    let m = f64::from_bits((bits & MANTISSA_F64).wrapping_add(SQRT_HALF));
    // The biased exponent becomes a float through the mantissa of 2^52: this is exact and vectorises.
    let k = f64::from_bits((bits >> 52) | TWO_52) - (4503599627370496.0 + 1023.0 + shift);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = ((0.14795951016676445 * w + 0.1818356433034001) * w + 0.2857142874238819) * w + 0.6666666666666734;
    let odd = (0.1531405043182422 * w + 0.2222219857311381) * w + 0.39999999999414676;
    let r = z * (even + z * odd);
    let half_square = 0.5 * f * f;
    k * LN2_HI - ((half_square - (s * (half_square + r) + k * LN2_LO)) - f)
}

/// `e^x` for any `x`: `inf` on overflow, gradual underflow through the subnormals to 0, NaN for NaN.
///
/// The largest error measured against 40 digits is 0.91 ulp, subnormals included; the result is never more than 1
/// ulp from that of the standard library.
#[inline]
pub(crate) fn exp_f64(x: f64) -> f64 {
    // Adding 1.5 2^52 rounds to an integer, which is then in the low bits.
    const ROUND: f64 = 6755399441055744.0;
    // Beyond these the result is inf or 0 anyway; NaN fails both comparisons and passes through.
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    // x = k ln 2 + r with |r| <= ln(2)/2:
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    // r = high - low, where high is exact.
    let high = x - k * LN2_HI;
    let low = k * LN2_LO;
    let r = high - low;
    // e^r = 1 + r + r^2 q(r)
    let r2 = r * r;
    let r4 = r2 * r2;
    let q01 = 0.16666666666666413 * r + 0.5000000000000011;
    let q23 = 0.008333333333494336 * r + 0.041666666666530267;
    let q45 = 0.0001984126950677048 * r + 0.0013888888943597937;
    let q67 = 2.7557586274389912e-06 * r + 2.4801493135862242e-05;
    let q89 = 2.5000069870288764e-08 * r + 2.763023405413257e-07;
    let q = (q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89);
    let e = 1.0 + (high + (r2 * q - low));
    // 2^k in two factors, both normal for -1076 <= k <= 1024: only the last product can round or overflow.
    let k = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(2048);
    let first = k >> 1;
    let second = k.wrapping_sub(first);
    let power = |half: u64| f64::from_bits(half.wrapping_sub(1) << 52);
    e * power(first) * power(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_PI_4;

    /// Distance in units in the last place; both must have the same sign or be tiny.
    fn ulps(a: f64, b: f64) -> u64 {
        let order = |v: f64| {
            let bits = v.to_bits() as i64;
            if bits < 0 { i64::MIN - bits } else { bits }
        };
        order(a).abs_diff(order(b))
    }

    /// A Weyl sequence through a 64-bit mixer: test points that do not depend on the code under test.
    fn random_bits(i: u64) -> u64 {
        let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Error in ulps of an f32, with the f64 standard library as the exact value.
    fn error_f32(got: f32, exact: f64) -> f64 {
        let ulp = (f32::from_bits((exact as f32).abs().to_bits() + 1) - (exact as f32).abs()) as f64;
        (got as f64 - exact).abs() / ulp
    }

    #[test]
    fn exp_is_within_one_ulp_of_std() {
        let mut worst = 0;
        let dense = (0..400_000).map(|i| -746.0 + i as f64 * (1456.0 / 400_000.0));
        let small = (0..100_000).map(|i| -1.0 + i as f64 * 2e-5);
        let bits = (0..400_000).map(|i| f64::from_bits(random_bits(i)));
        for x in dense.chain(small).chain(bits).filter(|x| !x.is_nan()) {
            worst = worst.max(ulps(exp_f64(x), x.exp()));
        }
        assert!(worst <= 1, "{worst} ulp");
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp_f64(0.0), 1.0);
        assert_eq!(exp_f64(-0.0), 1.0);
        assert_eq!(exp_f64(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp_f64(f64::MAX), f64::INFINITY);
        assert_eq!(exp_f64(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp_f64(f64::MIN), 0.0);
        assert!(exp_f64(f64::NAN).is_nan());
        // ln(f64::MAX) = 709.7827128933840, ln of half the smallest subnormal = -745.1332191019412
        assert!(exp_f64(709.782712893384) < f64::INFINITY);
        assert_eq!(exp_f64(709.7827128933841), f64::INFINITY);
        assert_eq!(exp_f64(-745.1332191019411), f64::from_bits(1));
        assert_eq!(exp_f64(-745.1332191019413), 0.0);
        assert!(ulps(exp_f64(-740.0), (-740.0_f64).exp()) <= 1);
    }

    #[test]
    fn ln_is_within_one_ulp_of_std() {
        let mut worst = 0;
        let dense = (1..400_000).map(|i| i as f64 * 1e-5);
        let near_one = (0..200_000).map(|i| 1.0 + (i as f64 - 1e5) * 1e-12);
        let bits = (0..800_000).map(|i| f64::from_bits(random_bits(i) >> 1));
        let subnormal = (0..50_000).map(|i| f64::from_bits(random_bits(i) >> (12 + i % 52)));
        for x in dense.chain(near_one).chain(bits).chain(subnormal) {
            if x > 0.0 && x.is_finite() {
                worst = worst.max(ulps(ln_f64(x), x.ln()));
                if x.is_normal() {
                    assert_eq!(ln_f64(x).to_bits(), ln_normal_f64(x).to_bits());
                }
            }
        }
        assert!(worst <= 1, "{worst} ulp");
    }

    #[test]
    fn ln_at_the_ends() {
        assert_eq!(ln_f64(1.0), 0.0);
        assert_eq!(ln_f64(0.0), f64::NEG_INFINITY);
        assert_eq!(ln_f64(-0.0), f64::NEG_INFINITY);
        assert_eq!(ln_f64(f64::INFINITY), f64::INFINITY);
        for x in [f64::NAN, -1.0, -f64::MIN_POSITIVE, -5e-324, f64::MIN, f64::NEG_INFINITY] {
            assert!(ln_f64(x).is_nan(), "ln({x})");
        }
        assert!(ulps(ln_f64(f64::MAX), 709.782712893384) <= 1);
        assert!(ulps(ln_f64(5e-324), -744.4400719213812) <= 1);
    }

    #[test]
    fn ln_inverts_exp() {
        for i in 0..100_000 {
            let x = -700.0 + 0.014 * i as f64;
            let back = ln_f64(exp_f64(x));
            assert!((back - x).abs() <= 4e-16 * (1.0 + x.abs()), "{x}");
        }
    }

    #[test]
    fn ln_f32_is_accurate_and_never_positive_below_one() {
        let mut worst = 0.0_f64;
        for i in (f32::MIN_POSITIVE.to_bits()..=1.0_f32.to_bits()).step_by(997) {
            let u = f32::from_bits(i);
            let got = ln_f32(u);
            assert!(got <= 0.0, "ln({u:e}) = {got:e}");
            if u < 1.0 {
                worst = worst.max(error_f32(got, (u as f64).ln()));
            }
        }
        assert!(worst < 1.0, "{worst} ulp");
        assert_eq!(ln_f32(1.0), 0.0);
        assert!((ln_f32(10.0) - std::f32::consts::LN_10).abs() < 3e-7);
    }

    /// Both conditions together allow a single pair only, so another way to split would give the same logarithm.
    #[test]
    fn splitting_is_exact() {
        let root = std::f32::consts::FRAC_1_SQRT_2;
        let check = |u: f32| {
            let (m, e) = split_f32(u);
            assert!(m >= root && m < 2.0 * root, "{u:e} = {m} 2^{e}");
            assert_eq!(f64::from(m) * f64::from(e).exp2(), f64::from(u));
        };
        for mantissa in (0..1 << 23).step_by(61) {
            check(f32::from_bits(0.5_f32.to_bits() + mantissa));
        }
        for exponent in 1..255_u32 {
            for mantissa in [0, 1, root.to_bits() - 1, root.to_bits(), root.to_bits() + 1, u32::MAX] {
                check(f32::from_bits(exponent << 23 | mantissa & 0x007f_ffff));
            }
        }
    }

    #[test]
    fn sine_and_cosine_are_accurate() {
        let (mut worst32, mut worst64) = (0.0_f64, 0);
        for i in -200_000..=200_000 {
            let a = FRAC_PI_4 * i as f64 / 200_000.0;
            let (s, c) = sin_cos_f64(a);
            worst64 = worst64.max(ulps(s, a.sin())).max(ulps(c, a.cos()));
            let a = a as f32;
            let (s, c) = sin_cos_f32(a);
            worst32 = worst32.max(error_f32(c, (a as f64).cos()));
            if a != 0.0 {
                worst32 = worst32.max(error_f32(s, (a as f64).sin()));
            }
        }
        assert!(worst64 <= 1, "{worst64} ulp");
        assert!(worst32 < 1.0, "{worst32} ulp");
        assert_eq!(sin_cos_f64(0.0), (0.0, 1.0));
        assert_eq!(sin_cos_f32(0.0), (0.0, 1.0));
    }
}
