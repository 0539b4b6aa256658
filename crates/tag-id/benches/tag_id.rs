//! Ids per second on one core: minted, opened, and refused. `cargo bench -p tag-id`.

#![allow(missing_docs, reason = "criterion's macro makes a public function of its own")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tag_id::{BatchNo, Epoch, MasterSecret, TagId, TagIndex, TagKeys};

const IDS: u32 = 1_000;

fn tag_ids(criterion: &mut Criterion) {
    let tag_keys = TagKeys::new(Some(MasterSecret::from([7; 32])), []);
    let minter = tag_keys.minter(Epoch::MIN).expect("the default secret serves every epoch");
    let batch = BatchNo::wrapping(12_345);
    let indexes: Vec<TagIndex> = (0..IDS).filter_map(TagIndex::new).collect();
    let genuine: Vec<TagId> = indexes.iter().map(|&index| minter.mint(batch, index)).collect();
    // The last bit alone: the epoch must stay, or nothing would be computed at all.
    let forged: Vec<TagId> = genuine
        .iter()
        .map(|id| TagId::from_bytes((u128::from_be_bytes(*id.as_bytes()) ^ 1).to_be_bytes()))
        .collect();
    let texts: Vec<String> = genuine.iter().map(ToString::to_string).collect();

    let mut group = criterion.benchmark_group("tag_id");
    group.throughput(Throughput::Elements(IDS.into()));
    group.bench_function("mint", |bencher| {
        bencher.iter(|| {
            for &index in &indexes {
                black_box(minter.mint(batch, black_box(index)));
            }
        });
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| {
            for id in &genuine {
                assert!(tag_keys.open(black_box(id)).is_some());
            }
        });
    });
    group.bench_function("refuse", |bencher| {
        bencher.iter(|| {
            for id in &forged {
                assert!(tag_keys.open(black_box(id)).is_none());
            }
        });
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                assert!(TagId::parse(black_box(text)).is_ok());
            }
        });
    });
    group.bench_function("write_both_forms", |bencher| {
        bencher.iter(|| {
            for id in &genuine {
                black_box((id.to_string(), id.crockford()));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, tag_ids);
criterion_main!(benches);
