//! Linear combinations of the rows of views.

use super::device::{Device, launch};
use super::staging::Part;
use super::{Cuda, DeviceElem, DeviceRows, DeviceRowsMut, ROW_THREADS, blocks_of_row};
use crate::backend::combine::{MOST_SUMMANDS, check_combination};
use crate::backend::{Limit, Summand};
use crate::error::Result;

/// As in the kernel's source.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct SummandWord {
    /// 0 for what the output holds before.
    rows: u64,
    by: u64,
    /// 0 where one coefficient is that of all rows, else 1.
    step: u64,
}

/// As in the kernel's source: its only argument.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct CombinationWord {
    summands: [SummandWord; MOST_SUMMANDS],
    count: u64,
    x: u64,
    /// 0 without a limit.
    map: u64,
    map_step: u64,
    low: f64,
    high: f64,
    out: u64,
    dim: u64,
    blocks: u64,
}

pub(super) fn combine<T: DeviceElem>(
    device: &Device,
    summands: &[Summand<'_, DeviceRows<'_, T>>],
    limit: Option<Limit<'_, DeviceRows<'_, T>>>,
    mut out: DeviceRowsMut<'_, T>,
) -> Result<()> {
    check_combination::<Cuda<T>>(summands, limit.as_ref(), [out.rows, out.dim])?;
    let views = summands.iter().filter_map(|s| s.rows).chain(limit.as_ref().map(|l| l.x));
    for view in views {
        device.owns(view.stream())?;
    }
    device.owns(out.stream())?;
    let (blocks, step) = (blocks_of_row(out.dim, ROW_THREADS), |len: usize| u64::from(len > 1));
    let by = |k: usize| Part::of(summands.get(k).map_or(&[][..], |s| s.by));
    let mut queue = device.queue()?;
    let [by @ .., map] =
        queue.stage([by(0), by(1), by(2), by(3), Part::of(limit.as_ref().map_or(&[][..], |l| l.map))])?;
    let mut words = [SummandWord::default(); MOST_SUMMANDS];
    for ((word, summand), by) in words.iter_mut().zip(summands).zip(by) {
        *word = SummandWord { rows: summand.rows.map_or(0, |v| v.address()), by, step: step(summand.by.len()) };
    }
    let word = CombinationWord {
        summands: words,
        count: summands.len() as u64,
        x: limit.as_ref().map_or(0, |l| l.x.address()),
        map: limit.as_ref().map_or(0, |_| map),
        map_step: limit.as_ref().map_or(0, |l| step(l.map.len())),
        low: limit.as_ref().map_or(0.0, |l| l.low),
        high: limit.as_ref().map_or(0.0, |l| l.high),
        out: out.address(),
        dim: out.dim as u64,
        blocks: blocks as u64,
    };
    // SAFETY: all views have the output's shape; there is a coefficient and a pair for every row, or one for all.
    unsafe { launch!(device, &device.kernels.combine, out.rows * blocks, ROW_THREADS, word) }
}
