//! The two text forms of a tag id, against plain oracles: the `uuid` crate, and base32 written the long way.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as the test itself may")]

use proptest::prelude::*;
use tag_id::{ParseError, TagId};
use uuid::Uuid;

const BYTES: [u8; 16] =
    [0x85, 0xe4, 0x9e, 0xc3, 0xde, 0x12, 0x80, 0x01, 0xbc, 0xcf, 0x0c, 0xe2, 0xe6, 0x98, 0x60, 0x17];
const UUID: &str = "85e49ec3-de12-8001-bccf-0ce2e6986017";
const CROCKFORD: &str = "45WJFC7QGJG00VSKRCWBK9GR0Q";

/// Two zero bits and the 128, cut into fives.
fn naive_crockford(bytes: [u8; 16]) -> String {
    let bits: String =
        std::iter::once("00".to_owned()).chain(bytes.iter().map(|byte| format!("{byte:08b}"))).collect();
    let alphabet: Vec<char> = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().collect();
    (0..26).map(|group| alphabet[usize::from_str_radix(&bits[group * 5..][..5], 2).unwrap()]).collect()
}

/// The text with the case of each character chosen by a bit.
fn mixed_case(text: &str, choice: u64) -> String {
    text.chars()
        .enumerate()
        .map(|(at, character)| match (choice >> at) & 1 {
            0 => character.to_ascii_lowercase(),
            _ => character.to_ascii_uppercase(),
        })
        .collect()
}

proptest! {
    #[test]
    fn both_forms_match_the_oracles(bytes: [u8; 16]) {
        let id = TagId::from_bytes(bytes);
        prop_assert_eq!(id.to_string(), Uuid::from_bytes(bytes).hyphenated().to_string());
        prop_assert_eq!(id.crockford().to_string(), naive_crockford(bytes));
    }

    #[test]
    fn both_forms_are_read_back_in_any_case(bytes: [u8; 16], choice: u64) {
        let id = TagId::from_bytes(bytes);
        prop_assert_eq!(TagId::parse(&mixed_case(&id.to_string(), choice)), Ok(id));
        prop_assert_eq!(TagId::parse(&mixed_case(&id.crockford(), choice)), Ok(id));
    }

    #[test]
    fn the_parser_accepts_what_the_oracle_accepts(
        text in "[0-9a-gA-G-]{36}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fA-F]{12}",
    ) {
        let oracle = Uuid::try_parse(&text).ok().map(|uuid| TagId::from_bytes(uuid.into_bytes()));
        prop_assert_eq!(TagId::parse(&text).ok(), oracle);
    }

    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = TagId::parse(&text);
    }

    #[test]
    fn no_text_of_a_right_length_makes_it_panic(text in "[\u{0}-\u{7f}é€😀]{24,36}") {
        let _ = TagId::parse(&text);
    }

    #[test]
    fn a_wrong_character_is_rejected_with_its_position(at in 0..26_usize, wrong in "[^0-9A-TV-Za-tv-z]") {
        prop_assume!(wrong.len() == 1);
        let text = format!("{}{wrong}{}", &CROCKFORD[..at], &CROCKFORD[at + 1..]);
        prop_assert_eq!(TagId::parse(&text), Err(ParseError::Character { position: at }));
    }
}

#[test]
fn letters_that_look_like_digits_are_read_as_digits() {
    let zeros_and_ones = TagId::parse("10101010101010101010101010").unwrap();
    for look_alike in
        ["IOIOIOIOIOIOIOIOIOIOIOIOIO", "lololololololololololololo", "iOlo1010LOio10101010101010"]
    {
        assert_eq!(TagId::parse(look_alike), Ok(zeros_and_ones), "{look_alike}");
    }
}

#[test]
fn crockford_ends_at_128_bits() {
    assert_eq!(TagId::parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), Ok(TagId::from_bytes([0xff; 16])));
    for above in ["8", "9", "A", "Z", "z"] {
        let text = format!("{above}{}", "0".repeat(25));
        assert_eq!(TagId::parse(&text), Err(ParseError::TooLarge), "{text}");
    }
}

#[test]
fn every_other_form_is_rejected() {
    let simple = UUID.replace('-', "");
    let wrong = [
        String::new(),
        " ".to_owned(),
        simple.clone(),
        format!("{{{UUID}}}"),
        format!("urn:uuid:{UUID}"),
        format!(" {UUID}"),
        format!("{UUID} "),
        format!("{UUID}\n"),
        format!("\t{CROCKFORD}"),
        format!("{CROCKFORD}\0"),
        format!("{CROCKFORD}="),
        CROCKFORD[1..].to_owned(),
        UUID[1..].to_owned(),
        // Right lengths, wrong places.
        UUID.replace('-', "_"),
        UUID.replacen("85e49ec3-d", "85e49ec-3d", 1),
        format!("{}----", simple),
        format!("{{{}}}", &UUID[1..35]),
        format!("+{}", &UUID[1..]),
        format!(" {}", &UUID[1..]),
        format!("0x{}", &UUID[2..]),
        UUID.replace('e', "g"),
        format!("{}-{}", &CROCKFORD[..5], &CROCKFORD[6..]),
        format!("{} ", &CROCKFORD[..25]),
        format!("{}U", &CROCKFORD[..25]),
        format!("{}u", &CROCKFORD[..25]),
        format!("{}*", &CROCKFORD[..25]),
        // Right lengths in bytes, not in ASCII.
        format!("{}é", &CROCKFORD[..24]),
        format!("{}é", &UUID[..34]),
        // Full-width digits look right and are not.
        format!("{}０", &CROCKFORD[..23]),
    ];
    for text in wrong {
        assert!(TagId::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn debug_shows_only_a_stub_of_the_tag() {
    let id = TagId::from_bytes(BYTES);
    assert_eq!((id.to_string().as_str(), &*id.crockford()), (UUID, CROCKFORD));
    assert_eq!(format!("{id:?} {:?}", id.crockford()), "TagId(85e49ec3…) Crockford(45WJFC…)");
}
