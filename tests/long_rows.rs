//! Rows of several leaves: changes, sums, noise and overflows in the last one, worked out by hand.

mod common;

use common::{lv, push, staircase, stairs};
use ndarray::*;
use piadm::nodes::*;
use piadm::noise::{Address, NoiseKey};
use piadm::sampler::*;
use piadm::*;

type V<'a> = ArrayView2<'a, f32>;
type W<'a> = ArrayViewMut2<'a, f32>;

#[test]
fn long_rows_by_hand() {
    // only one element of the last leaf moves, overflows, or counts
    for at in [0, 130, 299] {
        let init = Array2::from_shape_fn((1, 300), |(_, j)| if j == at { 1.0f32 } else { 0.0 });
        let p = Problem::from_nodes(Cpu::<f32>::new(), staircase()).shape([300]).init(init.clone());
        let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
            out.zip_mut_with(&x, |o, x| *o = (3.0 * x).sin());
            Ok(())
        });
        let seq = Sequential.sample(&p, &mut score).unwrap();
        for policy in [Policy::Blocks, Policy::Sliding] {
            assert_eq!(stairs(policy, Acceptance::Exact).sample(&p, &mut score).unwrap().samples, seq.samples);
        }
        let mut grow = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
            out.zip_mut_with(&x, |o, x| *o = (3e38 * x).clamp(-3e38, 3e38));
            Ok(())
        });
        let mut big = Nodes::empty(lv(0, 4));
        for m in 1..=4 {
            push(&mut big, lv(m, 4), true, (&[1.0], &[if m == 1 { 10.0 } else { 1.0 }], &[0.0])).unwrap();
        }
        let q = Problem::from_nodes(Cpu::<f32>::new(), big).shape([300]).init(init.clone());
        for s in [&Sequential as &dyn Sampler<Cpu<f32>>, &Picard::default()] {
            assert!(matches!(s.sample(&q, &mut grow), Err(Error::StateNotFinite { node: 1, .. })));
        }
    }
}

#[test]
fn residuals_are_canonical_sums() {
    // one sweep of copied guesses: the change of node 2 is x_2 - x_0
    for dim in [5, 127, 1000, 5000] {
        let mut list = Nodes::empty(lv(0, 4));
        for m in 1..=2 {
            push(&mut list, lv(m, 4), true, (&[0.7], &[0.25], &[0.3])).unwrap();
        }
        let p = Problem::from_nodes(Cpu::<f32>::new(), list).shape([dim]).seed(5).save(Save::All);
        let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
            out.zip_mut_with(&x, |o, x| *o = (3.0 * x).sin());
            Ok(())
        });
        let s = stairs(Policy::Blocks, Acceptance::Exact).sweeps(Sweeps::AtMost(1)).sample(&p, &mut score).unwrap();
        let (x0, x2) = (s.path.at(0).unwrap().row(0).to_vec(), s.path.at(2).unwrap().row(0).to_vec());
        let e: Vec<f32> = x0.iter().zip(&x2).map(|(a, b)| (b - a) * (b - a)).collect();
        let mut total = 0.0f64;
        for leaf in e.chunks(128) {
            let at = |i: usize| leaf.get(i).copied().unwrap_or(0.0);
            let mut t: Vec<f32> =
                (0..32).map(|l| (at(4 * l) + at(4 * l + 1)) + (at(4 * l + 2) + at(4 * l + 3))).collect();
            for d in [16, 8, 4, 2, 1] {
                t = (0..32).map(|l| t[l] + t[l ^ d]).collect();
            }
            total += f64::from(t[0]);
        }
        assert_eq!(s.report.residuals[0].to_bits(), (total / dim as f64).sqrt().to_bits(), "{dim}");
    }
}

#[test]
fn long_noise_rows_and_the_prior() {
    let grid = Grid::karras(3, 0.01, 80.0, 7.0);
    let dim = 70_000;
    let p = Problem::new(Edm, grid.clone(), Scheme::default()).shape([dim]).seed(5).ids(vec![3]).save(Save::All);
    let mut score = score_fn(Prediction::Data, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.zip_mut_with(&x, |o, x| *o = x.clamp(-1.0, 1.0));
        Ok(())
    });
    let key = NoiseKey::new(5);
    let mut noise = Array3::<f32>::zeros((3, 1, dim));
    for m in 0..3 {
        key.fill_f32(
            Address { stream: 1, step: m as u32 + 1, sample: 3 },
            0,
            noise.slice_mut(s![m, 0, ..]).as_slice_mut().unwrap(),
        );
    }
    let given = p.clone().noise(noise.clone());
    for s in [&Sequential as &dyn Sampler<Cpu<f32>>, &Picard::default()] {
        let (a, b) = (s.sample(&p, &mut score).unwrap(), s.sample(&given, &mut score).unwrap());
        assert_eq!(a.path, b.path);
        let mut xi = vec![0.0f32; dim];
        key.fill_f32(Address { stream: 0, step: 0, sample: 3 }, 0, &mut xi);
        assert!(a.path.at(0).unwrap().iter().zip(&xi).all(|(x, xi)| *x == 80.0 * xi));
    }
}
