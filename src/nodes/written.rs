//! Schemes as words: `ddim`, or with settings `ddim(eta=0.5)`.

use crate::names::names;
use crate::nodes::scheme::{DdpmVariance, Scheme};
use crate::nodes::step::Form;

names! { Form, "form of the integrator"; Score = "score", Noise = "noise", Data = "data" }
names! { DdpmVariance, "variance of DDPM"; Small = "small", Large = "large" }
names! { Scheme, "scheme";
    Exponential = "exponential" { form: "score, noise or data" = Form::Data, stochasticity: "a number" = 1.0 },
    EulerMaruyama = "euler_maruyama" { stochasticity: "a number" = 1.0 },
    Ddpm = "ddpm" { variance: "small or large" = DdpmVariance::Small },
    Ddim = "ddim" { eta: "a number" = 0.0 },
    DdimClipped = "ddim_clipped" { eta: "a number" = 0.0 },
    Kernel = "kernel",
    SdeDpmSolverPp1 = "sde_dpm_solver_pp1" { eta: "a number" = 1.0 },
    DpmSolverPp2M = "dpm_solver_pp_2m" { lower_order_final: "true or false" = false },
    SdeDpmSolverPp2M = "sde_dpm_solver_pp_2m" {
        eta: "a number" = 1.0, lower_order_final: "true or false" = false
    },
    Heun = "heun",
}
