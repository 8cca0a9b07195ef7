use pareidolia::{backend::cpu::train::*, dataset::*, network::*, rng::*, simd::*};
fn main() {
    let dir = std::path::PathBuf::from(std::env::var("PAREIDOLIA_DATA").unwrap());
    let m = Mnist::load(&dir, Split::Train).unwrap();
    let layers = lenet::layers(10);
    let shapes = shapes(lenet::INPUT, &layers).unwrap();
    let ph = Philox::new(1);
    let mut parameters = vec![];
    for (i, (l, s)) in layers.iter().zip(&shapes).enumerate() {
        if let Some((_, sh)) = l.weight(*s) {
            let n: usize = sh.iter().product();
            let b = (3.0 / (n / sh[0]) as f32).sqrt();
            let d = ph.draws(Purpose::TrainInit, i as u32, 0);
            parameters.push(Parameters { weight: (0..n).map(|k| (unit(d.word(k as u32)) * 2.0 - 1.0) * b).collect(), bias: vec![0.0; sh[0]] });
        }
    }
    let net = Network::new("lenet", lenet::INPUT, Preprocess { scale: lenet::INPUT_SCALE, mean: vec![], channel_order: ChannelOrder::Grey }, layers, parameters, (0..10).map(|i| i.to_string()).collect()).unwrap();
    let batch: usize = std::env::args().nth(1).map_or(64, |s| s.parse().unwrap());
    let its: usize = std::env::args().nth(2).map_or(500, |s| s.parse().unwrap());
    let simd: Simd = std::env::args().nth(3).map_or(Simd::detect(), |s| s.parse().unwrap());
    let mut t = Trainer::new(&net, batch, Sgd { momentum: 0.9, decay: 5e-4, bias_rate: 2.0 }, simd);
    let start = std::time::Instant::now();
    for i in 0..its {
        let at = i * batch % (60000 - batch);
        let loss = t.step(&m.images.pixels[at * 784..(at + batch) * 784], &m.labels.labels[at..at + batch], 0.01);
        if i % 100 == 0 || i + 1 == its { println!("{i} {loss:.4}"); }
    }
    let e = start.elapsed().as_secs_f64();
    println!("{:.3} ms/iteration, {:.0} images/s", e * 1e3 / its as f64, (its * batch) as f64 / e);
    let h: u64 = t.parameters().iter().flat_map(|p| p.weight.iter().chain(&p.bias)).fold(0, |h: u64, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x100000001b3));
    println!("{h:016x}");
}
