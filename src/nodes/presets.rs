//! Published samplers under their usual names and with their defaults.

use crate::nodes::scheme::{DdpmVariance, Scheme};

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
}
