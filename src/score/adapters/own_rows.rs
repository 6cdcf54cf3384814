//! What is known of rows that an adapter puts together itself.

use crate::noise::{Address, NoiseKey};
use crate::score::{Destinations, Rows};

/// Copies of some rows of a call, in any order, kept from call to call.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnRows {
    t: Vec<f64>,
    alpha: Vec<f64>,
    sigma: Vec<f64>,
    id: Vec<u32>,
    slot: Vec<usize>,
    to_t: Vec<f64>,
    to_alpha: Vec<f64>,
    to_sigma: Vec<f64>,
    address: Vec<Address>,
    key: Vec<NoiseKey>,
}

impl OwnRows {
    /// The rows with these numbers, in this order.
    pub fn of<'a>(&'a mut self, rows: &Rows<'a>, which: impl Iterator<Item = usize> + Clone) -> Rows<'a> {
        fn fill<T: Copy>(from: &[T], which: impl Iterator<Item = usize>, to: &mut Vec<T>) {
            to.clear();
            // kernels know where rows lead, networks do not
            if !from.is_empty() {
                to.extend(which.map(|row| from[row]));
            }
        }
        fill(rows.t, which.clone(), &mut self.t);
        fill(rows.alpha, which.clone(), &mut self.alpha);
        fill(rows.sigma, which.clone(), &mut self.sigma);
        fill(rows.id, which.clone(), &mut self.id);
        fill(rows.slot, which.clone(), &mut self.slot);
        fill(rows.to.t, which.clone(), &mut self.to_t);
        fill(rows.to.alpha, which.clone(), &mut self.to_alpha);
        fill(rows.to.sigma, which.clone(), &mut self.to_sigma);
        fill(rows.to.address, which.clone(), &mut self.address);
        fill(rows.to.key, which, &mut self.key);
        let OwnRows { t, alpha, sigma, id, slot, to_t, to_alpha, to_sigma, address, key } = self;
        let to = Destinations { t: to_t, alpha: to_alpha, sigma: to_sigma, address, key };
        Rows { t, alpha, sigma, id, slot, to, ..*rows }
    }
}
