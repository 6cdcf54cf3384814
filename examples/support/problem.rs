//! A sampling problem with a known score, read from JSON: an isotropic Gaussian mixture, a noise schedule, a time grid
//! and a scheme. `docs/compare.md` describes the format.

use super::fields::{Fields, Parsed, library_value};
use piadm::grid::{Resolution, Spacing};
use piadm::ndarray::Array2;
use piadm::{
    Discrete, Edm, Flow, Grid, Nodes, NoiseSchedule, Ou, Prediction, Scheme, Ve, VpCosine, VpLinear, score::Mixture,
};
use std::error::Error;
use std::path::Path;

/// A problem file.
pub struct ProblemFile {
    /// The noise schedule.
    pub schedule: Box<dyn NoiseSchedule>,
    /// The times, in the schedule's clock.
    pub grid: Grid,
    /// The time-stepping scheme.
    pub scheme: Scheme,
    /// The target's score, in the words of `prediction` of the file.
    pub mixture: Mixture,
}

impl ProblemFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Parsed<Self> {
        let named = |error: Box<dyn Error>| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(error.into()))?;
        Ok(Self::parse(&text).map_err(named)?)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Parsed<Self> {
        let mut file = Fields::new("", serde_json::from_str(text)?)?;
        let mixture = target(file.object("target")?)?;
        let (schedule, table) = schedule(file.object("schedule")?)?;
        let grid = grid(file.object("grid")?, schedule.as_ref(), table)?;
        let scheme: Scheme = library_value("scheme", file.required("scheme")?)?;
        let prediction = file.or("prediction", Prediction::Score)?;
        file.finish()?;
        // settings that do not fit together are found here, before anything is sampled
        Nodes::new(schedule.as_ref(), &grid, &scheme, prediction).map_err(|error| format!("scheme: {error}"))?;
        let mixture = mixture.predicting(prediction);
        Ok(ProblemFile { schedule, grid, scheme, mixture })
    }
}

fn target(mut fields: Fields) -> Parsed<Mixture> {
    let weights: Vec<f64> = fields.required("weights")?;
    let means: Vec<Vec<f64>> = fields.required("means")?;
    let std: Vec<f64> = fields.required("std")?;
    let modes = means.len();
    let dim = means.first().map_or(0, Vec::len);
    if dim == 0 {
        let what = "expected at least one mean with at least one number";
        return Err(fields.error("means", what).into());
    }
    if let Some((row, mean)) = means.iter().enumerate().find(|(_, mean)| mean.len() != dim) {
        let len = mean.len();
        let what = format_args!("mean {row} has {len} numbers, expected {dim} as in mean 0").to_string();
        return Err(fields.error("means", what).into());
    }
    for (name, len) in [("weights", weights.len()), ("std", std.len())] {
        if len != modes {
            let what = format!("{len} numbers, expected {modes}, one for each mean");
            return Err(fields.error(name, what).into());
        }
    }
    fields.finish()?;
    let means = Array2::from_shape_vec((modes, dim), means.concat())?;
    Mixture::new(weights, means, std).map_err(|error| format!("target: {error}").into())
}

/// The schedule and, for a discrete one, the length of its table.
fn schedule(mut fields: Fields) -> Parsed<(Box<dyn NoiseSchedule>, Option<usize>)> {
    let kind: String = fields.required("kind")?;
    let named = |error: piadm::Error| format!("schedule: {error}");
    let schedule: Box<dyn NoiseSchedule> = match kind.as_str() {
        "ou" => Box::new(Ou),
        "vp_linear" => {
            let (min, max) = (fields.or("beta_min", 0.1)?, fields.or("beta_max", 20.0)?);
            Box::new(VpLinear::new(min, max).map_err(named)?)
        }
        "vp_cosine" => Box::new(VpCosine::new(fields.or("s", 0.008)?).map_err(named)?),
        "discrete" => {
            let table = discrete(&mut fields)?;
            fields.finish()?;
            let len = table.len();
            return Ok((Box::new(table), Some(len)));
        }
        "ve" => Box::new(Ve),
        "edm" => Box::new(Edm),
        "flow" => Box::new(Flow),
        _ => {
            let what = format!("unknown kind {kind:?}, expected ou, vp_linear, vp_cosine, discrete, ve, edm or flow");
            return Err(fields.error("kind", what).into());
        }
    };
    fields.finish()?;
    Ok((schedule, None))
}

fn discrete(fields: &mut Fields) -> Parsed<Discrete> {
    let named = |error: piadm::Error| format!("schedule: {error}").into();
    if let Some(table) = fields.optional::<Vec<f64>>("alphas_cumprod")? {
        return Discrete::new(table).map_err(named);
    }
    let n = fields.or("num_train_timesteps", 1000)?;
    let start = fields.or("beta_start", 1e-4)?;
    let end = fields.or("beta_end", 0.02)?;
    let rule = fields.or("beta_schedule", "linear".to_owned())?;
    match rule.as_str() {
        "linear" => Discrete::linear(n, start, end).map_err(named),
        "scaled_linear" => Discrete::scaled_linear(n, start, end).map_err(named),
        _ => {
            let what = format!("unknown rule {rule:?}, expected linear or scaled_linear");
            Err(fields.error("beta_schedule", what).into())
        }
    }
}

fn grid(mut fields: Fields, schedule: &dyn NoiseSchedule, table: Option<usize>) -> Parsed<Grid> {
    let to_zero = fields.or("final_sigma_zero", false)?;
    let mut grid = ramp(&mut fields, table, to_zero)?;
    fields.finish()?;
    if to_zero {
        grid = grid.then_data();
    }
    grid.times(schedule).map_err(|error| format!("grid: {error}"))?;
    Ok(grid)
}

/// The times before a last step to sigma = 0, or all of them.
fn ramp(fields: &mut Fields, table: Option<usize>, to_zero: bool) -> Parsed<Grid> {
    let kind: String = fields.required("kind")?;
    if kind == "times" {
        return Ok(Grid::new(fields.required::<Vec<f64>>("times")?));
    }
    let ends = |fields: &mut Fields| Ok::<_, Box<dyn Error>>((fields.required("t_max")?, fields.required("t_min")?));
    let count = |fields: &mut Fields| {
        let steps: usize = fields.required("steps")?;
        if let Some(table) = table.filter(|table| to_zero && steps > *table) {
            // the library would name the steps without the last one
            let what = format!("{steps}, expected at most {table} steps, as many as the table has entries");
            return Err(fields.error("steps", what).into());
        }
        match steps.checked_sub(usize::from(to_zero)) {
            Some(ramp) if steps > 0 => Ok(ramp),
            _ => Err(Box::<dyn Error>::from(fields.error("steps", "0, expected at least 1 step"))),
        }
    };
    match kind.as_str() {
        "uniform" | "log_snr" => {
            let (t_max, t_min) = ends(fields)?;
            let rule = if kind == "uniform" { Grid::uniform } else { Grid::log_snr };
            Ok(rule(count(fields)?).between(t_max, t_min))
        }
        "karras" => {
            let (min, max) = (fields.required("sigma_min")?, fields.required("sigma_max")?);
            let rho = fields.or("rho", 7.0)?;
            Ok(Grid::karras(count(fields)?, min, max, rho))
        }
        "piadm" => {
            let ((t_max, t_min), h) = (ends(fields)?, fields.or("h", 1.0)?);
            let resolution = match fields.optional("eps")? {
                Some(eps) => Resolution::Step(eps),
                None => Resolution::Steps(count(fields)?),
            };
            Ok(Grid::piadm(h, resolution).between(t_max, t_min))
        }
        "leading" | "trailing" | "linspace" => {
            if table.is_none() {
                let what = format!("{kind} spaces the indices of a table, so the schedule must be discrete");
                return Err(fields.error("kind", what).into());
            }
            // the other two rules have no use for it, but the settings they usually come with have it
            let offset = fields.or("steps_offset", 0)?;
            let spacing = match kind.as_str() {
                "leading" => Spacing::Leading { offset },
                "trailing" => Spacing::Trailing,
                _ => Spacing::Linspace,
            };
            Ok(Grid::table(count(fields)?, spacing))
        }
        _ => {
            let kinds = "uniform, log_snr, karras, piadm, leading, trailing, linspace or times";
            let what = format!("unknown kind {kind:?}, expected {kinds}");
            Err(fields.error("kind", what).into())
        }
    }
}
