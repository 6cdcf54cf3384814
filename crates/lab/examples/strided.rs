use lab::equal_error::{Case, Setting};
use lab::presets::preset;
use lab::stats::median;
use lab::subject::Subject;
use piadm::{BoxError, sampler::Dynamics};
fn main() -> Result<(), BoxError> {
    let a: Vec<String> = std::env::args().collect();
    let mut subject = Subject::load(&a[1])?;
    let (steps, samples) = (a[2].parse()?, a[3].parse()?);
    let seeds: Vec<u64> = a[4].split(',').map(|s| s.parse().unwrap()).collect();
    for dynamics in [Dynamics::Sde, Dynamics::Ode] {
        for target in [1e-2, 1e-3] {
            for spec in a[5].split(',') {
                let (name, w) = spec.split_once(':').unwrap();
                let mut all = vec![];
                for &seed in &seeds {
                    let mut case =
                        Case::new(subject.score.as_mut(), subject.dim, Setting { dynamics, steps, samples, seed })?;
                    if let Some(o) = case.equal_error(preset(name), w.parse()?, target)? {
                        all.push(o);
                    }
                }
                let m = |f: fn(&lab::equal_error::Outcome) -> f64| median(all.iter().map(f));
                println!(
                    "{} {dynamics:?} {steps} {target:e} {spec}: rounds {:.2} rows {:.2} error {:.1e} worst {:.1e} tol {:.1e}",
                    a[1],
                    m(|o| o.rounds),
                    m(|o| o.rows),
                    m(|o| o.error),
                    m(|o| o.worst),
                    m(|o| o.tolerance)
                );
            }
        }
    }
    Ok(())
}
