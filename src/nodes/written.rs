//! Schemes as words: `ddim`, or with settings `ddim(eta=0.5)`.

use crate::names::names;
use crate::nodes::options::{BhVariant, Clock, DdpmVariance, Method, SolverType};
use crate::nodes::scheme::Scheme;
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
    DpmSolverPp = "dpm_solver_pp" {
        order: "1 to 3" = 2,
        eta: "a number" = 0.0,
        solver: "midpoint or heun" = SolverType::Midpoint,
        lower_order_final: "true or false" = false
    },
    UniPc = "uni_pc" {
        order: "1 to 3" = 2,
        corrector: "true or false" = true,
        variant: "bh1 or bh2" = BhVariant::Bh2,
        lower_order_final: "true or false" = true
    },
    Deis = "deis" { order: "1 to 3" = 2, lower_order_final: "true or false" = false },
    Lms = "lms" { order: "1 to 4" = 4, lower_order_final: "true or false" = false },
    Ipndm = "ipndm" { order: "1 to 4" = 4, lower_order_final: "true or false" = false },
    DpmSolverPp2S = "dpm_solver_pp_2s" { eta: "a number" = 0.0 },
    Dpm2 = "dpm2" { eta: "a number" = 0.0 },
    Lcm = "lcm",
    EdmStochastic = "edm_stochastic" {
        heun: "true or false" = true,
        s_churn: "a number" = 0.0,
        s_tmin: "a number" = 0.0,
        s_tmax: "a number" = f64::INFINITY,
        s_noise: "a number" = 1.0
    },
    RungeKutta = "runge_kutta" {
        method: "midpoint, heun or rk4" = Method::Midpoint,
        clock: "flow, sigma or log_snr" = Clock::Flow
    },
}

names! { SolverType, "solver type"; Midpoint = "midpoint", Heun = "heun" }

names! { BhVariant, "variant of B(h)"; Bh2 = "bh2", Bh1 = "bh1" }

names! { Method, "Runge-Kutta method"; Midpoint = "midpoint", Heun = "heun", Rk4 = "rk4" }

names! { Clock, "clock"; Flow = "flow", Sigma = "sigma", LogSnr = "log_snr" }
