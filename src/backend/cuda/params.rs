//! The structs that cross to the device, as kernels/common/params.cuh has them. Both sides assert size and offsets.

use crate::archive::Statistics;
use crate::backend;
use crate::genome::cppn::{self, Edge};
use crate::genome::direct::{self, Crossover};
use crate::rng::Chance;
use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use std::mem::offset_of;

/// Makes a struct one that crosses: `repr(C)`, and with the offsets that are said.
macro_rules! crossing {
    ($(#[$meta:meta])* $name:ident, size $size:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty = $offset:literal,)+ }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        const _: () = {
            assert!(size_of::<$name>() == $size, "twin: params.cuh");
            $(assert!(offset_of!($name, $field) == $offset, "twin: params.cuh");)+
        };

        // SAFETY: repr(C), of integers and floats alone: it is what C++ sees, without padding that matters, and all zeros are
        // a value of it.
        unsafe impl DeviceRepr for $name {}
        unsafe impl ValidAsZeroBits for $name {}
    };
}

crossing! {
    /// One run, in device memory from its first generation to its last.
    RunState, size 24 {
        /// Of Philox: the seed, low word first.
        key: [u32; 2] = 0,
        /// Of the archive; means nothing while `is_first`.
        generation: u32 = 8,
        /// 1 until generation 0 is in the archive.
        is_first: u32 = 12,
        /// Operators skipped for want of capacity, since generation 0.
        skipped: u64 = 16,
    }
}

crossing! {
    /// The places that a launch works on. Buffers of a chunk are indexed by place - start.
    Chunk, size 12 {
        /// Candidates of a generation of each run.
        batch: u32 = 0,
        /// The first place; even.
        start: u32 = 4,
        /// Places.
        count: u32 = 8,
    }
}

crossing! {
    /// How two children are made.
    Pair, size 12 {
        /// Niches.
        parents: [u32; 2] = 0,
        /// 1 if their genes are mixed, 0 if each child is a copy of its parent.
        crossed: u32 = 8,
    }
}

crossing! {
    /// The best confidence seen for a niche, and who had it.
    Winner, size 8 {
        /// -inf while nobody has competed.
        fitness: f32 = 0,
        /// Number within the batch of its run; [`u32::MAX`] for the niche's elite, or nobody.
        candidate: u32 = 4,
    }
}

crossing! {
    /// How direct genomes vary: [`direct::Rules`].
    DirectRules, size 32 {
        mutation_rate: f64 = 0,
        /// [`Chance::threshold`]; 0 without crossover.
        crossover_chance: u64 = 8,
        halve_every: u32 = 16,
        mutation_eta: u32 = 20,
        crossover_eta: u32 = 24,
        /// Genes on which the parents agree: 1 copies them, 0 makes them 0.5.
        repaired: u32 = 28,
    }
}

crossing! {
    /// How CPPNs vary: [`cppn::Rules`]. Chances are [`Chance::threshold`]s.
    CppnRules, size 72 {
        weight_chance: u64 = 0,
        activation_chance: u64 = 8,
        add_edge_chance: u64 = 16,
        delete_edge_chance: u64 = 24,
        split_edge_chance: u64 = 32,
        delete_node_chance: u64 = 40,
        max_weight: f32 = 48,
        weight_eta: u32 = 52,
        /// Capacity; activations of a slot lie [`node_stride`] bytes after those of the one before.
        max_nodes: u32 = 56,
        /// Capacity, and edges between the starts of two slots.
        max_edges: u32 = 60,
        n_outputs: u32 = 64,
        /// 0: fills the struct.
        reserved: u32 = 68,
    }
}

crossing! {
    /// A directed edge of a CPPN.
    CppnEdge, size 8 {
        source: u16 = 0,
        target: u16 = 2,
        gene: f32 = 4,
    }
}

crossing! {
    /// Sizes of the genome in a slot.
    CppnSize, size 8 {
        n_nodes: u32 = 0,
        n_edges: u32 = 4,
    }
}

crossing! {
    /// What is drawn of a CPPN: instructions that are run in their order, pass after pass. Values 0..4 are the inputs, value
    /// 4 + i is the result of instruction i.
    CppnProgram, size 28 {
        n_instructions: u32 = 0,
        n_terms: u32 = 4,
        n_passes: u32 = 8,
        /// 1 if results are read before they are made: they are 0 then.
        from_zero: u32 = 12,
        /// The values that are the outputs; of a grey genome the first alone.
        outputs: [u32; 3] = 16,
    }
}

crossing! {
    /// A node of a CPPN's program: the activation of the sum of its terms.
    CppnInstruction, size 16 {
        first_term: u32 = 0,
        n_terms: u32 = 4,
        activation: u32 = 8,
        /// It is run in the passes `first_pass..=last_pass`, which count from 1.
        first_pass: u16 = 12,
        last_pass: u16 = 14,
    }
}

crossing! {
    /// A weighted value.
    CppnTerm, size 8 {
        value: u32 = 0,
        weight: f32 = 4,
    }
}

crossing! {
    /// What the host learns of a generation of one run.
    Counters, size 80 {
        archive_hash: u64 = 0,
        skipped: u64 = 8,
        median: f64 = 16,
        mean: f64 = 24,
        min: f64 = 32,
        max: f64 = 40,
        generation: u32 = 48,
        replaced: u32 = 52,
        over_9: u32 = 56,
        over_99: u32 = 60,
        over_999: u32 = 64,
        over_9999: u32 = 68,
        /// The first niche that nobody had a number for in generation 0, or [`u32::MAX`].
        missing: u32 = 72,
        /// Insertions of the run that its log has had, modulo 2^32; 0 without one.
        logged: u32 = 76,
    }
}

crossing! {
    /// A candidate that entered an archive: [`backend::Insertion`].
    Insertion, size 16 {
        generation: u32 = 0,
        candidate: u32 = 4,
        niche: u32 = 8,
        fitness: f32 = 12,
    }
}

impl From<Insertion> for backend::Insertion {
    fn from(Insertion { generation, candidate, niche, fitness }: Insertion) -> backend::Insertion {
        backend::Insertion { generation, candidate, niche, fitness }
    }
}

impl RunState {
    /// A run of `seed` before generation 0.
    pub fn new(seed: u64) -> RunState {
        RunState { key: [seed as u32, (seed >> 32) as u32], generation: 0, is_first: 1, skipped: 0 }
    }
}

impl Chunk {
    /// Active runs whose candidates may be at its places: those up to the last one's.
    pub fn runs(&self) -> usize {
        match self.count {
            0 => 0,
            count => (self.start + count - 1) as usize / self.batch as usize + 1,
        }
    }
}

impl Winner {
    /// Nobody yet: every number beats it, a NaN does not.
    pub const NONE: Winner = Winner { fitness: f32::NEG_INFINITY, candidate: u32::MAX };
}

impl From<&direct::Rules> for DirectRules {
    fn from(rules: &direct::Rules) -> DirectRules {
        let crossed = if rules.crossover == Crossover::None { 0.0 } else { rules.crossover_rate };
        DirectRules {
            mutation_rate: rules.mutation_rate,
            crossover_chance: Chance::new(crossed).threshold(),
            halve_every: rules.halve_every,
            mutation_eta: rules.mutation_eta,
            crossover_eta: rules.crossover_eta,
            repaired: u32::from(rules.crossover == Crossover::Repaired),
        }
    }
}

impl CppnRules {
    /// `rules` for genomes of `n_outputs` outputs.
    pub fn new(rules: &cppn::Rules, n_outputs: usize) -> CppnRules {
        let chance = |rate| Chance::new(rate).threshold();
        CppnRules {
            weight_chance: chance(rules.weight_rate),
            activation_chance: chance(rules.activation_rate),
            add_edge_chance: chance(rules.add_edge_rate),
            delete_edge_chance: chance(rules.delete_edge_rate),
            split_edge_chance: chance(rules.split_edge_rate),
            delete_node_chance: chance(rules.delete_node_rate),
            max_weight: rules.max_weight,
            weight_eta: rules.weight_eta,
            max_nodes: rules.max_nodes,
            max_edges: rules.max_edges,
            n_outputs: n_outputs as u32,
            reserved: 0,
        }
    }
}

/// Bytes from the activations of a slot to those of the next, for genomes of up to `max_nodes` nodes.
pub fn node_stride(max_nodes: u32) -> usize {
    (max_nodes as usize).next_multiple_of(16)
}

impl From<Edge> for CppnEdge {
    fn from(Edge { source, target, gene }: Edge) -> CppnEdge {
        CppnEdge { source, target, gene }
    }
}

impl From<CppnEdge> for Edge {
    fn from(CppnEdge { source, target, gene }: CppnEdge) -> Edge {
        Edge { source, target, gene }
    }
}

impl Counters {
    /// The statistics among them.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            median: self.median,
            mean: self.mean,
            min: self.min,
            max: self.max,
            over_9: self.over_9 as usize,
            over_99: self.over_99 as usize,
            over_999: self.over_999 as usize,
            over_9999: self.over_9999 as usize,
        }
    }
}

crossing! {
    /// A convolution as a matrix product. Lengths of activations are in floats.
    Conv2dShape, size 64 {
        /// Images times `out_plane`.
        n_columns: u32 = 0,
        out_width: u32 = 4,
        out_plane: u32 = 8,
        /// Between two images of the output.
        out_image: u32 = 12,
        in_height: u32 = 16,
        in_width: u32 = 20,
        /// Between two images of the input.
        in_image: u32 = 24,
        /// Between the inputs of two groups.
        in_group: u32 = 28,
        /// Output channels of a group.
        rows: u32 = 32,
        /// Of a row of weights.
        pitch: u32 = 36,
        /// Rows of weights of a group.
        padded_k: u32 = 40,
        row_tiles: u32 = 44,
        stride: u32 = 48,
        padding: u32 = 52,
        /// 1: `x > 0 ? x : 0` of each output.
        rectify: u32 = 56,
        reserved: u32 = 60,
    }
}

crossing! {
    /// What one k of a convolution reads.
    Conv2dTap, size 16 {
        /// From the value under the kernel's first corner, in bytes.
        offset: i32 = 0,
        row: u32 = 4,
        column: u32 = 8,
        reserved: u32 = 12,
    }
}

crossing! {
    /// What one k of a convolution of 8-bit images reads: offsets from the pixel under the kernel's first corner, in bytes.
    ImageTap, size 16 {
        /// Row of the kernel, and column << 8.
        at: u32 = 0,
        /// In an image.
        plain: i32 = 4,
        /// In one that is mirrored.
        mirrored: i32 = 8,
        mean: i32 = 12,
    }
}

crossing! {
    /// 8-bit images, channels last, of which the network sees parts.
    ImageShape, size 16 {
        /// Bytes of a row.
        row: u32 = 0,
        /// Bytes of an image.
        image: u32 = 4,
        channels: u32 = 8,
        /// Of each image, side by side in the batch.
        n_crops: u32 = 12,
    }
}

crossing! {
    /// A part of an image, as large as the network's input.
    Crop, size 12 {
        /// Its first column.
        x: u32 = 0,
        /// Its first row.
        y: u32 = 4,
        /// 1 if the network sees it mirrored.
        mirror: u32 = 8,
    }
}

crossing! {
    /// A dense layer as a matrix product. Lengths are in floats.
    DenseShape, size 36 {
        batch: u32 = 0,
        /// Outputs.
        rows: u32 = 4,
        /// Of a row of weights.
        pitch: u32 = 8,
        /// Inputs.
        k: u32 = 12,
        /// Rows of weights.
        padded_k: u32 = 16,
        /// Between two images of the input.
        in_image: u32 = 20,
        /// Between two images of the output.
        out_image: u32 = 24,
        row_tiles: u32 = 28,
        /// 1: `x > 0 ? x : 0` of each output.
        rectify: u32 = 32,
    }
}

crossing! {
    /// Pooling, normalisation across channels, or one after the other. Lengths are in floats.
    PoolShape, size 48 {
        batch: u32 = 0,
        channels: u32 = 4,
        in_height: u32 = 8,
        in_width: u32 = 12,
        /// Between two images of the input.
        in_image: u32 = 16,
        out_height: u32 = 20,
        out_width: u32 = 24,
        /// Between two images of the output.
        out_image: u32 = 28,
        kernel: u32 = 32,
        stride: u32 = 36,
        padding: u32 = 40,
        /// Averages: 1 if padding is counted in the divisor.
        count_padding: u32 = 44,
    }
}

crossing! {
    /// Local response normalisation across channels.
    LrnRule, size 12 {
        /// Channels of a sum; odd.
        size: u32 = 0,
        /// Alpha over size.
        scale: f32 = 4,
        k: f32 = 8,
    }
}

crossing! {
    /// The phases of planes, put beside one another. Lengths are in floats.
    PhaseShape, size 40 {
        batch: u32 = 0,
        /// Of the output; the input has `stride * stride` of each.
        channels: u32 = 4,
        height: u32 = 8,
        width: u32 = 12,
        /// Between two images of the output.
        out_image: u32 = 16,
        in_height: u32 = 20,
        in_width: u32 = 24,
        /// Between two images of the input.
        in_image: u32 = 28,
        stride: u32 = 32,
        /// Rows and columns that are cut off at the top and at the left.
        first: u32 = 36,
    }
}

crossing! {
    /// An image that climbs: what the last step saw of it, and how far it goes. One that has stopped stays as it is.
    AscentState, size 24 {
        /// Squared, of the gradient.
        norm: f64 = 0,
        /// Of the image's class.
        probability: f32 = 8,
        /// The most probable class.
        best: u32 = 12,
        /// 1 from the step on in which it stopped.
        stopped: u32 = 16,
        rate: f32 = 20,
    }
}

crossing! {
    /// A CPPN that is drawn in real numbers: a [`cppn::Program`], whose instructions, terms and weights lie among those of others.
    DrawnCppn, size 32 {
        first_instruction: u32 = 0,
        n_instructions: u32 = 4,
        first_term: u32 = 8,
        n_terms: u32 = 12,
        /// The slots that are the outputs; of a grey drawing the first alone.
        outputs: [u32; 3] = 16,
        /// 0: fills the struct.
        reserved: u32 = 28,
    }
}

crossing! {
    /// The activation of the sum of the terms that follow those of the instruction before.
    DrawnInstruction, size 8 {
        activation: u32 = 0,
        n_terms: u32 = 4,
    }
}

crossing! {
    /// What a weight is multiplied by, and for which instruction of the program.
    DrawnTerm, size 8 {
        slot: u32 = 0,
        instruction: u32 = 4,
    }
}

crossing! {
    /// What a network sees of a drawing.
    CppnEye, size 40 {
        /// Of the drawing.
        canvas_height: u32 = 0,
        canvas_width: u32 = 4,
        /// Of the network's input, a crop.
        height: u32 = 8,
        width: u32 = 12,
        /// 1 or 3.
        channels: u32 = 16,
        n_crops: u32 = 20,
        /// 1 if the network's channels are blue, green, red.
        blue_first: u32 = 24,
        /// In the network's order.
        scale: [f32; 3] = 28,
    }
}

crossing! {
    /// What a step sees of a drawing.
    CppnSeen, size 8 {
        /// Of its class.
        probability: f32 = 0,
        /// The most probable class.
        best: u32 = 4,
    }
}

crossing! {
    /// The weight gradient of a convolution. Lengths are in floats.
    Conv2dGradientShape, size 68 {
        /// Of each slot.
        images: u32 = 0,
        out_height: u32 = 4,
        out_width: u32 = 8,
        /// Between two images of the output's gradient.
        gradient_image: u32 = 12,
        in_height: u32 = 16,
        in_width: u32 = 20,
        /// Between two images of the input.
        in_image: u32 = 24,
        /// Between the inputs of two groups.
        in_group: u32 = 28,
        /// Output channels of a group.
        outputs: u32 = 32,
        /// Of a row of gradients: `outputs`, rounded up to a multiple of 4.
        pitch: u32 = 36,
        /// Weights of an output; its bias is one more.
        k: u32 = 40,
        k_tiles: u32 = 44,
        stride: u32 = 48,
        padding: u32 = 52,
        /// What a stage's positions are in images, rows and columns.
        step_images: u32 = 56,
        step_rows: u32 = 60,
        step_columns: u32 = 64,
    }
}

crossing! {
    /// The weight gradient of a dense layer. Lengths are in floats.
    DenseGradientShape, size 28 {
        /// Of each slot.
        images: u32 = 0,
        /// Between two images of the output's gradient.
        gradient_image: u32 = 4,
        /// Between two images of the input.
        in_image: u32 = 8,
        outputs: u32 = 12,
        /// Of a row of gradients: `outputs`, rounded up to a multiple of 4.
        pitch: u32 = 16,
        /// Inputs; the bias is one more.
        k: u32 = 20,
        k_tiles: u32 = 24,
    }
}

crossing! {
    /// An iteration of training.
    TrainingStep, size 8 {
        iteration: u32 = 0,
        /// Of weights.
        rate: f32 = 4,
    }
}

crossing! {
    /// How a layer's gradients become new weights.
    UpdateShape, size 40 {
        groups: u32 = 0,
        /// Of a group.
        outputs: u32 = 4,
        /// Of a row of weights, velocities and gradients: `outputs`, rounded up to a multiple of 4.
        pitch: u32 = 8,
        /// Weights of an output; its bias is one more.
        k: u32 = 12,
        /// Rows of weights of a group.
        padded_k: u32 = 16,
        /// Accumulators that are still to be added: 1 or all.
        slots: u32 = 20,
        momentum: f32 = 24,
        /// Of weights.
        decay: f32 = 28,
        /// Of biases, not a multiple.
        bias_decay: f32 = 32,
        /// As a multiple of that of weights.
        bias_rate: f32 = 36,
    }
}

crossing! {
    /// A layer's weights as the way back reads them.
    TurnShape, size 44 {
        groups: u32 = 0,
        /// Of a group.
        outputs: u32 = 4,
        /// Input channels of a group.
        channels: u32 = 8,
        kernel: u32 = 12,
        /// Of a turned kernel, along a side.
        taps: u32 = 16,
        /// Of the layer.
        stride: u32 = 20,
        /// Phases a side for each value under the stride.
        multiple: u32 = 24,
        /// Rows of weights of a group.
        padded_k: u32 = 28,
        /// Of a row of weights.
        pitch: u32 = 32,
        /// The same of what is turned.
        turned_k: u32 = 36,
        turned_pitch: u32 = 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The little-endian words of `value`, as the device sees it.
    fn words<T: DeviceRepr>(value: &T) -> Vec<u32> {
        // SAFETY: all structs of this file are of whole words, without padding.
        let bytes = unsafe { std::slice::from_raw_parts((value as *const T).cast::<u8>(), size_of::<T>()) };
        bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn every_field_of_the_crossing_structs_has_its_own_words() {
        let f = f32::to_bits;
        let d = |value: f64| [value.to_bits() as u32, (value.to_bits() >> 32) as u32];
        let run = RunState { key: [1, 2], generation: 3, is_first: 4, skipped: 5 | 6 << 32 };
        assert_eq!(words(&run), [1, 2, 3, 4, 5, 6]);
        assert_eq!(words(&Chunk { batch: 1, start: 2, count: 3 }), [1, 2, 3]);
        assert_eq!(words(&Pair { parents: [1, 2], crossed: 3 }), [1, 2, 3]);
        assert_eq!(words(&Winner { fitness: 0.5, candidate: 7 }), [f(0.5), 7]);
        let direct = DirectRules {
            mutation_rate: 0.1,
            crossover_chance: 1 | 2 << 32,
            halve_every: 3,
            mutation_eta: 4,
            crossover_eta: 5,
            repaired: 6,
        };
        assert_eq!(words(&direct), [&d(0.1)[..], &[1, 2, 3, 4, 5, 6]].concat());
        let cppn = CppnRules {
            weight_chance: 1 | 2 << 32,
            activation_chance: 3 | 4 << 32,
            add_edge_chance: 5 | 6 << 32,
            delete_edge_chance: 7 | 8 << 32,
            split_edge_chance: 9 | 10 << 32,
            delete_node_chance: 11 | 12 << 32,
            max_weight: 0.25,
            weight_eta: 14,
            max_nodes: 15,
            max_edges: 16,
            n_outputs: 17,
            reserved: 18,
        };
        assert_eq!(words(&cppn), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, f(0.25), 14, 15, 16, 17, 18]);
        assert_eq!(words(&CppnEdge { source: 1, target: 2, gene: 0.5 }), [1 | 2 << 16, f(0.5)]);
        assert_eq!(words(&CppnSize { n_nodes: 1, n_edges: 2 }), [1, 2]);
        let program = CppnProgram { n_instructions: 1, n_terms: 2, n_passes: 3, from_zero: 4, outputs: [5, 6, 7] };
        assert_eq!(words(&program), [1, 2, 3, 4, 5, 6, 7]);
        let instruction = CppnInstruction { first_term: 1, n_terms: 2, activation: 3, first_pass: 4, last_pass: 5 };
        assert_eq!(words(&instruction), [1, 2, 3, 4 | 5 << 16]);
        assert_eq!(words(&CppnTerm { value: 1, weight: 0.5 }), [1, f(0.5)]);
        let counters = Counters {
            archive_hash: 1 | 2 << 32,
            skipped: 3 | 4 << 32,
            median: 0.5,
            mean: 0.25,
            min: 0.125,
            max: 1.0,
            generation: 5,
            replaced: 6,
            over_9: 7,
            over_99: 8,
            over_999: 9,
            over_9999: 10,
            missing: 11,
            logged: 12,
        };
        let statistics = [0.5, 0.25, 0.125, 1.0].map(d).concat();
        assert_eq!(words(&counters), [&[1, 2, 3, 4], &statistics[..], &[5, 6, 7, 8, 9, 10, 11, 12]].concat());
        assert_eq!(words(&Insertion { generation: 1, candidate: 2, niche: 3, fitness: 0.5 }), [1, 2, 3, f(0.5)]);
    }

    #[test]
    fn every_field_of_a_layer_has_its_own_word() {
        let conv2d = Conv2dShape {
            n_columns: 1,
            out_width: 2,
            out_plane: 3,
            out_image: 4,
            in_height: 5,
            in_width: 6,
            in_image: 7,
            in_group: 8,
            rows: 9,
            pitch: 10,
            padded_k: 11,
            row_tiles: 12,
            stride: 13,
            padding: 14,
            rectify: 15,
            reserved: 16,
        };
        assert_eq!(words(&conv2d), (1..=16).collect::<Vec<u32>>());
        assert_eq!(words(&Conv2dTap { offset: 1, row: 2, column: 3, reserved: 4 }), [1, 2, 3, 4]);
        assert_eq!(words(&ImageTap { at: 1, plain: 2, mirrored: 3, mean: 4 }), [1, 2, 3, 4]);
        assert_eq!(words(&ImageShape { row: 1, image: 2, channels: 3, n_crops: 4 }), [1, 2, 3, 4]);
        assert_eq!(words(&Crop { x: 1, y: 2, mirror: 3 }), [1, 2, 3]);
        let dense = DenseShape {
            batch: 1,
            rows: 2,
            pitch: 3,
            k: 4,
            padded_k: 5,
            in_image: 6,
            out_image: 7,
            row_tiles: 8,
            rectify: 9,
        };
        assert_eq!(words(&dense), (1..=9).collect::<Vec<u32>>());
        let pool = PoolShape {
            batch: 1,
            channels: 2,
            in_height: 3,
            in_width: 4,
            in_image: 5,
            out_height: 6,
            out_width: 7,
            out_image: 8,
            kernel: 9,
            stride: 10,
            padding: 11,
            count_padding: 12,
        };
        assert_eq!(words(&pool), (1..=12).collect::<Vec<u32>>());
        let phases = PhaseShape {
            batch: 1,
            channels: 2,
            height: 3,
            width: 4,
            out_image: 5,
            in_height: 6,
            in_width: 7,
            in_image: 8,
            stride: 9,
            first: 10,
        };
        assert_eq!(words(&phases), (1..=10).collect::<Vec<u32>>());
        let state = AscentState { norm: 0.1, probability: 0.5, best: 1, stopped: 2, rate: 0.25 };
        assert_eq!(words(&state)[2..], [0.5_f32.to_bits(), 1, 2, 0.25_f32.to_bits()]);
        assert_eq!(words(&state)[..2], [0.1_f64.to_bits() as u32, (0.1_f64.to_bits() >> 32) as u32]);
        assert_eq!(words(&LrnRule { size: 1, scale: 0.5, k: 0.25 }), [1, 0.5_f32.to_bits(), 0.25_f32.to_bits()]);
        let cppn = DrawnCppn {
            first_instruction: 1,
            n_instructions: 2,
            first_term: 3,
            n_terms: 4,
            outputs: [5, 6, 7],
            reserved: 8,
        };
        assert_eq!(words(&cppn), (1..=8).collect::<Vec<u32>>());
        assert_eq!(words(&DrawnInstruction { activation: 1, n_terms: 2 }), [1, 2]);
        assert_eq!(words(&DrawnTerm { slot: 1, instruction: 2 }), [1, 2]);
        assert_eq!(words(&CppnSeen { probability: 0.5, best: 2 }), [0.5_f32.to_bits(), 2]);
        let eye = CppnEye {
            canvas_height: 1,
            canvas_width: 2,
            height: 3,
            width: 4,
            channels: 5,
            n_crops: 6,
            blue_first: 7,
            scale: [0.5, 0.25, 0.125],
        };
        let scale = [0.5_f32, 0.25, 0.125].map(f32::to_bits);
        assert_eq!(words(&eye), [&[1, 2, 3, 4, 5, 6, 7][..], &scale].concat());
    }

    #[test]
    fn every_field_of_a_layer_in_training_has_its_own_word() {
        let conv2d = Conv2dGradientShape {
            images: 1,
            out_height: 2,
            out_width: 3,
            gradient_image: 4,
            in_height: 5,
            in_width: 6,
            in_image: 7,
            in_group: 8,
            outputs: 9,
            pitch: 10,
            k: 11,
            k_tiles: 12,
            stride: 13,
            padding: 14,
            step_images: 15,
            step_rows: 16,
            step_columns: 17,
        };
        assert_eq!(words(&conv2d), (1..=17).collect::<Vec<u32>>());
        let dense =
            DenseGradientShape { images: 1, gradient_image: 2, in_image: 3, outputs: 4, pitch: 5, k: 6, k_tiles: 7 };
        assert_eq!(words(&dense), (1..=7).collect::<Vec<u32>>());
        assert_eq!(words(&TrainingStep { iteration: 1, rate: 0.5 }), [1, 0.5_f32.to_bits()]);
        let update = UpdateShape {
            groups: 1,
            outputs: 2,
            pitch: 3,
            k: 4,
            padded_k: 5,
            slots: 6,
            momentum: 0.5,
            decay: 0.25,
            bias_decay: 0.125,
            bias_rate: 2.0,
        };
        let turn = TurnShape {
            groups: 1,
            outputs: 2,
            channels: 3,
            kernel: 4,
            taps: 5,
            stride: 6,
            multiple: 7,
            padded_k: 8,
            pitch: 9,
            turned_k: 10,
            turned_pitch: 11,
        };
        assert_eq!(words(&turn), (1..=11).collect::<Vec<u32>>());
        let rules = [0.5_f32, 0.25, 0.125, 2.0].map(f32::to_bits);
        assert_eq!(words(&update), [&[1, 2, 3, 4, 5, 6][..], &rules].concat());
    }

    #[test]
    fn rules_cross_with_their_chances_as_thresholds() {
        let rules = direct::Rules { crossover: Crossover::Repaired, ..direct::Rules::default() };
        let crossed = DirectRules::from(&rules);
        assert_eq!((crossed.crossover_chance, crossed.repaired), (1 << 31, 1));
        let none = DirectRules::from(&direct::Rules { crossover: Crossover::None, ..rules });
        assert_eq!((none.crossover_chance, none.repaired), (0, 0));
        let rules = cppn::Rules { add_edge_rate: 1.0, delete_edge_rate: 0.0, ..cppn::Rules::faithful() };
        let crossed = CppnRules::new(&rules, 3);
        assert_eq!((crossed.add_edge_chance, crossed.delete_edge_chance), (1 << 32, 0));
        assert_eq!((crossed.split_edge_chance, crossed.n_outputs, crossed.max_nodes), (1 << 31, 3, 256));
        assert_eq!([16, 17, 256].map(node_stride), [16, 32, 256]);
    }
}
