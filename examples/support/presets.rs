//! The parallel samplers that are compared, one entry each.

use piadm::{
    Acceptance, Cpu, Parareal, Picard, Sampler, Window,
    sampler::{Coupling, Entry, Linearisation, Policy},
};

/// A parallel sampler that is complete but for its window and its tolerance.
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

const HELD: Entry = Entry::HeldData { variance: 0.25 };

/// All of them; a line more is a sampler more.
pub const PRESETS: [Preset; 10] = [
    Preset {
        name: REFERENCE,
        windowed: true,
        colour: Some((0xd0, 0x5a, 0x1e)),
        sampler: |window, tolerance| sliding(window, tolerance, Linearisation::Identity, Entry::Copy),
    },
    Preset {
        name: "paradigms-batch",
        windowed: true,
        colour: None,
        sampler: |window, tolerance| Box::new(Picard::paradigms(window, tolerance)),
    },
    Preset {
        name: "piadm-blocks",
        windowed: false,
        colour: None,
        sampler: |_, tolerance| {
            let acceptance = Acceptance::change(tolerance);
            Box::new(Picard::piadm(1.0, None).acceptance(acceptance).coupling(Coupling::PerSample))
        },
    },
    Preset {
        name: "piadm-sliding",
        windowed: true,
        colour: Some((0x6b, 0x8e, 0x3a)),
        sampler: |window, tolerance| sliding(window, tolerance, Linearisation::FrozenScore, Entry::Copy),
    },
    Preset {
        name: "parataa",
        windowed: true,
        colour: None,
        sampler: |window, tolerance| Box::new(Picard::parataa(window, 3, tolerance)),
    },
    Preset {
        name: "wavefront",
        windowed: false,
        colour: None,
        sampler: |_, tolerance| {
            let (policy, acceptance) = (Policy::Wavefront { blocks: 8 }, Acceptance::change(tolerance));
            Box::new(Picard::piadm(1.0, None).policy(policy).acceptance(acceptance).coupling(Coupling::PerSample))
        },
    },
    Preset {
        name: "parareal",
        windowed: false,
        colour: None,
        sampler: |_, tolerance| Box::new(Parareal::default().acceptance(Acceptance::change(tolerance))),
    },
    Preset {
        name: "identity-held",
        windowed: true,
        colour: None,
        sampler: |window, tolerance| sliding(window, tolerance, Linearisation::Identity, HELD),
    },
    Preset {
        name: "gaussian-held",
        windowed: true,
        colour: None,
        sampler: |window, tolerance| sliding(window, tolerance, Linearisation::Gaussian { variance: 0.25 }, HELD),
    },
    Preset {
        name: OURS,
        windowed: true,
        colour: Some((0x1f, 0x5f, 0xa8)),
        sampler: |window, tolerance| {
            let (window, acceptance) = (Window::Steps(window), Acceptance::Error(tolerance));
            Box::new(Picard::default().window(window).acceptance(acceptance))
        },
    },
];

/// A sliding window for every sample and a tolerance for changes.
fn sliding(window: usize, tolerance: f64, linearisation: Linearisation, entry: Entry) -> Box<dyn Sampler<Cpu<f32>>> {
    let (window, acceptance) = (Window::Steps(window), Acceptance::change(tolerance));
    Box::new(Picard::default().linearisation(linearisation).entry(entry).window(window).acceptance(acceptance))
}

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}
