//! Cases whose bits are the same on every machine: levels and coefficients are dyadic numbers, and the score needs only
//! additions and multiplications.

use crate::adapter::{Run, Runner};
use crate::common::{push, start};
use crate::line::Watch;
use crate::place::{Place, Score};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use piadm::{
    Acceptance, Cpu, Nodes, Picard, Prediction, Problem, Rows, Sampler, Save, ScoreFn, Sequential, Sweeps, Window,
    backend::Real,
    sampler::{Coupling, Entry, Linearisation, Policy},
    schedule::Level,
    score::{Clip, EdmPrecondition, Guided},
    score_fn,
};

/// Noise level of step `m`; its log-SNR is made up, and at least 0, where the tolerance takes no exponential of it.
fn level(m: usize) -> Level {
    let m = m as f64;
    Level {
        t: 4.0 - 0.125 * m,
        log_alpha: -1.0,
        alpha: 0.25 + 0.015625 * m,
        sigma: 1.0 - 0.03125 * m,
        log_snr: 0.125 * m,
    }
}

/// Elementwise, bounded, not affine; large factors lead to slopes beyond their bounds.
fn cubic<T: Real>(prediction: Prediction, factor: f64) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        out.zip_mut_with(&x, |out, x| {
            let x = x.wide().clamp(-2.0, 2.0);
            *out = T::of(factor * (0.25 * x - 0.125 * x * x * x));
        });
        Ok(())
    })
}

const LISTS: usize = 6;

/// A list of one of [`LISTS`] kinds.
fn list(kind: usize, steps: usize) -> piadm::Result<Nodes> {
    let mut list = start(level(0), if kind == 3 { 2 } else { 1 }, 0);
    for m in 1..=steps {
        let j = list.nodes().len();
        let lag = |l: usize, value: f64| if j >= l { value } else { 0.0 };
        match kind {
            // a step with noise, and one without
            0 => push(&mut list, level(m), true, (&[0.875], &[0.25], &[0.375]))?,
            1 => push(&mut list, level(m), true, (&[0.9375], &[0.5], &[]))?,
            // three lags; after every fourth step the network is not asked
            2 => {
                let newest = if m % 4 == 1 { 0.0 } else { 0.25 };
                let (a, b) = ([0.75, lag(2, 0.125), lag(3, -0.0625)], [newest, lag(2, 0.125), 0.0]);
                push(&mut list, level(m), true, (&a, &b, &[0.25]))?;
            }
            // position and velocity
            3 => {
                let c = [0.0625, 0.03125, 0.0, 0.75];
                push(&mut list, level(m), true, (&[1.0, 0.25, 0.0, 0.5], &[0.03125, 0.25], &c))?;
            }
            // a stage in every step
            4 => {
                push(&mut list, level(m), false, (&[0.875, 0.0], &[0.25, 0.0], &[0.0]))?;
                push(&mut list, level(m), true, (&[0.0, 0.875], &[0.125, 0.125], &[0.25]))?;
            }
            // two normals, the noise less and less
            _ => {
                let c = [0.5 - 0.015625 * m as f64, 0.125];
                push(&mut list, level(m), true, (&[0.875], &[0.25], &c))?;
            }
        }
    }
    Ok(list)
}

/// Numbers that look random: of the `turn`-th choice of a case, one of `values`.
fn pick<T: Copy>(case: usize, turn: u64, values: &[T]) -> T {
    let mut state = (case as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ turn.wrapping_mul(0xd1b5_4a32_d192_ed03);
    state = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    values[((state ^ (state >> 29)) % values.len() as u64) as usize]
}

fn picard(case: usize) -> Picard {
    let linearisations = [
        Linearisation::Secant,
        Linearisation::FrozenScore,
        Linearisation::Identity,
        Linearisation::Gaussian { variance: 0.25 },
    ];
    let entries = [
        Entry::Copy,
        Entry::HeldData { variance: 0.0 },
        Entry::HeldData { variance: 0.25 },
        Entry::LinearData { variance: 0.125 },
    ];
    let acceptances = [
        Acceptance::Exact,
        Acceptance::Error(0.03125),
        Acceptance::change(0.0625),
        Acceptance::Change { absolute: 0.0, relative: 0.0625, posterior: 0.0 },
    ];
    let sweeps = [Sweeps::Unbounded, Sweeps::Unbounded, Sweeps::AtMost(2), Sweeps::Within(9)];
    Picard::default()
        // the list is case mod LISTS, so that every list meets every linearisation
        .linearisation(linearisations[case / LISTS % linearisations.len()])
        .entry(pick(case, 2, &entries))
        .acceptance(pick(case, 3, &acceptances))
        .policy(pick(case, 4, &[Policy::Sliding, Policy::Sliding, Policy::Blocks, Policy::Wavefront { blocks: 2 }]))
        .window(Window::Steps(pick(case, 5, &[1, 3, 5, 8, 64])))
        .anderson(pick(case, 6, &[0, 0, 2, 3]))
        .coupling(pick(case, 7, &[Coupling::PerSample, Coupling::PerSample, Coupling::WholeBatch]))
        .sweeps(pick(case, 1, &sweeps))
}

const KINDS: [Prediction; 5] =
    [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];

/// What the network says of a case, and how steeply.
fn network(case: usize) -> (Prediction, f64) {
    (pick(case, 11, &KINDS), pick(case, 12, &[1.0, 1.0, 4.0, -8.0]))
}

fn run<P: Place>(
    place: &P,
    watch: &mut Watch,
    case: usize,
    sampler: &dyn Sampler<P::On>,
    (prediction, factor): (Prediction, f64),
) -> Run<P> {
    run_score(place, watch, case, sampler, place.score(cubic::<P::Elem>(prediction, factor)))
}

fn run_score<P: Place>(
    place: &P,
    watch: &mut Watch,
    case: usize,
    sampler: &dyn Sampler<P::On>,
    mut score: Score<'_, P>,
) -> Run<P> {
    let steps = pick(case, 8, &[7, 12, 20]);
    let shape = (pick(case, 9, &[1, 3, 7]), pick(case, 10, &[1, 3, 5, 130]));
    let problem = Problem::from_nodes(place.backend(), list(case % LISTS, steps)?).samples(shape.0).shape([shape.1]);
    Ok(sampler.run(&problem.seed(case as u64).save(Save::All), &mut score, watch)?)
}

/// A network that answers the second half of its rows otherwise than the first.
fn halves<T: Real>(prediction: Prediction) -> impl ScoreFn<Cpu<T>> {
    let (mut first, mut second) = (cubic::<T>(prediction, 1.0), cubic::<T>(prediction, 0.625));
    score_fn(prediction, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, out: ArrayViewMut2<'_, T>| {
        let half = rows.len() / 2;
        let ((x0, x1), (out0, out1)) = (x.split_at(Axis(0), half), out.split_at(Axis(0), half));
        first.eval(x0, &rows.range(0..half), out0)?;
        second.eval(x1, &rows.range(half..2 * half), out1)
    })
}

/// Adapters around the network, which work where the sampler does: guided, with and without a second network, clipped,
/// preconditioned.
fn adapted<'p, P: Place>(place: &'p P, adapter: &str, kind: Prediction) -> piadm::Result<Score<'p, P>> {
    let network = |factor| place.score(cubic::<P::Elem>(kind, factor));
    Ok(match adapter {
        "guided" => Box::new(Guided::new(place.score(halves::<P::Elem>(kind)), 2.5)?),
        "pair" => Box::new(Guided::pair(network(1.0), network(0.75), 3.0)?),
        "clip" => Box::new(Clip::new(network(4.0), -0.75, 0.5)?),
        _ => Box::new(EdmPrecondition::new(network(2.0), 0.5)?),
    })
}

fn adapters<P: Place>(r: &mut Runner<'_, P>) {
    for (i, kind) in KINDS.into_iter().enumerate() {
        // lists of one component
        let case = LISTS * i + [0, 1, 2, 4, 5][i];
        for adapter in ["guided", "pair", "clip", "edm"] {
            let samplers =
                [("", Box::new(picard(case)) as Box<dyn Sampler<P::On>>), ("sequential_", Box::new(Sequential))];
            for (name, sampler) in samplers {
                let name = format!("dyadic_{adapter}_{name}{i}");
                r.add(&name, true, |p, w| run_score(p, w, case, &*sampler, adapted(p, adapter, kind)?));
            }
        }
    }
}

/// Every fifth of the first ones on a device too.
pub fn cases<P: Place>(r: &mut Runner<'_, P>) {
    adapters(r);
    let on_cpu = P::NAME == "cpu";
    for case in (0..2 * 4 * LISTS).filter(|case| on_cpu || case % 5 == 0) {
        r.add(&format!("dyadic_{case:02}"), true, |p, w| run(p, w, case, &picard(case), network(case)));
    }
    if !on_cpu {
        return;
    }
    for case in 0..LISTS {
        r.add(&format!("dyadic_sequential_{case}"), true, |p, w| run(p, w, case, &Sequential, network(case)));
        let (coupling, window) = (Coupling::PerSample, Window::Steps(5));
        let queue = picard(case).row_budget(30).coupling(coupling).window(window);
        r.add(&format!("dyadic_queue_{case}"), true, |p, w| run(p, w, case, &queue, network(case)));
    }
    // slopes beyond their bounds
    for (case, factor) in (0..2 * KINDS.len()).zip([32.0, -32.0].into_iter().cycle()) {
        let secant = Picard::default().window(Window::Steps(8)).entry(Entry::Copy);
        r.add(&format!("dyadic_steep_{case}"), true, |p, w| run(p, w, case, &secant, (KINDS[case / 2], factor)));
    }
}
