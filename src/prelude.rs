//! What most programs need: `use piadm::prelude::*`.

pub use crate::backend::{Backend, Cpu};
pub use crate::grid::{Grid, Spacing};
pub use crate::nodes::{Scheme, Window};
pub use crate::problem::{Problem, Report, Save, Solution};
pub use crate::sampler::{Acceptance, Automatic, Piadm, Picard, Sampler, Sequential};
pub use crate::schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};
pub use crate::score::{Model, Prediction, Rows, ScoreFn, score_fn, score_images, score_map, score_rows};
