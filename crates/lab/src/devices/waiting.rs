//! Devices that only wait: what a round costs on hardware that is not there.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// The answers of a network in a run of one sample, by time and in the order in which they were asked for. The same run
/// asks for the same ones, so that devices which only wait can give them without a core to compute them.
#[derive(Debug, Default)]
pub struct Tape(Mutex<HashMap<u64, VecDeque<Vec<f32>>>>);

impl Tape {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, VecDeque<Vec<f32>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.open().clear();
    }
}

/// A network whose answers are recorded.
pub struct Recording<'a> {
    /// The network.
    pub inner: &'a mut dyn ScoreFn<Cpu<f32>>,
    /// Where they go.
    pub tape: Arc<Tape>,
}

impl Model for Recording<'_> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn max_rows(&self) -> Option<usize> {
        self.inner.max_rows()
    }
}

impl ScoreFn<Cpu<f32>> for Recording<'_> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        self.inner.eval(x, rows, out.view_mut())?;
        let mut tape = self.tape.open();
        for (t, row) in rows.t.iter().zip(out.rows()) {
            tape.entry(t.to_bits()).or_default().push_back(row.to_vec());
        }
        Ok(())
    }
}

/// A device: it waits as long as it would compute, and answers from a tape.
#[derive(Debug)]
pub struct Waiting {
    /// The answers.
    pub tape: Arc<Tape>,
    /// What they mean.
    pub prediction: Prediction,
    /// What it stands for.
    pub device: Device,
}

impl Model for Waiting {
    fn prediction(&self) -> Prediction {
        self.prediction
    }
}

impl ScoreFn<Cpu<f32>> for Waiting {
    fn eval(
        &mut self,
        _: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        let clock = Instant::now();
        for (t, mut row) in rows.t.iter().zip(out.rows_mut()) {
            let answer = self.tape.open().get_mut(&t.to_bits()).and_then(VecDeque::pop_front);
            let answer = answer.ok_or("the run asks for what was not recorded")?;
            row.assign(&ArrayView1::from(&answer));
        }
        std::thread::sleep(self.device.time(rows.len()).saturating_sub(clock.elapsed()));
        Ok(())
    }
}
