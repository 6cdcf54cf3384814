//! Sizes and scores at the edge, with every policy, window and sampler: results or typed errors, never a panic.

mod common;

use common::two_modes;
use piadm::nodes::*;
use piadm::sampler::*;
use piadm::*;

fn samplers() -> Vec<Box<dyn Sampler<Cpu<f32>>>> {
    let p = Picard::default;
    let mut v: Vec<Box<dyn Sampler<Cpu<f32>>>> = vec![
        Box::new(Sequential),
        Box::new(Parareal::default()),
        Box::new(Automatic::default()),
        Box::new(Parareal::default().blocks(1000)),
    ];
    for window in [
        Window::Steps(1),
        Window::Steps(7),
        Window::Steps(usize::MAX),
        Window::OuTime { ou_time: 1e-9 },
        Window::OuTime { ou_time: 1e9 },
    ] {
        for policy in
            [Policy::Sliding, Policy::Blocks, Policy::Wavefront { blocks: 3 }, Policy::Wavefront { blocks: usize::MAX }]
        {
            for anderson in [0, 6] {
                for acceptance in [Acceptance::Exact, Acceptance::default()] {
                    v.push(Box::new(p().window(window).policy(policy).anderson(anderson).acceptance(acceptance)));
                    v.push(Box::new(
                        p().window(window)
                            .policy(policy)
                            .anderson(anderson)
                            .acceptance(acceptance)
                            .row_budget(usize::MAX),
                    ));
                }
            }
        }
    }
    v
}

#[test]
fn odd_sizes() {
    for steps in [1, 2, 5, 40] {
        for (samples, dim) in [(1, 1), (3, 1), (2, 130)] {
            let grid = Grid::log_snr(steps).between(6.0, 0.05);
            for scheme in [Scheme::default(), Scheme::Heun {}, Scheme::DpmSolverPp2M { lower_order_final: true }] {
                let problem = Problem::new(Ou, grid.clone(), scheme.clone()).samples(samples).shape([dim]).seed(3);
                let mut score = two_modes::<f32>(Prediction::Data);
                let reference = Sequential.sample(&problem, &mut score).unwrap().samples;
                for s in samplers() {
                    match s.sample(&problem, &mut score) {
                        Ok(r) => assert!(r.samples.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 0.3)),
                        Err(e) => assert!(matches!(e, Error::Setting { .. } | Error::Unsupported { .. }), "{e}"),
                    }
                }
            }
        }
    }
}

/// It errs, or is not finite, from its third call on: a run that needs three calls must say so.
#[test]
fn bad_scores() {
    let grid = Grid::log_snr(40).between(6.0, 0.05);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(3).shape([5]).seed(3);
    for kind in 0..3 {
        for s in samplers() {
            let mut calls = 0;
            let mut score = score_fn::<f32>(Prediction::Data, |x, _, mut out| {
                calls += 1;
                out.zip_mut_with(&x, |o, x| *o = 0.5 * (3.0 * x).sin());
                if calls >= 3 {
                    match kind {
                        0 => return Err("broken".into()),
                        1 => out.fill(f32::NAN),
                        _ => out.fill(f32::INFINITY),
                    }
                }
                Ok(())
            });
            let r = s.sample(&problem, &mut score);
            if let Ok(r) = r {
                assert!(r.report.rounds < 3 && r.samples.iter().all(|v| v.is_finite()), "{:?} {}", kind, r.report);
            }
        }
    }
}

#[test]
fn a_large_batch_is_done_in_pieces() {
    let problem = Problem::new(Ou, Grid::log_snr(9).between(6.0, 0.05), Scheme::ddim()).shape([1]).seed(3);
    let mut score = two_modes::<f32>(Prediction::Data);
    let picard = Picard::default().window(8usize);
    let chords = Chords::default().starts(vec![0, 1, 2, 3, 4, 5]);
    let parareal = Parareal::default().blocks(4).acceptance(Acceptance::Exact);
    for sampler in [&picard as &dyn Sampler<Cpu<f32>>, &picard.clone().far_stride(2), &chords, &parareal] {
        let many = sampler.sample(&problem.clone().samples(9_000), &mut score).unwrap().samples;
        for id in [0, 5_461, 8_999] {
            let alone = sampler.sample(&problem.clone().ids([id]), &mut score).unwrap().samples;
            assert_eq!(many.row(id as usize), alone.row(0), "sample {id}");
        }
    }
}
