//! The pattern that documents show and the code agree.

use proptest::prelude::*;
use tag_id::TagId;

proptest! {
    #[test]
    fn the_pattern_says_what_the_code_takes(
        text in concat!(
            "[0-9a-fA-Fg]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9A-F]{4}-[0-9a-f]{11,13}",
            "|[0-9A-Za-z]{25,27}|[0-7ilo][0-9A-TV-Za-tv-z]{25}\\n?",
        )
    ) {
        let pattern = regex::Regex::new(TagId::PATTERN).unwrap();
        prop_assert_eq!(TagId::parse(&text).is_ok(), pattern.is_match(&text), "{}", text);
    }
}
