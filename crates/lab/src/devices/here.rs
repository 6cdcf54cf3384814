//! What a split costs on this machine: waking threads, and a real network on the cores that there are.

use crate::equal_error::Setting;
use crate::stats::median;
use crate::table::table;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use piadm::sampler::Dynamics;
use piadm::score::{Shares, Split};
use piadm::{BoxError, Cpu, Picard, Prediction, Rows, Sampler, ScoreFn, score_fn};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::time::Instant;

const PARTS: usize = 8;
const DIM: usize = 784;
/// Calls of each, in turn.
const CALLS: usize = 4000;
/// Runs of each network, in turn.
const TURNS: usize = 21;

/// Wakes the threads of all pools, and waits for them.
fn wake(pools: &[ThreadPool]) {
    if let Some((pool, others)) = pools.split_first() {
        pool.in_place_scope(|scope| {
            scope.spawn(|_| ());
            wake(others);
        });
    }
}

/// A call of eight parts that do next to nothing, over a bare wake-up of as many threads.
pub fn overhead() -> Result<String, BoxError> {
    let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
    let pools: Vec<ThreadPool> = (0..PARTS).map(pool).collect::<Result<_, _>>()?;
    let part = |_| {
        score_fn(Prediction::Data, |x: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            out.assign(&x);
            Ok(())
        })
    };
    let mut split = Split::new((0..PARTS).map(part))?;
    let (x, mut out) = (Array2::ones((PARTS, DIM)), Array2::zeros((PARTS, DIM)));
    let (numbers, ids, slots) = ([0.5; PARTS], [0; PARTS], [0; PARTS]);
    let rows = Rows::new(&numbers, &numbers, &numbers, &ids, &slots).ok_or("lengths differ")?;
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let clock = Instant::now();
        wake(&pools);
        bare.push(clock.elapsed().as_secs_f64());
        let clock = Instant::now();
        split.eval(x.view(), &rows, out.view_mut())?;
        whole.push(clock.elapsed().as_secs_f64());
    }
    let [bare, whole] = [bare, whole].map(median);
    Ok(format!(
        "a call of {PARTS} parts with {DIM} elements each: {:.1} us; a bare wake-up of {PARTS} threads: {:.1} us; \
         {:.2} times as long (medians of {CALLS})\n",
        1e6 * whole,
        1e6 * bare,
        whole / bare
    ))
}

/// The trained networks as one part per core, over the same network that uses all cores by itself. The solver beside
/// the parts runs on the calling thread.
pub fn cores() -> Result<String, BoxError> {
    let parts = rayon::current_num_threads();
    let caller = ThreadPoolBuilder::new().num_threads(1).build()?;
    let sampler = Picard::default().window(64);
    let mut lines = Vec::new();
    let ways = [("equal", Shares::Equal), ("on demand", Shares::OnDemand)];
    for ((name, steps), (how, shares)) in
        [("mlp", 500), ("unet", 200)].into_iter().flat_map(|network| ways.iter().map(move |way| (network, way)))
    {
        let mut whole = networks::load(name, None)?;
        let setting = Setting { dynamics: Dynamics::Sde, steps, samples: 1, seed: 5 };
        let problem = setting.first_order(whole.dim());
        let mut split = Split::new((0..parts).map(|_| whole.sharing_weights()))?.shares(shares.clone())?;
        let timed = |score: &mut dyn ScoreFn<Cpu<f32>>| {
            let clock = Instant::now();
            let solution = sampler.sample(&problem, score)?;
            Ok::<_, BoxError>((clock.elapsed().as_secs_f64(), solution.samples))
        };
        let (mut ratios, mut seconds, mut same) = (Vec::new(), Vec::new(), true);
        for _ in 0..TURNS {
            let ((one, expected), (several, found)) = (timed(&mut whole)?, caller.install(|| timed(&mut split))?);
            ratios.push(several / one);
            seconds.push([one, several]);
            same &= found == expected;
        }
        let of = |k: usize| format!("{:.3}", median(seconds.iter().map(|both| both[k])));
        let bits = if same { "equal" } else { "DIFFER" };
        let ratio = format!("{:.3}", median(ratios));
        lines.push(vec![name.into(), (*how).into(), steps.to_string(), of(0), of(1), ratio, bits.into()]);
    }
    let titles = ["", "shares", "steps", "seconds", "as parts", "ratio", "bits"];
    let what = format!(
        "one image, window 64: the network on all {parts} threads by itself, and as {parts} parts of one thread each \
         (medians of {TURNS} turns)\n"
    );
    Ok(what + &table(titles, 2, lines))
}
