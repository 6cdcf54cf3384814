//! Where a property begins on a line of integers.

use std::ops::RangeInclusive;

/// The first k of `range` that is `good`, `None` where there is none, for a property that holds from some k on.
///
/// Goes from `guess` towards the boundary in doubling steps and then halves what is left. Where the property comes and
/// goes, k is good and k - 1 is not, but an earlier k may be good too.
pub fn first_good<E>(
    range: RangeInclusive<i32>,
    guess: i32,
    mut good: impl FnMut(i32) -> Result<bool, E>,
) -> Result<Option<i32>, E> {
    // k <= bad is known not to be good and k >= fine is known to be, both by convention outside of the range
    let (start, end) = (*range.start(), *range.end());
    let (mut bad, mut fine) = (start - 1, end + 1);
    let mut step = 1;
    let mut k = guess.clamp(start, end.max(start));
    while fine - bad > 1 {
        if good(k)? {
            fine = k;
        } else {
            bad = k;
        }
        k = match (bad < start, fine > end) {
            (true, false) if fine - step > bad => fine - step,
            (false, true) if bad + step < fine => bad + step,
            _ => bad + (fine - bad) / 2,
        };
        step *= 2;
    }
    Ok((fine <= end).then_some(fine))
}
