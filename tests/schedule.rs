//! Noise schedules against high-precision references, identities and finite differences.
//!
//! Reference numbers were computed with mpmath at 60 and more digits from the textbook formulas of each schedule
//! (alpha and sigma as written in the module's table, without the rearrangements of the code), at the f64 inputs.

use piadm::schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};

#[track_caller]
fn assert_close(found: f64, expected: f64, relative: f64) {
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{found:e} instead of {expected:e}, relative error {:e}",
        (found - expected).abs() / expected.abs()
    );
}

fn linear() -> VpLinear {
    VpLinear::default()
}

fn cosine() -> VpCosine {
    VpCosine::default()
}

fn table() -> Discrete {
    Discrete::scaled_linear(1000, 0.00085, 0.012).unwrap()
}

/// Table 0.9, 0.5, 0.1, 0: zero terminal SNR.
fn zero_terminal() -> Discrete {
    Discrete::new([0.9, 0.5, 0.1, 0.0]).unwrap()
}

/// Every schedule with times that cover its range, ascending and without the ends.
fn all_with_times() -> Vec<(Box<dyn NoiseSchedule>, Vec<f64>)> {
    let ladder = |first: f64, last: f64| -> Vec<f64> {
        let (start, length) = (first.ln(), last.ln() - first.ln());
        (0..=400).map(|i| (start + length * f64::from(i) / 400.0).exp()).collect()
    };
    // Towards 0 on a ladder of ratios, towards 1 on the mirrored ladder.
    let unit = || {
        let mut times = ladder(1e-300, 0.5);
        times.extend(ladder(1e-12, 0.499).into_iter().rev().map(|r| 1.0 - r));
        times
    };
    let spread = |schedule: Discrete| {
        let last = schedule.range().1;
        let times = (1..2000).map(|i| -1.0 + (last + 1.0) * f64::from(i) / 2000.0);
        (Box::new(schedule) as Box<dyn NoiseSchedule>, times.collect())
    };
    vec![
        (Box::new(Ou), ladder(1e-300, 700.0)),
        (Box::new(linear()), unit()),
        (Box::new(VpLinear::new(3.0, 3.0).unwrap()), unit()),
        (Box::new(cosine()), unit()),
        (Box::new(VpCosine::new(0.0).unwrap()), {
            // sigma = sin(pi t / 2) here, whose square would leave the range of f64 below 1e-154.
            unit().into_iter().filter(|&t| t > 1e-150).collect()
        }),
        (Box::new(Ve), ladder(1e-300, 1e300)),
        (Box::new(Edm), ladder(1e-300, 1e150)),
        (Box::new(Flow), unit()),
        spread(table()),
        spread(Discrete::linear(1000, 1e-4, 0.02).unwrap()),
        spread(Discrete::cosine(1000).unwrap()),
        spread(zero_terminal()),
        spread(Discrete::new([0.0]).unwrap()),
    ]
}

#[test]
fn values_match_high_precision() {
    // (schedule, t, log alpha, sigma, lambda)
    #[rustfmt::skip]
    let references: [(&dyn NoiseSchedule, f64, f64, f64, f64); 27] = [
        (&Ou, 1e-300, -5e-301, 1e-150, 345.38776394910684),
        (&Ou, 1e-12, -5e-13, 9.9999999999975e-07, 13.815510557964023),
        (&Ou, 0.5, -0.25, 0.6272713450233213, 0.21637606478359428),
        (&Ou, 3.0, -1.5, 0.9747886599833505, -1.4744654095286491),
        (&Ou, 80.0, -40.0, 1.0, -40.0),
        (&Ou, 700.0, -350.0, 1.0, -350.0),
        (&linear(), 1e-300, -5e-302, 3.16227766016838e-151, 346.53905649560386),
        (&linear(), 1e-12, -5.0000000004975e-14, 3.1622776603256234e-07, 14.966803104411522),
        (&linear(), 0.01, -0.0009975000000000001, 0.044643155244657055, 3.1080567814029703),
        (&linear(), 0.5, -1.26875, 0.9596542020680362, -1.2275677344107874),
        (&linear(), 1.0, -5.025, 0.9999784068923386, -5.024978406659204),
        (&cosine(), 1e-300, -1.9428137862340523e-302, 1.9711995262956272e-151, 347.01170678805653),
        (&cosine(), 1e-12, -1.9428137863554907e-14, 1.9711995263572143e-07, 15.43945339688271),
        (&cosine(), 0.001, -2.0642538519421432e-05, 0.00642528013566551, 5.047494405731033),
        (&cosine(), 0.3, -0.11982037293001149, 0.461616170480596, 0.653201160101378),
        (&cosine(), 0.5, -0.3527682152348333, 0.7114467018402448, -0.012313441405757273),
        (&cosine(), 0.999, -6.464063437535383, 0.9999987856158091, -6.464062223150456),
        (&cosine(), 1.0 - 2f64.powi(-40), -27.282194976219124, 1.0, -27.282194976219124),
        (&Ve, 1e-300, 0.0, 1e-150, 345.38776394910684),
        (&Ve, 7.0, 0.0, 2.6457513110645907, -0.9729550745276566),
        (&Edm, 1e-300, 0.0, 1e-300, 690.7755278982137),
        (&Edm, 80.0, 0.0, 80.0, -4.382026634673881),
        (&Flow, 1e-300, -1e-300, 1e-300, 690.7755278982137),
        (&Flow, 1e-12, -1.0000000000005e-12, 1e-12, 27.63102111592755),
        (&Flow, 0.3, -0.35667494393873234, 0.3, 0.8472978603872037),
        (&Flow, 0.999, -6.907755278982136, 0.999, -6.906754778648553),
        (&Flow, 1.0 - 2f64.powi(-40), -27.725887222397812, 1.0 - 2f64.powi(-40), -27.725887222396903),
    ];
    for (schedule, t, log_alpha, sigma, lambda) in references {
        assert_close(schedule.log_alpha(t), log_alpha, 2e-15);
        assert_close(schedule.alpha(t), log_alpha.exp(), 1e-13);
        assert_close(schedule.sigma(t), sigma, 1e-15);
        assert!((schedule.log_snr(t) - lambda).abs() <= 2e-16 + 5e-16 * lambda.abs());
    }
}

#[test]
fn score_weights_match_high_precision() {
    // (schedule, t, u, alpha_u times the integral of alpha d[(sigma/alpha)^2], by mpmath's quad)
    let (half, below_half) = (0.5, 0.5 - 2f64.powi(-20));
    #[rustfmt::skip]
    let references: [(&dyn NoiseSchedule, f64, f64, f64); 17] = [
        (&Ou, 80.0, 0.0, 4.7077053367404e17),
        (&Ou, 1.0, 0.5, 0.568050833375483),
        (&Ou, 1.0, 1.0 - 2f64.powi(-20), 9.536745437799617e-07),
        (&Ou, 1e-12, 0.0, 1.00000000000025e-12),
        (&linear(), 1.0, 0.0, 302.3405122253391),
        (&linear(), half, below_half, 9.584440795713502e-06),
        (&cosine(), 0.999, 0.0, 1281.32624868762),
        (&cosine(), half, below_half, 3.0095630121989532e-06),
        (&Ve, 3.0, 1.0, 2.0),
        (&Edm, 80.0, 79.0, 159.0),
        (&Flow, 0.999, 0.0, 1984.184489442034),
        (&Flow, half, below_half, 1.9073468138242529e-06),
        (&Flow, 0.5, 0.25, 0.3918023378377534),
        (&Flow, 1e-9, 0.0, 1.0000000013333335e-18),
        (&Flow, 0.9, 0.875, 0.4442141121714481),
        (&Flow, 0.25, 0.125, 0.0635696436356313),
        (&Flow, 0.25, 2f64.powi(-10), 0.0912124051592866),
    ];
    for (schedule, t, u, expected) in references {
        let tolerance = if t > 0.99 && t < 1.0 { 1e-13 } else { 2e-15 };
        assert_close(schedule.score_weight(t, u), expected, tolerance);
    }
}

/// A schedule with its required methods alone.
#[derive(Debug)]
struct RequiredOnly<'a>(&'a dyn NoiseSchedule);

impl NoiseSchedule for RequiredOnly<'_> {
    fn log_alpha(&self, t: f64) -> f64 {
        self.0.log_alpha(t)
    }
    fn sigma(&self, t: f64) -> f64 {
        self.0.sigma(t)
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        self.0.time_of_log_snr(lambda)
    }
    fn range(&self) -> (f64, f64) {
        self.0.range()
    }
    fn rates(&self, t: f64) -> (f64, f64) {
        self.0.rates(t)
    }
}

/// A schedule and steps (t, u) on it.
type Steps<'a> = (&'a dyn NoiseSchedule, &'a [(f64, f64)]);

#[test]
fn quadrature_agrees_with_every_closed_form() {
    let zero = zero_terminal();
    let (linear, cosine, table) = (linear(), cosine(), table());
    #[rustfmt::skip]
    let cases: [Steps<'_>; 8] = [
        (&Ou, &[(80.0, 0.0), (5.0, 4.0), (1.0, 1e-12), (1e-9, 0.0), (0.3, 0.29)]),
        (&linear, &[(1.0, 0.0), (1.0, 0.9), (1e-3, 1e-12), (0.5, 0.49)]),
        (&cosine, &[(0.999, 0.0), (0.5, 0.4), (1e-3, 0.0), (1.0 - 1e-9, 0.9)]),
        (&table, &[(999.0, -1.0), (999.0, 998.0), (500.0, 13.5), (0.0, -1.0), (1.0, 0.0)]),
        (&zero, &[(2.0, -1.0), (2.5, 2.0), (2.999, 0.5)]),
        (&Ve, &[(1e4, 0.0), (1.0, 0.9), (1e-12, 1e-13)]),
        (&Edm, &[(80.0, 0.0), (80.0, 57.0), (0.002, 0.0)]),
        (&Flow, &[(0.999, 0.0), (0.9, 0.8), (1e-9, 0.0), (1.0 - 1e-9, 1e-9)]),
    ];
    for (schedule, steps) in cases {
        for &(t, u) in steps {
            let by_quadrature = RequiredOnly(schedule).score_weight(t, u);
            assert_close(by_quadrature, schedule.score_weight(t, u), 1e-12);
        }
    }
}

#[test]
fn quadrature_where_alpha_vanishes_is_not_finite() {
    assert_eq!(RequiredOnly(&Flow).score_weight(1.0, 0.5), f64::INFINITY);
    assert!(RequiredOnly(&Flow).score_weight(f64::NAN, 0.5).is_nan());
    assert!(RequiredOnly(&Flow).score_weight(0.5, f64::NAN).is_nan());
    for schedule in [&Flow as &dyn NoiseSchedule, &cosine(), &zero_terminal()] {
        let (data, noise) = schedule.range();
        assert!(!schedule.score_weight(noise, data).is_finite());
        assert!(!schedule.rates(noise).0.is_finite());
    }
}

/// alpha = e^{-t}, sigma = t e^{-t} on [0, 1]: neither variance preserving nor exploding.
#[derive(Debug)]
struct Damped;

impl NoiseSchedule for Damped {
    fn log_alpha(&self, t: f64) -> f64 {
        -t
    }
    fn sigma(&self, t: f64) -> f64 {
        t * (-t).exp()
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        (-lambda).exp().min(1.0)
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
    fn rates(&self, t: f64) -> (f64, f64) {
        (-1.0, 2.0 * t * (-2.0 * t).exp())
    }
}

#[test]
fn a_users_schedule_needs_only_the_required_methods() {
    // (sigma/alpha)^2 = t^2, so the weight is e^{-u} times the integral of 2 r e^{-r}.
    let primitive = |r: f64| -2.0 * (1.0 + r) * (-r).exp();
    for (t, u) in [(1.0f64, 0.0f64), (1.0, 0.5), (0.2, 0.1)] {
        let expected = (-u).exp() * (primitive(t) - primitive(u));
        assert_close(Damped.score_weight(t, u), expected, 2e-13);
    }
    assert_close(Damped.log_snr(0.3), -(0.3f64.ln()), 1e-15);
    assert_close(Damped.alpha(0.3), (-0.3f64).exp(), 1e-15);
    assert_eq!(Damped.prior_std(0.3), Damped.sigma(0.3));
}

#[test]
fn score_weights_are_the_published_coefficients() {
    // On the score, with stochasticity ups: OU (1+ups^2) expm1(e/2); VE (1+ups^2)/2 (sigma_t^2 - sigma_u^2);
    // flow (1+ups^2) (1-u) [1/(1-t) - 1/(1-u) + log((1-t)/(1-u))].
    for ups in [0.0f64, 0.5, 1.0] {
        let q = 1.0 + ups * ups;
        let coefficient = |s: &dyn NoiseSchedule, t, u| 0.5 * q * s.score_weight(t, u);
        let (t, u) = (0.8f64, 0.3f64);
        assert_close(coefficient(&Ou, t, u), q * (0.5 * (t - u)).exp_m1(), 1e-15);
        assert_close(coefficient(&Ve, t, u), 0.5 * q * (t - u), 1e-15);
        assert_close(coefficient(&Edm, t, u), 0.5 * q * (t * t - u * u), 1e-15);
        let bracket = 1.0 / (1.0 - t) - 1.0 / (1.0 - u) + ((1.0 - t) / (1.0 - u)).ln();
        assert_close(coefficient(&Flow, t, u), q * (1.0 - u) * bracket, 2e-15);
        let ratio = linear().alpha(u) / linear().alpha(t);
        assert_close(coefficient(&linear(), t, u), q * (ratio - 1.0), 1e-14);
    }
}

#[test]
fn time_round_trips_through_log_snr() {
    for (schedule, times) in all_with_times() {
        for t in times {
            let back = schedule.time_of_log_snr(schedule.log_snr(t));
            // Discrete times start at -1, so their own rounding is absolute there.
            let scale = if schedule.range().0 < 0.0 { 1.0 + t.abs() } else { t };
            assert!((back - t).abs() <= 1e-12 * scale, "{schedule:?}: {t:e} came back as {back:e}");
        }
    }
}

#[test]
fn log_snr_round_trips_through_time() {
    for schedule in [&Ou as &dyn NoiseSchedule, &linear(), &cosine(), &Ve, &Edm, &Flow] {
        let least = schedule.log_snr(schedule.range().1).max(-20.0);
        for i in 0..=1000 {
            let lambda = least + (300.0 - least) * f64::from(i) / 1000.0;
            let back = schedule.log_snr(schedule.time_of_log_snr(lambda));
            // Near t = 1 alpha is resolved to the spacing of f64 at 1 only.
            let tolerance = 2e-14 * lambda.abs().max(1.0) + 2e-16 * (-lambda).exp();
            assert!((back - lambda).abs() <= tolerance, "{schedule:?}: {lambda} came back as {back}");
        }
    }
    assert_close(Ou.time_of_log_snr(-400.0), 800.0, 1e-15);
    assert_close(Ou.time_of_log_snr(40.0), 1.8048513878454153e-35, 1e-14);
    assert_close(Ve.time_of_log_snr(-40.0), 5.54062238439351e34, 1e-14);
}

#[test]
fn log_snr_strictly_falls() {
    for (schedule, times) in all_with_times() {
        for pair in times.windows(2) {
            assert!(schedule.log_snr(pair[0]) > schedule.log_snr(pair[1]), "{schedule:?} {pair:?}");
        }
    }
}

#[test]
fn variance_preserving_schedules_preserve_variance() {
    for (schedule, times) in all_with_times() {
        let preserving = schedule.prior_std(times[0]) == 1.0;
        assert_eq!(preserving, !["Ve", "Edm", "Flow"].contains(&format!("{schedule:?}").as_str()));
        for t in times {
            let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
            if preserving {
                assert!((alpha * alpha + sigma * sigma - 1.0).abs() < 1e-15, "{schedule:?} {t:e}");
                // In the time -2 log alpha it is the Ornstein-Uhlenbeck process. Both formulas of VpCosine
                // round sigma by themselves.
                let tau = -2.0 * schedule.log_alpha(t);
                assert!((Ou.log_snr(tau) - schedule.log_snr(t)).abs() < 1e-12, "{schedule:?} {t:e}");
                assert_eq!(schedule.prior_std(t), 1.0);
            } else {
                assert_eq!(schedule.prior_std(t), sigma);
            }
        }
    }
}

#[test]
fn ends_are_exact() {
    for (schedule, _) in all_with_times() {
        let (data, noise) = schedule.range();
        assert_eq!(schedule.alpha(data), 1.0);
        assert_eq!(schedule.sigma(data), 0.0);
        assert_eq!(schedule.log_snr(data), f64::INFINITY);
        // The nearest end for what the range does not reach.
        assert_eq!(schedule.time_of_log_snr(f64::INFINITY), data);
        assert_eq!(schedule.time_of_log_snr(f64::NEG_INFINITY), noise);
        assert!(schedule.time_of_log_snr(f64::NAN).is_nan());
        for t in [f64::NAN, f64::INFINITY, -5.0, 1e300] {
            let _ = (schedule.log_alpha(t), schedule.sigma(t), schedule.rates(t));
        }
    }
    for schedule in [&Flow as &dyn NoiseSchedule, &cosine(), &zero_terminal()] {
        let noise = schedule.range().1;
        assert_eq!(schedule.alpha(noise), 0.0);
        assert_eq!(schedule.log_alpha(noise), f64::NEG_INFINITY);
        assert_eq!(schedule.log_snr(noise), f64::NEG_INFINITY);
        assert_close(schedule.sigma(noise), 1.0, 3e-16);
    }
    assert_eq!(linear().time_of_log_snr(-6.0), 1.0);
    assert_eq!(table().time_of_log_snr(-6.0), 999.0);
}

#[test]
fn rates_are_the_derivatives() {
    // The fourth-order difference; its step keeps clear of the kinks of a table.
    let derivative = |f: &dyn Fn(f64) -> f64, t: f64, h: f64| {
        (8.0 * (f(t + h) - f(t - h)) - (f(t + 2.0 * h) - f(t - 2.0 * h))) / (12.0 * h)
    };
    for (schedule, times) in all_with_times() {
        let (data, noise) = schedule.range();
        for t in times.into_iter().filter(|&t| t > data + 1e-6 && t < noise - 1e-6) {
            let mut h = 1e-3 * (t - data).min(noise - t);
            if data < 0.0 {
                h = h.min(0.4 * (t - t.floor()).min(t.ceil() - t));
                if h < 1e-3 {
                    continue;
                }
            }
            let (f, g2) = schedule.rates(t);
            let slope = derivative(&|r| schedule.log_alpha(r), t, h);
            // The difference quotient divides the rounding of its values and of t by h.
            let rounding = (1e-15 * schedule.log_alpha(t).abs() + 4e-16 * t.abs() * f.abs()) / h;
            assert!((slope - f).abs() <= 1e-8 * f.abs() + rounding, "{schedule:?} {t}: {f} {slope}");
            let sigma = schedule.sigma(t);
            let slope = -2.0 * sigma * sigma * derivative(&|r| schedule.log_snr(r), t, h);
            let lambda = schedule.log_snr(t).abs();
            let rounding = (1e-15 * sigma * sigma * (1.0 + lambda) + 4e-16 * t.abs() * g2) / h;
            assert!((slope - g2).abs() <= 1e-8 * g2 + rounding, "{schedule:?} {t}: {g2} {slope}");
        }
    }
}
