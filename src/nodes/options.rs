//! Choices within a scheme.

/// Variance of DDPM's ancestral noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum DdpmVariance {
    /// The posterior's variance (beta tilde).
    #[default]
    Small,
    /// The forward step's variance (beta).
    Large,
}

/// How a second-order multistep step extrapolates, D' being the slope over a step of length h in log-SNR:
/// `solver_type` of diffusers and k-diffusion.
///
/// ```
/// use piadm::nodes::SolverType;
/// assert_eq!("heun".parse::<SolverType>()?, SolverType::Heun);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SolverType {
    /// D + D' h/2 throughout the step.
    #[default]
    Midpoint,
    /// D + D' tau at the time tau of the step, integrated exactly.
    Heun,
}

/// B(h) of UniPC (arXiv 2302.04867), which weighs the slopes in UniP of order 2 and UniC of order 1. All other orders
/// are the same with both.
///
/// ```
/// use piadm::nodes::BhVariant;
/// assert_eq!("bh1".parse::<BhVariant>()?, BhVariant::Bh1);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BhVariant {
    /// B(h) = e^h - 1, the default of diffusers.
    #[default]
    Bh2,
    /// B(h) = h.
    Bh1,
}

/// An explicit Runge-Kutta method.
///
/// ```
/// use piadm::{nodes::{Clock, Method}, Scheme};
/// let scheme = Scheme::RungeKutta { method: Method::Rk4, clock: Clock::LogSnr };
/// assert_eq!("runge_kutta(method=rk4, clock=log_snr)".parse::<Scheme>()?, scheme);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Method {
    /// Second order, two evaluations per step: the slope in the middle.
    #[default]
    Midpoint,
    /// Second order, two evaluations: the mean of the slopes at both ends.
    Heun,
    /// Fourth order, four evaluations: the classical method and, in log-SNR, that of Cox and Matthews (J. Comput.
    /// Phys. 176, 2002, equations 26 to 29).
    Rk4,
}

/// The clock of a Runge-Kutta method: which multiple of x moves with which output.
///
/// ```
/// use piadm::nodes::Clock;
/// assert_eq!("sigma".parse::<Clock>()?, Clock::Sigma);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Clock {
    /// x/(alpha + sigma) moves with the velocity eps - D in sigma/(alpha + sigma). On
    /// [`Flow`](crate::schedule::Flow) that is x, and the time itself.
    #[default]
    Flow,
    /// x/alpha moves with eps in sigma/alpha.
    Sigma,
    /// Exponential methods: x/alpha falls towards D in log-SNR, and the linear part is exact.
    LogSnr,
}
