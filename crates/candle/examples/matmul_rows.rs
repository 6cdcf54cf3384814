//! Whether a row of candle's matrix product on the CPU has the same bits whatever other rows the product has.
//!
//! `cargo run --example matmul_rows` prints, for sizes of a layer and both layouts of its weights, the numbers of rows
//! for which a product differs from the rows of one with 600.

use candle_core::{Device, Tensor};

const ROWS: usize = 600;

fn main() -> candle_core::Result<()> {
    let counts = [1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512];
    println!("{:>5} {:>5}  {:<32} numbers of rows of {counts:?} that differ", "in", "out", "weights");
    for (input, output) in [(6, 20), (20, 6), (64, 64), (300, 100), (784, 512), (1500, 33), (3000, 7), (64, 1)] {
        let x = Tensor::randn(0f32, 1.0, (ROWS, input), &Device::Cpu)?;
        let weights = Tensor::randn(0f32, 1.0, (input, output), &Device::Cpu)?;
        let transposed = weights.t()?.contiguous()?.t()?;
        for (layout, weights) in [("in x out", &weights), ("transpose of out x in (Linear)", &transposed)] {
            let all = x.matmul(weights)?;
            let mut differing = Vec::new();
            for count in counts {
                let part = x.narrow(0, 7, count)?.contiguous()?.matmul(weights)?;
                if bits(&part)? != bits(&all.narrow(0, 7, count)?)? {
                    differing.push(count);
                }
            }
            println!("{input:>5} {output:>5}  {layout:<32} {differing:?}");
        }
    }
    Ok(())
}

fn bits(a: &Tensor) -> candle_core::Result<Vec<u32>> {
    Ok(a.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
}
