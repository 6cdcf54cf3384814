//! Which input is what, and whether the graph's shapes fit.

use crate::engine::{Form, Forms};
use crate::port::{Axis, Port};
use crate::{Condition, Error, Onnx};

/// What an input is for.
pub enum Role {
    State,
    Time,
    Condition(Table),
}

/// A condition, laid out for its input.
pub struct Table {
    pub name: String,
    pub values: Vec<f64>,
    /// Rows to choose from by slot; `None` for a constant.
    pub rows: Option<usize>,
    pub no_class: Option<Vec<f64>>,
}

/// Roles and forms of a graph's inputs, its output, and the shape of a sample.
pub struct Roles {
    pub roles: Vec<Role>,
    pub forms: Forms,
    pub sample: Vec<usize>,
}

fn is_single(port: &Port) -> bool {
    port.axes.iter().skip(1).all(|axis| *axis == Axis::Fixed(1))
}

fn find(what: &'static str, ports: &[Port], name: &str) -> Result<usize, Error> {
    let there = || Error::Name { what, name: name.into(), there: ports.to_vec() };
    ports.iter().position(|port| port.name == name).ok_or_else(there)
}

/// The one of the candidates.
fn only(
    what: &'static str,
    ports: &[Port],
    candidates: Vec<usize>,
    instead: &'static str,
) -> Result<Option<usize>, Error> {
    match *candidates {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let there = candidates.iter().map(|i| ports[*i].clone()).collect();
            Err(Error::Ambiguous { what, there, instead })
        }
    }
}

fn shape(port: &Port, expected: impl Into<String>) -> Error {
    Error::Shape { port: port.clone(), expected: expected.into() }
}

impl Roles {
    /// What the ports are in the light of the settings.
    pub fn new(onnx: &Onnx, inputs: &[Port], outputs: &[Port]) -> Result<Self, Error> {
        let mut conditions: Vec<Option<&Condition>> = vec![None; inputs.len()];
        for (name, condition) in &onnx.conditions {
            conditions[find("input", inputs, name)?] = Some(condition);
        }
        let time_named = onnx.time.as_deref().map(|name| find("input", inputs, name)).transpose()?;
        let rest: Vec<usize> = (0..inputs.len()).filter(|i| conditions[*i].is_none()).collect();
        let state = state(onnx, inputs, &rest, time_named)?;
        let others: Vec<usize> = rest.iter().copied().filter(|i| *i != state).collect();
        let time = match time_named {
            Some(time) => Some(time),
            None => only("time", inputs, others.clone(), "name it, and give each other input a condition")?,
        };
        if let Some(more) = others.iter().find(|i| Some(**i) != time) {
            let there = vec![inputs[*more].clone()];
            return Err(Error::Ambiguous { what: "use of an input", there, instead: "give it a condition" });
        }
        if time == Some(state) {
            return Err(Error::Setting {
                setting: "time",
                value: inputs[state].name.clone(),
                expected: "an input that is not the state's".into(),
            });
        }
        let sample = sample(onnx, &inputs[state])?;
        let batch = batch(onnx, &inputs[state], time.map(|time| &inputs[time]))?;
        let mut roles = Vec::new();
        let mut forms = Vec::new();
        for (i, port) in inputs.iter().enumerate() {
            let (role, form) = match conditions[i] {
                Some(condition) => {
                    let form = conditioned(port, condition, batch)?;
                    (Role::Condition(Table::new(port, condition, &form)?), form)
                }
                None if i == state => {
                    let form = Form { element: port.element, shape: sample.clone(), per_row: true };
                    (Role::State, form)
                }
                None => (Role::Time, timed(port, batch)?),
            };
            roles.push(role);
            forms.push(form);
        }
        let (which, output) = output(onnx, outputs, &sample, batch)?;
        Ok(Roles { roles, forms: Forms { inputs: forms, output, which, batch }, sample })
    }
}

fn state(onnx: &Onnx, inputs: &[Port], rest: &[usize], time: Option<usize>) -> Result<usize, Error> {
    let instead = "name the one that takes the states as Onnx::state";
    let found = match &onnx.state {
        Some(name) => Some(find("input", inputs, name)?),
        None => {
            let left: Vec<usize> =
                rest.iter().copied().filter(|i| Some(*i) != time && inputs[*i].element.is_float()).collect();
            let wide: Vec<usize> = left.iter().copied().filter(|i| !is_single(&inputs[*i])).collect();
            only("state", inputs, if wide.is_empty() { left } else { wide }, instead)?
        }
    };
    let missing = || Error::Ambiguous { what: "state", there: inputs.to_vec(), instead };
    let state = found.ok_or_else(missing)?;
    let port = inputs[state].clone();
    if !port.element.is_float() {
        return Err(Error::Type { what: "state", port, expected: "f16, f32 or f64" });
    }
    Ok(state)
}

/// The shape of a sample.
fn sample(onnx: &Onnx, port: &Port) -> Result<Vec<usize>, Error> {
    if port.axes.is_empty() {
        return Err(shape(port, "states of shape [rows, ...]"));
    }
    let known = || shape(port, "lengths of all axes but the first; give those of a sample as Onnx::shape");
    let row = port.row(onnx.shape.as_deref()).ok_or_else(known)?;
    if let Some(given) = onnx.shape.as_ref().filter(|given| **given != row) {
        return Err(shape(port, format!("samples of shape {given:?}, as Onnx::shape says")));
    }
    if row.contains(&0) {
        return Err(shape(port, "samples that are not empty"));
    }
    Ok(row)
}

/// Rows of every call, if the graph or the settings fix them.
fn batch(onnx: &Onnx, state: &Port, time: Option<&Port>) -> Result<Option<usize>, Error> {
    let fixed = match state.axes.first() {
        Some(Axis::Fixed(rows)) => Some((*rows, "what the graph fixes")),
        _ => {
            // one time for all rows: they go one at a time
            let one = |time: &&Port| time.axes.iter().all(|axis| *axis == Axis::Fixed(1));
            time.filter(one).map(|_| (1, "1 where all rows have one time"))
        }
    };
    match (fixed, onnx.batch) {
        (Some((rows, why)), Some(batch)) if rows != batch => {
            Err(Error::Setting { setting: "batch", value: batch.to_string(), expected: format!("{rows}, {why}") })
        }
        (Some((0, _)), _) => Err(shape(state, "at least one row")),
        (None, Some(0)) => {
            Err(Error::Setting { setting: "batch", value: "0".into(), expected: "at least one row".into() })
        }
        (fixed, batch) => Ok(fixed.map(|(rows, _)| rows).or(batch)),
    }
}

/// Whether the first axis counts rows; `None` if it cannot.
fn counts_rows(port: &Port, batch: Option<usize>) -> bool {
    match port.axes.first() {
        Some(Axis::Free) => true,
        Some(Axis::Fixed(length)) => Some(*length) == batch,
        None => false,
    }
}

fn timed(port: &Port, batch: Option<usize>) -> Result<Form, Error> {
    if port.element == crate::Element::Other {
        return Err(Error::Type { what: "time", port: port.clone(), expected: "f16, f32, f64, i32 or i64" });
    }
    let per_row = counts_rows(port, batch);
    let rows = batch.map_or("rows".into(), |rows| rows.to_string());
    if !is_single(port) || !per_row && (batch != Some(1) || port.axes.iter().any(|axis| *axis != Axis::Fixed(1))) {
        return Err(shape(port, format!("times of shape [{rows}], [{rows}, 1], ...; is it a condition?")));
    }
    Ok(Form { element: port.element, shape: vec![1; port.axes.len() - usize::from(per_row)], per_row })
}

/// The form of an input that has a condition.
fn conditioned(port: &Port, condition: &Condition, batch: Option<usize>) -> Result<Form, Error> {
    if port.element == crate::Element::Other {
        return Err(Error::Type { what: "condition", port: port.clone(), expected: "f16, f32, f64, i32 or i64" });
    }
    let given = &condition.values.shape()[usize::from(condition.by_slot).min(condition.values.ndim())..];
    let row = port.row(Some(given)).filter(|row| row.iter().product::<usize>() == condition.row_len());
    if let Some(row) = row.filter(|_| counts_rows(port, batch)) {
        return Ok(Form { element: port.element, shape: row, per_row: true });
    }
    // a constant that is the whole input: as if a row of an input with one more axis
    let whole = Port { axes: std::iter::once(Axis::Free).chain(port.axes.iter().copied()).collect(), ..port.clone() };
    let whole = whole.row(Some(given)).filter(|whole| whole.iter().product::<usize>() == condition.row_len());
    match whole.filter(|_| !condition.by_slot) {
        Some(shape) => Ok(Form { element: port.element, shape, per_row: false }),
        None => Err(shape(port, format!("the condition's row of shape {given:?} for each row of a call"))),
    }
}

impl Table {
    /// A condition's values, which must be of the input's type.
    pub fn new(port: &Port, condition: &Condition, form: &Form) -> Result<Self, Error> {
        let (values, no_class) = (condition.flat(), condition.no_class.clone());
        let all = || values.iter().chain(no_class.iter().flatten());
        if let Some(value) = all().find(|v| v.is_nan() || form.element.is_whole() && v.fract() != 0.0) {
            return Err(Error::Setting {
                setting: "condition",
                value: format!("{value} of {}", port.name),
                expected: if form.element.is_whole() { "whole numbers" } else { "numbers" }.into(),
            });
        }
        if let Some(row) = no_class.as_ref().filter(|row| row.len() != form.len() || !form.per_row) {
            let (found, expected) = (row.len(), form.len());
            return Err(shape(port, format!("{expected} numbers a row where {found} stand for no class")));
        }
        let name = port.name.clone();
        Ok(Table { name, rows: condition.samples(), values, no_class })
    }
}

fn output(onnx: &Onnx, outputs: &[Port], sample: &[usize], batch: Option<usize>) -> Result<(usize, Form), Error> {
    let which = match &onnx.output {
        Some(name) => find("output", outputs, name)?,
        None => {
            let all = (0..outputs.len()).collect();
            let missing = || Error::Ambiguous { what: "output", there: Vec::new(), instead: "the graph gives nothing" };
            only("output", outputs, all, "name the one that is the prediction as Onnx::output")?.ok_or_else(missing)?
        }
    };
    let port = &outputs[which];
    if !port.element.is_float() {
        return Err(Error::Type { what: "output", port: port.clone(), expected: "f16, f32 or f64" });
    }
    // no axes: the graph does not say
    let row = if port.axes.is_empty() { Some(sample.to_vec()) } else { port.row(Some(sample)) };
    let fits = |row: &Vec<usize>| row.iter().product::<usize>() == sample.iter().product::<usize>();
    let rows = port.axes.first().is_none_or(|axis| *axis == Axis::Free || batch.map(Axis::Fixed) == Some(*axis));
    match row.filter(fits).filter(|_| rows) {
        Some(row) => Ok((which, Form { element: port.element, shape: row, per_row: true })),
        None => Err(shape(port, format!("one output of the shape of a sample, {sample:?}, for each row of a call"))),
    }
}
