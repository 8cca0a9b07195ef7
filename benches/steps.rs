//! `cargo bench`: the loop and its steps at the states that `pareidolia bench` times, with Criterion's statistics. `cargo bench
//! -- classify` times some; `--save-baseline` and `--baseline` compare with before.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pareidolia::experiment::bench::stage::{MOST_COLOUR, Mutation, Stage, State, Yardstick};
use pareidolia::experiment::config::Preset;
use pareidolia::simd::Simd;
use std::time::Duration;

/// One that is usual, and one that feeds many threads.
const BATCHES: [u32; 2] = [200, 4096];

fn steps(criterion: &mut Criterion) {
    let simd = Simd::detect();
    for preset in [Preset::MnistDirect, Preset::MnistCppn] {
        let state = State::new(preset).expect("a preset runs");
        for batch in BATCHES {
            let mut stage = Stage::new(&state, batch, simd).expect("a preset runs");
            for step in stage.steps() {
                stage.check(step).unwrap_or_else(|error| panic!("{error}"));
                let mut group = criterion.benchmark_group(step.to_string());
                group.throughput(Throughput::Elements(u64::from(stage.items(step))));
                group.bench_function(BenchmarkId::new(state.name(), batch), |bencher| {
                    bencher.iter_custom(|calls| {
                        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
                        stage.time(step, calls).expect("it ran before")
                    });
                });
            }
        }
    }
    for batch in BATCHES {
        let mut yardstick = Yardstick::new(batch, simd);
        yardstick.check().unwrap_or_else(|error| panic!("{error}"));
        let mut group = criterion.benchmark_group("render-20");
        group.throughput(Throughput::Elements(u64::from(batch)));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter_custom(|calls| yardstick.time(u32::try_from(calls).unwrap_or(u32::MAX)));
        });
    }
    let mut yardstick = Yardstick::colour(MOST_COLOUR, simd);
    yardstick.check().unwrap_or_else(|error| panic!("{error}"));
    let mut mutation = Mutation::new(MOST_COLOUR, simd);
    mutation.check().unwrap_or_else(|error| panic!("{error}"));
    for (name, time) in [
        ("render-20-colour", &mut (|calls| yardstick.time(calls)) as &mut dyn FnMut(u32) -> Duration),
        ("mutate-colour", &mut |calls| mutation.time(calls)),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(u64::from(MOST_COLOUR)));
        group.bench_function(BenchmarkId::from_parameter(MOST_COLOUR), |bencher| {
            bencher.iter_custom(|calls| time(u32::try_from(calls).unwrap_or(u32::MAX)));
        });
    }
}

fn few_samples() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = few_samples(); targets = steps }
criterion_main!(benches);
