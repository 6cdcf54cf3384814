//! A graph as a score.

use crate::engine::{Fill, Graph, Numbers, Read};
use crate::roles::{Role, Roles, Table};
use crate::{Condition, Error, Onnx, Port, TimeInput};
use piadm::backend::Real;
use piadm::ndarray::{ArrayView2, ArrayViewMut2};
use piadm::score::Guided;
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
use std::fmt::{Debug, Formatter};
use std::ops::Range;

/// A denoiser in ONNX as a score of `Cpu<f32>` and `Cpu<f64>`; [`Onnx::load`] makes it.
///
/// States and outputs are converted to and from the numbers of the graph.
pub struct OnnxScore {
    prediction: Prediction,
    max_rows: Option<usize>,
    time_range: Option<(f64, f64)>,
    time: TimeInput,
    inputs: Vec<Port>,
    roles: Roles,
    graph: Graph,
    guided: bool,
}

impl Debug for OnnxScore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "OnnxScore {{ {:?} of {:?}, {} }}", self.prediction, self.shape(), crate::port::list(&self.inputs))
    }
}

impl OnnxScore {
    pub(crate) fn load(onnx: &Onnx, prediction: Prediction) -> Result<Self, Error> {
        for (setting, value) in [("threads", onnx.threads), ("max_rows", onnx.max_rows)] {
            if value == Some(0) {
                return Err(Error::Setting { setting, value: "0".into(), expected: "at least 1".into() });
            }
        }
        let read = Read::new(onnx)?;
        let [inputs, outputs] = read.ports();
        let (roles, inputs) = (Roles::new(onnx, inputs, outputs)?, inputs.to_vec());
        let graph = read.prepare(roles.forms.clone())?;
        let Onnx { max_rows, time_range, time_input: time, .. } = *onnx;
        Ok(OnnxScore { prediction, max_rows, time_range, time, inputs, roles, graph, guided: false })
    }

    /// The graph's inputs.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The shape of a sample.
    pub fn shape(&self) -> &[usize] {
        &self.roles.sample
    }

    /// Rows of every call to the engine, where they are fixed.
    pub fn batch(&self) -> Option<usize> {
        self.roles.forms.batch
    }

    /// Replaces the condition of an input, by one with rows of the same shape.
    ///
    /// # Errors
    /// [`Error::Name`] if the input has none, [`Error::Shape`] if the shape is another.
    pub fn set_condition(&mut self, input: &str, condition: impl Into<Condition>) -> Result<(), Error> {
        let condition = condition.into();
        for ((role, port), form) in self.roles.roles.iter_mut().zip(&self.inputs).zip(&self.roles.forms.inputs) {
            let Role::Condition(table) = role else { continue };
            if table.name != input {
                continue;
            }
            if condition.row_len() != form.len() || condition.by_slot && !form.per_row {
                let expected = format!("a condition with rows of shape {:?}, as the first one's", form.shape);
                return Err(Error::Shape { port: port.clone(), expected });
            }
            *table = Table::new(port, &condition, form)?;
            return Ok(());
        }
        Err(Error::Name { what: "input with a condition", name: input.into(), there: self.inputs.clone() })
    }

    /// Classifier-free guidance of this scale: every row is evaluated with its conditions and with what stands for no
    /// class, in one call ([`Guided`]).
    ///
    /// # Errors
    /// [`Error::Setting`] if no condition says what stands for no class ([`Condition::no_class`]), or if the scale is
    /// not finite.
    pub fn guided(mut self, scale: f64) -> Result<Guided<Self>, Error> {
        let known = |role: &Role| matches!(role, Role::Condition(Table { no_class: Some(_), .. }));
        let wrong =
            |expected: &str| Error::Setting { setting: "guided", value: scale.to_string(), expected: expected.into() };
        if !self.roles.roles.iter().any(known) {
            return Err(wrong("a condition with Condition::no_class"));
        }
        self.guided = true;
        Guided::new(self, scale).map_err(|_| wrong("a finite scale"))
    }

    /// Runs the rows of a call; the engine may ask for more rows, which are copies of the last.
    fn run<T: Real>(&mut self, x: &ArrayView2<'_, T>, known: &Rows<'_>, out: &mut [T]) -> Result<(), Error> {
        let (roles, forms, time) = (&self.roles.roles, &self.roles.forms.inputs, self.time);
        let conditional = if self.guided { known.len() / 2 } else { known.len() };
        let fill = |i: usize, range: Range<usize>, mut numbers: Numbers<'_>| -> Result<(), Error> {
            let (form, len) = (&forms[i], forms[i].len());
            // an input without rows is written once
            let range = if form.per_row { range } else { range.start..range.start + 1 };
            for (place, row) in range.enumerate() {
                let (at, row) = (place * len, row.min(known.len() - 1));
                match &roles[i] {
                    Role::State => match x.row(row).to_slice() {
                        Some(x) => numbers.set(at, x.iter().map(|x| x.wide())),
                        None => numbers.set(at, x.row(row).iter().map(|x| x.wide())),
                    },
                    Role::Time => {
                        let value = time.of(known.t[row], known.alpha[row], known.sigma[row])?;
                        numbers.set(at, std::iter::once(value));
                    }
                    Role::Condition(table) => {
                        let values = table.row(known.slot[row], row >= conditional, len)?;
                        numbers.set(at, values.iter().copied());
                    }
                }
            }
            Ok(())
        };
        let fill: &Fill<'_> = &fill;
        self.graph.run(known.len(), fill, out)
    }
}

impl TimeInput {
    /// The number for a row.
    fn of(&self, t: f64, alpha: f64, sigma: f64) -> Result<f64, Error> {
        let value = self.scale * self.what.of(t, alpha, sigma) + self.offset;
        value.is_finite().then_some(value).ok_or(Error::Time { what: self.what, value, t })
    }
}

impl Table {
    /// What a row gets.
    fn row(&self, slot: usize, no_class: bool, len: usize) -> Result<&[f64], Error> {
        match (&self.no_class, self.rows) {
            (Some(none), _) if no_class => Ok(none),
            (_, None) => Ok(&self.values),
            (_, Some(rows)) => {
                let missing = || Error::Slot { name: self.name.clone(), rows, slot };
                (slot < rows).then(|| &self.values[slot * len..(slot + 1) * len]).ok_or_else(missing)
            }
        }
    }
}

impl Model for OnnxScore {
    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn max_rows(&self) -> Option<usize> {
        self.max_rows
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.time_range
    }

    fn evaluations(&self, rows: usize) -> usize {
        self.batch().map_or(rows, |batch| rows.div_ceil(batch).saturating_mul(batch))
    }

    fn grain(&self) -> usize {
        self.batch().unwrap_or(1)
    }
}

impl<T: Real> ScoreFn<Cpu<T>> for OnnxScore {
    fn eval(&mut self, x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>) -> Result<(), BoxError> {
        let (count, dim) = (rows.len(), self.shape().iter().product::<usize>());
        for found in [x.shape(), out.shape()] {
            if *found != [count, dim] {
                let (expected, shape) = ([count, dim], self.shape().to_vec());
                return Err(Error::Call { found: [found[0], found[1]], expected, shape }.into());
            }
        }
        if count == 0 {
            return Ok(());
        }
        // the sampler's arrays are contiguous
        let mut own = Vec::new();
        let is_contiguous = out.is_standard_layout();
        let answers = match out.as_slice_mut() {
            Some(answers) => answers,
            None => {
                own.resize(count * dim, T::default());
                &mut own[..]
            }
        };
        self.run(&x, rows, answers)?;
        if !is_contiguous {
            out.assign(&ArrayView2::from_shape((count, dim), &own)?);
        }
        Ok(())
    }
}
