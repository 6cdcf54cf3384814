//! Many runs of one shape.

use crate::errors::{Raised, exception, input};
use crate::network::{Network, Number, Properties};
use crate::progress::Progress;
use crate::request::{Request, rows};
use crate::same_process;
use crate::solution::{Solution, shaped};
use numpy::{PyArrayMethods, ToPyArray};
use piadm::Cpu;
use piadm::problem::Prepared;
use pyo3::prelude::*;

/// A parallel sampler with its arrays, for many runs of one shape.
#[pyclass(module = "piadm")]
pub struct Session {
    properties: Properties,
    shape: Vec<usize>,
    inner: Inner,
}

enum Inner {
    Single(Parts<f32>),
    Double(Parts<f64>),
}

struct Parts<T: Number> {
    prepared: Prepared<Cpu<T>>,
    session: piadm::Session<Cpu<T>>,
}

impl<T: Number> Parts<T> {
    fn new(py: Python<'_>, request: &Request<'_>, properties: Properties) -> PyResult<Self> {
        let spec = request.sampler(py)?;
        let Some(picard) = spec.picard() else {
            let text = format!("sampler {}: a session needs one of fixed settings, such as Picard(..)", spec.name());
            return Err(input(py, text));
        };
        let model = Network::<T>::new(py.None(), properties, Raised::default());
        let prepared = request.problem::<T>(py)?.prepare(&model).map_err(|error| exception(py, &error))?;
        let session = picard.session(&prepared).map_err(|error| exception(py, &error))?;
        Ok(Parts { prepared, session })
    }

    fn run(
        &mut self,
        py: Python<'_>,
        (network, properties, shape): (Py<PyAny>, Properties, &[usize]),
        (seed, init): (Option<u64>, Option<Bound<'_, PyAny>>),
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Solution> {
        let raised = Raised::default();
        if let Some(seed) = seed {
            self.prepared.reseed(seed);
        }
        if let Some(init) = init {
            self.prepared.restart(rows::<T>(&init)?.view()).map_err(|error| exception(py, &error))?;
        }
        let mut network = Network::<T>::new(network, properties, raised.clone());
        let mut progress = Progress { call: progress, raised: raised.clone() };
        let result = py.detach(|| self.session.observe(&self.prepared, &mut network, &mut progress));
        if let Some(error) = raised.take() {
            return Err(error);
        }
        result.map_err(|error| exception(py, &error))?;
        let samples = self.session.samples();
        let samples = shaped(samples.to_pyarray(py).to_dyn(), &[samples.nrows()], shape)?;
        Solution::new(py, samples, self.session.path(), self.session.report().clone(), shape)
    }
}

#[pymethods]
impl Session {
    #[new]
    fn new(py: Python<'_>, request: Request<'_>) -> PyResult<Self> {
        let properties = request.properties(py)?;
        let inner = match request.double {
            false => Inner::Single(Parts::new(py, &request, properties)?),
            true => Inner::Double(Parts::new(py, &request, properties)?),
        };
        Ok(Session { properties, shape: request.shape().to_vec(), inner })
    }

    /// One run; with another seed or other states to start from, if they are given.
    fn run(
        &mut self,
        py: Python<'_>,
        network: Py<PyAny>,
        seed: Option<u64>,
        init: Option<Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Solution> {
        same_process(py)?;
        let network = (network, self.properties, &self.shape[..]);
        match &mut self.inner {
            Inner::Single(parts) => parts.run(py, network, (seed, init), progress),
            Inner::Double(parts) => parts.run(py, network, (seed, init), progress),
        }
    }
}
