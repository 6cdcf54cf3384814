//! The canonical sum: one order of addition on every backend, so that decisions based on a norm are the same
//! everywhere.
//!
//! A row is cut into leaves of 128 elements. Lane l of 32 computes (q0 + q1) + (q2 + q3) from its elements 4l..4l+3
//! (missing ones are +0), and lanes are combined at distances 16, 8, 4, 2, 1, all in the element type. The leaf
//! sums are added in ascending order in f64. Threads may split rows only between leaves.

use super::Real;

/// Elements of a leaf.
pub(crate) const LEAF: usize = 128;
const LANES: usize = LEAF / 4;

/// Sum of at most [`LEAF`] values, in the order of a GPU warp.
#[inline(always)]
pub(crate) fn leaf<T: Real>(values: &[T]) -> T {
    match values.len() {
        0..=4 => few::<T, 1>(values),
        5..=16 => few::<T, 4>(values),
        LEAF => values.as_chunks::<LEAF>().0.iter().fold(T::zero(), |_, full| whole(full)),
        _ => {
            let mut padded = [T::zero(); LEAF];
            for (p, v) in padded.iter_mut().zip(values) {
                *p = *v;
            }
            whole(&padded)
        }
    }
}

/// Sum of values that fill at most L lanes; the other lanes count as +0.
#[inline(always)]
fn few<T: Real, const L: usize>(values: &[T]) -> T {
    let mut quads = [[T::zero(); 4]; L];
    for (q, v) in quads.as_flattened_mut().iter_mut().zip(values) {
        *q = *v;
    }
    let mut lanes = quads.map(|[a, b, c, d]| (a + b) + (c + d));
    let mut width = L / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + T::zero()
}

/// Sum of a whole leaf. It adds neighbours in two passes, which takes the fewest shuffles.
#[inline(always)]
pub(crate) fn whole<T: Real>(values: &[T; LEAF]) -> T {
    let mut pairs = [T::zero(); 2 * LANES];
    for i in 0..2 * LANES {
        pairs[i] = values[2 * i] + values[2 * i + 1];
    }
    let mut lanes = [T::zero(); LANES];
    for i in 0..LANES {
        lanes[i] = pairs[2 * i] + pairs[2 * i + 1];
    }
    for width in [16, 8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// Canonical sum of (x - scale m)^2 over the elements of two rows.
///
/// For rows that are compared many times keep them in lane order and use [`add_squared_distances`].
pub(crate) fn squared_distance<T: Real>(x: &[T], m: &[T], scale: T) -> f64 {
    let mut total = 0.0;
    let mut square = [T::zero(); LEAF];
    for (x, m) in x.chunks(LEAF).zip(m.chunks(LEAF)) {
        for ((s, &x), &m) in square.iter_mut().zip(x).zip(m) {
            let e = x - scale * m;
            *s = e * e;
        }
        total += leaf(&square[..x.len().min(m.len())]).wide();
    }
    total
}

/// Places that a leaf of `n` elements takes in lane order: four per lane, with the number of lanes rounded up to a
/// power of two. The lanes left out would hold empty sums, and adding +0 to a sum of squares changes no bit.
pub(crate) fn lane_places(n: usize) -> usize {
    4 * n.div_ceil(4).next_power_of_two()
}

/// Brings a leaf into lane order: element 4l + q goes to place q * lanes + l. Lanes are then neighbours, and the
/// four elements of all lanes are combined by whole vectors. Missing elements become +0. `places` has
/// [`lane_places`] of the leaf's length.
pub(crate) fn to_lanes<T: Real>(leaf: &[T], places: &mut [T]) {
    let lanes = places.len() / 4;
    let (quads, rest) = leaf.as_chunks::<4>();
    if quads.len() < lanes {
        places.fill(T::zero());
    }
    let (a, b) = places.split_at_mut(2 * lanes);
    let ((a, b), (c, d)) = (a.split_at_mut(lanes), b.split_at_mut(lanes));
    for ((((a, b), c), d), q) in a.iter_mut().zip(b).zip(c).zip(d).zip(quads) {
        (*a, *b, *c, *d) = (q[0], q[1], q[2], q[3]);
    }
    for (place, &v) in places.iter_mut().skip(quads.len()).step_by(lanes.max(1)).zip(rest) {
        *place = v;
    }
}

/// The inverse of [`to_lanes`].
pub(crate) fn from_lanes<T: Real>(places: &[T], leaf: &mut [T]) {
    let lanes = places.len() / 4;
    let (a, b) = places.split_at(2 * lanes);
    let ((a, b), (c, d)) = (a.split_at(lanes), b.split_at(lanes));
    let (quads, rest) = leaf.as_chunks_mut::<4>();
    let filled = quads.len();
    for (q, (((a, b), c), d)) in quads.iter_mut().zip(a.iter().zip(b).zip(c).zip(d)) {
        *q = [*a, *b, *c, *d];
    }
    for (v, &place) in rest.iter_mut().zip(places.iter().skip(filled).step_by(lanes.max(1))) {
        *v = place;
    }
}

/// Adds to every total the sum of (x - scale m)^2 over one leaf. `x` is that leaf in lane order; `block` holds the
/// same leaf of all rows m, one after another, in lane order. Calling this for one leaf after another gives the
/// bits of [`squared_distance`].
pub(crate) fn add_squared_distances<T: Real>(x: &[T], block: &[T], scale: T, totals: &mut [f64]) {
    match x.len() {
        128 => add_lanes::<T, 32>(x, block, scale, totals),
        64 => add_lanes::<T, 16>(x, block, scale, totals),
        32 => add_lanes::<T, 8>(x, block, scale, totals),
        16 => add_lanes::<T, 4>(x, block, scale, totals),
        8 => add_lanes::<T, 2>(x, block, scale, totals),
        _ => add_lanes::<T, 1>(x, block, scale, totals),
    }
}

/// [`add_squared_distances`] for `L` lanes.
fn add_lanes<T: Real, const L: usize>(x: &[T], block: &[T], scale: T, totals: &mut [f64]) {
    let [x0, x1, x2, x3] = x.as_chunks::<L>().0 else { return };
    for (total, m) in totals.iter_mut().zip(block.as_chunks::<L>().0.as_chunks::<4>().0) {
        let square = |x: T, m: T| {
            let e = x - scale * m;
            e * e
        };
        let mut lanes = [T::zero(); L];
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane =
                (square(x0[l], m[0][l]) + square(x1[l], m[1][l])) + (square(x2[l], m[2][l]) + square(x3[l], m[3][l]));
        }
        let mut width = L / 2;
        while width > 0 {
            for l in 0..width {
                lanes[l] += lanes[l + width];
            }
            width /= 2;
        }
        *total += lanes[0].wide();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of addition written out lane by lane with exchanges, as a warp performs it.
    fn warp(values: &[f32]) -> f32 {
        let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
        let mut t: Vec<f32> = (0..32).map(|l| (at(4 * l) + at(4 * l + 1)) + (at(4 * l + 2) + at(4 * l + 3))).collect();
        for d in [16, 8, 4, 2, 1] {
            t = (0..32).map(|l| t[l] + t[l ^ d]).collect();
        }
        t[0]
    }

    #[test]
    fn leaf_has_the_order_of_a_warp() {
        let values: Vec<f32> = (0..128).map(|i| (i * 7919 % 1009) as f32 / 37.0 + 1e3 / (i + 1) as f32).collect();
        for n in 0..=128 {
            assert_eq!(leaf(&values[..n]).to_bits(), warp(&values[..n]).to_bits(), "{n} values");
            assert_eq!(leaf(&[-0.0f32; 128][..n]).to_bits(), warp(&[-0.0; 128][..n]).to_bits(), "{n} times -0");
        }
        // the data distinguishes this order from others
        let ascending = |n: usize| values[..n].iter().fold(0.0f32, |s, v| s + v).to_bits();
        assert!([5, 31, 127].into_iter().any(|n| ascending(n) != leaf(&values[..n]).to_bits()));
        assert!((2..128).filter(|&n| ascending(n) != leaf(&values[..n]).to_bits()).count() > 20);
    }

    #[test]
    fn distance_is_the_sum_of_leaf_sums() {
        let x: Vec<f32> = (0..300).map(|i| (i as f32).sin()).collect();
        let m: Vec<f32> = (0..300).map(|i| (i as f32 * 0.3).cos()).collect();
        let exact: f64 = x.iter().zip(&m).map(|(x, m)| (f64::from(*x) - 0.5 * f64::from(*m)).powi(2)).sum();
        assert!((squared_distance(&x, &m, 0.5) / exact - 1.0).abs() < 1e-6);
    }

    fn lane_order_gives_the_same_bits<T: Real>() {
        let value = |i: usize, k: usize| T::of(((i * 7919 + k * 104_729) % 1009) as f64 / 37.0 - 11.3);
        for dim in [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 100, 127, 128, 129, 300, 1024] {
            let x: Vec<T> = (0..dim).map(|i| value(i, 0)).collect();
            let rows: Vec<Vec<T>> = (1..4).map(|k| (0..dim).map(|i| value(i, k)).collect()).collect();
            let mut totals = [0.0; 3];
            for (j, x) in x.chunks(LEAF).enumerate() {
                let packed = |leaf: &[T]| {
                    let mut places = vec![T::nan(); lane_places(leaf.len())];
                    to_lanes(leaf, &mut places);
                    let mut back = vec![T::nan(); leaf.len()];
                    from_lanes(&places, &mut back);
                    assert_eq!(back, leaf, "{} elements there and back", leaf.len());
                    places
                };
                let block: Vec<T> = rows.iter().flat_map(|m| packed(m.chunks(LEAF).nth(j).unwrap())).collect();
                add_squared_distances(&packed(x), &block, T::of(0.37), &mut totals);
            }
            for (total, m) in totals.iter().zip(&rows) {
                assert_eq!(total.to_bits(), squared_distance(&x, m, T::of(0.37)).to_bits(), "{dim} elements");
            }
        }
    }

    #[test]
    fn lane_order_in_both_precisions() {
        lane_order_gives_the_same_bits::<f32>();
        lane_order_gives_the_same_bits::<f64>();
    }
}
