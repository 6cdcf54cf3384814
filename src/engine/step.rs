//! Steps of another list, for coarse paths.

use crate::backend::{Program, Real, RowRef};
use crate::nodes::Nodes;

/// One step of another list, with one component and lag 1, from known rows: `point` and `output` at its source.
pub(crate) fn step<E: Real>(
    list: &Nodes,
    j: usize,
    (point, output, noise): (RowRef, Option<RowRef>, RowRef),
    out: RowRef,
    program: &mut Program<E>,
) {
    let links = || list.links(j, 0).iter();
    links().for_each(|link| program.term(link.a, point));
    if let Some(row) = output {
        links().for_each(|link| program.term(link.b, row));
    }
    list.noise(j, 0).iter().for_each(|(_, c)| program.term(*c, noise));
    program.target(out, None);
}

/// What such a step makes of another source in place of a first one: A (x - x') + B (f - f'), as corrections of the
/// next target. Sources are point and output.
pub(crate) fn step_change<E: Real>(
    list: &Nodes,
    j: usize,
    [point, output]: [RowRef; 2],
    [first_point, first_output]: [RowRef; 2],
    program: &mut Program<E>,
) {
    for link in list.links(j, 0) {
        program.correction(E::of(link.a), point, first_point, None);
        program.correction(E::of(link.b), output, first_output, None);
    }
}
