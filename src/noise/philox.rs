//! Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
//! as 1, 2, 3" (SC 2011).

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: a keyed bijection of 128-bit counters whose outputs pass as random.
///
/// Each of ten rounds maps the words `(c0, c1, c2, c3)` to
/// `(hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0))` with 64-bit products, and between rounds the
/// key words advance by Weyl constants. The values are those of Random123 and cuRAND.
///
/// ```
/// use piadm::noise::philox4x32_10;
/// assert_eq!(
///     philox4x32_10([0; 4], [0; 2]),
///     [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
/// );
/// ```
#[inline]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    lanes::<1>(counter, key).map(|[word]| word)
}

/// Philox of `N` neighbouring counters as structure of arrays: lane `i` has `counter[0] + i` (wrapping) as word 0.
///
/// A word is the lower half of a 64-bit lane. Vector units multiply lower halves into 64 bits in place, so the
/// rounds move nothing between lanes. The upper halves hold leftovers of products and never reach a lower half.
#[inline(always)]
pub(crate) fn lanes<const N: usize>(counter: [u32; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    const LOW: u64 = 0xffff_ffff;
    let mut c = [[0; N]; 4];
    let [c0, c1, c2, c3] = &mut c;
    for i in 0..N {
        c0[i] = u64::from(counter[0].wrapping_add(i as u32));
        c1[i] = u64::from(counter[1]);
        c2[i] = u64::from(counter[2]);
        c3[i] = u64::from(counter[3]);
    }
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let [c0, c1, c2, c3] = c;
        for i in 0..N {
            let p0 = u64::from(MULTIPLIERS[0]) * (c0[i] & LOW);
            let p1 = u64::from(MULTIPLIERS[1]) * (c2[i] & LOW);
            c[0][i] = (p1 >> 32) ^ c1[i] ^ u64::from(k0);
            c[1][i] = p1;
            c[2][i] = (p0 >> 32) ^ c3[i] ^ u64::from(k1);
            c[3][i] = p0;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    // A loop, since `map` on arrays is not always inlined.
    let mut words = [[0; N]; 4];
    for (words, c) in words.iter_mut().zip(&c) {
        for i in 0..N {
            words[i] = c[i] as u32;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three known answers published with Random123.
    #[test]
    fn random123_known_answers() {
        let all = u32::MAX;
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32_10([all; 4], [all; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox4x32_10([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn lanes_are_neighbouring_counters() {
        let (counter, key) = ([u32::MAX - 2, 7, 8, 9], [10, 11]);
        let words = lanes::<8>(counter, key);
        for i in 0..8 {
            let one = [counter[0].wrapping_add(i), counter[1], counter[2], counter[3]];
            assert_eq!(philox4x32_10(one, key), words.map(|word| word[i as usize]));
        }
    }
}
