//! What the example `wallclock` decides by: seconds between measured calls, the fastest window, the fewest steps.

use lab::equal_error::Outcome;
use lab::presets::{OURS, preset};
use lab::wallclock::entrants::{Entrant, NAMES, fastest, interpolate};
use lab::wallclock::few_steps::{Distance, Quality};
use piadm::{quality::Estimate, sampler::Dynamics};

/// A call costs 3 and each row 1, up to 4 rows; then each row costs 2.
const LATENCY: [(usize, f64); 4] = [(1, 4.0), (2, 5.0), (4, 7.0), (8, 15.0)];

#[test]
fn seconds_of_a_call_lie_on_lines_through_their_neighbours() {
    for (rows, seconds) in LATENCY {
        assert_eq!(interpolate(&LATENCY, rows as f64), seconds);
    }
    for (rows, seconds) in [(1.5, 4.5), (3.0, 6.0), (6.0, 11.0)] {
        assert_eq!(interpolate(&LATENCY, rows), seconds);
    }
    // beyond the ends, the nearest line goes on
    assert_eq!(interpolate(&LATENCY, 0.5), 3.5);
    assert_eq!(interpolate(&LATENCY, 16.0), 31.0);
    assert_eq!(interpolate(&LATENCY[..2], 4.0), 7.0);
}

fn entrant(name: &str, window: usize, rounds: f64, rows: f64) -> Entrant {
    let outcome = Outcome { tolerance: 0.1, rounds, rounds_median: rounds, rows, error: 0.01, worst: 0.02 };
    Entrant { preset: preset(name), window, outcome }
}

#[test]
fn the_fastest_window_depends_on_what_calls_cost() {
    // 8 steps: 4 calls of 2 rows, or 2 calls of 8 rows
    let all = [entrant(OURS, 2, 4.0, 1.0), entrant(OURS, 8, 2.0, 2.0), entrant("paradigms", 2, 8.0, 1.0)];
    let chosen = |images, latency: &[(usize, f64)]| -> Vec<(&str, usize)> {
        fastest(&all, 8, images, latency).iter().map(|e| (e.preset.name, e.window)).collect()
    };
    // 4 * 5 is less than 2 * 15; those that did not enter are left out, and the order is that of the names
    assert_eq!(chosen(1, &LATENCY), [("paradigms", 2), (OURS, 2)]);
    // calls that cost the same whatever their rows: fewer rounds win, unless many images make the rows dear
    let flat = [(1, 1.0), (16, 1.0), (32, 9.0)];
    assert_eq!(chosen(1, &flat), [("paradigms", 2), (OURS, 8)]);
    assert_eq!(chosen(4, &flat), [("paradigms", 2), (OURS, 2)]);
    assert!(NAMES.iter().all(|name| preset(name).name == *name));
}

fn distance(steps: usize, sliced: f64, frechet: f64) -> Distance {
    let estimate = |value| Estimate { value, error: 0.5 };
    Distance { steps, sliced: estimate(sliced), frechet: estimate(frechet) }
}

#[test]
fn few_steps_are_enough_when_both_distances_are() {
    // two errors of a difference are 1.41
    let quality = Quality {
        dynamics: Dynamics::Sde,
        samples: 32,
        reference_steps: 60,
        first_order: vec![distance(100, 1.0, 1.0), distance(200, -3.0, 0.0)],
        second_order: vec![distance(5, 1.0, 3.0), distance(6, 3.0, 1.0), distance(8, 2.4, 2.4), distance(10, 0.0, 0.0)],
    };
    assert_eq!(quality.fewest(100), Some(8));
    assert_eq!(quality.fewest(200), None);
    assert_eq!(quality.fewest(300), None);
}
