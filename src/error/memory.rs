//! Memory that is asked for, not taken for granted: what grows with the input is reserved here, and its lack is an
//! error.

use crate::error::{Error, Result};

/// An empty vector with room for `len` items.
pub(crate) fn reserved<T>(what: &'static str, len: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    reserve(what, &mut items, len)?;
    Ok(items)
}

/// Makes room for `len` items in all.
pub(crate) fn reserve<T>(what: &'static str, items: &mut Vec<T>, len: usize) -> Result<()> {
    let bytes = len.saturating_mul(size_of::<T>());
    let more = len.saturating_sub(items.len());
    items.try_reserve_exact(more).map_err(|_| Error::OutOfMemory { what, bytes })
}

/// `len` times the same item.
pub(crate) fn filled<T: Clone>(what: &'static str, len: usize, item: T) -> Result<Vec<T>> {
    let mut items = reserved(what, len)?;
    items.resize(len, item);
    Ok(items)
}
