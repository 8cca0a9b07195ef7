//! The way back through a network: what each layer sends to what it took, and what a batch tells its weights.
//!
//! The written rules. They make gradients, and so images by ascent and trained weights, a function of data and seed alone: not of
//! threads, not of the width of a vector, not of the backend. All is f32, denormals included.
//!
//! **To the input of a layer** (`g`: the gradient of its output)
//!
//! - **Convolution, dense layer**: one accumulator an element, from +0, `fma(g, weight, sum)`, over the output values that the element took
//!   part in, in their order (output channel, row, column). Terms outside the output are left out; a term that is `g * 0` may be added.
//! - **ReLU**: `g` where its output is above 0, else +0.
//! - **Max pooling** sends `g` of a window to its first maximum, rows before columns; an element adds what its windows send, from +0, windows
//!   row by row.
//! - **Average pooling**: an element adds `g / n` of the windows that see it, from +0, windows row by row; `n` as forward.
//! - **Local response normalisation** (spec 2.5), `s` of a channel as forward, `p = sqrt(s) * sqrt(sqrt(s))`, `x` in, `y = x / p` out: a channel j
//!   has the term `t_j = (g_j * y_j) / s_j`; the sum is of the `t_j` from +0 over the channels j that exist in the window around channel i,
//!   ascending; the gradient is `fma(-(c * x_i), sum, g_i / p_i)` with `c = (2 * 0.75 * alpha) / size`, in f32, in this order.
//! - **Concatenation**: each input gets its part.
//! - **Dropout** of ratio r, in training alone: an element is kept if its unit random number is at least r; then it is `x * (1 / (1 - r))` with the
//!   factor rounded once, and backward `g` times the same; else +0, both ways. It is a layer of its own, before all that
//!   take the value: backward it gets the sum of what they send.
//! - **Softmax**, probability p_c of a class c as the objective: `p_c * ((j == c ? 1 : 0) - p_j)` for logit j. Cross entropy averaged over
//!   the batch: `(p - 1) / batch` for the image's class, `p / batch` for the others; here and nowhere else the batch divides.
//! - **A value that several layers take** gets the sum of what they send, the last layer's first, then `sum + next` down to the first; of
//!   a concatenation that takes it twice, the later part first.
//! - **Preprocessing** `(pixel - mean) * scale`: the gradient of a pixel is that of the input times scale.
//!
//! **To the weights**, from a batch of images
//!
//! - A batch is filled up to a multiple of [`SLOTS`] with black images that send the gradient +0.
//! - [`SLOTS`] accumulators a weight, from +0; image i of the batch belongs to slot `i % SLOTS`. A slot takes its images ascending, the output
//!   positions of an image row by row, `fma(g, x, sum)`. Terms of the padding are left out or added: they are `g * 0`. Then the upper half of
//!   the slots is added to the lower half (slot s takes slot s + 8, then s + 4, s + 2, s + 1). A bias gradient is the same with an input of 1
//!   (a plain sum).
//!
//! Slots rather than a sum an image: with 16 images to a vector a slot is a lane, whatever the width, and a dense layer needs one fused
//! operation a weight and image.

/// Accumulators of a weight gradient; image i of a batch goes to accumulator `i % SLOTS`.
pub const SLOTS: usize = 16;

/// The sum of the accumulators of one weight gradient, added in halves.
#[inline(always)]
pub fn total(mut slots: [f32; SLOTS]) -> f32 {
    let mut half = SLOTS / 2;
    while half > 0 {
        for s in 0..half {
            slots[s] += slots[s + half];
        }
        half /= 2;
    }
    slots[0]
}
