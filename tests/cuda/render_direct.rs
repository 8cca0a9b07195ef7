//! render_direct: the pixels of `genome::direct::render`.

use crate::harness::passes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::render_direct::render_direct;

#[test]
fn render_direct_draws_the_pixels_of_the_cpu() {
    passes(|gpu, tally| render_direct(gpu, Extent::Full, tally));
}
