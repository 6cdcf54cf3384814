//! Schedules from a table: interpolation, the tables in use, and the validation of all constructors.
//!
//! Reference numbers were computed with mpmath at 40 digits as products of 1 - beta.

use piadm::Error;
use piadm::schedule::{Discrete, NoiseSchedule, VpCosine, VpLinear};

#[track_caller]
fn assert_close(found: f64, expected: f64, relative: f64) {
    let error = (found / expected - 1.0).abs();
    assert!(error <= relative, "{found:e} instead of {expected:e}, relative error {error:e}");
}

fn latent_diffusion() -> Discrete {
    Discrete::scaled_linear(1000, 0.00085, 0.012).unwrap()
}

#[test]
fn a_table_is_interpolated_in_log_alpha() {
    let schedule = Discrete::new([0.9, 0.5, 0.1, 0.0]).unwrap(); // zero terminal SNR
    assert_eq!(schedule.range(), (-1.0, 3.0));
    for (t, alpha2) in [
        (-1.0, 1.0),
        (-0.5, 0.9f64.sqrt()),
        (0.0, 0.9),
        (0.5, 0.45f64.sqrt()),
        (1.0, 0.5),
        (1.25, 0.5 * 0.2f64.powf(0.25)),
        (2.0, 0.1),
        (2.5, 0.1 * 0.25), // alpha linear to zero
        (2.75, 0.1 * 0.0625),
        (3.0, 0.0),
    ] {
        assert!((schedule.alpha(t).powi(2) - alpha2).abs() < 1e-15, "{t}");
    }
    // At an entry the rate is that of the interval towards the data.
    let slope = 0.5 * (0.5f64 / 0.9).ln();
    for t in [0.1, 0.5, 1.0] {
        assert_close(schedule.rates(t).0, slope, 1e-15);
        assert_close(schedule.rates(t).1, -2.0 * slope, 1e-15);
    }
    assert_close(schedule.rates(-1.0).0, 0.5 * 0.9f64.ln(), 1e-15);
    assert_close(schedule.rates(2.75).0, -4.0, 1e-15);
}

#[test]
fn tables_match_high_precision() {
    // Products of 1 - beta by mpmath; sigma/alpha of the ends of the latent diffusion table likewise.
    let cases = [
        (
            Discrete::cosine(1000).unwrap(),
            [
                (0, 0.9999587157751783),
                (500, 0.4922851724488026),
                (998, 2.4287669070344686e-6),
                (999, 2.4287669070344704e-9),
            ],
        ),
        (
            Discrete::linear(1000, 1e-4, 0.02).unwrap(),
            [(0, 0.9999), (1, 0.9997800920720721), (500, 0.07779665836502389), (999, 4.035829765375683e-5)],
        ),
        (
            latent_diffusion(),
            [(0, 0.99915), (1, 0.9982960278384514), (500, 0.27633268382297477), (999, 0.00466009851307724)],
        ),
    ];
    for (schedule, entries) in cases {
        assert_eq!(schedule.len(), 1000);
        for (k, expected) in entries {
            assert_close(schedule.alphas_cumprod()[k], expected, 1e-13);
            assert_close(schedule.alpha(k as f64).powi(2), expected, 1e-13);
        }
    }
    let table = latent_diffusion();
    assert_close(table.sigma(999.0) / table.alpha(999.0), 14.614641229333635, 1e-13);
    assert_close(table.sigma(0.0) / table.alpha(0.0), 0.029167158151720066, 1e-15);
    // One beta is the first one.
    assert_close(Discrete::linear(1, 0.25, 0.5).unwrap().alphas_cumprod()[0], 0.75, 1e-15);
    // A table read back is the same schedule up to the rounding of 1 - alphas_cumprod.
    let again = Discrete::new(table.alphas_cumprod().to_vec()).unwrap();
    assert_close(again.sigma(0.25), table.sigma(0.25), 1e-13);
}

#[test]
fn bad_parameters_are_typed_errors() {
    #[track_caller]
    fn refused<T>(result: piadm::Result<T>, setting: &str) {
        match result {
            Err(Error::Setting { name, .. }) => assert_eq!(name, setting),
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("accepted"),
        }
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(VpLinear::new(bad, 20.0), "beta_min");
        refused(VpLinear::new(0.1, bad), "beta_max");
        refused(Discrete::linear(10, bad, 0.02), "beta_start");
        refused(Discrete::scaled_linear(10, 0.02, bad), "beta_end");
    }
    refused(VpLinear::new(1.0, 0.5), "beta_max");
    refused(Discrete::linear(10, 1e-4, 1.0), "beta_end");
    for bad in [-1e-9, 1.5, f64::NAN, f64::INFINITY] {
        refused(VpCosine::new(bad), "s");
    }
    for n in [0, Discrete::MAX_LEN + 1, usize::MAX] {
        refused(Discrete::linear(n, 1e-4, 0.02), "n");
        refused(Discrete::scaled_linear(n, 1e-4, 0.02), "n");
        refused(Discrete::cosine(n), "n");
    }
    refused(Discrete::new([]), "alphas_cumprod.len()");
    for bad in [
        &[1.0, 0.5][..],
        &[0.5, 0.5],
        &[0.5, 0.6],
        &[0.9, 0.0, -0.1],
        &[0.9, 0.0, 0.0],
        &[0.0, 0.0],
        &[0.9, -0.1],
        &[f64::NAN],
        &[0.9, f64::NAN, 0.5],
        &[f64::INFINITY, 0.5],
        &[0.9, f64::NEG_INFINITY],
        // Different numbers with the same logarithm.
        &[0.3, 0.3 - f64::EPSILON / 4.0],
    ] {
        refused(Discrete::new(bad), "alphas_cumprod");
    }
    // Products that underflow, or that never leave 1.
    refused(Discrete::linear(2000, 0.5, 0.5), "alphas_cumprod");
    refused(Discrete::linear(3, 1e-20, 1e-20), "alphas_cumprod");
    // Extreme rates do not overflow inside.
    for beta in [1e-300, 1e300] {
        let schedule = VpLinear::new(beta, 2.0 * beta).unwrap();
        let t = schedule.time_of_log_snr(schedule.log_snr(0.5));
        assert_close(t, 0.5, 1e-12);
    }
}

#[test]
fn betas_make_their_running_product() {
    let betas: Vec<f64> = (0..1000).map(|i| 1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0).collect();
    let (own, linear) = (Discrete::from_betas(&betas).unwrap(), Discrete::linear(1000, 1e-4, 0.02).unwrap());
    for (own, linear) in own.alphas_cumprod().iter().zip(linear.alphas_cumprod()) {
        assert_close(*own, *linear, 1e-12);
    }
    // A last beta of 1 is zero terminal SNR.
    let table = Discrete::from_betas([0.5, 0.5, 1.0]).unwrap();
    assert_eq!(table.alphas_cumprod()[2], 0.0);
    assert_close(table.alphas_cumprod()[1], 0.25, 1e-15);
    for bad in [&[][..], &[0.0], &[0.5, 1.0, 0.5], &[0.5, -0.1], &[0.5, 1.1], &[f64::NAN], &[0.1, f64::INFINITY]] {
        assert!(matches!(Discrete::from_betas(bad), Err(Error::Setting { .. })), "{bad:?}");
    }
    // sigmoid(-6 + 12 i / 999) by mpmath, as beta of the first and the middle entries
    let table = Discrete::sigmoid(3, 0.1, 0.3).unwrap();
    let betas = [0.1 + 0.2 * 0.0024726231566347743, 0.2, 0.3 - 0.2 * 0.0024726231566347743];
    let mut product = 1.0;
    for (entry, beta) in table.alphas_cumprod().iter().zip(betas) {
        product *= 1.0 - beta;
        assert_close(*entry, product, 1e-14);
    }
    assert!(Discrete::sigmoid(10, 0.0, 0.5).is_err() && Discrete::sigmoid(0, 0.1, 0.5).is_err());
}

#[test]
fn rescaling_ends_in_pure_noise_and_keeps_the_first_entry() {
    let table = latent_diffusion();
    let zero = table.zero_terminal_snr().unwrap();
    let root = |table: &Discrete, k: usize| table.alphas_cumprod()[k].sqrt();
    let (first, last) = (root(&table, 0), root(&table, 999));
    for k in [1, 10, 500, 900, 998] {
        // algorithm 1 of arXiv 2305.08891
        let expected = (root(&table, k) - last) * first / (first - last);
        assert_close(root(&zero, k), expected, 1e-12);
        assert_close(zero.alpha(k as f64), expected, 1e-12);
    }
    assert_eq!((zero.alphas_cumprod()[0], zero.sigma(0.0)), (table.alphas_cumprod()[0], table.sigma(0.0)));
    assert_eq!((zero.alpha(999.0), zero.sigma(999.0), zero.log_snr(999.0)), (0.0, 1.0, f64::NEG_INFINITY));
    assert_eq!(zero.zero_terminal_snr().unwrap(), zero); // nothing is left to do
    assert!(matches!(Discrete::new([0.5]).unwrap().zero_terminal_snr(), Err(Error::Setting { .. })));
    let two = Discrete::new([0.5, 0.25]).unwrap().zero_terminal_snr().unwrap();
    assert_eq!(two.alphas_cumprod(), [0.5, 0.0]);
}

#[test]
#[cfg(feature = "serde")]
fn tables_are_written_under_their_names() {
    use piadm::problem::ScheduleSpec;
    let entries = |text: &str| {
        let spec: ScheduleSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::from_str::<ScheduleSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
        spec.schedule().map(|schedule| {
            let last = schedule.range().1;
            (schedule.table(), schedule.sigma(0.0), schedule.alpha(last))
        })
    };
    let of = |table: &Discrete| (Some(table.len()), table.sigma(0.0), table.alpha((table.len() - 1) as f64));
    let scaled = r#""beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012"#;
    let zero = entries(&format!(r#"{{"kind": "discrete", {scaled}, "rescale_betas_zero_snr": true}}"#)).unwrap();
    assert_eq!(zero, of(&latent_diffusion().zero_terminal_snr().unwrap()));
    let own = entries(r#"{"kind": "discrete", "trained_betas": [0.1, 0.5]}"#).unwrap();
    assert_eq!(own, of(&Discrete::from_betas([0.1, 0.5]).unwrap()));
    let sigmoid = entries(r#"{"kind": "discrete", "beta_schedule": "sigmoid"}"#).unwrap();
    assert_eq!(sigmoid, of(&Discrete::sigmoid(1000, 1e-4, 0.02).unwrap()));
    for both in [
        r#"{"kind": "discrete", "trained_betas": [0.1], "beta_start": 0.1}"#,
        r#"{"kind": "discrete", "trained_betas": [0.1], "alphas_cumprod": [0.9]}"#,
        r#"{"kind": "discrete", "alphas_cumprod": [0.9], "num_train_timesteps": 1}"#,
        r#"{"kind": "discrete", "beta_schedule": "squaredcos_cap_v2", "beta_end": 0.1}"#,
    ] {
        assert!(matches!(entries(both), Err(Error::Unsupported { .. })), "{both}");
    }
}
