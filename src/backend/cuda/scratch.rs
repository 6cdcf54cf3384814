//! What operations keep from round to round.

use super::encode::{ChangeWord, PairWord, VectorWord, Words};
use super::staging::Buffer;

/// Working memory of [`Backend::run`](crate::Backend::run) and [`Backend::products`](crate::Backend::products).
#[doc(hidden)]
#[derive(Debug)]
pub struct CudaScratch<T> {
    pub(crate) words: Words<T>,
    pub(crate) vectors: Vec<VectorWord>,
    pub(crate) pairs: Vec<PairWord>,
    pub(crate) changes: Vec<ChangeWord>,
    pub(crate) sums: Buffer<T>,
    pub(crate) flags: Buffer<u32>,
    pub(crate) answers: Buffer<f64>,
}

impl<T> Default for CudaScratch<T> {
    fn default() -> Self {
        CudaScratch {
            words: Words::default(),
            vectors: Vec::new(),
            pairs: Vec::new(),
            changes: Vec::new(),
            sums: Buffer::default(),
            flags: Buffer::default(),
            answers: Buffer::default(),
        }
    }
}
