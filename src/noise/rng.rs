//! Philox as a generator for the crates of the rand 0.9 family.

use super::philox::philox4x32_10;
use rand_core::{RngCore, SeedableRng, impls};

/// Word 3 of the counter has this bit set for generators.
const GENERATOR_DOMAIN: u32 = 0x4000_0000;
/// A generator has 2^96 blocks of 4 words.
const POSITIONS: u128 = 1 << 98;

/// Philox4x32-10 as a [`rand_core`] 0.9 generator, for code that draws numbers in sequence instead of addressing
/// them.
///
/// Block `b` (96 bits) of stream `j` is [`philox4x32_10`] of the counter `(b, b >> 32, b >> 64, j | 0x4000_0000)`
/// with the key `(low, high 32 bits of the seed)`. The bit in the last word separates it from the normals of a
/// [`NoiseKey`](super::NoiseKey) with the same seed. The period is 2^98 words, streams below 2^30 are distinct, and
/// jumping to a position takes constant time. 64-bit numbers take two words, the lower half first. Not for
/// cryptography.
///
/// ```
/// use piadm::noise::Philox;
/// use rand::Rng;
///
/// let mut rng = Philox::new(42, 0);
/// let die = rng.random_range(1..=6);
/// assert!((1..=6).contains(&die));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
    stream: u32,
    /// Index of the next word.
    position: u128,
    /// The block that contains `position`.
    block: [u32; 4],
}

impl Philox {
    /// The generator of a seed and a stream, at position 0.
    ///
    /// ```
    /// use piadm::noise::Philox;
    /// use rand::RngCore;
    /// assert_ne!(Philox::new(1, 0).next_u64(), Philox::new(1, 1).next_u64());
    /// ```
    pub fn new(seed: u64, stream: u32) -> Self {
        let mut rng = Philox {
            key: [seed as u32, (seed >> 32) as u32],
            stream: stream | GENERATOR_DOMAIN,
            position: 0,
            block: [0; 4],
        };
        rng.set_position(0);
        rng
    }

    /// How many 32-bit words have been drawn, modulo 2^98.
    ///
    /// ```
    /// use piadm::noise::Philox;
    /// use rand::RngCore;
    /// let mut rng = Philox::new(1, 0);
    /// rng.next_u64();
    /// assert_eq!(rng.position(), 2);
    /// ```
    pub fn position(&self) -> u128 {
        self.position
    }

    /// Jumps to the state after `position` drawn words (modulo 2^98), at the cost of one block.
    ///
    /// ```
    /// use piadm::noise::Philox;
    /// use rand::RngCore;
    /// let (mut a, mut b) = (Philox::new(1, 0), Philox::new(1, 0));
    /// for _ in 0..1000 {
    ///     a.next_u32();
    /// }
    /// b.set_position(1000);
    /// assert_eq!(a, b);
    /// ```
    pub fn set_position(&mut self, position: u128) {
        self.position = position % POSITIONS;
        let block = self.position / 4;
        let counter = [block as u32, (block >> 32) as u32, (block >> 64) as u32, self.stream];
        self.block = philox4x32_10(counter, self.key);
    }
}

impl RngCore for Philox {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        let place = (self.position % 4) as usize;
        let word = self.block[place];
        if place == 3 {
            self.set_position(self.position + 1);
        } else {
            self.position += 1;
        }
        word
    }

    #[inline]
    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_u32(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        impls::fill_bytes_via_next(self, bytes);
    }
}

/// The seed is the 64-bit number of [`Philox::new`] in little-endian order; the stream is 0.
impl SeedableRng for Philox {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        Philox::new(u64::from_le_bytes(seed), 0)
    }

    /// The same as [`Philox::new`] with stream 0. All keys are equally good, so the number is not mixed first.
    fn seed_from_u64(seed: u64) -> Self {
        Philox::new(seed, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_counter() {
        let mut rng = Philox::new(0x0123_4567_89ab_cdef, 5);
        for block in 0..9 {
            let counter = [block, 0, 0, 0x4000_0005];
            for word in philox4x32_10(counter, [0x89ab_cdef, 0x0123_4567]) {
                assert_eq!(rng.next_u32(), word);
            }
        }
    }

    #[test]
    fn values_do_not_change() {
        let mut rng = Philox::seed_from_u64(1);
        let words: [u32; 6] = std::array::from_fn(|_| rng.next_u32());
        let expected = [0xcb796ef2, 0xe4518572, 0xbad6697a, 0x38957bde, 0xf00309f3, 0x2161fe27];
        assert_eq!(words, expected);
    }

    #[test]
    fn halves_and_bytes_follow_the_words() {
        let mut words = Philox::new(3, 4);
        let mut wide = words.clone();
        let mut bytes = words.clone();
        words.next_u32();
        wide.next_u32();
        bytes.next_u32();
        let mut eight = [0; 8];
        bytes.fill_bytes(&mut eight);
        let number = wide.next_u64();
        assert_eq!(number as u32, words.next_u32());
        assert_eq!((number >> 32) as u32, words.next_u32());
        assert_eq!(eight, number.to_le_bytes());
    }

    #[test]
    fn positions_reach_every_counter_word_and_wrap() {
        let mut rng = Philox::new(9, 2);
        let block = (5_u128 << 64) | (6 << 32) | 7;
        rng.set_position(4 * block + 2);
        let words = philox4x32_10([7, 6, 5, 0x4000_0002], [9, 0]);
        assert_eq!([rng.next_u32(), rng.next_u32()], words[2..]);
        rng.set_position(u128::MAX);
        assert_eq!(rng.position(), POSITIONS - 1);
        rng.next_u32();
        assert_eq!(rng, Philox::new(9, 2));
    }
}
