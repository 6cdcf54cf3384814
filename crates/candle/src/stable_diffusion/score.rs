//! The guided U-Net as a score.

use super::error::{Result, check_finite};
use super::unet::UNet;
use crate::{CandleScore, gather};
use candle_core::{DType, Device, Tensor};
use piadm::backend::Backend;
use piadm::score::Guided;
use piadm::{BoxError, Model, Prediction, Rows, ScoreFn};
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

type Network = Box<dyn FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError> + Send>;

/// The U-Net with the prompts of a request, as a score of latents: one call of the network per round, on twice the rows
/// where there is guidance.
pub struct LatentScore(Kind);

enum Kind {
    Plain(CandleScore<Network>),
    Guided(Box<Guided<CandleScore<Network>>>),
}

/// What the rows are conditioned on.
pub(super) struct Texts {
    /// Of each sample: \[samples, tokens, width\].
    pub prompts: Tensor,
    /// Of the second half of a guided call, \[1, tokens, width\], and the scale.
    pub guidance: Option<(Tensor, f64)>,
}

impl LatentScore {
    pub(super) fn new(
        prediction: Prediction,
        (dtype, device): (DType, &Device),
        unet: Arc<UNet>,
        Texts { prompts, guidance }: Texts,
        max_rows: Option<usize>,
    ) -> Result<Self> {
        let (negative, scale) = guidance.unzip();
        let network: Network = Box::new(move |x, rows| {
            let text = match &negative {
                None => gather(&prompts, rows)?,
                Some(negative) => {
                    let half = rows.len() / 2;
                    let (_, tokens, width) = negative.dims3()?;
                    let negative = negative.broadcast_as((rows.len() - half, tokens, width))?;
                    Tensor::cat(&[gather(&prompts, &rows.range(0..half))?, negative], 0)?
                }
            };
            let output = unet.forward(&x.to_dtype(dtype)?, rows.t, &text)?;
            // other types do not overflow where the weights are right, and the sampler looks at every number anyway
            if dtype == DType::F16 {
                check_finite("U-Net", dtype, &output)?;
            }
            Ok(output.to_dtype(x.dtype())?)
        });
        let score = CandleScore::new(prediction, device, network);
        let score = match max_rows {
            Some(rows) => score.max_rows(rows),
            None => score,
        };
        Ok(LatentScore(match scale {
            None => Kind::Plain(score),
            Some(scale) => Kind::Guided(Box::new(Guided::new(score, scale)?)),
        }))
    }

    fn model(&self) -> &dyn Model {
        match &self.0 {
            Kind::Plain(score) => score,
            Kind::Guided(score) => &**score,
        }
    }
}

impl Debug for LatentScore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "LatentScore {{ prediction: {:?} }}", self.prediction())
    }
}

impl Model for LatentScore {
    fn prediction(&self) -> Prediction {
        self.model().prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(self.model())
    }
}

impl<B: Backend> ScoreFn<B> for LatentScore
where
    CandleScore<Network>: ScoreFn<B>,
{
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError> {
        match &mut self.0 {
            Kind::Plain(score) => score.eval(x, rows, out),
            Kind::Guided(score) => score.eval(x, rows, out),
        }
    }
}
