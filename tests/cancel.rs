//! Cancelling between the calls of a round, and while a latency is measured.

mod common;

use common::two_modes;
use piadm::problem::Latency;
use piadm::score::Chunked;
use piadm::*;
use std::ops::ControlFlow;

type P = Problem<Cpu<f32>>;

fn problem() -> P {
    Problem::new(Ou, Grid::log_snr(60).between(6.0, 0.02), Scheme::default()).samples(3).shape([4]).seed(2)
}

fn score() -> impl ScoreFn<Cpu<f32>> {
    Chunked::new(two_modes::<f32>(Prediction::Noise), 5).unwrap()
}

/// Breaks at the `calls`-th call.
struct After {
    calls: usize,
    rounds: usize,
}

impl Observer<Cpu<f32>> for After {
    fn on_call(&mut self) -> ControlFlow<()> {
        if self.calls == 0 {
            return ControlFlow::Break(());
        }
        self.calls -= 1;
        ControlFlow::Continue(())
    }

    fn on_round(&mut self, round: &sampler::Round<'_>) -> ControlFlow<()> {
        self.rounds = round.round;
        ControlFlow::Continue(())
    }
}

/// What a run cancelled in the middle of a round leaves is what it had after the round before.
#[test]
fn a_round_that_is_cut_short_does_not_count() {
    let window = Picard::default().window(16);
    let samplers: [&dyn Sampler<Cpu<f32>>; 3] = [&Sequential, &window, &Parareal::default()];
    for (which, sampler) in samplers.into_iter().enumerate() {
        let whole = sampler.sample(&problem(), &mut score()).unwrap().report;
        for calls in 0..whole.score_calls {
            let mut after = After { calls, rounds: 0 };
            let cut = sampler.run(&problem(), &mut score(), &mut after).unwrap();
            assert_eq!((cut.report.stop, cut.report.guarantee), (Stop::Cancelled, Guarantee::None));
            assert_eq!((cut.report.score_calls, cut.report.rounds), (calls, after.rounds), "sampler {which}");
            assert!(cut.report.score_rows <= 5 * calls);
            let rounds = after.rounds;
            let mut watch = sampler::on_round(|round| {
                if round.round == rounds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if rounds > 0 {
                let before = sampler.run(&problem(), &mut score(), &mut watch).unwrap();
                assert_eq!(cut.samples, before.samples, "sampler {which} after {calls} calls");
                assert_eq!(cut.report.sample_rounds, before.report.sample_rounds);
            }
        }
    }
}

#[test]
fn nothing_is_evaluated_after_a_cancel_before_the_first_call() {
    let solution = Picard::default().run(&problem(), &mut score(), &mut After { calls: 0, rounds: 0 }).unwrap();
    let report = solution.report;
    assert_eq!((report.rounds, report.score_calls, report.score_rows, report.evaluations), (0, 0, 0, 0));
    // the samples are at their starts
    let all = Sequential.sample(&problem().save(Save::Steps(vec![0])), &mut score()).unwrap();
    assert_eq!(solution.samples, all.path.at(0).unwrap());
}

/// Measuring makes calls of its own: a cancel in any of them ends the run there.
#[test]
fn measuring_can_be_cancelled() {
    let automatic = Automatic::default();
    let mut watch = After { calls: usize::MAX, rounds: 0 };
    let whole = automatic.run(&problem(), &mut score(), &mut watch).unwrap();
    assert!(whole.report.probe_rows > 0);
    for calls in [0, 1, 2] {
        let mut after = After { calls, rounds: 0 };
        let cut = automatic.run(&problem(), &mut score(), &mut after).unwrap().report;
        assert_eq!((cut.stop, cut.rounds, cut.score_rows, &cut.choice), (Stop::Cancelled, 0, 0, &None), "{calls}");
        assert!(cut.probe_rows <= 5 * calls && after.rounds == 0);
        assert_eq!(cut.sampler, "automatic");
    }
    // with a latency nothing is measured
    let latency = Latency { points: vec![(3, 1e-3), (300, 1e-3)] };
    let cut = automatic.latency(latency).run(&problem(), &mut score(), &mut After { calls: 2, rounds: 0 }).unwrap();
    assert!(cut.report.choice.is_some() && cut.report.stop == Stop::Cancelled);
}
