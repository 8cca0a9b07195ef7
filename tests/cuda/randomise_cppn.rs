//! randomise_cppn: the genomes of `Graph::random`.

use crate::runs::{Runs, cases};
use crate::{harness, slots};
use pareidolia::backend::cuda::params::CppnRules;
use pareidolia::genome::cppn::{Graph, Rules};

#[test]
fn randomise_cppn_makes_the_genomes_of_the_cpu() {
    let Some(launcher) = harness::launcher() else { return };
    for n_outputs in [1, 3] {
        let tight = Rules { max_nodes: 4 + n_outputs as u32, max_edges: 4 * n_outputs as u32, ..Rules::faithful() };
        for rules in [Rules::faithful(), tight] {
            let crossing = CppnRules::new(&rules, n_outputs);
            for (mut runs, active, chunk) in cases(8) {
                runs.iter_mut().for_each(|(_, generation)| *generation = None);
                let on_device = Runs::new(launcher, &runs, &active);
                let want: Vec<Graph> = on_device
                    .places(chunk)
                    .map(|(run, candidate)| Graph::random(n_outputs, &on_device.philox(run), candidate))
                    .collect();
                let mut genomes = slots::guarded(launcher, &crossing, want.len());
                let (states, active_runs) = (&on_device.on_device, &on_device.active_on_device);
                launcher.randomise_cppn(&mut genomes, states, active_runs, &crossing, chunk).unwrap();
                let got = slots::download(launcher, &genomes, want.len());
                slots::assert_same(
                    &want,
                    &got,
                    &format!("{n_outputs} outputs, {runs:?}, active {active:?}, {chunk:?}"),
                );
                slots::assert_nothing_beyond(launcher, &genomes, &want);
            }
        }
    }
}
