//! What a graph asks for and gives: its inputs and outputs.

use std::fmt::{Display, Formatter};

/// The numbers of an input or output.
///
/// ```
/// assert_eq!(piadm_onnx::Element::F16.to_string(), "f16");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Element {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Whole numbers of 32 bits.
    I32,
    /// Whole numbers of 64 bits.
    I64,
    /// Any other type, which no score takes.
    Other,
}

impl Element {
    /// Whether these are whole numbers.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Element::I32 | Element::I64)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::F32 | Element::F64)
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Element::F16 => "f16",
            Element::F32 => "f32",
            Element::F64 => "f64",
            Element::I32 => "i32",
            Element::I64 => "i64",
            Element::Other => "of another type",
        })
    }
}

/// The length of an axis.
///
/// ```
/// use piadm_onnx::Axis;
/// assert_eq!([Axis::Fixed(28), Axis::Free].map(|axis| axis.to_string()), ["28", "?"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The graph fixes it.
    Fixed(usize),
    /// Whatever the caller gives.
    Free,
}

impl Display for Axis {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Axis::Fixed(length) => write!(f, "{length}"),
            Axis::Free => f.write_str("?"),
        }
    }
}

/// An input or output of a graph.
///
/// ```
/// use piadm_onnx::{Axis, Element, Port};
/// let port = Port { name: "x".into(), element: Element::F32, axes: vec![Axis::Free, Axis::Fixed(2)] };
/// assert_eq!(port.to_string(), "x: f32 [?, 2]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its numbers.
    pub element: Element,
    /// The lengths of its axes.
    pub axes: Vec<Axis>,
}

impl Port {
    /// Elements of a row if the first axis counts rows, where free axes are as long as those of `shape`; `None` if
    /// there is no such axis or a length is not known.
    pub(crate) fn row(&self, shape: Option<&[usize]>) -> Option<Vec<usize>> {
        let (_, axes) = self.axes.split_first()?;
        let given = |i: usize| shape.filter(|shape| shape.len() == axes.len()).map(|shape| shape[i]);
        let lengths = axes.iter().enumerate().map(|(i, axis)| match axis {
            Axis::Fixed(length) => Some(*length),
            Axis::Free => given(i),
        });
        lengths.collect()
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} [", self.name, self.element)?;
        for (i, axis) in self.axes.iter().enumerate() {
            write!(f, "{}{axis}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// Inputs or outputs in a sentence.
pub(crate) fn list(ports: &[Port]) -> String {
    let names: Vec<String> = ports.iter().map(Port::to_string).collect();
    if names.is_empty() { "none".into() } else { names.join("; ") }
}
