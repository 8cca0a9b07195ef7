//! What the kernels of matrix products (kernels/common/gemm.cuh) share on the host: weights as they read them, and the choice of
//! the launch's shape, which decides how long it takes and never a bit.

use cudarc::driver::CudaFunction;

/// Multiprocessors that the choice of a shape reckons with: an H100's.
const MULTIPROCESSORS: u64 = 132;
/// Warps of a scheduler that it takes to hide most of the latency of what a warp waits for.
const WARPS_TO_HIDE_LATENCY: f64 = 1.6;

/// A kernel of a matrix product: a block makes `rows` by `columns`.
pub(super) struct Shape<'a> {
    pub name: &'static str,
    pub kernel: &'a CudaFunction,
    pub rows: u32,
    pub columns: u32,
    pub threads: u32,
    /// Instructions of a warp for one k, as compiled for sm_90a.
    pub instructions: f64,
}

impl Shape<'_> {
    /// Blocks of a product of `rows` by `columns`: along both.
    pub fn blocks(&self, rows: u32, columns: u32) -> (u32, u32) {
        (rows.div_ceil(self.rows), columns.div_ceil(self.columns))
    }

    /// An estimate of the cycles for each k of `groups` products of `rows` by `columns`, bound by what schedulers issue.
    fn cycles(&self, rows: u32, columns: u32, groups: u32) -> f64 {
        let (down, across) = self.blocks(rows, columns);
        let blocks = u64::from(groups) * u64::from(down) * u64::from(across);
        let warps = blocks.div_ceil(MULTIPROCESSORS) as f64 * f64::from(self.threads / 32);
        self.instructions * (warps / 4.0).ceil().max(WARPS_TO_HIDE_LATENCY)
    }
}

/// Of `shapes` the one that should take least time.
pub(super) fn fastest<'a, 'k>(shapes: &'a [Shape<'k>], rows: u32, columns: u32, groups: u32) -> &'a Shape<'k> {
    let cycles = |shape: &Shape| shape.cycles(rows, columns, groups);
    let best = shapes.iter().min_by(|a, b| cycles(a).total_cmp(&cycles(b)));
    best.expect("a product has shapes")
}

/// `weights`, `(groups * rows, k)`, as kernels read them: `(groups, padded_k, pitch)`, the pitch `rows` rounded up to a multiple of 4.
/// What fills up k is -0, so that nothing changes by it.
pub(super) fn pack(weights: &[f32], groups: usize, rows: usize, k: usize, padded_k: usize) -> Vec<f32> {
    let pitch = pitch(rows);
    let mut packed = vec![-0.0; groups * padded_k * pitch];
    for (output, inputs) in weights.chunks_exact(k).enumerate() {
        let group = &mut packed[output / rows * padded_k * pitch..];
        for (at, &weight) in inputs.iter().enumerate() {
            group[at * pitch + output % rows] = weight;
        }
    }
    packed
}

/// Floats from a row of packed weights to the next.
pub(super) fn pitch(rows: usize) -> usize {
    rows.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_packed_by_inputs_and_filled_up_with_minus_zero() {
        let (groups, rows, k, padded_k) = (2, 3, 5, 8);
        let weights: Vec<f32> = (1..=30).map(|i| i as f32).collect();
        let packed = pack(&weights, groups, rows, k, padded_k);
        assert_eq!(packed.len(), 2 * 8 * 4);
        for (at, &value) in packed.iter().enumerate() {
            let (group, input, row) = (at / 32, at / 4 % 8, at % 4);
            let want = if row < 3 && input < 5 { ((group * 3 + row) * 5 + input + 1) as f32 } else { -0.0 };
            assert_eq!(value.to_bits(), want.to_bits(), "{group} {input} {row}");
        }
    }
}
