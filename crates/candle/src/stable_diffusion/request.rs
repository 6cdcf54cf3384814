//! What is asked of a model: prompts, guidance, size, steps; the problem and the score that this makes.

use super::StableDiffusion;
use super::error::{Error, Result, check_finite};
use super::scheduler::Plan;
use super::score::{LatentScore, Texts};
use super::tokens::framed;
use candle_core::{DType, Tensor};
use piadm::backend::{Backend, Real};
use piadm::ndarray::{Array2, Array4, ArrayView2, ArrayView4};
use piadm::{Cpu, Problem};

/// Images to be made, one per prompt; from [`StableDiffusion::prompts`] or [`StableDiffusion::tokens`].
#[derive(Clone)]
pub struct Request<'m> {
    model: &'m StableDiffusion,
    prompts: Vec<Vec<u32>>,
    negative: Vec<u32>,
    guidance: f64,
    steps: usize,
    size: (usize, usize),
    scheduler: Option<String>,
    max_rows: Option<usize>,
}

impl<'m> Request<'m> {
    pub(super) fn new(model: &'m StableDiffusion, prompts: Vec<Vec<u32>>) -> Result<Self> {
        if prompts.is_empty() {
            return Err(Error::Setting {
                what: "the number of prompts",
                found: "0".into(),
                expected: "at least 1".into(),
            });
        }
        let config = &model.architecture.text;
        let prompts = prompts.iter().map(|prompt| framed(prompt, config)).collect::<Result<Vec<_>>>()?;
        let negative = framed(&[], config)?;
        let side = model.architecture.unet.sample_size * model.architecture.autoencoder.factor();
        let (size, scheduler, max_rows) = ((side, side), None, None);
        Ok(Request { model, prompts, negative, guidance: 7.5, steps: 50, size, scheduler, max_rows })
    }

    /// What the images should not show; the empty text by default.
    ///
    /// # Errors
    /// Where the model has no tokenizer, or it fails.
    pub fn negative(self, prompt: &str) -> Result<Self> {
        let ids = self.model.tokenizer()?.ids(prompt)?;
        self.negative_tokens(&ids)
    }

    /// The same as token ids, without first, last and padding.
    ///
    /// # Errors
    /// [`Error::Setting`] for ids that are not in the vocabulary.
    pub fn negative_tokens(mut self, ids: &[u32]) -> Result<Self> {
        self.negative = framed(ids, &self.model.architecture.text)?;
        Ok(self)
    }

    /// Scale of classifier-free guidance, 7.5 by default; 1 is none, with half the rows.
    pub fn guidance(mut self, scale: f64) -> Self {
        self.guidance = scale;
        self
    }

    /// Steps of the scheduler, 50 by default.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Height and width in pixels; by default those that the model was trained on.
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.size = (height, width);
        self
    }

    /// Another scheduler than the folder's, one of [`SCHEDULERS`](super::SCHEDULERS), with the folder's settings.
    pub fn scheduler(mut self, class: &str) -> Self {
        self.scheduler = Some(class.into());
        self
    }

    /// Bounds the rows of a call of the U-Net, for its memory; with guidance a sampler's row is two of them.
    pub fn max_rows(mut self, rows: usize) -> Self {
        self.max_rows = Some(rows);
        self
    }

    /// The problem, in f32 on the CPU, and its score: for any sampler of piadm. Seed, ids and the like are set on the
    /// problem.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size that is no multiple of the autoencoder's factor, 8; [`Error::Architecture`] for a
    /// scheduler that is not offered; errors of candle and piadm.
    pub fn text_to_image(&self) -> Result<(Problem<Cpu<f32>>, LatentScore)> {
        self.text_to_image_on(Cpu::new())
    }

    /// The same on another backend, as `cuda_backend(&device)`, or in another precision.
    ///
    /// # Errors
    /// As [`text_to_image`](Self::text_to_image).
    pub fn text_to_image_on<B: Backend>(&self, backend: B) -> Result<(Problem<B>, LatentScore)> {
        let shape = self.latent_shape(self.size)?;
        let (plan, score) = self.score()?;
        let problem = Problem::on(backend, plan.schedule, plan.grid, plan.scheme);
        Ok((problem.samples(self.prompts.len()).shape(shape), score))
    }

    /// The problem that starts from images \[prompts, 3, height, width\] in \[0, 1\] of the request's size, and its
    /// score.
    ///
    /// The last floor(`strength` steps) of the steps are taken, as in diffusers; the latents are brought to the level
    /// of the first of them by the problem's own noise, which depends on seed and sample id.
    ///
    /// # Errors
    /// As [`text_to_image`](Self::text_to_image); [`Error::Setting`] for a strength that leaves no step, and for images
    /// of another size or number.
    pub fn image_to_image(
        &self,
        images: ArrayView4<'_, f32>,
        strength: f64,
    ) -> Result<(Problem<Cpu<f32>>, LatentScore)> {
        self.image_to_image_on(Cpu::new(), images, strength)
    }

    /// The same on another backend, or in another precision.
    ///
    /// # Errors
    /// As [`image_to_image`](Self::image_to_image).
    pub fn image_to_image_on<B: Backend>(
        &self,
        backend: B,
        images: ArrayView4<'_, f32>,
        strength: f64,
    ) -> Result<(Problem<B>, LatentScore)> {
        let setting = |what, found: String, expected: String| Err(Error::Setting { what, found, expected });
        let channels = self.model.architecture.autoencoder.in_channels;
        let expected = [self.prompts.len(), channels, self.size.0, self.size.1];
        if images.shape() != expected {
            return setting("the shape of the images", format!("{:?}", images.shape()), format!("{expected:?}"));
        }
        let shape = self.latent_shape(self.size)?;
        let (plan, score) = self.score()?;
        let taken = (strength * self.steps as f64).floor();
        // a grid may have one step less than it was asked for
        let all = plan.grid.times(&plan.schedule)?.len() - 1;
        let first = self.steps - (taken.clamp(0.0, self.steps as f64) as usize);
        if !(strength <= 1.0 && first < all) {
            return setting("strength", strength.to_string(), format!("a number in [1/{}, 1]", self.steps));
        }
        let images = images.as_standard_layout();
        let images = Tensor::from_slice(images.as_slice().unwrap_or(&[]), images.dim(), &self.model.device)?;
        let latents = self.model.autoencoder.encode(&images)?;
        check_finite("autoencoder", DType::F32, &latents)?;
        let values: Vec<f32> = latents.flatten_all()?.to_vec1()?;
        let rows = Array2::from_shape_vec((images.dims()[0], shape.iter().product()), values)
            .map_err(candle_core::Error::wrap)?;
        let problem = Problem::on(backend, plan.schedule, plan.grid, plan.scheme);
        let rows = rows.mapv(|value| B::Elem::of(f64::from(value)));
        Ok((problem.shape(shape).data_at(first, rows), score))
    }

    /// Images \[samples, 3, height, width\] in \[0, 1\] of a solution's samples, latents in rows.
    ///
    /// # Errors
    /// [`Error::Setting`] for rows that are not latents of this request's size; [`Error::NotFinite`]; errors of candle.
    pub fn decode(&self, samples: ArrayView2<'_, f32>) -> Result<Array4<f32>> {
        let [channels, height, width] = self.latent_shape(self.size)?;
        if samples.ncols() != channels * height * width {
            let expected = format!("{}, for latents of {channels} x {height} x {width}", channels * height * width);
            return Err(Error::Setting { what: "the length of a row", found: samples.ncols().to_string(), expected });
        }
        let (rows, samples) = (samples.nrows(), samples.as_standard_layout());
        let values = samples.as_slice().unwrap_or(&[]);
        let latents = Tensor::from_slice(values, (rows, channels, height, width), &self.model.device)?;
        let images = self.model.autoencoder.decode(&latents)?;
        check_finite("autoencoder", DType::F32, &images)?;
        let shape = images.dims4()?;
        let values: Vec<f32> = images.flatten_all()?.to_vec1()?;
        Ok(Array4::from_shape_vec(shape, values).map_err(candle_core::Error::wrap)?)
    }

    /// Axes of a latent of an image of this size.
    fn latent_shape(&self, (height, width): (usize, usize)) -> Result<[usize; 3]> {
        let architecture = &self.model.architecture;
        let factor = architecture.autoencoder.factor();
        if height == 0 || width == 0 || height % factor != 0 || width % factor != 0 {
            let expected = format!("positive multiples of {factor}");
            return Err(Error::Setting { what: "the size", found: format!("{height} x {width}"), expected });
        }
        Ok([architecture.unet.in_channels, height / factor, width / factor])
    }

    fn score(&self) -> Result<(Plan, LatentScore)> {
        let mut scheduler = self.model.architecture.scheduler.clone();
        if let Some(class) = &self.scheduler {
            scheduler.class_name.clone_from(class);
        }
        let plan = scheduler.plan(self.steps)?;
        let prompts = self.model.embed(&self.prompts)?;
        let guidance = match self.guidance == 1.0 {
            true => None,
            false => Some((self.model.embed(std::slice::from_ref(&self.negative))?, self.guidance)),
        };
        let (kind, unet) = ((self.model.dtype, &self.model.device), self.model.unet.clone());
        let score = LatentScore::new(plan.prediction, kind, unet, Texts { prompts, guidance }, self.max_rows)?;
        Ok((plan, score))
    }
}
