//! Very short and very long steps against high-precision numbers.
//!
//! The references were computed with mpmath at 450 digits from the textbook formulas at the f64 times. The half log-SNR
//! lambda is a number of f64, so a step shorter than lambda has its relative rounding times lambda/h; nothing else may
//! be lost.

use crate::oracle::{assert_close, assert_row, exponential, step, two_m};
use piadm::{
    Edm, Flow, Grid, Nodes, NoiseSchedule, Ou, Prediction, Scheme, Ve, VpCosine, VpLinear,
    nodes::{DdpmVariance, Form},
    schedule::Level,
};

struct Reference {
    schedule: Box<dyn NoiseSchedule>,
    t: f64,
    u: f64,
    /// Data form with ups = 0.7; DDIM with eta = 0.5; DDPM with the larger variance; score form with ups = 0.7.
    data: [f64; 3],
    ddim: [f64; 3],
    ddpm: [f64; 3],
    score: [f64; 3],
    /// b of the noise form with ups = 0.7; a and c are those of the score form.
    noise: f64,
}

fn references() -> Vec<Reference> {
    vec![
        Reference {
            schedule: Box::new(Ou),
            t: 2.0,
            u: 1.0,
            data: [0.6197866598332753, 0.3785238896476533, 0.5476971264455697],
            ddim: [0.7729469045690487, 0.3221793844045756, 0.3398959977919752],
            ddpm: [0.44340944198503696, 0.44340944198503696, 0.7950600976206501],
            score: [1.6487212707001282, 0.9665946933431909, 0.9175827461024603],
            noise: -1.0996827479218045,
        },
        Reference {
            schedule: Box::new(Ou),
            t: 1e-6,
            u: 9.99999999e-7,
            data: [0.9999999992550002, 7.449999239174961e-10, 2.2135942481214887e-8],
            ddim: [0.9999999993750003, 6.24999936163021e-10, 1.581138748456611e-8],
            ddpm: [0.9999999990000001, 9.999998977483338e-10, 3.16227749849436e-8],
            score: [1.0000000000000004, 7.449999238225398e-16, 2.213594248946053e-8],
            noise: -7.450001102587784e-13,
        },
        Reference {
            schedule: Box::new(Ou),
            t: 300.0,
            u: 1e-200,
            data: [1.2004817995139107e-181, 1.0, 1e-100],
            ddim: [8.660254037844386e-101, 1.0, 5e-101],
            ddpm: [7.17509597316441e-266, 1.0, 1.0],
            score: [1.3937095806663797e65, 2.0766272751929056e65, 9.755967064664657e64],
            noise: -2.0766272751929056e65,
        },
        Reference {
            schedule: Box::<VpLinear>::default(),
            t: 1.0,
            u: 0.001,
            data: [9.579806699562134e-5, 0.9999443969658143, 0.010484978724201687],
            ddim: [0.00908083300604019, 0.9998853510315524, 0.005242708155099321],
            ddpm: [7.225771405165308e-7, 0.9999450217626195, 0.9999784045180203],
            score: [152.16189078278387, 225.23121726634798, 106.51102334138945],
            noise: -226.70069838035516,
        },
        Reference {
            schedule: Box::<VpLinear>::default(),
            t: 0.5,
            u: 0.4999999995,
            data: [0.999999998447479, 1.14301430087918e-9, 4.962106332316191e-5],
            ddim: [0.9999999991022475, 9.589046147530442e-10, 3.5443616634743544e-5],
            ddpm: [0.999999997056096, 1.53424738266308e-9, 7.08872332847776e-5],
            score: [1.0000000025125, 3.743624896972795e-9, 4.962106342401724e-5],
            noise: -3.901014437605869e-9,
        },
        Reference {
            schedule: Box::<VpCosine>::default(),
            t: 0.9999,
            u: 0.0001,
            data: [1.2752169637990251e-6, 0.9999980448455282, 0.0019773482300463243],
            ddim: [0.0017124341762550337, 0.9999977781698257, 0.0009886743206239889],
            ddpm: [6.093410710426901e-10, 0.9999980450441696, 0.9999999878561082],
            score: [6416.616128168868, 9559.268030971612, 4491.631235172323],
            noise: -9560.75496861778,
        },
        Reference {
            schedule: Box::new(Flow),
            t: 0.3,
            u: 0.2999999997,
            data: [0.9999999983000002, 1.4899998470562685e-9, 1.1224971572632302e-5],
            ddim: [0.9999999986428573, 1.249999871637929e-9, 8.017836834673718e-6],
            ddpm: [0.9999999975714288, 1.9999997939778295e-9, 1.603567368538311e-5],
            score: [1.0000000004285714, 1.915714088784988e-10, 1.1224971584578876e-5],
            noise: -6.38571363247615e-10,
        },
        Reference {
            schedule: Box::new(Flow),
            t: 0.9999999999990905,
            u: 1e-9,
            data: [4.8956694290159107e-20, 0.999999999, 1e-9],
            ddim: [8.660254037852264e-10, 0.999999999, 5e-10],
            ddpm: [9.094947026840774e-31, 0.999999999, 0.9999999999990905],
            score: [1099511626676.4884, 1638272323705.166, 769658138672.8418],
            noise: -1638272323746.4775,
        },
        Reference {
            schedule: Box::new(Edm),
            t: 1.0,
            u: 0.999999999,
            data: [0.99999999851, 1.4899999574948722e-9, 3.1304951211166376e-5],
            ddim: [0.99999999875, 1.2499999643038357e-9, 2.236067943084544e-5],
            ddpm: [0.9999999980000001, 1.999999942436137e-9, 4.4721358906412234e-5],
            score: [1.0, 1.489999957114922e-9, 3.130495123448856e-5],
            noise: -1.489999957859922e-9,
        },
        Reference {
            schedule: Box::new(Edm),
            t: 1e100,
            u: 1e-100,
            data: [1.0000000000000286e-298, 1.0, 1e-100],
            ddim: [8.660254037844386e-201, 1.0, 5e-101],
            ddpm: [0.0, 1.0, 1e100],
            score: [1.0, 7.45e199, 7e99],
            noise: -1.49e100,
        },
        Reference {
            schedule: Box::new(Ve),
            t: 1.0,
            u: 0.999999999,
            data: [0.999999999255, 7.449999790249485e-10, 2.2135943299909393e-5],
            ddim: [0.9999999993750001, 6.249999823941054e-10, 1.58113880693479e-5],
            ddpm: [0.999999999, 9.999999717180685e-10, 3.162277615450719e-5],
            score: [1.0, 7.44999978929961e-10, 2.213594330815503e-5],
            noise: -7.44999979116211e-10,
        },
    ]
}

/// Rounding of a step: of the levels, and of their difference relative to it.
fn roundings(schedule: &dyn NoiseSchedule, t: f64, u: f64) -> (f64, f64) {
    let level = |t| Level::at(schedule, t);
    let size = |l: Level| 1.0 + l.log_alpha.abs() + l.sigma.ln().abs();
    let size = size(level(t)).max(size(level(u)));
    let h = schedule.log_snr(u) - schedule.log_snr(t);
    (4.0 * f64::EPSILON * size, 4.0 * f64::EPSILON * size * (1.0 + 1.0 / h))
}

#[test]
fn rows_match_high_precision() {
    for r in references() {
        let schedule = &*r.schedule;
        let (levels, difference) = roundings(schedule, r.t, r.u);
        let frozen = [r.score[0], r.noise, r.score[2]];
        let large = DdpmVariance::Large;
        let cases = [
            (exponential(Form::Data, 0.7), Prediction::Data, r.data),
            (Scheme::Ddim { eta: 0.5 }, Prediction::Data, r.ddim),
            (Scheme::Ddpm { variance: large }, Prediction::Data, r.ddpm),
            (exponential(Form::Score, 0.7), Prediction::Score, r.score),
            (exponential(Form::Noise, 0.7), Prediction::Noise, frozen),
        ];
        for (scheme, kind, expected) in cases {
            let found = step(schedule, &scheme, kind, r.t, r.u);
            let what = format!("{scheme:?}, {schedule:?}, {} to {}", r.t, r.u);
            for (i, relative) in [(0, levels), (1, difference), (2, difference)] {
                let tolerance = relative * expected[i].abs();
                assert_close(found[i], expected[i], tolerance, &format!("{what}, number {i}"));
            }
        }
    }
}

/// DDIM with eta = 1 is ancestral sampling also where almost nothing of the state is kept.
#[test]
fn long_steps_of_ddim_keep_the_digits_of_the_state() {
    for r in references() {
        let schedule = &*r.schedule;
        let h = schedule.log_snr(r.u) - schedule.log_snr(r.t);
        if h > 300.0 {
            continue; // e^{-2h} underflows
        }
        let of = |scheme| step(schedule, &scheme, Prediction::Data, r.t, r.u);
        let small = Scheme::Ddpm { variance: DdpmVariance::Small };
        let what = format!("{schedule:?}, {} to {}", r.t, r.u);
        assert_row(of(Scheme::Ddim { eta: 1.0 }), of(small), 1e-14, &what);
    }
}

/// From sigma = 1, where lambda = 0, no digit is lost however short the step is.
#[test]
fn short_steps_lose_nothing_where_the_log_snr_vanishes() {
    for r in references() {
        let schedule = &*r.schedule;
        if format!("{schedule:?}") != "Edm" || r.t != 1.0 {
            continue;
        }
        let large = Scheme::Ddpm { variance: DdpmVariance::Large };
        for (scheme, expected) in
            [(exponential(Form::Data, 0.7), r.data), (Scheme::Ddim { eta: 0.5 }, r.ddim), (large, r.ddpm)]
        {
            let found = step(schedule, &scheme, Prediction::Data, r.t, r.u);
            assert_row(found, expected, 2e-15, &format!("{scheme:?}, {schedule:?}"));
        }
        let found = step(schedule, &exponential(Form::Noise, 0.7), Prediction::Noise, r.t, r.u);
        assert_row(found, [r.score[0], r.noise, r.score[2]], 2e-15, "noise form");
    }
}

/// The weight of a frozen score is made from the times, not from the log-SNR: it never loses digits.
#[test]
fn score_weights_keep_all_digits() {
    for r in references() {
        let schedule = &*r.schedule;
        let [a, b, _] = step(schedule, &exponential(Form::Score, 0.7), Prediction::Score, r.t, r.u);
        let (levels, _) = roundings(schedule, r.t, r.u);
        // The linear schedule's own times are exact, the cosine's distance to t = 1 is not.
        let relative = if r.u < 1e-6 * r.t { levels } else { 1e-14 };
        let what = format!("{schedule:?}, {} to {}", r.t, r.u);
        assert_row([a, b, 0.0], [r.score[0], r.score[1], 0.0], relative, &what);
    }
}

/// Multistep weights depend on ratios of lengths only: steps a billion times shorter have the same.
#[test]
fn multistep_weights_of_short_steps() {
    // lambda = -log sigma near 0, lengths 1 : 2.
    let e: f64 = 1e-9;
    let grid = Grid::new([e.exp(), 1.0, (-2.0 * e).exp()]);
    let list = Nodes::new(&Edm, &grid, &two_m(false), Prediction::Data).unwrap();
    // h = 2e, r = 1/2: weights 2 and -1 on b = 1 - e^{-h}. The times themselves are rounded to 1e-16 / 1e-9.
    let b = -(-2.0 * e).exp_m1();
    assert_close(list.b(2, 1, 0, 0) / b, 2.0, 1e-6, "newer data prediction");
    assert_close(list.b(2, 2, 0, 0) / b, -1.0, 1e-6, "older data prediction");
}

/// A step from pure noise to almost clean data stays finite and lands on the data prediction.
#[test]
fn enormous_steps_land_on_the_data_prediction() {
    let cases: [(&dyn NoiseSchedule, f64, f64); 4] =
        [(&Ou, 600.0, 1e-250), (&Edm, 1e150, 1e-150), (&Ve, 1e300, 1e-300), (&Flow, 1.0 - 1e-16, 1e-300)];
    for (schedule, t, u) in cases {
        for scheme in crate::oracle::data_form() {
            let large = scheme == Scheme::Ddpm { variance: DdpmVariance::Large };
            if large || scheme == (Scheme::Heun {}) {
                continue; // noise of the forward step; a difference of two huge numbers
            }
            let [a, b, c] = step(schedule, &scheme, Prediction::Data, t, u);
            let what = format!("{scheme:?}, {schedule:?}");
            assert_close(a, 0.0, 1e-100, &what);
            assert_close(b, 1.0, 1e-14, &what);
            assert_close(c, 0.0, 1e-100, &what);
        }
    }
}
