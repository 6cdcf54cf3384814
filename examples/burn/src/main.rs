//! A network of burn as a score: the recipe of docs/recipes.md as a program.

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation::tanh};
use piadm::ndarray::{Array2, ArrayView2};
use piadm::prelude::*;

/// Two layers stand for your network.
struct Net {
    device: Device,
    layers: [Linear; 2],
}

impl Net {
    fn forward(&self, x: ArrayView2<'_, f32>, t: &[f64]) -> Result<Array2<f32>, piadm::BoxError> {
        let times = TensorData::new(t.iter().map(|t| (t / 1000.0) as f32).collect(), [t.len(), 1]);
        let states = TensorData::new(x.iter().copied().collect(), [x.nrows(), x.ncols()]);
        let [states, times] = [states, times].map(|data| Tensor::<2>::from_data(data, &self.device));
        let hidden = tanh(self.layers[0].forward(Tensor::cat(vec![states, times], 1)));
        let output = self.layers[1].forward(hidden).try_into_vec_as::<f32>()?;
        Ok(Array2::from_shape_vec(x.dim(), output)?)
    }
}

fn main() -> piadm::Result<()> {
    let device = Device::flex();
    device.seed(0);
    let layers = [(785, 64), (64, 784)].map(|(inputs, outputs)| LinearConfig::new(inputs, outputs).init(&device));
    let net = Net { device, layers };
    let mut score = score_map(Prediction::Noise, |x, rows| net.forward(x, rows.t));
    let grid = Grid::ddpm_timesteps(100, Spacing::Trailing);
    let problem = Problem::new(Discrete::stable_diffusion(), grid, Scheme::ddim()).samples(2).shape([784]).seed(7);
    let parallel = Picard::default().sample(&problem, &mut score)?;
    let sequential = Sequential.sample(&problem, &mut score)?;
    println!("{}", parallel.report);
    let far = (&parallel.samples - &sequential.samples).iter().fold(0f32, |far, d| far.max(d.abs()));
    println!("{} rounds in place of {}, at most {far:.1e} away", parallel.report.rounds, sequential.report.rounds);
    assert!(far < 0.1 && parallel.report.rounds < 30);
    Ok(())
}
