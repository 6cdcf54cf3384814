//! Whether a model fits the nodes of a problem.

use crate::error::{Error, Result, filled};
use crate::nodes::Nodes;
use crate::score::Model;

/// The times that the model was trained on, if it says.
pub(super) fn trained_range(model: &(impl Model + ?Sized)) -> Result<Option<(f64, f64)>> {
    match model.time_range() {
        Some((min, max)) if min.is_nan() || max.is_nan() || min > max => {
            Err(Error::setting("time_range", format!("({min}, {max})"), "(smallest, largest)"))
        }
        range => Ok(range),
    }
}

/// The model must answer what the nodes use, and have been trained at every time that it is asked for.
pub(super) fn check_model(list: &Nodes, model: &(impl Model + ?Sized)) -> Result<()> {
    let (components, heads) = (model.components(), model.heads());
    if model.max_rows() == Some(0) {
        return Err(Error::setting("max_rows", 0, "at least 1 row per call"));
    }
    if components == 0 || heads < components {
        let value = format!("{components} components, {heads} heads");
        return Err(Error::setting("model", value, "at least 1 component, and a head for each of them"));
    }
    if list.heads() > heads {
        return Err(Error::setting("heads", heads, "as many outputs of the network as the nodes use"));
    }
    let evaluated = || list.nodes().iter().filter(|n| n.evaluate);
    if let Some(node) = evaluated().find(|n| n.width < components) {
        return Err(Error::setting("components of a node", node.width, "as many as the network sees"));
    }
    let Some((min, max)) = model.time_range() else { return Ok(()) };
    // a time grid that ends on the border may miss it by rounding
    let size = if max.is_finite() { (max - min).min(max.abs()) } else { min.abs() };
    let slack = 1e-9 * size;
    let outside = |t: f64| t < min - slack || t > max + slack;
    match evaluated().find(|n| outside(n.level.t)) {
        Some(node) => Err(Error::TimeRange { time: node.level.t, min, max }),
        None => Ok(()),
    }
}

/// The node that each evaluated node's answer makes.
pub(super) fn made_by(list: &Nodes) -> Result<Vec<u32>> {
    let mut made = filled("the nodes that a kernel makes", list.nodes().len(), u32::MAX)?;
    let mut made_last = None;
    for (j, node) in list.nodes().iter().enumerate() {
        for link in (0..node.width).flat_map(|to| list.links(j, to)).filter(|link| link.b != 0.0) {
            let of_source = &mut made[j - link.lag as usize];
            let shares_step = |other: u32| other != j as u32 && list.nodes()[other as usize].step == node.step;
            if made_last.replace(j as u32).is_some_and(shares_step) {
                let with = "a step with several nodes of it, which would take the same random numbers";
                return Err(Error::unsupported("a kernel", with, "give every node a step of its own"));
            }
            if *of_source != u32::MAX && *of_source != j as u32 {
                return Err(Error::unsupported(
                    "a kernel",
                    "an output that makes several nodes",
                    "let every answer make one node",
                ));
            }
            *of_source = j as u32;
        }
    }
    Ok(made)
}
