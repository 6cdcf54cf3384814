//! What the examples share: the exported networks by name, and calls of a score.

use piadm::ndarray::{Array1, Array2};
use piadm::{BoxError, Cpu, NoiseSchedule, Ou, Prediction, Rows, ScoreFn};
use piadm_onnx::{Condition, Engine, Error, Onnx, OnnxScore};
use std::path::PathBuf;

/// Sizes of the exported policy.
pub const OBSERVED: usize = 20;

/// The folder that the command line names.
pub fn folder() -> Result<PathBuf, BoxError> {
    Ok(std::env::args().nth(1).ok_or("give the folder of the graphs, which export/export.py writes")?.into())
}

/// The engines of this build.
pub fn engines() -> Vec<Engine> {
    let all = [(Engine::Ort, cfg!(feature = "ort")), (Engine::Tract, cfg!(feature = "tract"))];
    all.into_iter().filter(|(_, there)| *there).map(|(engine, _)| engine).collect()
}

/// The settings of an exported network.
pub fn onnx(name: &str, engine: Engine) -> Result<Onnx, BoxError> {
    let onnx = Onnx::file(folder()?.join(format!("{name}.onnx"))).engine(engine);
    Ok(match name {
        "policy" => onnx.condition("observation", Condition::constant(Array1::zeros(OBSERVED).into_dyn())),
        _ => onnx,
    })
}

/// What an exported network predicts.
pub fn load(onnx: &Onnx, name: &str) -> Result<OnnxScore, Error> {
    onnx.load(if name == "policy" { Prediction::Data } else { Prediction::Velocity })
}

/// The output for these states at times between 0.1 and 3.
#[allow(dead_code)] // not every example calls scores itself
pub fn call(score: &mut dyn ScoreFn<Cpu<f32>>, x: &Array2<f32>, first: usize) -> Result<Array2<f32>, BoxError> {
    let n = x.nrows();
    let t: Vec<f64> = (first..first + n).map(|i| 0.1 + 2.9 * (i % 64) as f64 / 64.0).collect();
    let alpha: Vec<f64> = t.iter().map(|t| Ou.log_alpha(*t).exp()).collect();
    let sigma: Vec<f64> = t.iter().map(|t| Ou.sigma(*t)).collect();
    let (ids, slots, mut out) = (vec![0; n], vec![0; n], Array2::zeros(x.dim()));
    let rows = Rows::new(&t, &alpha, &sigma, &ids, &slots).ok_or("lengths differ")?;
    score.eval(x.view(), &rows, out.view_mut())?;
    Ok(out)
}
