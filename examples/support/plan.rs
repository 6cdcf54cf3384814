//! Which settings the example `frontier` tries on a problem.

use super::rivals::Parallel;

/// What is tried on a problem.
pub struct Plan {
    /// Samples whose paths are measured.
    pub samples: usize,
    /// Samples of a set whose law is measured.
    pub law_samples: usize,
    /// Whether DDIM is run in parallel too.
    pub first_order: bool,
    /// Steps of the reference path.
    pub reference: usize,
    /// Steps of the reference set.
    pub law_reference: usize,
    /// Of the sequential schemes.
    pub evaluations: Vec<usize>,
    /// Of those whose law is measured.
    pub law_evaluations: Vec<usize>,
    /// Of parallel runs.
    pub steps: Vec<usize>,
    /// Of parallel runs, in steps.
    pub windows: Vec<usize>,
    /// Of parallel runs.
    pub tolerances: Vec<f64>,
    /// Of parallel runs whose law is measured.
    pub law_steps: Vec<usize>,
    /// Windows and tolerances of those.
    pub law_settings: Vec<Parallel>,
}

impl Plan {
    /// Of a problem; `quick` takes seconds.
    pub fn new(problem: &str, quick: bool) -> Self {
        let unet = problem == "unet";
        let (samples, law_samples, reference, law_reference) = match (problem, quick) {
            (_, true) => (2, 32, 200, 50),
            ("mixture-64", _) => (128, 4096, 4000, 1000),
            ("mixture-1024", _) => (32, 1024, 4000, 1000),
            ("mlp", _) => (32, 1024, 4000, 500),
            _ => (8, 128, 2000, 200),
        };
        let setting = |(window, tolerance)| Parallel { window, tolerance };
        let of = |quick_values: &[usize], values: &[usize]| if quick { quick_values.to_vec() } else { values.to_vec() };
        let settings: &[(usize, f64)] = if quick { &[(64, 0.1)] } else { &[(64, 0.1), (200, 0.01)] };
        Plan {
            samples,
            law_samples,
            first_order: !unet,
            reference,
            law_reference,
            evaluations: of(
                &[6, 10, 20],
                &[4, 6, 8, 10, 12, 14, 15, 16, 18, 20, 24, 30, 40, 50, 70, 100, 150, 200, 300, 500],
            ),
            law_evaluations: of(
                &[6, 20],
                if unet { &[6, 10, 15, 20, 50] } else { &[6, 8, 10, 12, 15, 20, 30, 50, 100] },
            ),
            steps: of(&[40], if unet { &[25, 50, 100, 300] } else { &[25, 50, 100, 200, 500] }),
            windows: of(&[16, 64], if unet { &[64, 200] } else { &[32, 64, 100, 200] }),
            tolerances: match (quick, unet) {
                (true, _) => vec![1e-2, 1e-4],
                (_, true) => vec![1e-1, 1e-2, 1e-3, 1e-4],
                _ => vec![1e-1, 1e-2, 1e-3, 1e-4, 1e-5],
            },
            law_steps: of(&[30], if unet { &[50] } else { &[50, 200] }),
            law_settings: settings.iter().copied().map(setting).collect(),
        }
    }
}
