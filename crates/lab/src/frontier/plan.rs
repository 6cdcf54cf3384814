//! Which settings are tried on a problem.

use super::{Parallel, Rival};

#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Dimension of a mixture; `None` for the network of the problem's name.
    pub mixture: Option<usize>,
    /// Samples whose paths are measured, and those of a set whose law is measured.
    pub samples: usize,
    pub law_samples: usize,
    /// Steps of the reference path and of the reference set.
    pub reference: usize,
    pub law_reference: usize,
    /// Whether DDIM is run in parallel too.
    first_order: bool,
    /// Evaluations of the sequential schemes.
    evaluations: &'static [usize],
    law_evaluations: &'static [usize],
    /// Steps of parallel runs, their windows in steps, ascending, and their tolerances.
    steps: &'static [usize],
    windows: &'static [usize],
    tolerances: &'static [f64],
    /// The same, with windows and tolerances in pairs, where the law is measured.
    law_steps: &'static [usize],
    law_settings: &'static [(usize, f64)],
}

const MLP: Plan = Plan {
    mixture: None,
    samples: 32,
    law_samples: 1024,
    reference: 4000,
    law_reference: 500,
    first_order: true,
    evaluations: &[4, 6, 8, 10, 12, 14, 15, 16, 18, 20, 24, 30, 40, 50, 70, 100, 150, 200, 300, 500],
    law_evaluations: &[6, 8, 10, 12, 15, 20, 30, 50, 100],
    steps: &[25, 50, 100, 200, 500],
    windows: &[32, 64, 100, 200],
    tolerances: &[1e-1, 1e-2, 1e-3, 1e-4, 1e-5],
    law_steps: &[50, 200],
    law_settings: &[(64, 0.1), (200, 0.01)],
};

const UNET: Plan = Plan {
    samples: 8,
    law_samples: 128,
    reference: 2000,
    law_reference: 200,
    first_order: false,
    law_evaluations: &[6, 10, 15, 20, 50],
    steps: &[25, 50, 100, 300],
    windows: &[64, 200],
    tolerances: &[1e-1, 1e-2, 1e-3, 1e-4],
    law_steps: &[50],
    ..MLP
};

/// By the names of the problems.
pub(super) const PLANS: [(&str, Plan); 4] = [
    ("mixture-64", Plan { mixture: Some(64), samples: 128, law_samples: 4096, law_reference: 1000, ..MLP }),
    ("mixture-1024", Plan { mixture: Some(1024), law_reference: 1000, ..MLP }),
    ("mlp", MLP),
    ("unet", UNET),
];

impl Plan {
    /// A few settings of few steps: seconds.
    pub fn quick(self) -> Self {
        Plan {
            samples: 2,
            law_samples: 32,
            reference: 200,
            law_reference: 50,
            evaluations: &[6, 10, 20],
            law_evaluations: &[6, 20],
            steps: &[40],
            windows: &[16, 64],
            tolerances: &[1e-2, 1e-4],
            law_steps: &[30],
            law_settings: &[(64, 0.1)],
            ..self
        }
    }

    /// Steps of the runs whose path is measured, and how the parallel ones are run.
    pub fn paths(&self, rival: Rival) -> Vec<(usize, Option<Parallel>)> {
        let mut all: Vec<_> = self.evaluations.iter().map(|n| (n / rival.calls_per_step(), None)).collect();
        for &n in if self.first_order || rival != Rival::Ddim { self.steps } else { &[] } {
            // of the windows as long as the grid only the shortest
            let longest = self.windows.iter().copied().find(|w| *w >= n);
            for &window in self.windows.iter().filter(|w| longest.is_none_or(|longest| **w <= longest)) {
                all.extend(self.tolerances.iter().map(|&tolerance| (n, Some(Parallel { window, tolerance }))));
            }
        }
        all
    }

    /// The same of the runs whose law is measured.
    pub fn laws(&self, rival: Rival) -> Vec<(usize, Option<Parallel>)> {
        let mut all: Vec<_> = self.law_evaluations.iter().map(|n| (*n, None)).collect();
        // of first order it is not in the running
        for &n in if rival == Rival::Ddim { &[] } else { self.law_steps } {
            let parallel = |&(window, tolerance): &_| (n, Some(Parallel { window, tolerance }));
            all.extend(self.law_settings.iter().map(parallel));
        }
        all
    }
}
