//! What the `rounds` example searches with: boundaries, the loosest tolerance for an error, the widest window for a
//! number of rows.

use lab::equal_error::{Case, RATIO, Setting};
use lab::presets::{OURS, PRESETS, PROBES, REFERENCE, STRIDED, plotted, preset};
use lab::stats::first_good;
use lab::subject::Subject;
use ndarray::Array2;
use piadm::{sampler::Dynamics, score::Mixture};
use std::convert::Infallible;

/// Result and number of questions.
fn search(range: std::ops::RangeInclusive<i32>, guess: i32, good: impl Fn(i32) -> bool) -> (Option<i32>, usize) {
    let mut asked = Vec::new();
    let found = first_good(range, guess, |k| {
        assert!(!asked.contains(&k), "asked about {k} twice");
        asked.push(k);
        Ok::<_, Infallible>(good(k))
    });
    let Ok(found) = found;
    (found, asked.len())
}

#[test]
fn the_first_good_number_is_found_from_every_guess() {
    for guess in -20..20 {
        for first in -9..12 {
            let (found, asked) = search(-9..=10, guess, |k| k >= first);
            assert_eq!(found, (first <= 10).then_some(first), "guess {guess}, first {first}");
            assert!(asked <= 10, "{asked} questions");
        }
    }
}

#[test]
fn a_guess_next_to_the_boundary_takes_two_questions() {
    for guess in [3, 4] {
        assert_eq!(search(-100..=100, guess, |k| k >= 4), (Some(4), 2));
    }
}

#[test]
fn where_the_property_comes_and_goes_the_end_is_a_boundary() {
    let good = |k: i32| k >= 10 || k == 4;
    for guess in 0..20 {
        let found = search(0..=20, guess, good).0.unwrap();
        assert!(good(found) && !good(found - 1));
    }
}

#[test]
fn nothing_is_found_where_nothing_is_good_and_errors_pass_through() {
    assert_eq!(search(0..=5, 2, |_| false).0, None);
    assert_eq!(search(0..=5, 2, |_| true).0, Some(0));
    assert_eq!(search(3..=3, 9, |_| true), (Some(3), 1));
    #[expect(clippy::reversed_empty_ranges)]
    let empty = 1..=0;
    assert_eq!(search(empty, 0, |_| true), (None, 0));
    assert_eq!(first_good(0..=5, 2, |k| if k == 2 { Err("no") } else { Ok(true) }), Err("no"));
}

#[test]
fn names_are_different() {
    for (i, preset) in PRESETS.iter().enumerate() {
        assert!(PRESETS[..i].iter().all(|p| p.name != preset.name), "{}", preset.name);
    }
    assert_eq!([OURS, REFERENCE].map(|name| preset(name).name), [OURS, REFERENCE]);
    assert!(plotted().all(|p| p.windowed), "the plots are at a window");
}

/// Means 0 and 1, a deviation of 0.5: one mode at this noise for most of the way.
fn mixture() -> Mixture {
    let means = Array2::from_shape_fn((2, 8), |(mode, i)| if (mode + i) % 2 == 0 { 0.0 } else { 1.0 });
    Mixture::new([0.5, 0.5], means, [0.5, 0.5]).unwrap()
}

const SETTING: Setting = Setting { dynamics: Dynamics::Sde, steps: 64, samples: 3, seed: 1 };

#[test]
fn every_preset_reaches_an_error_with_the_loosest_tolerance() {
    let mut score = mixture();
    let mut case = Case::new(&mut score, 8, SETTING).unwrap();
    for preset in &PRESETS {
        let [loose, tight] =
            [1e-2, 1e-3].map(|target| (target, case.equal_error(preset, 16, target).unwrap().unwrap()));
        for (target, outcome) in [&loose, &tight] {
            assert!(outcome.error <= *target && outcome.error <= outcome.worst, "{}", preset.name);
            // 27.8 is the loosest tolerance there is
            let looser = case.run(preset, 16, outcome.tolerance * RATIO).unwrap().unwrap();
            assert!(looser.error > *target || outcome.tolerance > 27.0, "{}: {looser:?} would do", preset.name);
            // a remembered run is the run
            assert_eq!(case.run(preset, 16, outcome.tolerance).unwrap().as_ref(), Some(outcome));
        }
        let (loose, tight) = (loose.1, tight.1);
        assert!(tight.tolerance < loose.tolerance && tight.rounds >= loose.rounds, "{}", preset.name);
        assert!((4.0..64.0).contains(&loose.rounds) && loose.rows >= 1.0);
    }
}

#[test]
fn a_round_accepts_changes_up_to_the_tolerance() {
    let mut score = mixture();
    let mut case = Case::new(&mut score, 8, SETTING).unwrap();
    let (sliding, tolerance) = (preset("piadm-sliding"), 0.05);
    let residuals = case.residuals(sliding, 16, tolerance).unwrap();
    let outcome = case.run(sliding, 16, tolerance).unwrap().unwrap();
    assert!(residuals.len() as f64 >= outcome.rounds);
    assert!(residuals.iter().all(|r| *r <= tolerance) && residuals.iter().any(|r| *r > 0.5 * tolerance));
}

#[test]
fn a_sampler_without_window_ignores_it() {
    let mut score = mixture();
    let mut case = Case::new(&mut score, 8, SETTING).unwrap();
    let blocks = preset("piadm-blocks");
    let [a, b] = [8, 32].map(|window| case.equal_error(blocks, window, 1e-2).unwrap());
    assert_eq!(a, b);
}

#[test]
fn the_widest_window_at_equal_rows_takes_no_more_rows() {
    let mut score = mixture();
    let mut case = Case::new(&mut score, 8, SETTING).unwrap();
    let ours = preset(OURS);
    let limit = case.equal_error(preset(REFERENCE), 16, 1e-3).unwrap().unwrap().rows;
    let (window, outcome) = case.equal_rows(ours, 24, 1e-3, limit).unwrap().unwrap();
    assert!(window > 16 && window.is_multiple_of(8) && window <= 64 && outcome.rows <= limit);
    if window < 64 {
        let wider = case.equal_error(ours, window + 8, 1e-3).unwrap().unwrap();
        assert!(wider.rows > limit);
    }
    assert!(case.equal_rows(ours, 24, 1e-3, 0.5).unwrap().is_none());
}

/// On a network, where guesses need several sweeps; easy mixtures lose by it.
#[test]
fn a_further_reach_saves_rounds_and_rows() {
    let mut subject = Subject::load("mlp").unwrap();
    let setting = Setting { dynamics: Dynamics::Sde, steps: 500, samples: 4, seed: 5 };
    let mut case = Case::new(subject.score.as_mut(), subject.dim, setting).unwrap();
    let [plain, strided] = [OURS, STRIDED].map(|name| case.run(preset(name), 64, 1e-3).unwrap().unwrap());
    println!("{plain:?}, strided {strided:?}");
    assert!(strided.rounds < 0.95 * plain.rounds && strided.rows < 0.95 * plain.rows && strided.error < 3e-3);
}

/// On a network, at equal error.
#[test]
fn probes_save_rounds() {
    let mut subject = Subject::load("mlp").unwrap();
    let setting = Setting { dynamics: Dynamics::Sde, steps: 500, samples: 4, seed: 5 };
    let mut case = Case::new(subject.score.as_mut(), subject.dim, setting).unwrap();
    let [plain, probes] = [OURS, PROBES].map(|name| case.equal_error(preset(name), 64, 1e-2).unwrap().unwrap());
    println!("{plain:?}, with probes {probes:?}");
    assert!(probes.rounds < 0.93 * plain.rounds && probes.rows < plain.rows && probes.error <= 1e-2);
}
