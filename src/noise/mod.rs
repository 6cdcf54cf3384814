//! Addressed noise: every normal is a pure function of a seed and an address, never drawn from a stream.
//!
//! The normal of element `e` of sample `s` in step `m` and stream `j` is made from Philox4x32-10
//! ([`philox4x32_10`]) with
//!
//! ```text
//! key     = (low, high 32 bits of the seed)
//! counter = (e / 4, m, s, j)
//! ```
//!
//! Its four output words give four normals by the Box-Muller transform: words 0 and 1 make elements `4k` and
//! `4k + 1`, words 2 and 3 elements `4k + 2` and `4k + 3`. The first word of a pair is the radius,
//! `u = word 2^-32 + 2^-33`, `r = sqrt(-2 ln u)`; the second is the angle. Logarithm, sine and cosine use only IEEE
//! addition, multiplication and integer operations, so the bits are the same on every machine and on a GPU, and do
//! not depend on batches, windows, blocks, threads or the order of work. `u` is at least 2^-33, so no f32 normal
//! exceeds `sqrt(66 ln 2) = 6.77` in magnitude; of true normals, 1 in 7.4e10 does.
//!
//! ```
//! use piadm::noise::{Address, NoiseKey, stream};
//!
//! let key = NoiseKey::new(42);
//! let address = Address { stream: stream::DYNAMICS, step: 3, sample: 7 };
//! let mut all = [0.0_f32; 100];
//! key.fill_f32(address, 0, &mut all);
//!
//! // Any part can be made again by itself.
//! let mut part = [0.0_f32; 10];
//! key.fill_f32(address, 33, &mut part);
//! assert_eq!(part, all[33..43]);
//! ```

mod normal;
mod philox;
#[cfg(feature = "rand")]
mod rng;
pub mod stream;
mod uniform;

pub use philox::philox4x32_10;
#[cfg(feature = "rand")]
pub use rng::Philox;

/// The first number that is not valid as a stream: the two highest bits of counter word 3 separate single-precision
/// normals, double-precision normals, uniforms and generators.
pub const STREAMS: u32 = 1 << 30;

/// Word 3 of the counter has this bit set for double-precision normals.
const DOUBLE_DOMAIN: u32 = 0x8000_0000;

/// Maximum number of elements in a noise row: 2^33 (or the largest `usize`, if that is smaller). Element indices
/// are below this.
///
/// The fill functions do not check it. Beyond it, [`NoiseKey::fill_f64`] in double precision begins to repeat;
/// single precision does so from twice as many elements.
///
/// ```
/// use piadm::noise::MAX_ELEMENTS;
/// assert!(MAX_ELEMENTS >= u32::MAX as usize);
/// ```
pub const MAX_ELEMENTS: usize = {
    let elements: u64 = 1 << 33;
    if elements > usize::MAX as u64 { usize::MAX } else { elements as usize }
};

/// How many random bits go into a normal that is requested as f64.
///
/// ```
/// use piadm::noise::{NoiseKey, NormalPrecision};
/// let key = NoiseKey::new(1).with_precision(NormalPrecision::Double);
/// assert_eq!(key.precision(), NormalPrecision::Double);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NormalPrecision {
    /// The f32 normal, widened: an f64 run follows the same path as an f32 run, so the two can be compared.
    #[default]
    Single,
    /// All 53 bits. Word 0 of the counter is `element / 2` and word 3 is `stream | 0x8000_0000`, so the four words
    /// of a block give two normals and never coincide with single-precision ones. Words 0 and 1 form the 64-bit
    /// number `w` of the radius (word 0 is the upper half), `u = w 2^-64 + 2^-65`; words 2 and 3 form the angle in
    /// the same way. No normal exceeds `sqrt(130 ln 2) = 9.49` in magnitude.
    Double,
}

/// The address of a row of normals.
///
/// ```
/// use piadm::noise::{Address, NoiseKey, stream};
/// let key = NoiseKey::new(7);
/// let (mut a, mut b) = ([0.0_f64; 3], [0.0_f64; 3]);
/// key.fill_f64(Address { stream: stream::INITIAL, step: 0, sample: 0 }, 0, &mut a);
/// key.fill_f64(Address { stream: stream::INITIAL, step: 0, sample: 1 }, 0, &mut b);
/// assert_ne!(a, b);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct Address {
    /// What the noise is used for, see [`stream`]; below 2^30.
    pub stream: u32,
    /// Index of the step in the full time grid: the step that ends at solution node `m` has index `m`.
    pub step: u32,
    /// The sample's id (not its place in a batch).
    pub sample: u32,
}

/// The seed of a sampling run, and how its f64 normals are made.
///
/// ```
/// use piadm::noise::{NoiseKey, NormalPrecision};
/// let key = NoiseKey::new(2024);
/// assert_eq!(key.seed(), 2024);
/// assert_eq!(key.precision(), NormalPrecision::Single);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NoiseKey {
    seed: u64,
    #[cfg_attr(feature = "serde", serde(default))]
    precision: NormalPrecision,
}

impl NoiseKey {
    /// A key from a seed; all seeds are equally good. The precision is [`NormalPrecision::Single`].
    ///
    /// ```
    /// use piadm::noise::NoiseKey;
    /// assert_eq!(NoiseKey::new(5), NoiseKey::new(5));
    /// ```
    pub const fn new(seed: u64) -> Self {
        NoiseKey { seed, precision: NormalPrecision::Single }
    }

    /// The same seed with another precision of f64 normals.
    ///
    /// ```
    /// use piadm::noise::{NoiseKey, NormalPrecision};
    /// let key = NoiseKey::new(5).with_precision(NormalPrecision::Double);
    /// assert_eq!(key.seed(), 5);
    /// ```
    pub const fn with_precision(self, precision: NormalPrecision) -> Self {
        NoiseKey { precision, ..self }
    }

    /// The seed.
    ///
    /// ```
    /// assert_eq!(piadm::noise::NoiseKey::new(5).seed(), 5);
    /// ```
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How f64 normals are made.
    ///
    /// ```
    /// use piadm::noise::{NoiseKey, NormalPrecision};
    /// assert_eq!(NoiseKey::new(5).precision(), NormalPrecision::Single);
    /// ```
    pub const fn precision(&self) -> NormalPrecision {
        self.precision
    }

    /// Writes the standard normals of elements `first, first + 1, ...` at `address` to `out`.
    ///
    /// The values are single-precision normals, whatever the precision of the key. Never panics: the block number
    /// `element / 4` wraps modulo 2^32, so callers must reject rows with more than [`MAX_ELEMENTS`] elements.
    ///
    /// ```
    /// use piadm::noise::{Address, NoiseKey, stream};
    /// let address = Address { stream: stream::USER, step: 0, sample: 0 };
    /// let mut x = vec![0.0_f32; 10_000];
    /// NoiseKey::new(1).fill_f32(address, 0, &mut x);
    /// let mean = x.iter().sum::<f32>() / 1e4;
    /// assert!(mean.abs() < 0.04);
    /// ```
    pub fn fill_f32(&self, address: Address, first: usize, out: &mut [f32]) {
        let Address { stream, step, sample } = address;
        normal::fill_f32([step, sample, stream], self.words(), first, out);
    }

    /// As [`fill_f32`](Self::fill_f32) in f64, with the key's [`precision`](Self::precision).
    ///
    /// In single precision these are the values of `fill_f32`, widened; in double precision the block number is
    /// `element / 2`, modulo 2^32.
    ///
    /// ```
    /// use piadm::noise::{Address, NoiseKey, stream};
    /// let address = Address { stream: stream::USER, step: 0, sample: 0 };
    /// let (mut single, mut double) = ([0.0_f32; 5], [0.0_f64; 5]);
    /// NoiseKey::new(1).fill_f32(address, 0, &mut single);
    /// NoiseKey::new(1).fill_f64(address, 0, &mut double);
    /// assert_eq!(single.map(f64::from), double);
    /// ```
    pub fn fill_f64(&self, address: Address, first: usize, out: &mut [f64]) {
        let Address { stream, step, sample } = address;
        match self.precision {
            NormalPrecision::Single => {
                normal::fill_widened([step, sample, stream], self.words(), first, out);
            }
            NormalPrecision::Double => {
                let counter = [step, sample, stream | DOUBLE_DOMAIN];
                normal::fill_f64(counter, self.words(), first, out);
            }
        }
    }

    /// The two words of the Philox key.
    fn words(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}
