//! tract.
//!
//! One plan for any number of rows. The rows of a call are cut into parts for the threads of the current rayon pool.

use super::{Answer, Fill, Form, Forms, Numbers, check_answer, failed};
use crate::settings::Source;
use crate::{Axis, Element, Engine, Error, Onnx, Port};
use half::f16;
use piadm::backend::Real;
use rayon::prelude::*;
use std::io::Cursor;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

fn unread<E: std::fmt::Display>(error: E) -> Error {
    failed(Engine::Tract, "cannot read the graph")(error)
}

fn unrun<E: std::fmt::Display>(error: E) -> Error {
    failed(Engine::Tract, "cannot run the graph")(error)
}

/// A graph that has been read.
pub struct Model {
    model: InferenceModel,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Model {
    pub fn new(onnx: &Onnx) -> Result<Self, Error> {
        let reader = tract_onnx::onnx();
        let model = match &onnx.source {
            Source::File(path) => reader.model_for_path(path),
            Source::Bytes(bytes) => reader.model_for_read(&mut Cursor::new(bytes)),
        };
        let model = model.map_err(unread)?;
        // what outputs are is worked out with the file's own names of axes, which the plan has not
        let mut known = model.clone();
        known.analyse(false).map_err(unread)?;
        let ports = |outlets: &[OutletId]| outlets.iter().map(|outlet| port(&known, *outlet)).collect();
        let inputs = ports(known.input_outlets().map_err(unread)?);
        let outputs: Vec<Port> = ports(known.output_outlets().map_err(unread)?);
        // an operator that tract lacks leaves them unknown; compiling the graph says which
        if outputs.iter().any(|port| port.element == Element::Other && port.axes.is_empty()) {
            known.into_typed().map_err(unread)?;
        }
        Ok(Model { model, inputs, outputs })
    }

    pub fn ports(&self) -> [&[Port]; 2] {
        [&self.inputs, &self.outputs]
    }

    /// Compiles the graph for these shapes.
    pub fn prepare(self, forms: Forms) -> Result<Ready, Error> {
        let mut model = self.model;
        let rows = model.symbols.new_with_prefix("rows");
        for (i, form) in forms.inputs.iter().enumerate() {
            let rows = forms.batch.map_or_else(|| TDim::from(rows.clone()), TDim::from);
            let axes = form.per_row.then_some(rows).into_iter();
            let axes: TVec<TDim> = axes.chain(form.shape.iter().map(|length| TDim::from(*length))).collect();
            model.set_input_fact(i, InferenceFact::dt_shape(datum(form.element), axes)).map_err(unread)?;
        }
        let output = model.output_outlets().map_err(unread)?[forms.which];
        model.select_output_outlets(&[output]).map_err(unread)?;
        let plan = model.into_optimized().and_then(|model| model.into_runnable()).map_err(unread)?;
        Ok(Ready { plan, forms })
    }
}

fn port(model: &InferenceModel, outlet: OutletId) -> Port {
    let name = model.outlet_label(outlet).unwrap_or(&model.node(outlet.node).name).to_owned();
    let fact = model.outlet_fact(outlet).cloned().unwrap_or_default();
    let element = match fact.datum_type.concretize() {
        Some(DatumType::F16) => Element::F16,
        Some(DatumType::F32) => Element::F32,
        Some(DatumType::F64) => Element::F64,
        Some(DatumType::I32) => Element::I32,
        Some(DatumType::I64) => Element::I64,
        _ => Element::Other,
    };
    let axis = |dim: Option<TDim>| dim.and_then(|dim| dim.to_usize().ok()).map_or(Axis::Free, Axis::Fixed);
    let axes = fact.shape.dims().map(|dim| axis(dim.concretize())).collect();
    Port { name, element, axes }
}

fn datum(element: Element) -> DatumType {
    match element {
        Element::F16 => DatumType::F16,
        Element::F64 => DatumType::F64,
        Element::I32 => DatumType::I32,
        Element::I64 => DatumType::I64,
        // other types are refused before
        Element::F32 | Element::Other => DatumType::F32,
    }
}

/// A graph that runs.
pub struct Ready {
    plan: Arc<TypedRunnableModel>,
    forms: Forms,
}

impl Ready {
    /// Runs so many rows, in calls of one size if that is fixed.
    pub fn run<T: Real>(&mut self, rows: usize, fill: &Fill<'_>, out: &mut [T]) -> Result<(), Error> {
        let this = &*self;
        let batch = this.forms.batch;
        let each = batch.unwrap_or(rows.div_ceil(rayon::current_num_threads()));
        let part = |(i, out): (usize, &mut [T])| {
            let range = i * each..(i + 1) * each;
            let range = if batch.is_some() { range } else { range.start..range.end.min(rows) };
            this.part(range, fill, out).err()
        };
        if each >= rows {
            return part((0, out)).map_or(Ok(()), Err);
        }
        let parts = out.par_chunks_mut(each * this.forms.output.len()).enumerate().with_max_len(1);
        // of several errors that of the first rows, whatever came first in time
        parts.map(part).find_map_first(|error| error).map_or(Ok(()), Err)
    }

    /// Some rows, on one thread.
    fn part<T: Real>(&self, range: Range<usize>, fill: &Fill<'_>, out: &mut [T]) -> Result<(), Error> {
        let rows = range.len();
        let input = |(i, form)| input(i, form, range.clone(), fill).map(IntoTValue::into_tvalue);
        let inputs = self.forms.inputs.iter().enumerate().map(input).collect::<Result<TVec<TValue>, _>>()?;
        // an index beyond a table, such as a label that the network does not know, is a panic in tract
        let run = AssertUnwindSafe(|| self.plan.run(inputs));
        let outputs = catch_unwind(run).map_err(|_| unrun("tract panicked; is an index beyond its table?"))?;
        let outputs = outputs.map_err(unrun)?;
        let output = outputs.first().ok_or_else(|| unrun("no output"))?;
        let output = output.try_as_plain_ram().map_err(unrun)?;
        let answer = match self.forms.output.element {
            Element::F16 => Answer::F16(output.as_slice::<f16>().map_err(unrun)?),
            Element::F64 => Answer::F64(output.as_slice::<f64>().map_err(unrun)?),
            _ => Answer::F32(output.as_slice::<f32>().map_err(unrun)?),
        };
        check_answer(Engine::Tract, answer.read(out), self.forms.output.elements(rows))
    }
}

/// An input with its values.
fn input(i: usize, form: &Form, range: Range<usize>, fill: &Fill<'_>) -> Result<Tensor, Error> {
    let mut tensor = Tensor::zero_dt(datum(form.element), &form.axes(range.len())).map_err(unrun)?;
    let mut values = tensor.try_as_plain_ram_mut().map_err(unrun)?;
    let numbers = match form.element {
        Element::F16 => Numbers::F16(values.as_slice_mut::<f16>().map_err(unrun)?),
        Element::F64 => Numbers::F64(values.as_slice_mut::<f64>().map_err(unrun)?),
        Element::I32 => Numbers::I32(values.as_slice_mut::<i32>().map_err(unrun)?),
        Element::I64 => Numbers::I64(values.as_slice_mut::<i64>().map_err(unrun)?),
        _ => Numbers::F32(values.as_slice_mut::<f32>().map_err(unrun)?),
    };
    fill(i, range, numbers)?;
    Ok(tensor)
}
