//! Arrays that an adapter keeps from call to call.

use crate::backend::{Backend, Real};
use crate::error::Result;
use std::any::Any;

/// An array on the backend that calls the adapter, whose own type names no backend. A clone starts without one.
#[derive(Default)]
pub(in crate::score) struct Scratch(Option<Box<dyn Any + Send + Sync>>);

struct Kept<B: Backend> {
    backend: B,
    array: B::Array,
    shape: [usize; 2],
}

impl Scratch {
    /// The backend of `like`, and an array there of at least `rows` rows of that length: the one of the call before if
    /// it is large enough.
    pub fn room<B: Backend>(
        &mut self,
        what: &'static str,
        like: B::View<'_>,
        rows: usize,
    ) -> Result<(B, &mut B::Array)> {
        self.on(what, &B::of(like), [rows, B::shape(like)[1]])
    }

    /// The same on a given backend, for rows of so many elements.
    pub fn on<B: Backend>(
        &mut self,
        what: &'static str,
        backend: &B,
        [rows, dim]: [usize; 2],
    ) -> Result<(B, &mut B::Array)> {
        let fits = |kept: &Kept<B>| kept.backend == *backend && kept.shape[0] >= rows && kept.shape[1] == dim;
        let place = &mut self.0;
        if !place.as_ref().and_then(|kept| kept.downcast_ref()).is_some_and(fits) {
            // what is too small goes before anything new is made
            *place = None;
            let array = backend.alloc(what, rows, dim, B::Elem::of(0.0))?;
            *place = Some(Box::new(Kept { backend: backend.clone(), array, shape: [rows, dim] }));
        }
        match place.as_mut().and_then(|kept| kept.downcast_mut::<Kept<B>>()) {
            Some(kept) => Ok((kept.backend.clone(), &mut kept.array)),
            None => unreachable!("the array is of this backend"),
        }
    }
}

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Scratch::default()
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "an array" } else { "no array" })
    }
}
