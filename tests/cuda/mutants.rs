//! Kernels with a mistake must fail the tests of the operations or of the scores, in one order of threads or another.

use crate::{child, device};
use piadm::cuda::SOURCE;

/// A mistake: what it is, what is replaced (its first place, or the place after a marker) and by what.
const MUTANTS: [(&str, &str, &str, &str); 18] = [
    ("no barrier before the recurrence", "put(tile.old[warp], load", "__syncthreads();", ";"),
    (
        "no barrier after the recurrence",
        "last = {plain, old, target.out, target.before};\n            }\n        }",
        "__syncthreads();",
        ";",
    ),
    ("no guard against numbers that are not finite", "INLINE bool guard", "if (!finite(fresh.v[q]))", "if (false)"),
    ("an element too many", "INLINE u32 width", "(u32)(dim - column)", "(u32)(dim - column) + 1"),
    ("a quad too wide", "INLINE u32 width", "dim - column < 4 ?", "dim - column < 3 ?"),
    ("a leaf too many", "INLINE void run_wide", "if (leaf >= leaves) return;", "if (leaf > leaves) return;"),
    ("a target too many", "INLINE void run_long", "mine < segment.end", "mine <= segment.end"),
    ("a store in place of an atomic minimum", "INLINE void not_finite", "atomicMin(found, (u32)i)", "*found = (u32)i"),
    (
        "corrections and plain terms in one sum",
        "INLINE void run_wide",
        "accumulate(correction, p)",
        "accumulate(plain, p)",
    ),
    ("dependent rows taken too early", "INLINE void run_long", "bool kept = !term.dependent &&", "bool kept ="),
    ("a contracted product and sum", "INLINE float fma_apart", "add(mul(a, b), c)", "__fmaf_rn(a, b, c)"),
    (
        "lanes in another order",
        "INLINE T leaf_sum",
        "add(add(q.v[0], q.v[1]), add(q.v[2], q.v[3]))",
        "add(add(add(q.v[0], q.v[1]), q.v[2]), q.v[3])",
    ),
    (
        "leaves added in f32",
        "INLINE void fold_changes",
        "sum = add(sum, (double)sums",
        "sum = (double)add((T)sum, sums",
    ),
    ("distances added before they are there", "if (lane == 0) sums[leaf - base] = sum;", "__syncthreads();", ";"),
    ("products with coefficients of 0", "INLINE void combine", "if (by == 0) continue;", ";"),
    ("one coefficient for all rows", "INLINE void combine", "summand.by[row * summand.step]", "summand.by[0]"),
    ("elements that are not finite are clipped", "INLINE void combine", "if (finite(value) && ", "if ("),
    ("distances overwritten before they are added", "total = add(total, (double)sums[leaf", "__syncthreads();", ";"),
];

fn mutant(i: usize) -> String {
    let (name, marker, from, to) = MUTANTS[i];
    let start = SOURCE.find(marker).unwrap_or_else(|| panic!("{name}: {marker} is not there"));
    let (before, after) = SOURCE.split_at(start);
    assert!(after.contains(from), "{name}: {from} is not there");
    format!("{before}{}", after.replacen(from, to, 1))
}

fn caught(range: std::ops::Range<usize>) {
    if device::is_real() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("piadm-mutants-{}-{}", std::process::id(), range.start));
    std::fs::create_dir_all(&folder).unwrap();
    for i in range {
        let path = folder.join(format!("{i}.cu"));
        std::fs::write(&path, mutant(i)).unwrap();
        let fails = |order: &&str| {
            let settings = [("PIADM_KERNELS", path.to_str().unwrap()), ("EMU_ORDER", order)];
            ["operations::", "scores::"].into_iter().any(|tests| {
                let (passed, output) = child::run(tests, &settings);
                assert!(!output.contains("error:"), "{}: {output}", MUTANTS[i].0);
                !passed
            })
        };
        let order = ["forward", "reverse"].into_iter().find(fails);
        assert!(order.is_some(), "nobody notices: {}", MUTANTS[i].0);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn mutants_of_the_first_half_are_caught() {
    caught(0..MUTANTS.len() / 2);
}

#[test]
fn mutants_of_the_second_half_are_caught() {
    caught(MUTANTS.len() / 2..MUTANTS.len());
}
