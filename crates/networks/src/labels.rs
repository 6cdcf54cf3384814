//! Labels of samples, for a network that was trained with them.

use crate::layers::Weights;
use piadm::{BoxError, Rows};

/// The classes of the samples; `None` is no class. The sample with id `i` has entry `i` modulo their number.
#[derive(Clone, Debug)]
pub enum Labels {
    /// For every row of a call.
    Each(Vec<Option<usize>>),
    /// For the first half of the rows of a call; the second half has no class. So `piadm::score::Guided` wants it,
    /// which calls the network with every row twice.
    FirstHalf(Vec<Option<usize>>),
}

/// The vectors that labels add to the embedding of the time, and the labels of the samples.
#[derive(Default)]
pub struct Table {
    /// One for each class and one, the last, for no class. None at all in a network without labels.
    vectors: Vec<Vec<f32>>,
    /// Without: no sample has a class.
    labels: Option<Labels>,
}

impl Table {
    /// Reads the tensor `labels`, whose vectors have `width` values.
    pub fn parse(file: &Weights<'_>, width: usize) -> Result<Self, BoxError> {
        const NAME: &str = "labels.weight";
        let [rows, _] = file.shape(NAME)?;
        let values = file.values(NAME, &[rows, width])?;
        Ok(Table { vectors: values.chunks_exact(width).map(<[f32]>::to_vec).collect(), labels: None })
    }

    /// Gives the samples these labels.
    pub fn set(&mut self, labels: Labels) -> Result<(), BoxError> {
        let (Labels::Each(classes) | Labels::FirstHalf(classes)) = &labels;
        let known = self.vectors.len().saturating_sub(1);
        if known == 0 {
            return Err("the network was trained without labels".into());
        }
        if classes.is_empty() {
            return Err("no labels: expected one for each sample, or some that are repeated".into());
        }
        if let Some(class) = classes.iter().flatten().find(|class| **class >= known) {
            return Err(format!("class {class}: the network knows 0 to {}", known - 1).into());
        }
        self.labels = Some(labels);
        Ok(())
    }

    /// The vector of a row of a call; empty in a network without labels.
    pub fn vector(&self, rows: &Rows<'_>, row: usize) -> &[f32] {
        let class = match &self.labels {
            Some(Labels::Each(classes)) => classes[rows.id[row] as usize % classes.len()],
            Some(Labels::FirstHalf(classes)) if row < rows.len() / 2 => classes[rows.id[row] as usize % classes.len()],
            _ => None,
        };
        class.map_or(self.vectors.last(), |class| self.vectors.get(class)).map_or(&[], Vec::as_slice)
    }
}
