//! Which rings are free: rings of different lengths share one array of places.

use crate::error::{Result, reserved};

/// A buddy allocator of slots: the size of a block is a power of two, and a block begins at a multiple of its size.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Free blocks of every size 2^k, given by their first slots; the next one to be taken is last.
    free: Vec<Vec<usize>>,
}

impl Lanes {
    /// The slots below `slots`, in blocks of at most 2^`order`.
    pub fn new(slots: usize, order: u32) -> Result<Self> {
        let mut free: Vec<Vec<usize>> = Vec::new();
        free.resize_with(order as usize + 1, Vec::new);
        free[order as usize] = reserved("lanes", slots >> order)?;
        let whole = slots >> order << order;
        let mut end = slots;
        // the remainder at the end, from the smallest block to the largest
        for k in 0..order {
            if end & (1 << k) != 0 {
                end -= 1 << k;
                free[k as usize].push(end);
            }
        }
        free[order as usize].extend((0..whole).step_by(1 << order).rev());
        Ok(Lanes { free })
    }

    /// Reserves memory so that every block can be given back.
    pub fn reserve(&mut self, slots: usize) -> Result<()> {
        for (k, free) in self.free.iter_mut().enumerate() {
            crate::error::reserve("lanes", free, slots >> k)?;
        }
        Ok(())
    }

    /// Restores the initial order once all blocks have been given back, so that they are taken as the first time.
    pub fn restart(&mut self) {
        for free in &mut self.free {
            free.sort_unstable_by_key(|first| std::cmp::Reverse(*first));
        }
    }

    /// Takes a block of 2^`order` slots.
    pub fn take(&mut self, order: u32) -> Option<usize> {
        let order = order as usize;
        let from = (order..self.free.len()).find(|k| !self.free[*k].is_empty())?;
        let first = self.free[from].pop()?;
        // the upper halves stay free
        for k in order..from {
            self.free[k].push(first + (1 << k));
        }
        Some(first)
    }

    /// Gives a block back and merges it with its other half, repeatedly, while that half is free.
    pub fn give(&mut self, mut first: usize, order: u32) {
        let mut k = order as usize;
        while k + 1 < self.free.len()
            && let Some(i) = self.free[k].iter().position(|other| *other == first ^ (1 << k))
        {
            self.free[k].swap_remove(i);
            first &= !(1 << k);
            k += 1;
        }
        self.free[k].push(first);
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Random takes and gives: blocks never overlap, are in range and aligned; after all are given back, the whole
    /// can be taken again.
    #[test]
    fn blocks_are_apart() {
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..200 {
            let (slots, order) = (rng.random_range(1..200usize), rng.random_range(0..6u32));
            let mut lanes = Lanes::new(slots, order).unwrap();
            let mut owner = vec![None; slots];
            let mut taken: Vec<(usize, u32)> = Vec::new();
            for id in 0..300 {
                if rng.random_bool(0.6) {
                    let k = rng.random_range(0..=order);
                    let Some(first) = lanes.take(k) else { continue };
                    assert_eq!(first % (1 << k), 0);
                    for slot in &mut owner[first..first + (1 << k)] {
                        assert_eq!(slot.replace(id), None);
                    }
                    taken.push((first, k));
                } else if !taken.is_empty() {
                    let (first, k) = taken.swap_remove(rng.random_range(0..taken.len()));
                    owner[first..first + (1 << k)].fill(None);
                    lanes.give(first, k);
                }
            }
            for (first, k) in taken {
                lanes.give(first, k);
            }
            let whole = (0..).take_while(|_| lanes.take(order).is_some()).count();
            assert_eq!(whole, slots >> order);
        }
    }

    /// Blocks of decreasing size fill all slots.
    #[test]
    fn falling_sizes_leave_no_gap() {
        let sizes = [3u32, 3, 2, 1, 1, 1, 0];
        let slots = sizes.iter().map(|k| 1usize << k).sum();
        let mut lanes = Lanes::new(slots, 3).unwrap();
        assert!(sizes.iter().all(|k| lanes.take(*k).is_some()));
        assert!(lanes.take(0).is_none());
    }
}
