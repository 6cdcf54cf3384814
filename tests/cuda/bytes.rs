//! How many bytes a pass moves between the device's memory and its processors, counted where the kernels load and
//! store.

use crate::common::planes;
use crate::{child, device};
use piadm::backend::{Plane, Planes, Program, RowRef, Vector};
use piadm::cuda::SOURCE;
use piadm::{Backend, Cuda};

const DIM: usize = 512;
const NODES: usize = 20;
const SAMPLES: usize = 3;
/// Elements of one array of a round.
const ELEMENTS: usize = DIM * NODES * SAMPLES;

/// The kernels, which say at the end how many bytes they moved.
fn counting() -> String {
    let report = "static u64 moved_bytes;\n\
        struct Moved { ~Moved() { fprintf(stderr, \"moved %llu bytes\\n\", moved_bytes); } };\n\
        static Moved moved_report;\n";
    let after_types = "typedef unsigned long long u64;\n";
    let mut source = SOURCE.to_owned();
    for (from, to) in [
        (after_types, format!("{after_types}{report}")),
        (
            "if (count) return load_whole(p);",
            "if (count) { moved_bytes += sizeof(T) * 4; return load_whole(p); }".into(),
        ),
        ("if (count) store_whole(p, q);", "if (count) { moved_bytes += sizeof(T) * 4; store_whole(p, q); }".into()),
    ] {
        assert_eq!(source.matches(from).count(), 1, "{from}");
        source = source.replace(from, &to);
    }
    source
}

/// Bytes that a child test moves.
fn moved(test: &str) -> usize {
    let path = std::env::temp_dir().join(format!("piadm-counting-{}-{test}.cu", std::process::id()));
    std::fs::write(&path, counting()).unwrap();
    let (passed, output) = child::run(&format!("bytes::{test}"), &[("PIADM_KERNELS", path.to_str().unwrap())]);
    std::fs::remove_file(path).unwrap();
    assert!(passed, "{output}");
    let count = output.lines().find_map(|l| l.strip_prefix("moved ")?.strip_suffix(" bytes")).unwrap();
    count.parse().unwrap()
}

fn on_planes(backend: &Cuda<f32>, job: impl FnOnce(&mut Planes<Cuda<f32>>)) {
    let arrays: Vec<_> = (0..8).map(|_| backend.alloc("a plane", (NODES + 1) * SAMPLES, DIM, 0.5).unwrap()).collect();
    job(&mut planes(arrays, NODES + 1, NODES + 1));
}

fn row(plane: Plane, sample: usize, node: usize) -> RowRef {
    RowRef::new(plane, (sample * (NODES + 1) + node) as u32)
}

#[test]
#[ignore = "run by another test"]
fn child_sweep() {
    let backend = device::cuda::<f32>();
    let mut program = Program::default();
    for sample in 0..SAMPLES {
        for j in 1..=NODES {
            let of = |plane| row(plane, sample, j - 1);
            program.term(0.9, of(Plane::Point));
            program.term(0.2, of(Plane::Output));
            program.term(0.3, row(Plane::Noise, sample, j));
            if j > 1 {
                program.correction(0.8, of(Plane::State), of(Plane::Point), None);
            }
            let before = (j < NODES).then(|| row(Plane::Point, sample, j));
            program.target(row(Plane::State, sample, j), before);
        }
        program.segment(sample);
    }
    on_planes(&backend, |planes| {
        backend.run(&program, planes, &mut Default::default(), &mut Vec::new()).unwrap();
    });
}

#[test]
#[ignore = "run by another test"]
fn child_slopes() {
    let backend = device::cuda::<f32>();
    let mut vectors = Vec::new();
    for (sample, node) in (0..SAMPLES).flat_map(|s| (0..NODES).map(move |j| (s, j))) {
        let of = |plane| row(plane, sample, node);
        vectors.push(Vector { row: of(Plane::Output), minus: Some(of(Plane::EarlierOutput)) });
        vectors.push(Vector { row: of(Plane::Point), minus: Some(of(Plane::EarlierPoint)) });
        vectors.push(Vector { row: of(Plane::Point), minus: None });
    }
    on_planes(&backend, |planes| {
        let pairs = [(0, 1), (1, 1), (2, 2)];
        backend.products(&vectors, 3, &pairs, planes, &mut Default::default(), &mut Vec::new()).unwrap();
    });
}

/// Output, noise and old state are read once, the state is written once; the first node reads its point too.
#[test]
fn a_sweep_moves_sixteen_bytes_an_element() {
    if !device::is_real() {
        assert_eq!(moved("child_sweep"), 16 * ELEMENTS + 4 * DIM * SAMPLES);
    }
}

/// Points and outputs of this round and of the one before, each once.
#[test]
fn slopes_move_sixteen_bytes_an_element() {
    if !device::is_real() {
        assert_eq!(moved("child_slopes"), 16 * ELEMENTS);
    }
}
