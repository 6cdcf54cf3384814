//! The parallel samplers that are compared, one entry each.

use piadm::sampler::{Coupling, Entry, Linearisation, Policy, Probes};
use piadm::{Acceptance, Cpu, Parareal, Picard, Sampler, Window};

/// A parallel sampler that is complete but for its window and its tolerance.
#[derive(Debug)]
pub struct Preset {
    /// How it is called on the command line and in the files.
    pub name: &'static str,
    /// Whether it has a window; PIADM's blocks have a length of their own.
    pub windowed: bool,
    /// Colour of its lines; `None` leaves it out of the plots.
    pub colour: Option<(u8, u8, u8)>,
    /// The sampler from window (steps) and tolerance.
    pub sampler: fn(usize, f64) -> Box<dyn Sampler<Cpu<f32>>>,
}

/// What the others are compared with.
pub const REFERENCE: &str = "paradigms";
/// The default of the crate.
pub const OURS: &str = "default";
/// The default with a strided far part of the window.
pub const STRIDED: &str = "strided";

/// The default with probes.
pub const PROBES: &str = "probes";

const HELD: Entry = Entry::HeldData { variance: 0.25 };

/// Sequential steps of ParaSolver: one, its choice for DDIM; its five for DDPM are for a thousand steps.
const FIRST_STEPS: usize = 1;

/// All of them.
pub static PRESETS: [Preset; 13] = [
    windowed(REFERENCE, |w, tol| sliding(w, tol, Linearisation::Identity, Entry::Copy)).plotted(0xd0, 0x5a, 0x1e),
    windowed("paradigms-batch", |w, tol| Box::new(Picard::paradigms(w, tol))),
    windowed("parasolver", |w, tol| Box::new(Picard::parasolver(w, FIRST_STEPS, tol))),
    whole("piadm-blocks", |_, tol| Box::new(blocks(tol))),
    windowed("piadm-sliding", |w, tol| sliding(w, tol, Linearisation::FrozenScore, Entry::Copy))
        .plotted(0x6b, 0x8e, 0x3a),
    windowed("parataa", |w, tol| Box::new(Picard::parataa(w, 3, tol))),
    whole("wavefront", |_, tol| Box::new(blocks(tol).policy(Policy::Wavefront { blocks: 8 }))),
    whole("parareal", |_, tol| Box::new(Parareal::default().acceptance(Acceptance::change(tol)))),
    windowed("identity-held", |w, tol| sliding(w, tol, Linearisation::Identity, HELD)),
    windowed("gaussian-held", |w, tol| sliding(w, tol, Linearisation::Gaussian { variance: 0.25 }, HELD)),
    windowed(OURS, |w, tol| Box::new(ours(w, tol))).plotted(0x1f, 0x5f, 0xa8),
    windowed(STRIDED, |w, tol| Box::new(ours(w, tol).far_stride(3))),
    windowed(PROBES, |w, tol| Box::new(ours(w, tol).probes(Probes::default()))),
];

/// The preset of this name, one of the constants of the programs.
pub fn preset(name: &str) -> &'static Preset {
    PRESETS.iter().find(|p| p.name == name).expect("programs name presets of the table")
}

/// The preset of this name, for the command line.
pub fn named(name: &str) -> Result<&'static Preset, String> {
    let names = || PRESETS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    PRESETS.iter().find(|p| p.name == name).ok_or_else(|| format!("expected one of {}", names()))
}

/// The samplers of the plots.
pub fn plotted() -> impl Iterator<Item = &'static Preset> {
    PRESETS.iter().filter(|p| p.colour.is_some())
}

type Make = fn(usize, f64) -> Box<dyn Sampler<Cpu<f32>>>;

const fn windowed(name: &'static str, sampler: Make) -> Preset {
    Preset { name, windowed: true, colour: None, sampler }
}

const fn whole(name: &'static str, sampler: Make) -> Preset {
    Preset { name, windowed: false, colour: None, sampler }
}

impl Preset {
    const fn plotted(self, red: u8, green: u8, blue: u8) -> Self {
        Preset { colour: Some((red, green, blue)), ..self }
    }
}

fn ours(window: usize, tolerance: f64) -> Picard {
    Picard::default().window(window).acceptance(Acceptance::Error(tolerance))
}

/// A sliding window for every sample and a tolerance for changes.
fn sliding(window: usize, tolerance: f64, linearisation: Linearisation, entry: Entry) -> Box<dyn Sampler<Cpu<f32>>> {
    let (window, acceptance) = (Window::Steps(window), Acceptance::change(tolerance));
    Box::new(Picard::default().linearisation(linearisation).entry(entry).window(window).acceptance(acceptance))
}

/// PIADM's blocks, those of each sample on their own.
fn blocks(tolerance: f64) -> Picard {
    Picard::piadm(1.0, None).acceptance(Acceptance::change(tolerance)).coupling(Coupling::PerSample)
}
