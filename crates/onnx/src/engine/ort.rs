//! ONNX Runtime, by the crate `ort`.
//!
//! Arrays of a call are ONNX Runtime's and are bound to the graph once for each number of rows, so that a later call of
//! that size copies rows in and out and allocates no array.

use super::{Answer, Fill, Form, Forms, Numbers, check_answer, failed};
use crate::settings::Source;
use crate::{Axis, Element, Engine, Error, Onnx, Port};
use half::f16;
use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session, builder::SessionBuilder};
use ort::value::{DynTensor, Outlet, TensorElementType, ValueType};
use piadm::backend::Real;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Elements of the arrays that are kept for calls of other sizes.
const KEPT: usize = 1 << 24;

/// The library of this process and what was made of it.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the library that was asked for, or of that which is there.
fn environment(asked: Option<&Path>) -> Result<Environment, Error> {
    let absolute = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let asked = asked.map(|path| absolute(path.into()));
    // a lock that was poisoned by a panic still holds what was loaded
    let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((before, environment)) = &*loaded {
        return match asked.filter(|asked| asked != before) {
            Some(asked) => Err(Error::SecondLibrary { loaded: before.clone(), asked }),
            None => Ok(environment.clone()),
        };
    }
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    let usual = || format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = asked.unwrap_or_else(|| absolute(named.map_or_else(|| usual().into(), PathBuf::from)));
    let failed = |why: String| Error::Library { path: path.clone(), why };
    let builder = ort::init_from(&path).map_err(|error| failed(error.to_string()))?;
    let environment = builder.with_name("piadm").with_telemetry(false).build();
    let environment = environment.map_err(|error| failed(error.to_string()))?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

fn unread<E: std::fmt::Display>(error: E) -> Error {
    failed(Engine::Ort, "cannot read the graph")(error)
}

fn unrun(error: ort::Error) -> Error {
    failed(Engine::Ort, "cannot run the graph")(error)
}

/// A graph that has been read.
pub struct Graph {
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Graph {
    pub fn new(onnx: &Onnx) -> Result<Self, Error> {
        let mut builder = SessionBuilder::new(&environment(onnx.library.as_deref())?).map_err(unread)?;
        if let Some(threads) = onnx.threads {
            builder = builder.with_intra_threads(threads).map_err(unread)?;
        }
        let session = match &onnx.source {
            Source::File(path) => builder.commit_from_file(path),
            Source::Bytes(bytes) => builder.commit_from_memory(bytes),
        };
        let session = session.map_err(unread)?;
        let [inputs, outputs] = [session.inputs(), session.outputs()].map(|all| all.iter().map(port).collect());
        Ok(Graph { session, inputs, outputs })
    }

    pub fn ports(&self) -> [&[Port]; 2] {
        [&self.inputs, &self.outputs]
    }
}

fn port(outlet: &Outlet) -> Port {
    let (element, axes) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let axis = |length: &i64| usize::try_from(*length).map_or(Axis::Free, Axis::Fixed);
            (element(*ty), shape.iter().map(axis).collect())
        }
        _ => (Element::Other, Vec::new()),
    };
    Port { name: outlet.name().into(), element, axes }
}

fn element(ty: TensorElementType) -> Element {
    match ty {
        TensorElementType::Float16 => Element::F16,
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float64 => Element::F64,
        TensorElementType::Int32 => Element::I32,
        TensorElementType::Int64 => Element::I64,
        _ => Element::Other,
    }
}

/// An array of ONNX Runtime's for a call.
fn tensor(form: &Form, rows: usize) -> Result<DynTensor, Error> {
    let ty = match form.element {
        Element::F16 => TensorElementType::Float16,
        Element::F64 => TensorElementType::Float64,
        Element::I32 => TensorElementType::Int32,
        Element::I64 => TensorElementType::Int64,
        // other types are refused before
        Element::F32 | Element::Other => TensorElementType::Float32,
    };
    DynTensor::new(&Allocator::default(), ty, form.axes(rows)).map_err(unrun)
}

/// The arrays of calls with so many rows.
struct Call {
    rows: usize,
    inputs: Vec<DynTensor>,
    output: DynTensor,
    binding: IoBinding,
}

/// A graph that runs.
pub struct Ready {
    // dropped before the session that they are bound to
    calls: Vec<Call>,
    graph: Graph,
    forms: Forms,
}

impl Ready {
    pub fn new(graph: Graph, forms: Forms) -> Self {
        Ready { calls: Vec::new(), graph, forms }
    }

    fn call(&self, rows: usize) -> Result<Call, Error> {
        let mut binding = self.graph.session.create_binding().map_err(unrun)?;
        let inputs = self.forms.inputs.iter().map(|form| tensor(form, rows)).collect::<Result<Vec<_>, _>>()?;
        for (port, input) in self.graph.inputs.iter().zip(&inputs) {
            binding.bind_input(port.name.as_str(), input).map_err(unrun)?;
        }
        let mut output = tensor(&self.forms.output, rows)?;
        binding.bind_output(self.graph.outputs[self.forms.which].name.as_str(), &mut output).map_err(unrun)?;
        Ok(Call { rows, inputs, output, binding })
    }

    /// Puts the arrays for so many rows last, and lets go of those that were not used for the longest time.
    fn choose(&mut self, rows: usize) -> Result<(), Error> {
        if let Some(at) = self.calls.iter().position(|call| call.rows == rows) {
            self.calls[at..].rotate_left(1);
            return Ok(());
        }
        let call = self.call(rows)?;
        self.calls.push(call);
        let forms = self.forms.inputs.iter().chain([&self.forms.output]);
        let of_row: usize = forms.map(|form| form.elements(1)).sum();
        let mut left = KEPT;
        let fits = |call: &&Call| left.checked_sub(call.rows * of_row).map(|rest| left = rest).is_some();
        let kept = self.calls.iter().rev().take_while(fits).count().max(1);
        self.calls.drain(..self.calls.len() - kept);
        Ok(())
    }

    /// Runs so many rows, in calls of one size if that is fixed.
    pub fn run<T: Real>(&mut self, rows: usize, fill: &Fill<'_>, out: &mut [T]) -> Result<(), Error> {
        let each = self.forms.batch.unwrap_or(rows);
        self.choose(each)?;
        for (part, out) in out.chunks_mut(each * self.forms.output.len()).enumerate() {
            self.part(part * each..(part + 1) * each, fill, out)?;
        }
        Ok(())
    }

    /// Runs some rows in the arrays that were chosen.
    fn part<T: Real>(&mut self, range: Range<usize>, fill: &Fill<'_>, out: &mut [T]) -> Result<(), Error> {
        let Some(call) = self.calls.last_mut() else { return Ok(()) };
        for (i, (input, form)) in call.inputs.iter_mut().zip(&self.forms.inputs).enumerate() {
            let numbers = match form.element {
                Element::F16 => Numbers::F16(input.try_extract_tensor_mut::<f16>().map_err(unrun)?.1),
                Element::F64 => Numbers::F64(input.try_extract_tensor_mut::<f64>().map_err(unrun)?.1),
                Element::I32 => Numbers::I32(input.try_extract_tensor_mut::<i32>().map_err(unrun)?.1),
                Element::I64 => Numbers::I64(input.try_extract_tensor_mut::<i64>().map_err(unrun)?.1),
                _ => Numbers::F32(input.try_extract_tensor_mut::<f32>().map_err(unrun)?.1),
            };
            fill(i, range.clone(), numbers)?;
        }
        drop(self.graph.session.run_binding(&call.binding).map_err(unrun)?);
        let answer = match self.forms.output.element {
            Element::F16 => Answer::F16(call.output.try_extract_tensor::<f16>().map_err(unrun)?.1),
            Element::F64 => Answer::F64(call.output.try_extract_tensor::<f64>().map_err(unrun)?.1),
            _ => Answer::F32(call.output.try_extract_tensor::<f32>().map_err(unrun)?.1),
        };
        check_answer(Engine::Ort, answer.read(out), self.forms.output.elements(call.rows))
    }
}
