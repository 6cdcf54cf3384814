//! Devices that only wait: what a round costs on hardware that is not there.

use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
use std::time::{Duration, Instant};

/// The cost of a call on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// Time of one row; rows take their time one after another.
    pub row: Duration,
    /// Time of a call before and after its rows, whatever they are.
    pub latency: Duration,
    /// Bytes of a row that travel, there and back.
    pub bytes: usize,
    /// Bytes per second of the link.
    pub bandwidth: f64,
}

impl Device {
    /// Time of a call with so many rows.
    pub fn time(&self, rows: usize) -> Duration {
        self.row * rows as u32
            + self.latency
            + Duration::from_secs_f64(rows as f64 * self.bytes as f64 / self.bandwidth)
    }
}

/// A network that answers when a device would: the rest of the time its thread waits, and needs no core.
#[derive(Debug)]
pub struct Waiting<S> {
    /// The network.
    pub inner: S,
    /// What it stands for.
    pub device: Device,
}

impl<S: Model> Model for Waiting<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }
}

impl<S: ScoreFn<Cpu<f32>>> ScoreFn<Cpu<f32>> for Waiting<S> {
    fn eval(&mut self, x: ArrayView2<'_, f32>, rows: &Rows<'_>, out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
        let clock = Instant::now();
        self.inner.eval(x, rows, out)?;
        std::thread::sleep(self.device.time(rows.len()).saturating_sub(clock.elapsed()));
        Ok(())
    }
}
