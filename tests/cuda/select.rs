//! select: the pairs of the CPU step.

use crate::harness;
use crate::runs::{Runs, cases};
use pareidolia::backend::cpu::select;
use pareidolia::backend::cuda::params::{DirectRules, Pair};
use pareidolia::genome::direct::{Crossover, Rules};
use pareidolia::genome::{Encoding, cppn};

#[test]
fn select_draws_the_pairs_of_the_cpu() {
    let Some(launcher) = harness::launcher() else { return };
    let rate = |crossover_rate| Encoding::Direct(Rules { crossover_rate, ..Rules::default() });
    let encodings = [
        rate(0.5),
        rate(0.3),
        rate(1.0),
        Encoding::Direct(Rules { crossover: Crossover::None, ..Rules::default() }),
        Encoding::Cppn(cppn::Rules::faithful()),
    ];
    let guard = Pair { parents: [0xabab_abab; 2], crossed: 0xcdcd_cdcd };
    let mut n_crossed = 0;
    for encoding in &encodings {
        let chance = match encoding {
            Encoding::Direct(rules) => DirectRules::from(rules).crossover_chance,
            Encoding::Cppn(_) => 0,
        };
        for n_niches in [1, 10, 1000] {
            for (runs, active, chunk) in cases(256) {
                let on_device = Runs::new(launcher, &runs, &active);
                let mut want = Vec::new();
                for (run, candidate) in on_device.places(chunk).step_by(2) {
                    let (philox, generation) = (on_device.philox(run), on_device.generation(run));
                    select::select(&mut want, encoding, n_niches, &philox, generation, candidate..candidate + 2);
                }
                let want: Vec<Pair> =
                    want.iter().map(|pair| Pair { parents: pair.parents, crossed: u32::from(pair.crossed) }).collect();
                n_crossed += want.iter().filter(|pair| pair.crossed == 1).count();
                let mut pairs = launcher.upload(&vec![guard; want.len() + harness::GUARDS]).unwrap();
                let (states, active_runs) = (&on_device.on_device, &on_device.active_on_device);
                launcher.select(&mut pairs, states, active_runs, chance, chunk, n_niches).unwrap();
                let got = harness::unguarded(launcher.download(&pairs).unwrap(), want.len(), guard);
                assert_eq!(want, got, "{encoding:?} {n_niches} niches, runs {runs:?}, active {active:?}, {chunk:?}");
            }
        }
    }
    assert!(n_crossed > 1000);
}
