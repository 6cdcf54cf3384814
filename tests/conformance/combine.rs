//! Linear combinations of views, on every backend.

use crate::*;
use piadm::backend::{Limit, Summand};

/// Row by row and element by element: products in order, the first one to nothing, then the limit.
fn combined<T: Real>(
    summands: &[Summand<'_, &Array2<T>>],
    limit: Option<Limit<'_, &Array2<T>>>,
    out: &Array2<T>,
) -> Array2<T> {
    fn of<C: Copy>(all: &[C], row: usize) -> C {
        if all.len() == 1 { all[0] } else { all[row] }
    }
    Array2::from_shape_fn(out.dim(), |(r, i)| {
        let used = summands.iter().filter(|s| !T::of(of(s.by, r)).is_zero());
        let products = used.map(|s| T::of(of(s.by, r)) * s.rows.unwrap_or(out)[[r, i]]);
        let sum = products.reduce(|sum, product| sum + product).unwrap_or(T::zero());
        let Some(Limit { map, x, low, high }) = limit else { return sum };
        let [p, q] = of(map, r);
        let known = if p == 0.0 { 0.0 } else { p * x[[r, i]].wide() };
        let value = known + q * sum.wide();
        let bound = if value < low { low } else { high };
        let inside = !value.is_finite() || (low <= value && value <= high);
        if inside { sum } else { T::of((bound - known) / q) }
    })
}

/// Rows 2..5 of arrays of seven: what lies around them stays.
pub fn views_are_combined<B: Backend>(backend: &B) {
    let part = 2..5;
    let per_row = [[0.75, -1.0, 1e-3], [0.0, 0.3, -2.0], [1e-60, 0.0, 0.1]];
    let maps = [[0.5, -1.5], [0.0, 1.0], [-2.0, 0.25]];
    for dim in DIMS {
        let mut host: [Array2<B::Elem>; 4] = std::array::from_fn(|k| table(7, dim, 500 * k));
        // numbers that are not finite, in rows whose coefficient is 0 and in others
        let bad = |x: f64| <B::Elem as Real>::of(x);
        host[1].row_mut(2).fill(bad(f64::NAN));
        host[1][[3, dim / 2]] = bad(f64::INFINITY);
        host[0][[3, 0]] = bad(-0.0);
        host[3].row_mut(3).fill(bad(f64::NAN));
        host[3][[4, dim - 1]] = bad(f64::NAN);
        let arrays: Vec<B::Array> = host.iter().map(|h| upload(backend, h)).collect();
        let seen: Vec<_> = host.iter().map(|h| h.slice(s![part.clone(), ..]).to_owned()).collect();
        let all: [(&[f64], Option<usize>); 4] =
            [(&per_row[0], Some(0)), (&per_row[1], Some(1)), (&per_row[2], None), (&[-0.4], Some(0))];
        let limits = [None, Some((&maps[..], [-0.3, 0.2])), Some((&maps[2..], [-0.1, 0.0]))];
        for summands in [&all[..], &all[1..3], &all[2..3], &all[..1], &all[3..], &[]] {
            for (i, limit) in limits.into_iter().enumerate() {
                let mut out = upload(backend, &host[2]);
                let views: Vec<Summand<'_, B::View<'_>>> = summands
                    .iter()
                    .map(|&(by, rows)| Summand { by, rows: rows.map(|k| backend.view(&arrays[k], part.clone())) })
                    .collect();
                let bounds = limit.map(|(map, [low, high])| {
                    let x = B::part(backend.view(&arrays[3], 1..6), 1..4);
                    Limit { map, x, low, high }
                });
                {
                    let mut outer = backend.view_mut(&mut out, 1..7);
                    backend.combine(&views, bounds, B::part_mut(&mut outer, 1..4)).unwrap();
                }
                let plain: Vec<_> =
                    summands.iter().map(|&(by, rows)| Summand { by, rows: rows.map(|k| &seen[k]) }).collect();
                let limit = limit.map(|(map, [low, high])| Limit { map, x: &seen[3], low, high });
                let mut expected = host[2].clone();
                expected.slice_mut(s![part.clone(), ..]).assign(&combined(&plain, limit, &seen[2]));
                let found = backend.download(&out, 0..7).unwrap();
                let number = |v: &B::Elem| if v.wide().is_nan() { bad(f64::NAN) } else { *v };
                assert_bits(
                    &found.map(number),
                    &expected.map(number),
                    &format!("{dim} elements, {} summands, limit {i}", summands.len()),
                );
            }
        }
    }
}

pub fn combinations_that_do_not_fit_are_refused<B: Backend>(backend: &B) {
    let rows: Vec<B::Array> =
        [(3, 5), (2, 5), (3, 4)].iter().map(|&(n, dim)| upload(backend, &table(n, dim, 1))).collect();
    let mut out = upload(backend, &table(3, 5, 9));
    let view = |k: usize| backend.view(&rows[k], 0..3);
    let mut combine = |summands: &[Summand<'_, B::View<'_>>], limit: Option<Limit<'_, B::View<'_>>>| {
        backend.combine(summands, limit, backend.view_mut(&mut out, 0..3))
    };
    let limit = |map, k, low, high| Some(Limit { map, x: view(k), low, high });
    let one = || Summand::of(&[1.0], view(0));
    for k in [1, 2] {
        assert!(matches!(combine(&[one(), Summand::of(&[1.0], view(k))], None), Err(Error::Shape { .. })));
        assert!(matches!(combine(&[one()], limit(&[[0.0, 1.0]], k, 0.0, 1.0)), Err(Error::Shape { .. })));
    }
    for by in [&[][..], &[1.0; 2], &[1.0; 4]] {
        assert!(matches!(combine(&[Summand::of(by, view(0))], None), Err(Error::Shape { .. })));
    }
    assert!(matches!(combine(&[one()], limit(&[[0.0, 1.0]; 2], 0, 0.0, 1.0)), Err(Error::Shape { .. })));
    for (low, high) in [(1.0, 0.0), (f64::NAN, 0.0), (0.0, f64::NAN)] {
        assert!(matches!(combine(&[one()], limit(&[[0.0, 1.0]], 0, low, high)), Err(Error::Setting { .. })));
    }
    assert!(matches!(combine(&[one(), one(), one(), one(), one()], None), Err(Error::TooLarge { .. })));
    combine(&[one(), one(), one(), one()], limit(&[[0.0, 1.0]], 0, 0.0, 1.0)).unwrap();
    // nothing is a view too
    let (nothing, mut empty) = (view(0), upload(backend, &table(3, 0, 0)));
    backend.combine(&[Summand::of(&[], B::part(nothing, 1..1))], None, backend.view_mut(&mut out, 2..2)).unwrap();
    backend.combine(&[Summand::held(&[1.0])], None, backend.view_mut(&mut empty, 0..3)).unwrap();
}
