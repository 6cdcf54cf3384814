//! What runs a graph: rows are written into its inputs, and its output is read.

#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tract")]
mod tract;

use crate::settings::Source;
use crate::{Element, Engine, Error, Onnx, Port};
use half::f16;
use piadm::backend::Real;
use std::ops::Range;

/// The shape of an input or of the output: that of a row, or of all where no axis counts rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    pub element: Element,
    pub shape: Vec<usize>,
    pub per_row: bool,
}

impl Form {
    /// Elements of a row, or of all.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Lengths of all axes in a call with so many rows.
    pub fn axes(&self, rows: usize) -> Vec<usize> {
        self.per_row.then_some(rows).into_iter().chain(self.shape.iter().copied()).collect()
    }

    /// Elements in a call with so many rows.
    pub fn elements(&self, rows: usize) -> usize {
        if self.per_row { rows * self.len() } else { self.len() }
    }
}

/// The form of every input and of the output, and which of the outputs it is.
#[derive(Clone, Debug)]
pub struct Forms {
    pub inputs: Vec<Form>,
    pub output: Form,
    pub which: usize,
    /// Rows of every call, if that is fixed.
    pub batch: Option<usize>,
}

/// The elements of an input, to be written.
pub enum Numbers<'a> {
    F16(&'a mut [f16]),
    F32(&'a mut [f32]),
    F64(&'a mut [f64]),
    I32(&'a mut [i32]),
    I64(&'a mut [i64]),
}

impl Numbers<'_> {
    /// Writes the first elements; whole numbers are rounded to.
    pub fn set(&mut self, at: usize, values: impl ExactSizeIterator<Item = f64>) {
        fn write<T>(to: &mut [T], at: usize, values: impl ExactSizeIterator<Item = T>) {
            let to = &mut to[at..at + values.len()];
            to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
        match self {
            Numbers::F16(to) => write(to, at, values.map(f16::from_f64)),
            Numbers::F32(to) => write(to, at, values.map(|v| v as f32)),
            Numbers::F64(to) => write(to, at, values),
            Numbers::I32(to) => write(to, at, values.map(|v| v.round() as i32)),
            Numbers::I64(to) => write(to, at, values.map(|v| v.round() as i64)),
        }
    }
}

/// The elements of the output.
enum Answer<'a> {
    F16(&'a [f16]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Answer<'_> {
    /// Writes the first elements to `out`; returns how many there are in all.
    fn read<T: Real>(&self, out: &mut [T]) -> usize {
        fn copy<A: Copy, T: Real>(from: &[A], out: &mut [T], wide: impl Fn(A) -> f64) -> usize {
            out.iter_mut().zip(from).for_each(|(out, value)| *out = T::of(wide(*value)));
            from.len()
        }
        match self {
            Answer::F16(from) => copy(from, out, f16::to_f64),
            Answer::F32(from) => copy(from, out, f64::from),
            Answer::F64(from) => copy(from, out, |v| v),
        }
    }
}

/// Writes the rows of a range into input `i`, also such as there are none in the call; for an input without rows, all
/// of it.
pub type Fill<'a> = dyn Fn(usize, Range<usize>, Numbers<'_>) -> Result<(), Error> + Sync + 'a;

/// A graph that has been read, of which the inputs and outputs are known.
pub enum Read {
    #[cfg(feature = "ort")]
    Ort(ort::Graph),
    #[cfg(feature = "tract")]
    Tract(tract::Model),
}

impl Read {
    /// Reads a graph with the engine that the settings name.
    pub fn new(onnx: &Onnx) -> Result<Self, Error> {
        if let Source::File(path) = &onnx.source {
            std::fs::File::open(path).map_err(|source| Error::File { path: path.clone(), source })?;
        }
        match onnx.engine {
            #[cfg(feature = "ort")]
            Engine::Ort => ort::Graph::new(onnx).map(Read::Ort),
            #[cfg(feature = "tract")]
            Engine::Tract => tract::Model::new(onnx).map(Read::Tract),
            #[allow(unreachable_patterns)] // where both are there
            engine => Err(Error::Engine { engine }),
        }
    }

    /// Inputs and outputs.
    pub fn ports(&self) -> [&[Port]; 2] {
        match self {
            #[cfg(feature = "ort")]
            Read::Ort(graph) => graph.ports(),
            #[cfg(feature = "tract")]
            Read::Tract(model) => model.ports(),
        }
    }

    /// Makes it run in these shapes.
    pub fn prepare(self, forms: Forms) -> Result<Graph, Error> {
        match self {
            #[cfg(feature = "ort")]
            Read::Ort(graph) => Ok(Graph::Ort(ort::Ready::new(graph, forms))),
            #[cfg(feature = "tract")]
            Read::Tract(model) => model.prepare(forms).map(Graph::Tract),
        }
    }
}

/// A graph that runs.
pub enum Graph {
    #[cfg(feature = "ort")]
    Ort(ort::Ready),
    #[cfg(feature = "tract")]
    Tract(tract::Ready),
}

impl Graph {
    /// Runs `rows` rows and writes their outputs to `out`.
    pub fn run<T: Real>(&mut self, rows: usize, fill: &Fill<'_>, out: &mut [T]) -> Result<(), Error> {
        match self {
            #[cfg(feature = "ort")]
            Graph::Ort(graph) => graph.run(rows, fill, out),
            #[cfg(feature = "tract")]
            Graph::Tract(graph) => graph.run(rows, fill, out),
        }
    }
}

/// What an engine failed with.
fn failed<E: std::fmt::Display>(engine: Engine, what: &'static str) -> impl Fn(E) -> Error {
    // with their causes, where the error writes them so
    move |error| Error::Graph { engine, what, why: format!("{error:#}") }
}

/// Checks that a call gave as many numbers as it should.
fn check_answer(engine: Engine, found: usize, expected: usize) -> Result<(), Error> {
    let why = || format!("the output has {found} numbers, expected {expected}");
    (found == expected).then_some(()).ok_or_else(|| failed(engine, "cannot run the graph")(why()))
}
