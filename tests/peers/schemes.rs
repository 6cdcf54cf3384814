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
    let mut check = |case: &str, grid: &Grid, scheme: Scheme| {
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
    check("dpm-3-sde/trailing", &trailing, dpm_solver(3, 1.0, Midpoint))?;
    check("dpm-heun/trailing", &trailing, dpm_solver(2, 0.0, Heun))?;
    check("dpm-sde-heun/trailing", &trailing, dpm_solver(2, 1.0, Heun))?;
    let euler = Grid::euler_timesteps(STEPS, Spacing::Trailing);
    check("euler-ancestral/trailing", &euler, Scheme::euler_ancestral())?;
    check("lms/trailing", &euler, Scheme::lms())
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
