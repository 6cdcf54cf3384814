//! The samplers of the CPU backend, compiled with the crate.
//!
//! A generic function is compiled anew in every crate that calls it, except for a function marked `#[inline(never)]`
//! of which the crate that defines it has an instance. With these instances the crate itself takes 20 seconds of a
//! processor longer to compile, and each program that samples takes 30 less.

use crate::backend::Cpu;
use crate::engine::observer::Observer;
use crate::engine::session::Session;
use crate::engine::settings::Picard;
use crate::error::Result;
use crate::problem::{Prepared, Problem, Solution};
use crate::sampler::automatic::settings::Automatic;
use crate::sampler::chords::Chords;
use crate::sampler::interface::Sampler;
use crate::sampler::parareal::Parareal;
use crate::sampler::sequential::Sequential;
use crate::score::ScoreFn;

type Run<S, B> = fn(&S, &Problem<B>, &mut dyn ScoreFn<B>, &mut dyn Observer<B>) -> Result<Solution<B>>;
type Observe<B> = fn(&mut Session<B>, &Prepared<B>, &mut dyn ScoreFn<B>, &mut dyn Observer<B>) -> Result<()>;

macro_rules! samplers {
    ($($backend:ty: $($sampler:ty),*;)*) => { $(
        const _: () = {
            #[used]
            static NEW: fn(&Picard, &Prepared<$backend>, &str) -> Result<Session<$backend>> = Session::new;
            #[used]
            static OBSERVE: Observe<$backend> = Session::<$backend>::observe;
            $(const _: () = {
                #[used]
                static RUN: Run<$sampler, $backend> = <$sampler as Sampler<$backend>>::run;
            };)*
        };
    )* };
}

samplers! {
    Cpu<f32>: Sequential, Picard, Automatic, Parareal, Chords;
    Cpu<f64>: Sequential, Picard, Automatic, Parareal, Chords;
}
