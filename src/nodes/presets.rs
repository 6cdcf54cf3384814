//! Published samplers under their usual names and with their defaults.

use crate::nodes::options::{BhVariant, DdpmVariance, SolverType};
use crate::nodes::scheme::Scheme;

impl Scheme {
    /// `DDIMScheduler` of diffusers with its default eta = 0.
    ///
    /// ```
    /// assert_eq!(piadm::Scheme::ddim(), piadm::Scheme::Ddim { eta: 0.0 });
    /// ```
    pub fn ddim() -> Self {
        Scheme::Ddim { eta: 0.0 }
    }

    /// `DDPMScheduler` of diffusers with its default `variance_type = "fixed_small"`.
    ///
    /// ```
    /// use piadm::{nodes::DdpmVariance, Scheme};
    /// assert_eq!(Scheme::ddpm(), Scheme::Ddpm { variance: DdpmVariance::Small });
    /// ```
    pub fn ddpm() -> Self {
        Scheme::Ddpm { variance: DdpmVariance::Small }
    }

    /// `sample_euler` of k-diffusion and `EulerDiscreteScheduler` of diffusers, without churn: an Euler step in
    /// x/alpha over sigma/alpha, which is DDIM's step with eta = 0 (EDM, arXiv 2206.00364, section 3).
    ///
    /// ```
    /// assert_eq!(piadm::Scheme::euler(), piadm::Scheme::ddim());
    /// ```
    pub fn euler() -> Self {
        Self::ddim()
    }

    /// `sample_heun` of k-diffusion and `HeunDiscreteScheduler` of diffusers, without churn.
    ///
    /// ```
    /// assert_eq!(piadm::Scheme::heun(), piadm::Scheme::Heun {});
    /// ```
    pub fn heun() -> Self {
        Scheme::Heun {}
    }

    /// `sample_dpmpp_2m` of k-diffusion.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpmpp_2m(), Scheme::DpmSolverPp2M { lower_order_final: false });
    /// ```
    pub fn dpmpp_2m() -> Self {
        Scheme::DpmSolverPp2M { lower_order_final: false }
    }

    /// `sample_dpmpp_2m_sde` of k-diffusion with its defaults eta = 1 and the midpoint form.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpmpp_2m_sde(), Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false });
    /// ```
    pub fn dpmpp_2m_sde() -> Self {
        Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false }
    }

    /// `DPMSolverMultistepScheduler` of diffusers with its defaults (`dpmsolver++`, order 2, midpoint) for `steps`
    /// steps: its `lower_order_final` takes effect below 15 steps. A last step to sigma = 0 is of first order in
    /// any case. For `algorithm_type = "sde-dpmsolver++"` use [`SdeDpmSolverPp2M`](Scheme::SdeDpmSolverPp2M) with
    /// eta = 1.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpm_solver_multistep(20), Scheme::dpmpp_2m());
    /// assert_eq!(Scheme::dpm_solver_multistep(10), Scheme::DpmSolverPp2M { lower_order_final: true });
    /// ```
    pub fn dpm_solver_multistep(steps: usize) -> Self {
        Scheme::DpmSolverPp2M { lower_order_final: steps < 15 }
    }

    /// `sample_euler_ancestral` of k-diffusion and `EulerAncestralDiscreteScheduler` of diffusers with their default
    /// eta = 1. An Euler step in sigma/alpha to sigma_down, then noise of sigma_up, is DDIM's step with the same eta in
    /// [0, 1], and with 1 it is DDPM's.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::euler_ancestral(), Scheme::Ddim { eta: 1.0 });
    /// ```
    pub fn euler_ancestral() -> Self {
        Scheme::Ddim { eta: 1.0 }
    }

    /// `sample_lms` of k-diffusion and `LMSDiscreteScheduler` of diffusers with their default order 4.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::lms(), Scheme::Lms { order: 4, lower_order_final: false });
    /// ```
    pub fn lms() -> Self {
        Scheme::Lms { order: 4, lower_order_final: false }
    }

    /// `sample_ipndm` of ComfyUI with its default order 4.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::ipndm(), Scheme::Ipndm { order: 4, lower_order_final: false });
    /// ```
    pub fn ipndm() -> Self {
        Scheme::Ipndm { order: 4, lower_order_final: false }
    }

    /// `sample_dpm_2` of k-diffusion, without churn.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpm_2(), Scheme::Dpm2 { eta: 0.0 });
    /// ```
    pub fn dpm_2() -> Self {
        Scheme::Dpm2 { eta: 0.0 }
    }

    /// `sample_dpm_2_ancestral` of k-diffusion with its default eta = 1.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpm_2_ancestral(), Scheme::Dpm2 { eta: 1.0 });
    /// ```
    pub fn dpm_2_ancestral() -> Self {
        Scheme::Dpm2 { eta: 1.0 }
    }

    /// `sample_dpmpp_2s_ancestral` of k-diffusion with eta = 0: DPM-Solver++(2S).
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpmpp_2s(), Scheme::DpmSolverPp2S { eta: 0.0 });
    /// ```
    pub fn dpmpp_2s() -> Self {
        Scheme::DpmSolverPp2S { eta: 0.0 }
    }

    /// `sample_dpmpp_2s_ancestral` of k-diffusion with its default eta = 1.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::dpmpp_2s_ancestral(), Scheme::DpmSolverPp2S { eta: 1.0 });
    /// ```
    pub fn dpmpp_2s_ancestral() -> Self {
        Scheme::DpmSolverPp2S { eta: 1.0 }
    }

    /// `sample_dpmpp_3m_sde` of k-diffusion with its default eta = 1. Its second step, of order 2, is in Heun's form.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!("dpm_solver_pp(order=3, eta=1, solver=heun)".parse::<Scheme>()?, Scheme::dpmpp_3m_sde());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn dpmpp_3m_sde() -> Self {
        Scheme::DpmSolverPp { order: 3, eta: 1.0, solver: SolverType::Heun, lower_order_final: false }
    }

    /// `UniPCMultistepScheduler` of diffusers with its defaults: order 2, bh2, with corrector.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!("uni_pc".parse::<Scheme>()?, Scheme::uni_pc());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn uni_pc() -> Self {
        Scheme::UniPc { order: 2, corrector: true, variant: BhVariant::Bh2, lower_order_final: true }
    }

    /// `DEISMultistepScheduler` of diffusers with its default order 2 for `steps` steps: its `lower_order_final` takes
    /// effect below 15 steps.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::deis(20), Scheme::Deis { order: 2, lower_order_final: false });
    /// ```
    pub fn deis(steps: usize) -> Self {
        Scheme::Deis { order: 2, lower_order_final: steps < 15 }
    }

    /// `sample_lcm` of ComfyUI. `LCMScheduler` of diffusers does the same with c_out D + c_skip x in place of D; these
    /// boundary scalings are within 1e-6 of 1 and 0 at the timesteps that it takes in 20 steps, see docs/peers.md.
    ///
    /// ```
    /// use piadm::Scheme;
    /// assert_eq!(Scheme::lcm(), Scheme::Lcm {});
    /// ```
    pub fn lcm() -> Self {
        Scheme::Lcm {}
    }
}
