//! A Python callable as a score.

use crate::errors::{Raised, input};
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use piadm::backend::Real;
use piadm::ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PySlice, PyTuple};

/// Numbers that the crate computes with and NumPy has.
pub trait Number: Real + Element {
    /// NumPy's name.
    const NAME: &'static str;
}

impl Number for f32 {
    const NAME: &'static str = "float32";
}

impl Number for f64 {
    const NAME: &'static str = "float64";
}

/// What is known of the network.
#[derive(Clone, Copy, Debug)]
pub struct Properties {
    pub prediction: Prediction,
    pub takes_rows: bool,
    pub max_rows: Option<usize>,
    pub time_range: Option<(f64, f64)>,
}

/// A callable `network(x, t)` or `network(x, t, rows=rows)`.
pub struct Network<T> {
    call: Py<PyAny>,
    properties: Properties,
    /// Memory of the states that the callable is shown. It belongs to NumPy. It is written again only if nobody else
    /// refers to it: an array that the callable keeps, or a view or a tensor made of it, holds such a reference.
    states: Option<Py<PyArray1<T>>>,
    raised: Raised,
}

impl<T: Number> Network<T> {
    pub fn new(call: Py<PyAny>, properties: Properties, raised: Raised) -> Self {
        Network { call, properties, states: None, raised }
    }

    /// The states as an array of NumPy, \[rows, shape of a sample\].
    fn show<'py>(&mut self, py: Python<'py>, x: ArrayView2<'_, T>, rows: &Rows<'_>) -> PyResult<Bound<'py, PyAny>> {
        let contiguous = x.as_standard_layout();
        let values = contiguous.as_slice().unwrap_or(&[]);
        let fits = |states: &Py<PyArray1<T>>| is_unshared(py, states) && states.bind(py).len() >= values.len();
        let states = match self.states.take().filter(fits) {
            Some(states) => states.into_bound(py),
            None => PyArray1::zeros(py, values.len(), false),
        };
        let mut target = states.try_readwrite()?;
        if let Some(target) = target.as_slice_mut()?.get_mut(..values.len()) {
            target.copy_from_slice(values);
        }
        drop(target);
        let shape = PyTuple::new(py, axes(x, rows))?;
        let seen = states.get_item(PySlice::new(py, 0, values.len() as isize, 1))?;
        let seen = seen.call_method1("reshape", (shape,))?;
        self.states = Some(states.unbind());
        Ok(seen)
    }

    fn call(
        &mut self,
        py: Python<'_>,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> PyResult<()> {
        // a callable that never runs Python code would leave Ctrl-C unseen
        py.check_signals()?;
        let states = self.show(py, x, rows)?;
        let t = PyArray1::from_slice(py, rows.t);
        let output = match self.properties.takes_rows {
            false => self.call.bind(py).call1((states, t))?,
            true => {
                let named = PyDict::new(py);
                named.set_item("rows", CallRows::new(py, &t, rows)?)?;
                self.call.bind(py).call((states, t), Some(&named))?
            }
        };
        let shape = axes(x, rows);
        let copied = output.cast::<PyArrayDyn<T>>().is_ok_and(|output| copy(output, &shape, &mut out));
        if copied {
            return Ok(());
        }
        // lists, tensors, other dtypes and layouts
        static PLAIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let plain = PLAIN.import(py, "piadm._network", "as_output")?.call1((&output, T::NAME))?;
        let plain = plain.cast::<PyArrayDyn<T>>()?;
        match copy(plain, &shape, &mut out) {
            true => Ok(()),
            false => Err(input(py, format!("the network's output has shape {:?}, expected {shape:?}", plain.shape()))),
        }
    }
}

/// The shape that the network sees.
fn axes<T>(x: ArrayView2<'_, T>, rows: &Rows<'_>) -> Vec<usize> {
    [x.nrows()].iter().chain(rows.shape).copied().collect()
}

/// Whether nobody else refers to an object.
#[allow(unsafe_code)]
fn is_unshared<T>(_attached: Python<'_>, object: &Py<T>) -> bool {
    // SAFETY: the pointer is that of a living object, and this thread is attached to the interpreter
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}

/// Copies an output of the right shape that lies in memory as it should; says whether it is one.
fn copy<T: Number>(output: &Bound<'_, PyArrayDyn<T>>, shape: &[usize], out: &mut ArrayViewMut2<'_, T>) -> bool {
    // a slice of NumPy's may also be in Fortran's order
    if output.shape() != shape || !output.is_c_contiguous() {
        return false;
    }
    let Ok(output) = output.try_readonly() else { return false };
    match (output.as_slice(), out.as_slice_mut()) {
        (Ok(from), Some(to)) if from.len() == to.len() => {
            to.copy_from_slice(from);
            true
        }
        _ => false,
    }
}

impl<T> Model for Network<T> {
    fn prediction(&self) -> Prediction {
        self.properties.prediction
    }

    fn max_rows(&self) -> Option<usize> {
        self.properties.max_rows
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.properties.time_range
    }
}

impl<T: Number> ScoreFn<Cpu<T>> for Network<T> {
    fn eval(&mut self, x: ArrayView2<'_, T>, rows: &Rows<'_>, out: ArrayViewMut2<'_, T>) -> Result<(), BoxError> {
        Python::attach(|py| self.call(py, x, rows, out)).map_err(|error| {
            self.raised.keep(error);
            BoxError::from("the network raised an exception")
        })
    }
}

/// What is known of the rows of one call; arrays with one entry a row.
#[pyclass(name = "Rows", module = "piadm", frozen)]
pub struct CallRows {
    /// Time of each row.
    #[pyo3(get)]
    t: Py<PyArray1<f64>>,
    /// alpha(t) of each row.
    #[pyo3(get)]
    alpha: Py<PyArray1<f64>>,
    /// sigma(t) of each row.
    #[pyo3(get)]
    sigma: Py<PyArray1<f64>>,
    /// Id of the sample that each row belongs to.
    #[pyo3(get)]
    id: Py<PyArray1<u32>>,
    /// Place of that sample in the batch: labels[rows.slot] are the labels of the rows.
    #[pyo3(get)]
    slot: Py<PyArray1<i64>>,
}

impl CallRows {
    fn new(py: Python<'_>, t: &Bound<'_, PyArray1<f64>>, rows: &Rows<'_>) -> PyResult<Self> {
        let numbers = |values| PyArray1::from_slice(py, values).unbind();
        Ok(CallRows {
            t: t.clone().unbind(),
            alpha: numbers(rows.alpha),
            sigma: numbers(rows.sigma),
            id: PyArray1::from_slice(py, rows.id).unbind(),
            slot: PyArray1::from_iter(py, rows.slot.iter().map(|slot| *slot as i64)).unbind(),
        })
    }
}

#[pymethods]
impl CallRows {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.t.bind(py).len()
    }
}
