//! How the weights of a linear map lie in memory.
//!
//! The outputs are cut into groups of two vector registers, the panels, and a panel's weights are stored input after
//! input: a product reads them as one stream.

use pulp::{Arch, Simd, WithSimd};

/// Bytes of a cache line: panels start on one.
const LINE: usize = 64;

/// The weights of a panel.
pub trait Panel<S: Simd>: Copy {
    /// Those of an input.
    fn weights(self, simd: S, input: usize) -> [S::f32s; 2];
}

impl<S: Simd> Panel<S> for &[[S::f32s; 2]] {
    #[inline(always)]
    fn weights(self, _: S, input: usize) -> [S::f32s; 2] {
        self[input]
    }
}

/// Panels of f32, with the bias.
pub struct Panels {
    inputs: usize,
    /// Outputs of a panel: two vector registers.
    width: usize,
    /// The panels, from `start` on, the last one filled up with zeros.
    weight: Vec<f32>,
    start: usize,
    /// Filled up with zeros to whole panels.
    bias: Vec<f32>,
}

impl Panels {
    /// From a row-major `weight` of `bias.len()` x `inputs` values, neither of them zero.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        let width = 2 * Arch::new().dispatch(Lanes);
        let padded = bias.len().next_multiple_of(width);
        let mut stored = vec![0.0; padded * inputs + LINE / 4];
        let offset = stored.as_ptr().align_offset(LINE);
        // A pointer may refuse to be aligned; any start is right, this one is only faster.
        let start = if offset < LINE / 4 { offset } else { 0 };
        for (j, row) in weight.chunks_exact(inputs).enumerate() {
            let first = start + (j / width) * width * inputs + j % width;
            for (w, place) in row.iter().zip(stored[first..].iter_mut().step_by(width)) {
                *place = *w;
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(padded, 0.0);
        Panels { inputs, width, weight: stored, start, bias }
    }

    /// Outputs of a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bias of a panel.
    #[inline(always)]
    pub fn bias<S: Simd>(&self, panel: usize) -> [S::f32s; 2] {
        S::as_simd_f32s(&self.bias[panel * self.width..]).0.as_chunks::<2>().0[0]
    }

    /// The weights of a panel: two registers for every input.
    #[inline(always)]
    pub fn panel<S: Simd>(&self, panel: usize) -> &[[S::f32s; 2]] {
        let size = self.width * self.inputs;
        let weights = &self.weight[self.start + panel * size..][..size];
        &S::as_simd_f32s(weights).0.as_chunks::<2>().0[..self.inputs]
    }
}

/// Values of a vector register of this processor.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F32_LANES
    }
}

pub use half_precision::HalfPanels;

#[cfg(target_arch = "x86_64")]
mod half_precision {
    use super::Panel;
    use pulp::{bytemuck::cast, f32x16, x86::V4};

    /// The weights of an input: two registers of 16. They fill a cache line.
    #[derive(Clone, Copy)]
    #[repr(align(64))]
    pub struct Line([[u16; 16]; 2]);

    /// The weights of the same panels in half precision. There are some on processors that widen 16 values at once, if
    /// no weight needs more than half precision: then the widened weights are the weights, and products have the same
    /// bits.
    pub struct HalfPanels {
        simd: V4,
        inputs: usize,
        lines: Vec<Line>,
    }

    impl HalfPanels {
        /// From a row-major `weight` with rows of `inputs` values.
        pub fn new(weight: &[f32], inputs: usize) -> Option<Self> {
            let simd = V4::try_new()?;
            let mut lines = vec![Line([[0; 16]; 2]); (weight.len() / inputs).div_ceil(32) * inputs];
            for (j, row) in weight.chunks_exact(inputs).enumerate() {
                for (w, line) in row.iter().zip(&mut lines[j / 32 * inputs..]) {
                    let rounded = half::f16::from_f32(*w);
                    if rounded.to_f32().to_bits() != w.to_bits() {
                        return None;
                    }
                    line.0[j / 16 % 2][j % 16] = rounded.to_bits();
                }
            }
            Some(HalfPanels { simd, inputs, lines })
        }

        /// What the processor can do.
        pub fn simd(&self) -> V4 {
            self.simd
        }

        /// The weights of a panel.
        #[inline(always)]
        pub fn panel(&self, panel: usize) -> &[Line] {
            &self.lines[panel * self.inputs..][..self.inputs]
        }
    }

    impl Panel<V4> for &[Line] {
        #[inline(always)]
        fn weights(self, simd: V4, input: usize) -> [f32x16; 2] {
            let [low, high] = self[input].0;
            // no closure: one that the compiler leaves out of line loses the vector instructions
            [cast(simd.avx512f._mm512_cvtph_ps(cast(low))), cast(simd.avx512f._mm512_cvtph_ps(cast(high)))]
        }
    }
}

/// Where no instruction widens them, there are none.
#[cfg(not(target_arch = "x86_64"))]
mod half_precision {
    use pulp::Scalar;

    pub enum HalfPanels {}

    impl HalfPanels {
        pub fn new(_weight: &[f32], _inputs: usize) -> Option<Self> {
            None
        }

        pub fn simd(&self) -> Scalar {
            match *self {}
        }

        pub fn panel(&self, _panel: usize) -> &[[f32; 2]] {
            match *self {}
        }
    }
}
