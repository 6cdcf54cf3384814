use crate::noise::{Address, NoiseKey};
use std::fmt::{Debug, Display};

/// An element type a backend computes in: `f32` or `f64`.
///
/// ```
/// use piadm::backend::Real;
/// assert_eq!(f32::of(0.1), 0.1f32);
/// assert!(!0.0f64.same_bits(-0.0));
/// ```
pub trait Real:
    num_traits::Float + num_traits::NumAssign + bytemuck::Zeroable + Debug + Display + Default + Send + Sync + 'static
{
    /// The value of this type nearest to `x`.
    fn of(x: f64) -> Self;
    /// The value as f64, without loss.
    fn wide(self) -> f64;
    /// Whether both have the same bits; unlike `==` this distinguishes -0 from +0.
    fn same_bits(self, other: Self) -> bool;
    /// Writes addressed standard normals; see [`NoiseKey`].
    #[doc(hidden)]
    fn fill_normals(key: NoiseKey, address: Address, first: usize, out: &mut [Self]);
}

impl Real for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
    fn same_bits(self, other: Self) -> bool {
        self.to_bits() == other.to_bits()
    }
    fn fill_normals(key: NoiseKey, address: Address, first: usize, out: &mut [Self]) {
        key.fill_f32(address, first, out);
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn wide(self) -> f64 {
        self
    }
    fn same_bits(self, other: Self) -> bool {
        self.to_bits() == other.to_bits()
    }
    fn fill_normals(key: NoiseKey, address: Address, first: usize, out: &mut [Self]) {
        key.fill_f64(address, first, out);
    }
}
