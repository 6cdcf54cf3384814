//! Sites: where probes have looked at the network, and what they have seen.

use crate::backend::{Backend, NoiseRow, Plane, Program, Real, RowRef, Vector};
use crate::engine::iteration::probes::MOST_DIRECTIONS;
use crate::engine::iteration::secant::Slopes;
use crate::engine::iteration::triangular::{Small, orthonormal, project};
use crate::engine::machine::Machine;
use crate::engine::ring::{Layout, Ring};
use crate::engine::rows::{Evaluated, Probe};
use crate::engine::sizes::{PIECE, Sizes};
use crate::engine::span::{Span, pieces};
use crate::error::{Result, filled, reserve};
use crate::noise::{Address, NoiseKey, stream};
use crate::problem::Prepared;

/// Distance of a probe from the point of its site, in units of sigma.
const DISTANCE: f64 = 0.3;

/// The site of a window.
#[derive(Clone, Copy, Debug)]
struct Site {
    node: usize,
    /// Whether the states at which the network is called are finite.
    aimed: bool,
    /// Whether the images are what was seen along the directions.
    known: bool,
    /// Makes the directions orthonormal.
    basis: Small,
}

/// The sites of all windows. Empty without probes.
#[derive(Debug)]
pub(crate) struct Sites {
    /// Directions of a site.
    directions: usize,
    every: usize,
    /// By slot.
    of_slot: Vec<Option<Site>>,
    /// Those of this round.
    pub new: Vec<Probe>,
    /// Per place, whether changes there are passed on along the directions too. A node that has left its window keeps
    /// what it had.
    live: Vec<bool>,
    /// Per place, the coefficients of the images and of the directions in J z - s z.
    weights: Vec<f64>,
    /// Windows and nodes whose changes are looked at.
    sources: Vec<(usize, usize)>,
    vectors: Vec<Vector>,
    pairs: Vec<(usize, usize)>,
    products: Vec<f64>,
    /// Normals to be made, and of which seed.
    missing: Vec<(NoiseKey, NoiseRow)>,
    noise_rows: Vec<NoiseRow>,
    keys: Vec<NoiseKey>,
}

/// Pairs of vectors for the inner products of all with all.
fn all_pairs(directions: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..directions).flat_map(|m| (0..=m).map(move |l| (m, l)))
}

impl Sites {
    /// For windows of these sizes.
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let (what, directions) = ("probes", sizes.layout.probes);
        let (slots, places) = if directions > 0 { (sizes.slots, sizes.places()) } else { (0, 0) };
        let mut sites = Sites {
            directions,
            every: sizes.every,
            of_slot: filled(what, slots, None)?,
            new: Vec::new(),
            live: filled(what, places, false)?,
            weights: filled(what, 2 * directions * places, 0.0)?,
            sources: Vec::new(),
            vectors: Vec::new(),
            pairs: all_pairs(directions).chain((1..=directions).map(|m| (0, m))).collect(),
            products: Vec::new(),
            missing: Vec::new(),
            noise_rows: Vec::new(),
            keys: Vec::new(),
        };
        if directions > 0 {
            reserve(what, &mut sites.new, sizes.open())?;
            reserve(what, &mut sites.sources, sizes.measured())?;
            reserve(what, &mut sites.vectors, sizes.measured().max(sizes.open()) * (directions + 1))?;
            reserve(what, &mut sites.products, sizes.products())?;
            reserve(what, &mut sites.missing, sizes.open() * directions)?;
            reserve(what, &mut sites.noise_rows, sizes.open() * directions)?;
            reserve(what, &mut sites.keys, sizes.open())?;
        }
        Ok(sites)
    }

    /// Forgets the site of a ring that a new sample takes over.
    pub fn begin(&mut self, layout: &Layout, ring: Ring) {
        if self.directions > 0 {
            self.of_slot[layout.slot(ring)] = None;
            self.live[ring.places()].fill(false);
        }
    }

    /// Chooses new sites, before a round: in each window the first node that has not been evaluated yet, if it is far
    /// enough from the last site.
    pub fn choose<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        layout: &Layout,
        evaluated: &Evaluated,
        spans: &[Span],
    ) {
        self.new.clear();
        if self.directions == 0 {
            return;
        }
        for span in spans {
            let nodes = prepared.list(span.slot).nodes();
            let is_new = |j: &usize| nodes[*j].evaluate && evaluated.row(span.ring, *j).is_none();
            let Some(node) = (span.lo..span.hi).find(is_new) else { continue };
            let far =
                self.of_slot[layout.slot(span.ring)].is_none_or(|site| node >= site.node.saturating_add(self.every));
            let level = &nodes[node].level;
            if far && level.alpha > 0.0 && level.sigma > 0.0 {
                self.new.push(Probe { span: *span, node, first: 0 });
            }
        }
    }

    /// Makes the directions of new sites and the states at which the network is to be called there, in the rows of the
    /// images.
    pub fn aim<B: Backend>(&mut self, prepared: &Prepared<B>, machine: &mut Machine<B>) -> Result<()> {
        let new = std::mem::take(&mut self.new);
        let done = pieces(&new, PIECE, |_| 2 * MOST_DIRECTIONS).try_for_each(|new| self.aim_at(prepared, machine, new));
        self.new = new;
        done
    }

    fn aim_at<B: Backend>(&mut self, prepared: &Prepared<B>, machine: &mut Machine<B>, new: &[Probe]) -> Result<()> {
        let (layout, directions) = (machine.layout, self.directions);
        self.gram(machine, new, |span, m| layout.image(span.ring, m))?;
        let scale = 1.0 / (prepared.dim() as f64).sqrt();
        self.missing.clear();
        machine.program.clear();
        for (i, probe) in new.iter().enumerate() {
            let Probe { span, node, .. } = probe;
            let site = &mut self.of_slot[layout.slot(span.ring)];
            let basis = match site {
                Some(site) if site.known => orthonormal(&gram_of(&self.products, i, directions), directions),
                _ => Small::default(),
            };
            *site = Some(Site { node: *node, aimed: false, known: false, basis });
            // what was seen along the old directions
            self.live[span.ring.places()].fill(false);
            let program = &mut machine.program;
            for (m, row) in basis.iter().enumerate().take(directions) {
                let direction = layout.direction(span.ring, m);
                if row[m] > 0.0 {
                    (0..=m).for_each(|l| program.term(row[l], layout.image(span.ring, l)));
                } else {
                    // a normal in place of a direction that there is not
                    let step = (node * (MOST_DIRECTIONS + 1) + m) as u32;
                    let address = Address { stream: stream::PROBES, step, sample: prepared.ids()[span.slot] };
                    self.missing.push((prepared.key(span.slot), NoiseRow { row: direction.row, address }));
                    program.term(scale, direction);
                }
                program.target(direction, None);
            }
            let distance = DISTANCE * prepared.list(span.slot).nodes()[*node].level.sigma;
            for m in 0..directions {
                program.term(1.0, layout.state(span.ring, *node, 0));
                program.term(distance, layout.direction(span.ring, m));
                program.target(layout.image(span.ring, m), None);
            }
            program.segment(layout.slot(span.ring));
        }
        self.make_normals(prepared, machine)?;
        machine.run()?;
        self.gram(machine, new, |span, m| layout.direction(span.ring, m))?;
        for (i, (probe, changes)) in new.iter().zip(machine.changes.chunks_exact(2 * directions)).enumerate() {
            let basis = orthonormal(&gram_of(&self.products, i, directions), directions);
            if let Some(site) = &mut self.of_slot[layout.slot(probe.span.ring)] {
                (site.basis, site.aimed) = (basis, changes.iter().all(|change| change.finite));
            }
        }
        Ok(())
    }

    /// The inner products of the vectors of each new site.
    fn gram<B: Backend>(
        &mut self,
        machine: &mut Machine<B>,
        new: &[Probe],
        row: impl Fn(&Span, usize) -> RowRef,
    ) -> Result<()> {
        self.vectors.clear();
        for Probe { span, .. } in new {
            self.vectors.extend((0..self.directions).map(|m| Vector { row: row(span, m), minus: None }));
        }
        let pairs = &self.pairs[..self.pairs.len() - self.directions];
        machine.products(&self.vectors, self.directions, pairs, &mut self.products)
    }

    /// Normals for directions that are missing; each sample may have its own seed.
    fn make_normals<B: Backend>(&mut self, prepared: &Prepared<B>, machine: &mut Machine<B>) -> Result<()> {
        self.keys.clear();
        for (key, _) in &self.missing {
            if !self.keys.contains(key) {
                self.keys.push(*key);
            }
        }
        for key in &self.keys {
            self.noise_rows.clear();
            self.noise_rows.extend(self.missing.iter().filter(|(other, _)| other == key).map(|(_, row)| *row));
            prepared.backend().normals(*key, &self.noise_rows, &mut machine.planes[Plane::Memory])?;
        }
        Ok(())
    }

    /// The images of the directions of new sites, after the network was called there.
    pub fn measure<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        evaluated: &Evaluated,
        round: usize,
    ) -> Result<()> {
        let new = std::mem::take(&mut self.new);
        let mut finite = true;
        let done = pieces(&new, PIECE, |_| MOST_DIRECTIONS).try_for_each(|new| {
            finite &= self.measure_at(prepared, machine, evaluated, new)?;
            Result::Ok(())
        });
        self.new = new;
        done?;
        if finite { Ok(()) } else { evaluated.check_outputs(prepared, machine, round) }
    }

    fn measure_at<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        evaluated: &Evaluated,
        new: &[Probe],
    ) -> Result<bool> {
        let layout = machine.layout;
        let program = &mut machine.program;
        program.clear();
        for Probe { span, node, first } in new {
            let level = &prepared.list(span.slot).nodes()[*node].level;
            let (p, q) = prepared.prediction().data_map(level.alpha, level.sigma);
            let own = evaluated.row(span.ring, *node);
            let before = own.map(|row| layout.output(row, 0));
            for m in 0..self.directions {
                program.term(p, layout.direction(span.ring, m));
                if let Some(before) = before {
                    let seen = layout.output(first + m as u32, 0);
                    program.correction(<B::Elem as Real>::of(q / (DISTANCE * level.sigma)), seen, before, None);
                }
                program.target(layout.image(span.ring, m), None);
            }
            program.segment(layout.slot(span.ring));
        }
        machine.run()?;
        let mut all = true;
        for (Probe { span, .. }, changes) in new.iter().zip(machine.changes.chunks_exact(self.directions)) {
            let finite = changes.iter().all(|change| change.finite);
            all &= finite;
            // without images the next site begins with normals
            if let Some(site) = &mut self.of_slot[layout.slot(span.ring)] {
                site.known = finite && site.aimed;
            }
        }
        Ok(all)
    }

    /// Whether a window has a site.
    pub fn is_known(&self, layout: &Layout, span: &Span) -> bool {
        self.of_slot.get(layout.slot(span.ring)).is_some_and(|site| site.is_some_and(|site| site.known))
    }

    /// What a sweep without probes, which the machine has just run beside the states, changes along the directions.
    pub fn look<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        (evaluated, slopes): (&Evaluated, &Slopes),
        spans: &[Span],
    ) -> Result<()> {
        let (layout, directions) = (machine.layout, self.directions);
        self.sources.clear();
        self.vectors.clear();
        let mut changes = machine.changes.iter();
        for (i, span) in spans.iter().enumerate() {
            (span.lo..=span.hi).for_each(|j| self.live[span.ring.place(j)] = false);
            let tried = if self.is_known(&layout, span) { span.hi.saturating_sub(span.lo + 1) } else { 0 };
            // a number that is not finite leaves what another round has made of the row
            if changes.by_ref().take(tried).filter(|change| !change.finite).count() > 0 {
                continue;
            }
            for j in span.lo + 1..span.lo + 1 + tried {
                let Some(row) = evaluated.row(span.ring, j) else { continue };
                self.sources.push((i, j));
                let minus = Some(layout.point(row, 0));
                self.vectors.push(Vector { row: layout.trial(span.ring, j, 0), minus });
                self.vectors
                    .extend((0..directions).map(|m| Vector { row: layout.direction(span.ring, m), minus: None }));
            }
        }
        let pairs = &self.pairs[self.pairs.len() - directions..];
        machine.products(&self.vectors, directions + 1, pairs, &mut self.products)?;
        for ((i, j), products) in self.sources.iter().zip(self.products.chunks_exact(directions)) {
            let span = &spans[*i];
            let (level, place) = (&prepared.list(span.slot).nodes()[*j].level, span.ring.place(*j));
            let (Some(site), Some(slope)) = (&self.of_slot[layout.slot(span.ring)], slopes.at(place)) else { continue };
            let (p, q) = prepared.prediction().data_map(level.alpha, level.sigma);
            let along = project(&site.basis, products);
            let weights = &mut self.weights[2 * directions * place..2 * directions * (place + 1)];
            let (on_images, on_directions) = weights.split_at_mut(directions);
            for (m, c) in along.iter().enumerate().take(directions) {
                (on_images[m], on_directions[m]) = (c / q, -c * (p / q + slope));
            }
            let finite = |weight: &f64| num_traits::Float::is_finite(<B::Elem as Real>::of(*weight));
            self.live[place] = weights.iter().all(finite);
        }
        Ok(())
    }

    /// Adds (J - s) z of node `i` to the next target, times `weight`: what a change z there does beyond what the
    /// slope s says.
    pub fn terms<E: Real>(&self, layout: &Layout, (ring, i): (Ring, usize), weight: f64, program: &mut Program<E>) {
        let place = ring.place(i);
        if !self.live.get(place).is_some_and(|live| *live) {
            return;
        }
        let first = 2 * self.directions * place;
        for m in 0..self.directions {
            let of_kind = [(m, layout.image(ring, m)), (self.directions + m, layout.direction(ring, m))];
            for (k, row) in of_kind {
                let coef = weight * self.weights[first + k];
                // one that overflows would not help
                if num_traits::Float::is_finite(E::of(coef)) {
                    program.term(coef, row);
                }
            }
        }
    }
}

fn gram_of(products: &[f64], group: usize, directions: usize) -> Small {
    let mut gram = Small::default();
    let count = directions * (directions + 1) / 2;
    for ((m, l), product) in all_pairs(directions).zip(&products[group * count..]) {
        (gram[m][l], gram[l][m]) = (*product, *product);
    }
    gram
}
