//! The other half of the schemes, on the same problem (tests/peers/schemes.py).

use crate::*;
use piadm::nodes::{BhVariant, SolverType};

fn uni_pc(order: usize, corrector: bool, variant: BhVariant) -> Scheme {
    Scheme::UniPc { order, corrector, variant, lower_order_final: true }
}

fn dpm_solver(order: usize, eta: f64, solver: SolverType) -> Scheme {
    Scheme::DpmSolverPp { order, eta, solver, lower_order_final: false }
}

/// The trailing timesteps, with entry 0 of the table in place of the data.
fn to_the_smallest_noise() -> Result<Grid, BoxError> {
    let mut times = Grid::ddpm_timesteps(STEPS, Spacing::Trailing).times(&table())?;
    times[STEPS] = 0.0;
    Ok(Grid::new(times))
}

#[test]
fn multistep_schedulers() -> Test {
    use BhVariant::{Bh1, Bh2};
    use SolverType::{Heun, Midpoint};
    let peer = Peer::read("diffusers_schemes.safetensors")?;
    let check = |case: &str, grid: &Grid, scheme: Scheme| {
        assert_scheduler(&peer, case, grid, &scheme, &mut mixture(Prediction::Noise))
    };
    let trailing = Grid::dpm_solver_timesteps(STEPS, Spacing::Trailing);
    let smallest = to_the_smallest_noise()?;
    for order in 1..=3 {
        check(&format!("unipc-{order}/trailing"), &trailing, uni_pc(order, true, Bh2))?;
        check(&format!("unip-{order}/trailing"), &trailing, uni_pc(order, false, Bh2))?;
        check(&format!("unipc-{order}-bh1/trailing"), &smallest, uni_pc(order, true, Bh1))?;
        check(&format!("deis-{order}/trailing"), &smallest, Scheme::Deis { order, lower_order_final: false })?;
    }
    for (name, spacing) in SPACINGS {
        let case = format!("unipc-2/{name}");
        check(&case, &Grid::dpm_solver_timesteps(STEPS, spacing), uni_pc(2, true, Bh2))?;
    }
    let full = Scheme::UniPc { order: 3, corrector: true, variant: Bh2, lower_order_final: false };
    check("unipc-end/trailing", &smallest, full)?;
    check("dpm-3/trailing", &trailing, dpm_solver(3, 0.0, Midpoint))?;
    check("dpm-heun/trailing", &trailing, dpm_solver(2, 0.0, Heun))?;
    check("dpm-sde-heun/trailing", &trailing, dpm_solver(2, 1.0, Heun))?;
    let euler = Grid::euler_timesteps(STEPS, Spacing::Trailing);
    check("euler-ancestral/trailing", &euler, Scheme::euler_ancestral())?;
    check("lms/trailing", &euler, Scheme::lms())
}

/// Order 3 of `sde-dpmsolver++` has -1/2 in place of +1/2 in the weight of the second difference, which is then near -1
/// in place of h/3. With that term added to our list the paths agree.
#[test]
fn third_order_of_the_sde_scheduler_has_a_wrong_sign() -> Test {
    let (peer, case) = (Peer::read("diffusers_schemes.safetensors")?, "dpm-3-sde/trailing");
    let grid = Grid::dpm_solver_timesteps(STEPS, Spacing::Trailing);
    let ours = Nodes::new(&table(), &grid, &dpm_solver(3, 1.0, SolverType::Midpoint), Prediction::Data)?;
    let mut list = Nodes::empty(ours.nodes()[0].level);
    for j in 1..=STEPS {
        let level = |back: usize| ours.nodes()[j - back].level;
        let mut terms = NodeTerms::new().a(1, [0, 0], ours.a(j, 1, 0, 0));
        for lag in 1..=j.min(3) {
            terms = terms.b(lag, [0, 0], ours.b(j, lag, 0, 0));
        }
        if j >= 3 && level(0).sigma > 0.0 {
            let step = |back: usize| level(back).log_snr - level(back + 1).log_snr;
            let (r0, r1) = (step(1) / step(0), step(2) / step(0));
            let weight = -level(0).alpha / (r0 + r1);
            let parts = [weight / r0, -weight / r0 - weight / r1, weight / r1];
            for (lag, part) in parts.into_iter().enumerate() {
                terms = terms.b(lag + 1, [0, 0], part);
            }
        }
        list.push(level(0), true, &terms.c(0, Normal::dynamics(j), ours.c(j, 0, 0)))?;
    }
    assert_path(&peer, case, list, &mut mixture(Prediction::Data))
}

/// Boundary scalings of `LCMScheduler` (sigma_data = 0.5, timestep_scaling = 10): c_skip x + c_out D in place of D. It
/// computes them in single precision, also for states in double precision.
#[test]
fn the_lcm_scheduler_but_for_its_boundary_scalings() -> Test {
    let (peer, case) = (Peer::read("diffusers_schemes.safetensors")?, "lcm/trailing");
    let timesteps = peer.tensor::<Ix1>(&format!("{case}/timesteps"))?;
    let grid = Grid::new(timesteps.iter().copied().chain([-1.0]).collect::<Vec<_>>());
    let ours = Nodes::new(&table(), &grid, &Scheme::lcm(), Prediction::Data)?;
    let mut list = Nodes::empty(ours.nodes()[0].level);
    let scalings = peer.tensor::<Ix2>(&format!("{case}/scalings"))?;
    for (j, row) in scalings.outer_iter().enumerate().map(|(m, row)| (m + 1, row)) {
        let (node, skip, out) = (ours.nodes()[j], row[0], row[1]);
        assert!(skip < 1e-6 && (1.0 - out).abs() < 1e-6, "{skip} {out}");
        let b = ours.b(j, 1, 0, 0);
        let terms = NodeTerms::new().a(1, [0, 0], b * skip).b(1, [0, 0], b * out);
        list.push(node.level, true, &terms.c(0, Normal::dynamics(j), ours.c(j, 0, 0)))?;
    }
    assert_path(&peer, case, list, &mut mixture(Prediction::Data))
}

#[test]
fn other_samplers_of_k_diffusion() -> Test {
    use SolverType::Heun;
    let peer = Peer::read("k_diffusion_schemes.safetensors")?;
    let table = Discrete::linear(1000, 1e-4, 0.02)?; // reaches sigma/alpha = 158
    let schedules: [(&dyn NoiseSchedule, Prediction); 2] = [(&Edm, Prediction::Data), (&table, Prediction::Noise)];
    let churn = |heun| Scheme::EdmStochastic { heun, s_churn: 8.0, s_tmin: 0.05, s_tmax: 10.0, s_noise: 1.003 };
    for (schedule, kind) in schedules {
        let grid = Grid::get_sigmas_karras(STEPS, 0.03, 15.0, 7.0);
        assert_levels("k-diffusion", &levels(schedule, &grid)?, &peer.tensor::<Ix1>("levels")?);
        for (case, scheme) in [
            ("lms", Scheme::lms()),
            ("lms-2", Scheme::Lms { order: 2, lower_order_final: false }),
            ("dpm_2", Scheme::dpm_2()),
            ("dpm_2_ancestral", Scheme::dpm_2_ancestral()),
            ("dpm_2_ancestral-half", Scheme::Dpm2 { eta: 0.5 }),
            ("dpmpp_2s", Scheme::dpmpp_2s()),
            ("dpmpp_2s_ancestral", Scheme::dpmpp_2s_ancestral()),
            ("dpmpp_2s_ancestral-half", Scheme::DpmSolverPp2S { eta: 0.5 }),
            ("euler_ancestral", Scheme::euler_ancestral()),
            ("euler_ancestral-half", Scheme::Ddim { eta: 0.5 }),
            ("dpmpp_2m_sde-heun", dpm_solver(2, 1.0, Heun)),
            ("dpmpp_3m", dpm_solver(3, 0.0, Heun)),
            ("dpmpp_3m_sde", Scheme::dpmpp_3m_sde()),
            ("euler-churn", churn(false)),
            ("heun-churn", churn(true)),
        ] {
            let list = Nodes::new(schedule, &grid, &scheme, kind)?;
            let ours = path(list, &mut mixture(kind), Variables::Exploding, &peer.noise, &peer.init)?;
            assert_agrees(case, &ours, &peer.tensor::<Ix3>(&format!("{case}/states"))?, DOUBLE);
        }
    }
    Ok(())
}
