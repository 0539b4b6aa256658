//! What a keyring mints it opens, and nothing else: vectors computed by an independent implementation, and
//! properties over keys, numbers and forgeries.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as the test itself may")]

use proptest::prelude::*;
use serde::Deserialize;
use tag_id::{BatchNo, Epoch, MasterSecret, MintError, Opened, TagId, TagIndex, TagKeys};

#[derive(Deserialize)]
struct Vectors {
    master_secret: String,
    tags: Vec<Tag>,
    not_tags: Vec<NotTag>,
}

#[derive(Deserialize)]
struct Tag {
    epoch: u16,
    batch_no: u32,
    index: u32,
    uuid: String,
    crockford: String,
}

#[derive(Deserialize)]
struct NotTag {
    why: String,
    uuid: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../docs/vectors.json")).unwrap()
}

fn epoch(number: u16) -> Epoch {
    Epoch::new(number).unwrap()
}

fn secret(byte: u8) -> MasterSecret {
    [byte; 32].into()
}

fn opened(epoch: u16, batch: u32, index: u32) -> Opened {
    Opened {
        epoch: Epoch::new(epoch).unwrap(),
        batch: BatchNo::new(batch).unwrap(),
        index: TagIndex::new(index).unwrap(),
    }
}

fn mint(tag_keys: &TagKeys, contents: Opened) -> TagId {
    tag_keys.mint(contents.epoch, contents.batch, contents.index).unwrap()
}

fn contents() -> impl Strategy<Value = Opened> {
    (1..=4_095_u16, 0..1_u32 << 24, 0..1_u32 << 24)
        .prop_map(|(epoch, batch, index)| opened(epoch, batch, index))
}

#[test]
fn the_tags_of_the_vectors_are_minted_and_opened() {
    let vectors = vectors();
    let tag_keys = TagKeys::new(Some(MasterSecret::from_hex(&vectors.master_secret).unwrap()), []);
    assert!(vectors.tags.len() >= 7);
    for tag in vectors.tags {
        let contents = opened(tag.epoch, tag.batch_no, tag.index);
        let id = mint(&tag_keys, contents);
        assert_eq!((id.to_string(), id.crockford().to_string()), (tag.uuid.clone(), tag.crockford.clone()));
        for text in [tag.uuid, tag.crockford] {
            assert_eq!(tag_keys.open(&TagId::parse(&text).unwrap()), Some(contents));
        }
    }
}

#[test]
fn the_forgeries_of_the_vectors_are_rejected() {
    let vectors = vectors();
    let tag_keys = TagKeys::new(Some(MasterSecret::from_hex(&vectors.master_secret).unwrap()), []);
    assert!(vectors.not_tags.len() >= 6);
    for forged in vectors.not_tags {
        assert_eq!(tag_keys.open(&TagId::parse(&forged.uuid).unwrap()), None, "{}", forged.why);
    }
}

proptest! {
    #[test]
    fn a_minted_id_opens_to_its_contents(master: [u8; 32], contents in contents()) {
        let tag_keys = TagKeys::new(Some(master.into()), []);
        let id = mint(&tag_keys, contents);
        prop_assert_eq!(tag_keys.open(&id), Some(contents));
        let minter = tag_keys.minter(contents.epoch).unwrap();
        prop_assert_eq!(minter.mint(contents.batch, contents.index), id);
        prop_assert_eq!((id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6), (8, 0b10));
    }

    #[test]
    fn an_id_with_one_flipped_bit_is_rejected(master: [u8; 32], contents in contents()) {
        let tag_keys = TagKeys::new(Some(master.into()), []);
        let genuine = u128::from_be_bytes(*mint(&tag_keys, contents).as_bytes());
        for bit in 0..128 {
            let forged = TagId::from_bytes((genuine ^ (1 << bit)).to_be_bytes());
            prop_assert_eq!(tag_keys.open(&forged), None, "bit {}", bit);
        }
    }

    #[test]
    fn a_random_uuid_is_rejected(bytes: [u8; 16], with_the_fixed_bits_right: bool) {
        let mut bytes = bytes;
        if with_the_fixed_bits_right {
            bytes[6] = 0x80 | (bytes[6] & 0x0f);
            bytes[8] = 0x80 | (bytes[8] & 0x3f);
        }
        prop_assert_eq!(TagKeys::new(Some(secret(7)), []).open(&TagId::from_bytes(bytes)), None);
    }

    #[test]
    fn another_secret_opens_nothing(contents in contents()) {
        let id = mint(&TagKeys::new(Some(secret(1)), []), contents);
        prop_assert_eq!(TagKeys::new(Some(secret(2)), []).open(&id), None);
    }

    #[test]
    fn a_serial_is_the_batch_and_then_the_index(contents in contents()) {
        let serial = (u64::from(contents.batch.get()) << 24) | u64::from(contents.index.get());
        prop_assert_eq!(&contents.serial(), &serial.to_be_bytes()[2..]);
    }
}

#[test]
fn an_epoch_uses_its_own_secret_and_the_others_the_default() {
    let tag_keys = TagKeys::new(Some(secret(1)), [(epoch(2), secret(2))]);
    let (all_ones, all_twos) = (TagKeys::new(Some(secret(1)), []), TagKeys::new(Some(secret(2)), []));
    assert_eq!(mint(&tag_keys, opened(1, 5, 6)), mint(&all_ones, opened(1, 5, 6)));
    assert_eq!(mint(&tag_keys, opened(2, 5, 6)), mint(&all_twos, opened(2, 5, 6)));
    assert_eq!(mint(&tag_keys, opened(3, 5, 6)), mint(&all_ones, opened(3, 5, 6)));
}

#[test]
fn an_epoch_without_a_secret_neither_mints_nor_opens() {
    let tag_keys = TagKeys::new(None, [(epoch(2), secret(2))]);
    assert!(tag_keys.has(epoch(2)) && !tag_keys.has(epoch(1)));
    let elsewhere = mint(&TagKeys::new(Some(secret(2)), []), opened(1, 5, 6));
    assert_eq!(tag_keys.open(&elsewhere), None);
    let (batch, index) = (BatchNo::MAX, TagIndex::MAX);
    assert_eq!(tag_keys.mint(epoch(1), batch, index), Err(MintError::NoSecret(epoch(1))));
    assert_eq!(tag_keys.minter(epoch(1)).map(|_| ()), Err(MintError::NoSecret(epoch(1))));
    assert_eq!(tag_keys.check_value(epoch(1)), None);
    let genuine = mint(&tag_keys, opened(2, 5, 6));
    assert_eq!(tag_keys.open(&genuine), Some(opened(2, 5, 6)));
}

#[test]
fn empty_tag_keys_open_nothing() {
    let tag_keys = TagKeys::new(None, []);
    assert!(!tag_keys.has(Epoch::MIN));
    assert_eq!(tag_keys.open(&mint(&TagKeys::new(Some(secret(1)), []), opened(1, 0, 0))), None);
}

#[test]
fn the_first_and_the_last_epoch_are_served() {
    let tag_keys = TagKeys::new(None, [(Epoch::MIN, secret(1)), (Epoch::MAX, secret(2))]);
    for number in [1, 4_095] {
        assert_eq!(tag_keys.open(&mint(&tag_keys, opened(number, 1, 2))), Some(opened(number, 1, 2)));
    }
}

#[test]
fn check_values_are_equal_exactly_if_the_secrets_are() {
    let tag_keys = TagKeys::new(Some(secret(1)), [(epoch(2), secret(2))]);
    let same = TagKeys::new(Some(secret(3)), [(epoch(1), secret(1)), (epoch(2), secret(2))]);
    assert_eq!(tag_keys.check_value(epoch(1)), same.check_value(epoch(1)));
    assert_eq!(tag_keys.check_value(epoch(2)), same.check_value(epoch(2)));
    assert_ne!(tag_keys.check_value(epoch(3)), same.check_value(epoch(3)));
    // An epoch is part of it, so that equal secrets of two epochs do not show.
    assert_ne!(tag_keys.check_value(epoch(1)), tag_keys.check_value(epoch(3)));
}

#[test]
fn the_check_value_is_that_of_an_independent_hkdf() {
    let master = MasterSecret::from_hex(&vectors().master_secret).unwrap();
    let tag_keys = TagKeys::new(Some(master), []);
    let check = tag_keys.check_value(epoch(1)).map(hex::encode);
    assert_eq!(check.as_deref(), Some("88dac8afd78f4306409af42b62e59941"));
}

#[test]
fn debug_shows_no_key() {
    let tag_keys = TagKeys::new(Some(secret(1)), []);
    let minter = tag_keys.minter(Epoch::MIN).unwrap();
    assert_eq!(format!("{tag_keys:?} {minter:?}"), "TagKeys(..) Minter(..)");
}

#[test]
fn tag_keys_serve_many_threads() {
    let tag_keys = TagKeys::new(Some(secret(1)), []);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tag_keys = &tag_keys;
            scope.spawn(move || {
                for number in 1..=200 {
                    let contents = opened(number, thread, u32::from(number));
                    assert_eq!(tag_keys.open(&mint(tag_keys, contents)), Some(contents));
                }
            });
        }
    });
}

#[test]
fn epochs_of_one_master_secret_are_told_from_those_with_their_own() {
    let epoch = |number| Epoch::new(number).unwrap();
    let secret = |byte: u8| MasterSecret::from([byte; 32]);
    let tag_keys =
        TagKeys::new(Some(secret(1)), [(epoch(2), secret(2)), (epoch(3), secret(1)), (epoch(4), secret(2))]);
    for (one, other, same) in [(1, 9, true), (1, 3, true), (1, 2, false), (2, 4, true), (3, 4, false)] {
        assert_eq!(tag_keys.share_secret(epoch(one), epoch(other)), same, "{one} and {other}");
        assert_eq!(tag_keys.share_secret(epoch(other), epoch(one)), same);
    }
    let own_alone = TagKeys::new(None, [(epoch(1), secret(1))]);
    assert!(!own_alone.share_secret(epoch(1), epoch(2)), "what is not held is not known");
}
